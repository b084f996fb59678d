package meta

import "encoding/binary"

// The first byte of a key says what its value is:
//
//	d  parent u64  name               a name in a directory   -> Dirent
//	i  home u64  ino u64              an inode                -> Inode
//	x  ino u64  end offset u64        an extent by its end    -> Extent
//	a  home u64  ino u64  name        an extended attribute   -> its bytes
//	p  pack number u64                a pack                  -> PackRecord
//	g  pack number u64                a retired pack          -> slot u64
//	s  name                           a snapshot              -> Snapshot
//	c  version u64  number u8         a conflict              -> Conflict
//	v  device u16                     a device's program      -> Program
//	l  ino u64                        a lease, or part of one -> LeaseEntry
//	k  ino u64  device u16            a file's lock           -> Lock
//
// Numbers are big endian, so that keys sort as the numbers do. An extent goes
// by its end because the first key above an offset is then the extent that
// covers it, if any does.
const (
	prefixDirent   = 'd'
	prefixInode    = 'i'
	prefixExtent   = 'x'
	prefixXattr    = 'a'
	prefixPack     = 'p'
	prefixRetired  = 'g'
	prefixSnapshot = 's'
	prefixConflict = 'c'
	prefixProgram  = 'v'
	prefixLease    = 'l'
	prefixLock     = 'k'
)

const (
	fieldLen    = 1 + 8     // prefix and first field
	twoFieldLen = 1 + 8 + 8 // prefix and two fields

	// MaxKey is the length of the longest key, in bytes.
	MaxKey = twoFieldLen + MaxName
)

// DirentKey is the key of a name in a directory.
func DirentKey(parent Ino, name []byte) []byte {
	return appendDirentKey(make([]byte, 0, fieldLen+len(name)), parent, name)
}

// InodeKey is the key of an inode.
func InodeKey(ref Ref) []byte { return appendInodeKey(make([]byte, 0, twoFieldLen), ref) }

// ExtentKey is the key of the extent of a file that ends at end.
func ExtentKey(ino Ino, end uint64) []byte {
	return appendExtentKey(make([]byte, 0, twoFieldLen), ino, end)
}

// XattrKey is the key of an extended attribute.
func XattrKey(ref Ref, name []byte) []byte {
	return appendXattrKey(make([]byte, 0, twoFieldLen+len(name)), ref, name)
}

// PackKey is the key of a pack's record.
func PackKey(no PackNo) []byte {
	return appendField(make([]byte, 0, fieldLen), prefixPack, uint64(no))
}

// RetiredKey is the key under which a pack is retired.
func RetiredKey(no PackNo) []byte {
	return appendField(make([]byte, 0, fieldLen), prefixRetired, uint64(no))
}

// SnapshotKey is the key of a snapshot.
func SnapshotKey(name []byte) []byte { return append([]byte{prefixSnapshot}, name...) }

func appendField(dst []byte, prefix byte, field uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, prefix), field)
}

func appendDirentKey(dst []byte, parent Ino, name []byte) []byte {
	return append(appendField(dst, prefixDirent, uint64(parent)), name...)
}

func appendInodeKey(dst []byte, ref Ref) []byte {
	return binary.BigEndian.AppendUint64(appendField(dst, prefixInode, uint64(ref.Home)), uint64(ref.Ino))
}

func appendExtentKey(dst []byte, ino Ino, end uint64) []byte {
	return binary.BigEndian.AppendUint64(appendField(dst, prefixExtent, uint64(ino)), end)
}

func appendXattrKey(dst []byte, ref Ref, name []byte) []byte {
	dst = binary.BigEndian.AppendUint64(appendField(dst, prefixXattr, uint64(ref.Home)), uint64(ref.Ino))
	return append(dst, name...)
}

