package meta

import (
	"errors"
	"slices"
)

// Clone makes Len bytes of a file from Off on be what Extents say: those of
// another file, or of another part of this one. It copies no bytes, since extents
// may share a pack. What no extent covers reads as zeros.
//
// The extents are those that the source had when the program asked. So the
// operation means the same when it is executed again, whatever became of the source.
type Clone struct {
	Ref      Ref
	Observed uint64 // version that the file must have; 0: any
	Off      uint64
	Len      uint64   // at least 1
	Extents  []Extent // at most MaxExtents, sorted, disjoint, within the Len bytes
	Mtime    *Time    // new mtime, and ctime unless that is later; nil: times stay
}

var _ Op = (*Clone)(nil)

// Apply makes the file as long as the bytes reach. A pack that was retired since the
// source was read is revived.
func (o *Clone) Apply(r Reader, at Stamp) (*Batch, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	e := newEdit(r, at)
	n, err := e.file(o.Ref, o.Observed)
	if err != nil {
		return nil, err
	}
	if err := e.revive(o.Extents); err != nil {
		return nil, err
	}
	end := o.Off + o.Len
	if err := e.setExtents(n, []window{{o.Off, end}}, o.Extents); err != nil {
		return nil, err
	}
	n.Size = max(n.Size, end)
	e.changed(n, o.Mtime)
	return e.batch()
}

// revive deletes the records by which packs of the extents are retired. Other
// operations need not: their packs are new.
func (e *edit) revive(list []Extent) error {
	if len(list) == 0 {
		return nil
	}
	used := make([]PackNo, len(list))
	for i, x := range list {
		used[i] = x.Pack
	}
	slices.Sort(used)
	var bad error
	err := e.r.Scan(RetiredKey(used[0]), appendField(nil, prefixRetired, uint64(used[len(used)-1])+1), func(k, _ []byte) bool {
		no, err := ParseRetiredKey(k)
		if err != nil {
			bad = err
			return false
		}
		if _, found := slices.BinarySearch(used, no); found {
			e.delete(RetiredKey(no))
		}
		return true
	})
	return errors.Join(err, bad)
}

func (o *Clone) code() opCode { return codeClone }

func (o *Clone) check() error {
	switch {
	case !o.Ref.valid() || o.Len == 0 || len(o.Extents) > MaxExtents || o.Mtime != nil && !o.Mtime.valid():
		return ErrMalformed
	case o.Off > MaxFileSize || o.Len > MaxFileSize-o.Off:
		return ErrTooLarge
	}
	last := o.Off
	for _, x := range o.Extents {
		if !x.inPack() || x.Off < last || x.Off > o.Off+o.Len || x.Len > o.Off+o.Len-x.Off {
			return ErrMalformed
		}
		last = x.End()
	}
	return nil
}

// An extent's offset stands as the distance from the end of the one before, or from Off.
func (o *Clone) append(dst []byte) []byte {
	dst = appendUvarint(appendRef(dst, o.Ref), o.Observed)
	dst = appendUvarint(appendUvarint(dst, o.Off), o.Len)
	dst = appendOptionalTime(dst, o.Mtime)
	return appendExtents(dst, o.Off, o.Extents)
}

func (o *Clone) decode(d *decoder) {
	o.Ref, o.Observed, o.Off, o.Len, o.Mtime = d.ref(), d.uvarint(), d.upTo(MaxFileSize), d.uvarint(), d.optionalTime()
	o.Extents = d.extents(o.Off)
}

func (o *Clone) renumber(ino func(Ino) Ino, pack func(PackNo) PackNo) Op {
	c := *o
	c.Ref = o.Ref.renumber(ino)
	c.Extents = renumberExtents(o.Extents, pack)
	return &c
}
