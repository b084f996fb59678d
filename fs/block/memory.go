package block

import (
	"container/list"
	"sync"

	"github.com/hushfs/hushfs/crypt"
)

// segment is the verified plaintext of one segment, padding included. Its bytes
// do not change while somebody refers to it.
type segment struct {
	key
	b       []byte
	content int // bytes before the padding

	// Guarded by Reader.mu.
	refs   int           // of those who copy from it
	used   int           // bytes that were copied, however often
	at     *list.Element // nil when it is not on the shelf
	passed bool          // it was read to its end once
}

// shelf keeps segments in memory, and lets those go that were not used for
// longest. What was read from end to end goes before: programs read forward, and
// what they have read is in the kernel's cache.
type shelf struct {
	limit int64
	sum   int64
	order *list.List // of *segment, most recently used first
	at    map[key]*segment
}

func newShelf(limit int64) shelf {
	return shelf{limit: limit, order: list.New(), at: map[key]*segment{}}
}

func (s *segment) size() int64 { return int64(cap(s.b)) }

// get returns a segment and makes it the last to go; nil when it is not there.
func (h *shelf) get(k key) *segment {
	s := h.at[k]
	if s != nil {
		h.order.MoveToFront(s.at)
	}
	return s
}

// add puts s on the shelf and returns those that had to go.
func (h *shelf) add(s *segment) (gone []*segment) {
	if old := h.at[s.key]; old != nil {
		gone = append(gone, h.take(old))
	}
	s.at = h.order.PushFront(s)
	h.at[s.key] = s
	h.sum += s.size()
	for h.sum > h.limit {
		gone = append(gone, h.take(h.order.Back().Value.(*segment)))
	}
	return gone
}

func (h *shelf) take(s *segment) *segment {
	h.order.Remove(s.at)
	s.at = nil
	delete(h.at, s.key)
	h.sum -= s.size()
	return s
}

// used notes that n bytes of s were copied.
func (h *shelf) used(s *segment, n int) {
	s.used += n
	if s.used >= s.content && !s.passed && s.at != nil {
		s.passed = true
		h.order.MoveToBack(s.at)
	}
}

// keep puts segments that were just opened on the shelf; r is locked.
func (r *Reader) keep(s *segment) {
	for _, gone := range r.shelf.add(s) {
		if gone.refs == 0 {
			r.buffers.give(gone.b)
		}
	}
}

// release is called by who copied n bytes of s and needs it no longer; r is locked.
func (r *Reader) release(s *segment, n int) {
	r.shelf.used(s, n)
	if s.refs--; s.refs == 0 && s.at == nil {
		r.buffers.give(s.b)
	}
}

// buffers are those of whole segments, used again: plaintext, and sealed ones
// of local files.
type buffers struct {
	plain  sync.Pool // of *[crypt.SegmentSize]byte
	sealed sync.Pool // of *[sealedSize]byte
}

const sealedSize = crypt.SegmentSize + crypt.Overhead

// take returns an empty buffer with room for n bytes of plaintext, at most a
// segment.
func (p *buffers) take(n int) []byte {
	if n < crypt.SegmentSize {
		return make([]byte, 0, n)
	}
	if b, ok := p.plain.Get().(*[crypt.SegmentSize]byte); ok {
		return b[:0]
	}
	return make([]byte, 0, n)
}

// give returns what take gave.
func (p *buffers) give(b []byte) {
	if cap(b) == crypt.SegmentSize {
		p.plain.Put((*[crypt.SegmentSize]byte)(b[:crypt.SegmentSize]))
	}
}

// takeSealed returns a buffer for a sealed segment.
func (p *buffers) takeSealed() *[sealedSize]byte {
	if b, ok := p.sealed.Get().(*[sealedSize]byte); ok {
		return b
	}
	return new([sealedSize]byte)
}

func (p *buffers) giveSealed(b *[sealedSize]byte) { p.sealed.Put(b) }
