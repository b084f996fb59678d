package view

import (
	"bytes"
	"slices"

	"github.com/hushfs/hushfs/fs/meta"
)

// cut is a range of the tables that a batch deleted, and the slot of the newest batch
// that did.
type cut struct {
	meta.Range
	slot uint64
}

// cutField is how many bytes of its keys a range has in common: prefix and first
// field.
const cutField = 9

// cutMore returns cuts, sorted and disjoint, and ranges, which are so too and were
// deleted by slot. Where both are, the newer counts.
func cutMore(cuts []cut, ranges []meta.Range, slot uint64) []cut {
	out := make([]cut, 0, len(cuts)+2*len(ranges))
	add := func(from, to []byte, slot uint64) {
		if n := len(out); n > 0 && out[n-1].slot == slot && bytes.Equal(out[n-1].To, from) {
			out[n-1].To = to
			return
		}
		out = append(out, cut{meta.Range{From: from, To: to}, slot})
	}
	own := func() {
		add(bytes.Clone(ranges[0].From), bytes.Clone(ranges[0].To), slot)
		ranges = ranges[1:]
	}
	for _, c := range cuts {
		from := c.From
		for len(ranges) > 0 && bytes.Compare(ranges[0].From, c.To) < 0 {
			r := ranges[0]
			if bytes.Compare(from, r.From) < 0 {
				add(from, r.From, c.slot)
			}
			from = later(from, r.To)
			if bytes.Compare(r.To, c.To) > 0 {
				break // it may cover the next one too
			}
			own()
		}
		if bytes.Compare(from, c.To) < 0 {
			add(from, c.To, c.slot)
		}
	}
	for len(ranges) > 0 {
		own()
	}
	return slices.Clip(out)
}

func later(a, b []byte) []byte {
	if bytes.Compare(a, b) < 0 {
		return b
	}
	return a
}
