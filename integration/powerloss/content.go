package powerloss

import (
	"io"
	"maps"
	"math/rand/v2"
)

const (
	pageSize   = 4096
	sectorSize = 512 // what a disk writes whole
)

// page is not changed once it is in a content.
type page [pageSize]byte

// content is a file's bytes. Pages that are not there are zeros.
type content struct {
	size  int64
	pages map[int64]*page
}

func newContent() *content { return &content{pages: map[int64]*page{}} }

func (c *content) clone() *content { return &content{c.size, maps.Clone(c.pages)} }

// apply does what an event does to data.
func (c *content) apply(e *Event) {
	switch e.kind {
	case written:
		first, last := span(e)
		for i := first; i <= last; i++ {
			c.pages[i] = over(c.pages[i], e, i, nil)
		}
		c.size = max(c.size, e.off+int64(len(e.data)))
	case resized:
		c.resize(e.size)
	case punched:
		first, last := e.off/pageSize, (e.off+e.size-1)/pageSize
		for i := first; i <= last; i++ {
			if c.pages[i] != nil {
				c.pages[i] = over(c.pages[i], &Event{off: e.off, data: make([]byte, e.size)}, i, nil)
			}
		}
	}
}

// resize cuts the content, or makes it longer by zeros.
func (c *content) resize(size int64) {
	if size < c.size {
		for i, p := range c.pages {
			switch at := size - i*pageSize; {
			case at <= 0:
				delete(c.pages, i)
			case at < pageSize:
				n := *p
				clear(n[at:])
				c.pages[i] = &n
			}
		}
	}
	c.size = size
}

// span is the pages that a write touches, the last included.
func span(e *Event) (first, last int64) {
	return e.off / pageSize, (e.off + int64(len(e.data)) - 1) / pageSize
}

// over is page i once a write was done to it; with keep only its sectors that keep
// says.
func over(was *page, e *Event, i int64, keep func(sector int) bool) *page {
	var n page
	if was != nil {
		n = *was
	}
	from := i*pageSize - e.off // of the page, in the write
	for s := range pageSize / sectorSize {
		if keep != nil && !keep(s) {
			continue
		}
		a, b := from+int64(s*sectorSize), from+int64((s+1)*sectorSize)
		lo, hi := max(a, 0), min(b, int64(len(e.data)))
		if lo < hi {
			copy(n[lo-from:hi-from], e.data[lo:hi])
		}
	}
	return &n
}

// bytes are all of them.
func (c *content) bytes() []byte {
	b := make([]byte, c.size)
	for i, p := range c.pages {
		if at := i * pageSize; at < c.size {
			copy(b[at:], p[:])
		}
	}
	return b
}

// writeTo writes the content to an empty file, holes as holes.
func (c *content) writeTo(f interface {
	io.WriterAt
	Truncate(int64) error
}) error {
	for i, p := range c.pages {
		if at := i * pageSize; at < c.size {
			if _, err := f.WriteAt(p[:min(pageSize, c.size-at)], at); err != nil {
				return err
			}
		}
	}
	return f.Truncate(c.size)
}

// noise is a page that was never written.
func noise(r *rand.Rand) *page {
	var p page
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return &p
}
