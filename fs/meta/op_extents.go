package meta

import "slices"

// Contents returns the extents that a change puts into a file; nil when it puts
// none. Their packs must be durable before the operation is, and stay as long as it
// waits. The slice must not be changed.
func Contents(c Change) []Extent {
	switch o := c.(type) {
	case *restore:
		return o.extents
	case *fill:
		return o.extents
	case *Write:
		return o.Extents
	case *Clone:
		return o.Extents
	}
	return nil
}

// Relocate returns the operation with other extents, which hold the same bytes.
func Relocate(op Op, extents []Extent) Op {
	switch o := op.(type) {
	case *Write:
		c := *o
		c.Extents = extents
		return &c
	case *Clone:
		c := *o
		c.Extents = extents
		return &c
	}
	return op
}

// appendExtents appends their number and each extent, its offset as the distance from
// the end of the one before; that of the first from last.
func appendExtents(dst []byte, last uint64, list []Extent) []byte {
	dst = appendUvarint(dst, uint64(len(list)))
	for _, x := range list {
		dst = AppendExtent(appendUvarint(dst, x.Off-last), x)
		last = x.End()
	}
	return dst
}

// extents reads what appendExtents wrote; last is at most MaxFileSize.
func (d *decoder) extents(last uint64) []Extent {
	count := min(d.count(4), MaxExtents+1) // one more than check accepts
	if count == 0 {
		return nil
	}
	list := make([]Extent, count)
	for i := range list {
		off := last + d.upTo(MaxFileSize-last)
		list[i] = d.extent()
		list[i].Off = off
		if last = off + list[i].Len; last > MaxFileSize {
			d.fail()
			return nil
		}
	}
	return list
}

func renumberExtents(list []Extent, pack func(PackNo) PackNo) []Extent {
	list = slices.Clone(list)
	for i := range list {
		list[i].Pack = pack(list[i].Pack)
	}
	return list
}
