package volume

import (
	"sort"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
)

// dirty is what was written to one file and is no operation yet: bytes that lie
// in packs and the extents that name them. It floats: the other operations of
// the volume may go to the journal before it, until one comes that depends on
// the file's content, or the data is asked to be durable.
type dirty struct {
	ref     meta.Ref
	base    uint64        // version of the content that it was written to
	extents []meta.Extent // sorted, disjoint
	size    uint64        // the file is at least so long
	first   time.Time     // of the oldest write in it
	last    meta.Time     // of the newest
	timed   bool          // the kernel set the file's mtime after first
	closed  bool          // the file was closed: it does not float for long
}

// add puts e over what is there.
func (d *dirty) add(e meta.Extent) {
	d.size = max(d.size, e.End())
	n := len(d.extents)
	if n > 0 && d.extents[n-1].End() <= e.Off {
		d.push(e)
		return
	}
	i := sort.Search(n, func(i int) bool { return d.extents[i].End() > e.Off })
	if i == n {
		d.push(e)
		return
	}
	tail := append([]meta.Extent(nil), d.extents[i:]...)
	d.extents = d.extents[:i]
	if tail[0].Off < e.Off {
		d.extents = append(d.extents, head(tail[0], e.Off))
	}
	d.push(e)
	for _, t := range tail {
		if t.End() <= e.End() {
			continue
		}
		if t.Off < e.End() {
			t = rest(t, e.End())
		}
		d.extents = append(d.extents, t)
	}
}

// push appends e, as one with the extent before it where both go on in file and
// pack.
func (d *dirty) push(e meta.Extent) {
	if n := len(d.extents); n > 0 {
		l := &d.extents[n-1]
		if l.End() == e.Off && l.Pack == e.Pack && uint64(l.PackOff)+l.Len == uint64(e.PackOff) {
			l.Len += e.Len
			return
		}
	}
	d.extents = append(d.extents, e)
}

// head is the part of e before the file offset off.
func head(e meta.Extent, off uint64) meta.Extent {
	e.Len = off - e.Off
	return e
}

// rest is the part of e from the file offset off on.
func rest(e meta.Extent, off uint64) meta.Extent {
	cut := off - e.Off
	e.Off, e.Len, e.PackOff = off, e.Len-cut, e.PackOff+uint32(cut)
	return e
}

// clip is the part of e within [off, end), which it must touch.
func clip(e meta.Extent, off, end uint64) meta.Extent {
	if e.Off < off {
		e = rest(e, off)
	}
	if e.End() > end {
		e = head(e, end)
	}
	return e
}

// within calls fn for the parts of extents that lie in [off, end).
func within(extents []meta.Extent, off, end uint64, fn func(meta.Extent)) {
	i := sort.Search(len(extents), func(i int) bool { return extents[i].End() > off })
	for ; i < len(extents) && extents[i].Off < end; i++ {
		fn(clip(extents[i], off, end))
	}
}
