// Package meta is the tree of files as pure data.
//
// A volume's metadata is one sorted map from keys to values: directory
// entries, inodes, extents, extended attributes, packs. Everything that can
// happen to the tree is an operation, and an operation is a pure function: it
// reads the map and answers with a batch of puts, deletes and delete-ranges.
// The same operation on the same map gives the same batch on every machine;
// whoever follows only applies batches.
//
// The package does no I/O, keeps no state, knows no clock, no key and no
// store, and refuses whatever is not in its one canonical encoding.
package meta

// Ino is the number of an inode, unique in its volume for ever: device number
// 16 bits ‖ counter 36 bits.
type Ino uint64

// Root is the root directory of every volume; it belongs to no device.
const Root Ino = 1

// Device is the number that a machine got when it was enrolled in a volume.
type Device uint16

// PackNo is the number of a pack in its volume, made like an Ino.
type PackNo uint64

// OpNo counts the operations of one device, from 1, below 2^48.
type OpNo uint64

const (
	counterBits = 36
	numberLimit = 1 << (16 + counterBits) // Ino and PackNo are below

	// MaxCounter is the highest counter in an Ino or a PackNo.
	MaxCounter = 1<<counterBits - 1
	// MaxOpNo is the highest number of an operation.
	MaxOpNo OpNo = 1<<48 - 1
)

// MakeIno composes an inode number. The counter is 1 to MaxCounter; another is
// a mistake of the caller and panics.
func MakeIno(d Device, counter uint64) Ino { return Ino(makeNumber(d, counter)) }

// Device tells which device made the inode; 0 for Root.
func (i Ino) Device() Device { return Device(i >> counterBits) }

// Counter is the part of the number that the device counts.
func (i Ino) Counter() uint64 { return uint64(i) & MaxCounter }

// MakePack composes a pack number, like MakeIno.
func MakePack(d Device, counter uint64) PackNo { return PackNo(makeNumber(d, counter)) }

// Device tells which device made the pack.
func (p PackNo) Device() Device { return Device(p >> counterBits) }

// Counter is the part of the number that the device counts.
func (p PackNo) Counter() uint64 { return uint64(p) & MaxCounter }

func makeNumber(d Device, counter uint64) uint64 {
	if counter == 0 || counter > MaxCounter {
		panic("meta: counter out of range")
	}
	return uint64(d)<<counterBits | counter
}

func validNumber(n uint64) bool { return n < numberLimit && n&MaxCounter != 0 }

// Ref addresses an inode. Home is the directory in which the inode was made;
// it never changes, even when the inode moves or that directory is gone.
type Ref struct{ Home, Ino Ino }

// RootRef addresses the root directory. No other inode has home 0.
var RootRef = Ref{Home: 0, Ino: Root}

func (r Ref) valid() bool {
	if r.Ino == Root {
		return r.Home == 0
	}
	return validNumber(uint64(r.Ino)) && validNumber(uint64(r.Home)) && r.Home != r.Ino
}

// Time is a point in time: seconds since 1970 (negative before) and
// nanoseconds below 10^9.
type Time struct {
	Sec  int64
	Nsec uint32
}

// Before tells whether t is earlier than u.
func (t Time) Before(u Time) bool {
	return t.Sec < u.Sec || t.Sec == u.Sec && t.Nsec < u.Nsec
}

func (t Time) valid() bool { return t.Nsec < 1e9 }

func later(t, u Time) Time {
	if t.Before(u) {
		return u
	}
	return t
}

// Kind is the type of an inode.
type Kind uint8

// The kinds, as they are stored.
const (
	File    Kind = 1
	Dir     Kind = 2
	Symlink Kind = 3
	Fifo    Kind = 4
	Char    Kind = 5
	Block   Kind = 6
	Socket  Kind = 7
)

func (k Kind) valid() bool { return File <= k && k <= Socket }

// Limits of the format.
const (
	MaxName     = 255       // bytes of a name in a directory, of an attribute's name, of a snapshot's name
	MaxTarget   = 4095      // bytes of a symbolic link's target
	MaxXattr    = 64 << 10  // bytes of an extended attribute's value
	MaxXattrs   = 128 << 10 // bytes of names and values that an inode is sure to keep in a Rebase
	MaxExtent   = 64 << 20  // bytes that one extent spans; a pack is no longer either
	MaxInline   = 4         // extents inside an inode
	MaxExtents  = 1024      // extents of one Write
	MaxFileSize = 1<<63 - 1 // bytes of a file, as far as off_t reaches
	MaxLinks    = 1<<31 - 1 // names of an inode
)

// Inode is everything about a file but its names and, when there are many
// extents or attributes, those.
type Inode struct {
	Kind    Kind
	Perm    uint16 // 07777
	UID     uint32
	GID     uint32
	Nlink   uint32 // of a directory: 2 and one for each directory in it
	Rdev    uint32 // Char and Block only
	Size    uint64 // bytes; of a symbolic link the target's length, 0 for all but these and files
	Atime   Time
	Mtime   Time
	Ctime   Time
	Btime   Time
	Version uint64   // Stamp.Version of the operation that last changed the content
	Parent  Ref      // directories only
	Target  []byte   // symbolic links only, 1 to MaxTarget bytes
	Xattrs  bool     // an extended attribute was set once; while false there is none to look for
	Indexed bool     // the extents stand under extent keys, Extents is empty
	Extents []Extent // at most MaxInline, sorted, disjoint, none beyond Size; files only
}

// Extent says that Len bytes of a file from Off on are the bytes of a pack
// from PackOff on. What no extent covers reads as zeros.
type Extent struct {
	Off     uint64
	Len     uint64 // 1 to MaxExtent
	Pack    PackNo
	PackOff uint32
}

// End is the offset in the file of the first byte after the extent.
func (e Extent) End() uint64 { return e.Off + e.Len }

// Dirent is what a name in a directory stands for.
type Dirent struct {
	Ref  Ref
	Kind Kind
}

// PackRecord tells where the bytes of a pack are. It is written once.
type PackRecord struct {
	Name   [32]byte // of the object
	Length uint32   // bytes before padding, 1 to MaxExtent
	Epoch  uint32   // of the key that seals it
}

// Snapshot names a state of the volume that is kept.
type Snapshot struct {
	Slot   uint64
	Commit [32]byte // commit id of the slot
}
