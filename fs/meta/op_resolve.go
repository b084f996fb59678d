package meta

import (
	"errors"
	"slices"
)

// MaxResolved is how many records one Resolve deletes at most.
const MaxResolved = 256

// Resolve deletes the records of conflicts that a person has looked at. What is not
// there any more is passed over: two machines may resolve the same.
type Resolve struct {
	IDs []ConflictID // 1 to MaxResolved, ascending, none twice
}

var _ Op = (*Resolve)(nil)

// Apply deletes those of the records that are there.
func (o *Resolve) Apply(r Reader, _ Stamp) (*Batch, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	b := new(Batch)
	for _, id := range o.IDs {
		k := ConflictKey(id)
		switch _, err := r.Get(k); {
		case errors.Is(err, ErrAbsent):
		case err != nil:
			return nil, err
		default:
			b.Deletes = append(b.Deletes, k)
		}
	}
	return b, nil
}

// CompareConflictID orders records as their keys do.
func CompareConflictID(a, b ConflictID) int {
	switch {
	case a.Version != b.Version && a.Version < b.Version, a.Version == b.Version && a.No < b.No:
		return -1
	case a == b:
		return 0
	}
	return 1
}

func (id ConflictID) valid() bool {
	return WrittenBy(id.Version) != 0 && id.Version&uint64(MaxOpNo) != 0
}

func (o *Resolve) code() opCode { return codeResolve }

func (o *Resolve) check() error {
	if len(o.IDs) == 0 || len(o.IDs) > MaxResolved {
		return ErrMalformed
	}
	for i, id := range o.IDs {
		if !id.valid() || i > 0 && CompareConflictID(o.IDs[i-1], id) >= 0 {
			return ErrMalformed
		}
	}
	return nil
}

// The number of records as a varint, then version u64 and number u8 of each.
func (o *Resolve) append(dst []byte) []byte {
	dst = appendUvarint(dst, uint64(len(o.IDs)))
	for _, id := range o.IDs {
		dst = append(dst, ConflictKey(id)[1:]...)
	}
	return dst
}

func (o *Resolve) decode(d *decoder) {
	n := int(d.upTo(MaxResolved))
	if d.bad || n*fieldLen > len(d.b) {
		d.fail()
		return
	}
	o.IDs = make([]ConflictID, n)
	for i := range o.IDs {
		o.IDs[i] = ConflictID{d.u64(), d.u8()}
	}
}

func (o *Resolve) renumber(func(Ino) Ino, func(PackNo) PackNo) Op {
	c := *o
	return &c
}

// reobserve has the operation mean the records of operations that have got new numbers.
func (o *Resolve) reobserve(version func(uint64) uint64) Op {
	ids := slices.Clone(o.IDs)
	for i := range ids {
		ids[i].Version = version(ids[i].Version)
	}
	slices.SortFunc(ids, CompareConflictID)
	return &Resolve{IDs: slices.Compact(ids)}
}
