package meta

import (
	"encoding/binary"
	"math"
)

// LockMode is how a device holds the lock of a file, or wants to.
type LockMode uint8

// The modes, each of which includes those before it.
const (
	LockNone      LockMode = iota
	LockShared             // others may hold it so too
	LockExclusive          // nobody else holds it, and nobody else changes what the file holds
)

// Lock is what one device has of the lock of a file, which programs of several machines
// share: see Fence. It runs out as a Lease does, by the order of the commits.
type Lock struct {
	Mode  LockMode
	Want  LockMode // what a program of the device waits for; LockNone: nothing
	Until uint64   // last slot in which it is held, or waited for
}

const (
	// LockTerm is for how many slots a lock is had, and MaxLockTerm for how many at most.
	LockTerm    = 128
	MaxLockTerm = 1024

	lockKeyLen = fieldLen + 2
)

// LockKey is the key of what a device has of the lock of an inode.
func LockKey(ino Ino, by Device) []byte {
	return binary.BigEndian.AppendUint16(appendField(make([]byte, 0, lockKeyLen), prefixLock, uint64(ino)), uint16(by))
}

// ParseLockKey takes a LockKey apart.
func ParseLockKey(k []byte) (Ino, Device, error) {
	if len(k) != lockKeyLen || k[0] != prefixLock {
		return 0, 0, ErrMalformed
	}
	no, by := binary.BigEndian.Uint64(k[1:]), Device(binary.BigEndian.Uint16(k[fieldLen:]))
	if !validNumber(no) || by == 0 {
		return 0, 0, ErrMalformed
	}
	return Ino(no), by, nil
}

// lockRange is the range of the locks of an inode.
func lockRange(ino Ino) Range {
	r := Range{From: appendField(nil, prefixLock, uint64(ino))}
	if ino == math.MaxUint64 {
		r.To = []byte{prefixLock + 1}
	} else {
		r.To = appendField(nil, prefixLock, uint64(ino)+1)
	}
	return r
}

// good says whether a lock can be stored.
func (l Lock) good() bool {
	return l.Mode <= LockExclusive && l.Want <= LockExclusive && (l.Mode != LockNone || l.Want != LockNone) &&
		(l.Want == LockNone || l.Want > l.Mode) && l.Until > 0
}

// AppendLock appends the encoding: mode u8, want u8, until varint.
func AppendLock(dst []byte, l Lock) []byte {
	return appendUvarint(append(dst, byte(l.Mode), byte(l.Want)), l.Until)
}

// DecodeLock reads what AppendLock wrote, or answers ErrMalformed.
func DecodeLock(b []byte) (Lock, error) {
	d := decoder{b: b}
	l := Lock{Mode: LockMode(d.u8()), Want: LockMode(d.u8()), Until: d.uvarint()}
	d.must(l.good())
	if err := d.done(); err != nil {
		return Lock{}, err
	}
	return l, nil
}

// Locks calls fn for what devices have of the lock of an inode, by their numbers,
// ascending. Some may have run out.
func Locks(r Reader, ino Ino, fn func(by Device, l Lock) bool) error {
	return locksIn(r, lockRange(ino), func(_ Ino, by Device, l Lock) bool { return fn(by, l) })
}

// AllLocks calls fn for the locks of all inodes.
func AllLocks(r Reader, fn func(ino Ino, by Device, l Lock) bool) error {
	return locksIn(r, prefixRange(prefixLock), fn)
}

func locksIn(r Reader, in Range, fn func(ino Ino, by Device, l Lock) bool) error {
	var bad error
	err := r.Scan(in.From, in.To, func(k, v []byte) bool {
		ino, by, err := ParseLockKey(k)
		var l Lock
		if err == nil {
			l, err = DecodeLock(v)
		}
		bad = err
		return err == nil && fn(ino, by, l)
	})
	if err == nil {
		err = bad
	}
	return err
}

// LockedBy returns how others than a device hold the lock of an inode in a slot: the
// strongest mode that one of them has.
func LockedBy(r Reader, ino Ino, by Device, slot uint64) (mode LockMode, err error) {
	err = Locks(r, ino, func(other Device, l Lock) bool {
		if other != by && l.Until >= slot {
			mode = max(mode, l.Mode)
		}
		return true
	})
	return mode, err
}
