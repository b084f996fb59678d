package meta

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
)

// LeaseAct is what a SetLease does.
type LeaseAct uint8

// The acts.
const (
	LeaseTake    LeaseAct = iota + 1 // what is free, has run out, or is the device's own already
	LeaseRenew                       // move on how long it is held
	LeaseRelease                     // give it back; or of very many parts some, and the lease stays
	LeaseDrop                        // forget one, of whoever, that is held no more; the parts as by LeaseRelease
)

// SetLease takes a lease, keeps it or gives it back, for the device that executes it.
// Whether another device holds one is not its question but that of Fence.
type SetLease struct {
	Act    LeaseAct
	Ref    Ref    // what it is for
	Until  uint64 // last slot in which it is to be held; 0 to give it back
	From   uint64 // LeaseTake: number of the lease that is taken away, knowingly; 0: none
	Parent Ref    // LeaseTake: where it is found; zeros: not known
	Name   []byte
	Below  []Ino // LeaseTake: what else it is of, ascending
}

var _ Op = (*SetLease)(nil)

// Apply answers ErrNotExist when there is no such inode to take, or no lease of the
// device's own to keep or give back; ErrExist when the inode is under another lease
// already.
func (o *SetLease) Apply(r Reader, at Stamp) (*Batch, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	e, there, err := leaseEntry(r, o.Ref.Ino)
	if err != nil {
		return nil, err
	}
	own := there && e.Lease != nil && e.Lease.Device == at.Device
	b := new(Batch)
	put := func(ino Ino, e LeaseEntry) {
		b.Puts = append(b.Puts, KV{LeaseKey(ino), AppendLeaseEntry(nil, e)})
	}
	switch {
	case o.Act == LeaseDrop && (!there || e.Lease == nil), o.Act != LeaseTake && o.Act != LeaseDrop && !own:
		return nil, ErrNotExist
	case o.Act == LeaseRenew:
		if o.Until <= e.Lease.Until {
			return b, nil
		}
		l := *e.Lease
		l.Until = o.Until
		put(o.Ref.Ino, LeaseEntry{Lease: &l})
		return b, nil
	case o.Act == LeaseTake && there && e.Lease == nil:
		return nil, ErrExist
	}
	parts, err := partsOf(r, o.Ref.Ino)
	if err != nil {
		return nil, err
	}
	if o.Act == LeaseRelease || o.Act == LeaseDrop {
		few := len(parts) <= MaxLeased
		for _, ino := range parts[:min(len(parts), MaxLeased)] {
			b.Deletes = append(b.Deletes, LeaseKey(ino))
		}
		switch {
		case !few:
		case o.Act == LeaseDrop:
			b.Deletes = append(b.Deletes, LeaseKey(o.Ref.Ino))
			slices.SortFunc(b.Deletes, bytes.Compare)
		default:
			// What it was taken away from is remembered: others may see all that became of
			// it in one commit.
			l := *e.Lease
			l.Until = leaseEnded
			put(o.Ref.Ino, LeaseEntry{Lease: &l})
		}
		return b, nil
	}
	if _, err := GetInode(r, o.Ref); err != nil {
		return nil, err
	}
	from := o.From
	if own { // all of it may come to be in one commit, which has to name what it began with
		from = e.Lease.From
	}
	put(o.Ref.Ino, LeaseEntry{Lease: &Lease{
		Device: at.Device, Number: at.Version(), Until: o.Until, Since: at.Time, From: from, Parent: o.Parent, Name: o.Name,
	}})
	for _, ino := range o.Below {
		switch e, there, err := leaseEntry(r, ino); {
		case err != nil:
			return nil, err
		case there && (e.Lease != nil || e.Of != o.Ref.Ino):
			return nil, ErrExist
		}
		put(ino, LeaseEntry{Of: o.Ref.Ino})
	}
	for _, ino := range parts {
		if _, still := slices.BinarySearch(o.Below, ino); !still && len(b.Deletes) < MaxLeased {
			b.Deletes = append(b.Deletes, LeaseKey(ino))
		}
	}
	slices.SortFunc(b.Puts, compareKV)
	slices.SortFunc(b.Deletes, bytes.Compare)
	return b, nil
}