// ParseDirentKey takes a DirentKey apart; name aliases k.
func ParseDirentKey(k []byte) (parent Ino, name []byte, err error) {
	if len(k) < fieldLen || k[0] != prefixDirent {
		return 0, nil, ErrMalformed
	}
	parent, name = Ino(binary.BigEndian.Uint64(k[1:])), k[fieldLen:]
	if !validNumber(uint64(parent)) || CheckName(name) != nil {
		return 0, nil, ErrMalformed
	}
	return parent, name, nil
}

// ParseInodeKey takes an InodeKey apart.
func ParseInodeKey(k []byte) (Ref, error) {
	if len(k) != twoFieldLen || k[0] != prefixInode {
		return Ref{}, ErrMalformed
	}
	return parseRef(k)
}

// ParseExtentKey takes an ExtentKey apart. The end is 1 to MaxFileSize.
func ParseExtentKey(k []byte) (ino Ino, end uint64, err error) {
	if len(k) != twoFieldLen || k[0] != prefixExtent {
		return 0, 0, ErrMalformed
	}
	ino, end = Ino(binary.BigEndian.Uint64(k[1:])), binary.BigEndian.Uint64(k[fieldLen:])
	if !validNumber(uint64(ino)) || end == 0 || end > MaxFileSize {
		return 0, 0, ErrMalformed
	}
	return ino, end, nil
}

// ParseXattrKey takes an XattrKey apart; name aliases k.
func ParseXattrKey(k []byte) (ref Ref, name []byte, err error) {
	if len(k) < twoFieldLen || k[0] != prefixXattr || CheckXattrName(k[twoFieldLen:]) != nil {
		return Ref{}, nil, ErrMalformed
	}
	ref, err = parseRef(k)
	return ref, k[twoFieldLen:], err
}

// ParsePackKey takes a PackKey apart.
func ParsePackKey(k []byte) (PackNo, error) { return parsePackNo(k, prefixPack) }

// ParseRetiredKey takes a RetiredKey apart.
func ParseRetiredKey(k []byte) (PackNo, error) { return parsePackNo(k, prefixRetired) }

// ParseSnapshotKey takes a SnapshotKey apart; the name aliases k.
func ParseSnapshotKey(k []byte) (name []byte, err error) {
	if len(k) == 0 || k[0] != prefixSnapshot || CheckXattrName(k[1:]) != nil {
		return nil, ErrMalformed
	}
	return k[1:], nil
}

func parseRef(k []byte) (Ref, error) {
	ref := Ref{Home: Ino(binary.BigEndian.Uint64(k[1:])), Ino: Ino(binary.BigEndian.Uint64(k[fieldLen:]))}
	if !ref.valid() {
		return Ref{}, ErrMalformed
	}
	return ref, nil
}

func parsePackNo(k []byte, prefix byte) (PackNo, error) {
	if len(k) != fieldLen || k[0] != prefix {
		return 0, ErrMalformed
	}
	no := binary.BigEndian.Uint64(k[1:])
	if !validNumber(no) {
		return 0, ErrMalformed
	}
	return PackNo(no), nil
}

// checkKey answers ErrMalformed for what no Parse function accepts.
func checkKey(k []byte) (err error) {
	if len(k) == 0 {
		return ErrMalformed
	}
	switch k[0] {
	case prefixDirent:
		_, _, err = ParseDirentKey(k)
	case prefixInode:
		_, err = ParseInodeKey(k)
	case prefixExtent:
		_, _, err = ParseExtentKey(k)
	case prefixXattr:
		_, _, err = ParseXattrKey(k)
	case prefixPack:
		_, err = ParsePackKey(k)
	case prefixRetired:
		_, err = ParseRetiredKey(k)
	case prefixSnapshot:
		_, err = ParseSnapshotKey(k)
	case prefixConflict:
		_, err = ParseConflictKey(k)
	case prefixProgram:
		_, err = ParseProgramKey(k)
	case prefixLease:
		_, err = ParseLeaseKey(k)
	case prefixLock:
		_, _, err = ParseLockKey(k)
	default:
		err = ErrMalformed
	}
	return err
}
