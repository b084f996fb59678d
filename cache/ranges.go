package cache

import (
	"encoding/binary"
	"slices"
)

// maxSpans bounds how scattered what is kept of one object may be: a record of
// that many is a value that Badger takes.
const maxSpans = 4096

// span is the bytes [off, end) of an object.
type span struct{ off, end int64 }

// ranges are the bytes of an object that are there: ascending, none empty, none
// touching the next.
type ranges []span

// after is the index of the first span that ends at off or later.
func (r ranges) after(off int64) int {
	i, _ := slices.BinarySearchFunc(r, off, func(s span, off int64) int {
		if s.end < off {
			return -1
		}
		return 1
	})
	return i
}

// covers tells whether all of [off, end) is there.
func (r ranges) covers(off, end int64) bool {
	if off >= end {
		return true
	}
	i := r.after(off + 1)
	return i < len(r) && r[i].off <= off && end <= r[i].end
}

// add returns the ranges with [off, end), unchanged when they would be too many.
func (r ranges) add(off, end int64) ranges {
	i := r.after(off)
	j := i
	for j < len(r) && r[j].off <= end {
		off, end = min(off, r[j].off), max(end, r[j].end)
		j++
	}
	if i == j && len(r) >= maxSpans {
		return r
	}
	return slices.Replace(r, i, j, span{off, end})
}

// record is what Badger keeps of an object that is there in part. Layout:
// docs/format.md, "Cache".
type record struct {
	size int64
	have ranges
}

func (r record) encode() []byte {
	b := append(make([]byte, 0, 9+16*len(r.have)), 1)
	b = binary.BigEndian.AppendUint64(b, uint64(r.size))
	for _, s := range r.have {
		b = binary.BigEndian.AppendUint64(b, uint64(s.off))
		b = binary.BigEndian.AppendUint64(b, uint64(s.end))
	}
	return b
}

func decodeRecord(b []byte) (r record, err error) {
	if len(b) < 9 || (len(b)-9)%16 != 0 || (len(b)-9)/16 > maxSpans || b[0] != 1 {
		return record{}, errFormat
	}
	r.size = int64(binary.BigEndian.Uint64(b[1:]))
	if r.size <= 0 {
		return record{}, errFormat
	}
	last := int64(-1)
	for b = b[9:]; len(b) > 0; b = b[16:] {
		s := span{int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint64(b[8:]))}
		if s.off <= last || s.end <= s.off || s.end > r.size {
			return record{}, errFormat
		}
		r.have, last = append(r.have, s), s.end
	}
	return r, nil
}