// partsOf are the inodes that are leased together with one, ascending.
func partsOf(r Reader, of Ino) (parts []Ino, err error) {
	err = leaseEntries(r, func(ino Ino, e LeaseEntry) bool {
		if e.Lease == nil && e.Of == of {
			parts = append(parts, ino)
		}
		return true
	})
	return parts, err
}

// inherit has what comes into a folder that the device has leased be part of it.
func (e *edit) inherit(folder, ino Ino) error {
	of := folder
	at, there, err := leaseEntry(e.r, folder)
	if err == nil && there && at.Lease == nil {
		of = at.Of
		at, there, err = leaseEntry(e.r, of)
	}
	if err != nil || !there || at.Lease == nil || at.Lease.Device != e.at.Device || at.Lease.Until == leaseEnded {
		return err
	}
	if ino == of {
		return nil
	}
	switch _, err := e.r.Get(LeaseKey(ino)); {
	case err == nil:
		return nil // it is leased already
	case !errors.Is(err, ErrAbsent):
		return err
	}
	e.put(LeaseKey(ino), AppendLeaseEntry(nil, LeaseEntry{Of: of}))
	return nil
}

func (o *SetLease) code() opCode { return codeSetLease }

func (o *SetLease) check() error {
	good := o.Ref.valid() && placedWell(o.Parent, o.Name) && len(o.Below) <= MaxLeased
	switch o.Act {
	case LeaseTake:
		good = good && o.Until > 0
	case LeaseRenew:
		good = good && o.Until > 0 && o.From == 0 && o.Parent == (Ref{}) && len(o.Below) == 0
	case LeaseRelease, LeaseDrop:
		good = good && o.Until == 0 && o.From == 0 && o.Parent == (Ref{}) && len(o.Below) == 0
	default:
		good = false
	}
	for i, ino := range o.Below {
		good = good && validNumber(uint64(ino)) && ino != o.Ref.Ino && (i == 0 || o.Below[i-1] < ino)
	}
	if !good {
		return ErrMalformed
	}
	return nil
}

// append: act u8, ref, until varint, from u64, parent ref, name string, number of those
// below varint, each: its number less that of the one before varint.
func (o *SetLease) append(dst []byte) []byte {
	dst = appendUvarint(appendRef(append(dst, byte(o.Act)), o.Ref), o.Until)
	dst = binary.BigEndian.AppendUint64(dst, o.From)
	dst = appendBytes(appendRef(dst, o.Parent), o.Name)
	dst = appendUvarint(dst, uint64(len(o.Below)))
	before := Ino(0)
	for _, ino := range o.Below {
		dst = appendUvarint(dst, uint64(ino-before))
		before = ino
	}
	return dst
}

func (o *SetLease) decode(d *decoder) {
	o.Act = LeaseAct(d.u8())
	o.Ref = d.ref()
	o.Until, o.From = d.uvarint(), d.u64()
	o.Parent, o.Name = d.placed()
	n := d.uvarint()
	d.must(n <= MaxLeased)
	before := Ino(0)
	for range min(n, MaxLeased) {
		if d.bad {
			return
		}
		before += Ino(d.uvarint())
		o.Below = append(o.Below, before)
	}
}

func (o *SetLease) renumber(ino func(Ino) Ino, _ func(PackNo) PackNo) Op {
	c := *o
	c.Ref = o.Ref.renumber(ino)
	if o.Parent != (Ref{}) {
		c.Parent = o.Parent.renumber(ino)
	}
	c.Below = slices.Clone(o.Below)
	for i := range c.Below {
		c.Below[i] = ino(c.Below[i])
	}
	slices.Sort(c.Below)
	return &c
}
