package meta

import "slices"

// window is a part of a file, [off, end), whose bytes are replaced.
type window struct{ off, end uint64 }

// setExtents replaces the windows of a file by the extents of list, which lie
// in them. Windows and list are sorted and disjoint. n is changed, and what
// stands under extent keys by puts, deletes and ranges of e.
func (e *edit) setExtents(n *loadedInode, windows []window, list []Extent) error {
	if !n.Indexed {
		merged := merge(carve(n.Extents, windows), list)
		if len(merged) <= MaxInline {
			n.Extents = merged
			return nil
		}
		n.Extents, n.Indexed = nil, true
		e.growArena(len(merged))
		for _, x := range merged {
			e.putExtent(n.ref.Ino, x)
		}
		return nil
	}
	old, ranges, err := e.around(n.ref.Ino, windows)
	if err != nil {
		return err
	}
	e.replace(n.ref.Ino, old, ranges, merge(carve(old, windows), list))
	return nil
}

// around finds the stored extents that the windows cut or touch, in order, and
// the windows in which so many lie that one range is shorter than their keys;
// of these extents it finds the first ones and not the others.
func (e *edit) around(ino Ino, windows []window) (old []Extent, ranges []window, err error) {
	// Up to three keys: what ends where the window begins, what the beginning
	// cuts, and what ends with the window, which a put replaces.
	const pointwise = 3
	last := uint64(0)
	keep := func(x Extent) {
		if x.End() > last { // or two windows met it
			old, last = append(old, x), x.End()
		}
	}
	for _, w := range windows {
		inside, beyond := 0, false
		err := scanExtents(e.r, ino, max(w.off, 1), min(w.end+1, MaxFileSize), func(x Extent) bool {
			if beyond = x.End() > w.end; !beyond {
				inside++
			}
			if inside > pointwise {
				return false
			}
			keep(x)
			return !beyond
		})
		if err != nil {
			return nil, nil, err
		}
		if inside <= pointwise {
			continue
		}
		if last := len(ranges) - 1; last >= 0 && ranges[last].end == w.off {
			ranges[last].end = w.end
		} else {
			ranges = append(ranges, w)
		}
		if w.end >= MaxFileSize {
			continue
		}
		err = scanExtents(e.r, ino, w.end+1, w.end+1, func(x Extent) bool {
			keep(x)
			return false
		})
		if err != nil {
			return nil, nil, err
		}
	}
	return old, ranges, nil
}

// replace stores list where old was. A range of keys that end in a window, its
// beginning not counted, takes what old does not name.
func (e *edit) replace(ino Ino, old []Extent, ranges []window, list []Extent) {
	ranged := func(end uint64) bool {
		at, found := slices.BinarySearchFunc(ranges, end, func(w window, end uint64) int {
			switch {
			case w.end < end:
				return -1
			case w.off >= end:
				return 1
			}
			return 0
		})
		return found && at < len(ranges)
	}
	e.growArena(len(list) + 2*len(ranges))
	for _, w := range ranges {
		e.deleteRange(Range{ExtentKey(ino, w.off+1), ExtentKey(ino, w.end+1)})
	}
	i := 0
	for _, x := range list {
		for i < len(old) && old[i].End() < x.End() {
			if !ranged(old[i].End()) {
				e.deleteExtent(ino, old[i].End())
			}
			i++
		}
		if i < len(old) && old[i].End() == x.End() {
			same := old[i] == x
			if i++; same && !ranged(x.End()) {
				continue
			}
		}
		e.putExtent(ino, x)
	}
	for ; i < len(old); i++ {
		if !ranged(old[i].End()) {
			e.deleteExtent(ino, old[i].End())
		}
	}
}

// growArena makes room for about n extents.
func (e *edit) growArena(n int) { e.arena = slices.Grow(e.arena, n*32) }

// carve returns what is left of the extents outside the windows.
func carve(list []Extent, windows []window) []Extent {
	out := make([]Extent, 0, len(list)+len(windows))
	for _, x := range list {
		for len(windows) > 0 && windows[0].end <= x.Off {
			windows = windows[1:]
		}
		off, end := x.Off, x.End()
		for _, w := range windows {
			if w.off >= end {
				break
			}
			if w.off > off {
				out = append(out, x.cut(off, w.off))
			}
			off = max(off, w.end)
			if off >= end {
				break
			}
		}
		if off < end {
			out = append(out, x.cut(off, end))
		}
	}
	return out
}

// merge merges two sorted lists that are disjoint, and joins neighbours that
// are neighbours in their pack as well.
func merge(a, b []Extent) []Extent {
	out := make([]Extent, 0, len(a)+len(b))
	for len(a)+len(b) > 0 {
		from := &a
		if len(a) == 0 || len(b) > 0 && b[0].Off < a[0].Off {
			from = &b
		}
		x := (*from)[0]
		*from = (*from)[1:]
		if last := len(out) - 1; last >= 0 && out[last].continues(x) {
			out[last].Len += x.Len
		} else {
			out = append(out, x)
		}
	}
	return out
}

// continues tells whether e and x can be one extent.
func (e Extent) continues(x Extent) bool {
	return e.End() == x.Off && e.Pack == x.Pack && uint64(e.PackOff)+e.Len == uint64(x.PackOff) && e.Len+x.Len <= MaxExtent
}
