package meta

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// Lease gives a file, or a folder with all that lies in it, to one device for a while:
// what others change there is void, see Fence.
//
// It runs out by the order of the commits and not by a clock: it is held in all slots up
// to Until. Its holder moves that on as the chain grows.
type Lease struct {
	Device Device // that holds it
	Number uint64 // version of the operation that gave it; no two leases have one
	Until  uint64 // last slot in which it is held
	Since  Time   // by the holder's clock
	From   uint64 // number of the lease that it was taken away from; 0: it was free
	Parent Ref    // where what is leased was found, and its name there
	Name   []byte // empty: it was not known
}

const (
	// LeaseTerm is for how many slots a lease is given, and MaxLeaseTerm for how many
	// at most: nobody holds anything for ever who is not there any more.
	LeaseTerm    = 256
	MaxLeaseTerm = 4096

	// MaxLeased is of how many files and folders, besides the one that it is for, one
	// lease is at most.
	MaxLeased = 4096

	leaseKeyLen = fieldLen
	leaseEnded  = 1 // Until of one that was given back

	leaseHeld = 0 // first byte of a value: a lease follows
	leasePart = 1 // the inode number of what the lease is for follows
)

// ErrLeased: another device holds a lease of what the operation would change. It is an
// ErrConflict.
var ErrLeased error = leased{}

type leased struct{}

func (leased) Error() string        { return "another device has a lease" }
func (leased) Is(target error) bool { return target == ErrConflict }

// LeaseKey is the key of what is known of leases of an inode.
func LeaseKey(ino Ino) []byte {
	return appendField(make([]byte, 0, leaseKeyLen), prefixLease, uint64(ino))
}

// ParseLeaseKey takes a LeaseKey apart.
func ParseLeaseKey(k []byte) (Ino, error) {
	if len(k) != leaseKeyLen || k[0] != prefixLease {
		return 0, ErrMalformed
	}
	no := binary.BigEndian.Uint64(k[1:])
	if !validNumber(no) {
		return 0, ErrMalformed
	}
	return Ino(no), nil
}

// LeaseEntry is what stands under a LeaseKey: a lease, or that the inode belongs to
// what another is leased with.
type LeaseEntry struct {
	Lease *Lease
	Of    Ino // where Lease is nil
}

// AppendLeaseEntry appends the encoding: 0, device u16, number u64, until varint, since
// time, from u64, parent ref (home 0 and number 0 when it is not known), name string; or
// 1, inode number varint.
func AppendLeaseEntry(dst []byte, e LeaseEntry) []byte {
	if e.Lease == nil {
		return appendUvarint(append(dst, leasePart), uint64(e.Of))
	}
	l := e.Lease
	dst = binary.BigEndian.AppendUint16(append(dst, leaseHeld), uint16(l.Device))
	dst = binary.BigEndian.AppendUint64(dst, l.Number)
	dst = appendTime(appendUvarint(dst, l.Until), l.Since)
	dst = binary.BigEndian.AppendUint64(dst, l.From)
	return appendBytes(appendRef(dst, l.Parent), l.Name)
}

// DecodeLeaseEntry reads what AppendLeaseEntry wrote, or answers ErrMalformed.
func DecodeLeaseEntry(b []byte) (LeaseEntry, error) {
	d := decoder{b: b}
	var e LeaseEntry
	switch d.u8() {
	case leaseHeld:
		l := &Lease{Device: Device(d.u16()), Number: d.u64(), Until: d.uvarint(), Since: d.time(), From: d.u64()}
		l.Parent, l.Name = d.placed()
		e.Lease = l
		d.must(l.Device != 0 && WrittenBy(l.Number) == l.Device && l.Number != l.From && l.Until > 0)
	case leasePart:
		e.Of = Ino(d.uvarint())
		d.must(validNumber(uint64(e.Of)))
	default:
		d.must(false)
	}
	if err := d.done(); err != nil {
		return LeaseEntry{}, err
	}
	return e, nil
}

// placed reads a directory and a name in it, or zeros and no name.
func (d *decoder) placed() (parent Ref, name []byte) {
	parent = Ref{Home: Ino(d.uvarint()), Ino: Ino(d.uvarint())}
	name = bytes.Clone(d.bytes(MaxName))
	d.must(placedWell(parent, name))
	return parent, name
}

func placedWell(parent Ref, name []byte) bool {
	if parent == (Ref{}) {
		return len(name) == 0
	}
	return parent.valid() && CheckName(name) == nil
}

// leaseEntry reads what is known of leases of an inode; false: nothing.
func leaseEntry(r Reader, ino Ino) (e LeaseEntry, ok bool, err error) {
	v, err := r.Get(LeaseKey(ino))
	if errors.Is(err, ErrAbsent) {
		return e, false, nil
	}
	if err == nil {
		e, err = DecodeLeaseEntry(v)
	}
	return e, err == nil, err
}

// LeaseOf returns the lease that an inode is under, and the inode that it is for; nil:
// none. It may have run out.
func LeaseOf(r Reader, ino Ino) (*Lease, Ino, error) {
	e, ok, err := leaseEntry(r, ino)
	if err != nil || !ok {
		return nil, 0, err
	}
	if e.Lease != nil {
		return e.Lease, ino, nil
	}
	of := e.Of
	if e, ok, err = leaseEntry(r, of); err != nil || !ok {
		return nil, 0, err
	}
	return e.Lease, of, nil // a part of a part is under none
}

// Ended says that the lease was given back.
func (l *Lease) Ended() bool { return l.Until == leaseEnded }

// Leases calls fn for all leases, by the inodes that they are for, ascending.
func Leases(r Reader, fn func(ino Ino, l *Lease) bool) error {
	return leaseEntries(r, func(ino Ino, e LeaseEntry) bool { return e.Lease == nil || fn(ino, e.Lease) })
}

func leaseEntries(r Reader, fn func(ino Ino, e LeaseEntry) bool) error {
	var bad error
	in := prefixRange(prefixLease)
	err := r.Scan(in.From, in.To, func(k, v []byte) bool {
		ino, err := ParseLeaseKey(k)
		var e LeaseEntry
		if err == nil {
			e, err = DecodeLeaseEntry(v)
		}
		bad = err
		return err == nil && fn(ino, e)
	})
	if err == nil {
		err = bad
	}
	return err
}
