package block

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/hushfs/hushfs/crypt"
)

// ReadAt fills dst with the content of o from off on. It fails with a Damage
// when the object is missing or does not verify, with ErrGone when nothing needs
// it any more, with store errors when the bucket cannot be asked. After an error
// dst holds nothing to be used.
func (r *Reader) ReadAt(ctx context.Context, o Object, off int64, dst []byte) error {
	w, err := want(o, off, int64(len(dst)), dst)
	if err != nil {
		return err
	}
	return r.bring(ctx, w)
}

// Fetch brings n bytes of o from off on, so that Near has them. The errors are
// those of ReadAt.
func (r *Reader) Fetch(ctx context.Context, o Object, off, n int64) error {
	w, err := want(o, off, n, nil)
	if err != nil {
		return err
	}
	return r.bring(ctx, w)
}

// Near is ReadAt from what is on this machine: it waits for the local disk and
// for nothing else, and fails with ErrFar when that does not do.
func (r *Reader) Near(o Object, off int64, dst []byte) error {
	w, err := want(o, off, int64(len(dst)), dst)
	if err != nil {
		return err
	}
	for index := w.first; index <= w.last; {
		r.mu.Lock()
		if r.closed {
			r.mu.Unlock()
			return ErrClosed
		}
		s, end := r.find(w, index)
		r.mu.Unlock()
		if s != nil {
			r.finish(s, w.copy(index, s.b))
			index++
			continue
		}
		next, opened, _ := r.here(w, index, end)
		r.mu.Lock()
		for _, s := range opened {
			r.keep(s)
		}
		r.mu.Unlock()
		if next <= end {
			return ErrFar
		}
		index = next
	}
	return nil
}

// find returns the segment, referred to once more, if it is in memory, else nil
// and the last of w that are missing one after the other from index on; r is locked.
func (r *Reader) find(w wanted, index int) (s *segment, end int) {
	if s := r.shelf.get(key{w.o, index}); s != nil {
		s.refs++
		return s, index
	}
	for end = index; end < w.last && r.missing(w.o, end+1); end++ {
	}
	return nil, end
}

// missing tells whether a segment is neither in memory nor on its way; r is locked.
func (r *Reader) missing(o Object, index int) bool {
	k := key{o, index}
	return r.shelf.at[k] == nil && r.flights[k] == nil
}

// finish is release for who holds no lock.
func (r *Reader) finish(s *segment, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.release(s, n)
}

// wanted is a range of an object's content that somebody wants, in bytes and in
// segments.
type wanted struct {
	o           Object
	off, end    int64
	first, last int
	dst         []byte // of the range; nil when it is only to be brought near
}

func want(o Object, off, n int64, dst []byte) (wanted, error) {
	if o.Length < 1 || o.Length > crypt.MaxContent || off < 0 || n < 0 || off > o.Length || n > o.Length-off {
		return wanted{}, &Damage{o, fmt.Errorf("%w: %d bytes at %d of %d", errRange, n, off, o.Length)}
	}
	w := wanted{o: o, off: off, end: off + n, dst: dst, last: -1}
	if n > 0 {
		w.first, w.last = int(off/crypt.SegmentSize), int((w.end-1)/crypt.SegmentSize)
	}
	return w, nil
}

// span is the part of the wanted range that lies in a segment.
func (w *wanted) span(index int) (from, to int64) {
	start := int64(index) * crypt.SegmentSize
	return max(w.off, start), min(w.end, start+crypt.SegmentSize)
}

// copy puts what is wanted of a segment in its place and returns how much it was.
func (w *wanted) copy(index int, plain []byte) int {
	if w.dst == nil {
		return 0
	}
	from, to := w.span(index)
	return copy(w.dst[from-w.off:to-w.off], plain[from-int64(index)*crypt.SegmentSize:])
}

// direct returns the place of a segment in dst when all of it is wanted, else nil.
func (w *wanted) direct(index int) []byte {
	from, to := w.span(index)
	if w.dst == nil || to-from < crypt.SegmentSize {
		return nil
	}
	from, to = from-w.off, to-w.off
	return w.dst[from:from:to]
}

// here reads segments first to last of w from the places of this machine. Those
// that are wanted whole are opened where they are wanted; the others are copied
// there, and returned to be kept. next is the first that is not here, and why
// says what did not verify.
func (r *Reader) here(w wanted, first, last int) (next int, opened []*segment, why []error) {
	q := newQueue(first, last)
	var helper chan *opening
	if last > first {
		select {
		case r.helpers <- struct{}{}:
			helper = make(chan *opening, 1)
			go func() {
				defer func() { <-r.helpers }()
				helper <- r.openAll(w, q)
			}()
		default: // all processors are busy with this already
		}
	}
	mine := r.openAll(w, q)
	// A helper that has taken nothing until the queue is closed takes nothing any
	// more, and who reads need not wait until it had a processor to find that out.
	if mine.taken < q.close() {
		mine.join(<-helper)
	}
	return mine.next, mine.opened, mine.why
}

// queue hands out segments to those who open them at the same time.
type queue struct {
	first, last int
	next        atomic.Int64
}

func newQueue(first, last int) *queue {
	q := &queue{first: first, last: last}
	q.next.Store(int64(first))
	return q
}

// take returns a segment that nobody took, or one behind the last.
func (q *queue) take() int { return int(q.next.Add(1) - 1) }

// close hands out no more, and returns how many it has.
func (q *queue) close() int {
	behind := q.last + 1
	return min(int(q.next.Swap(int64(behind))), behind) - q.first
}

// opening is what one of them did.
type opening struct {
	taken  int
	next   int // the first that it could not open, or one behind the last
	opened []*segment
	why    []error
}

func (o *opening) join(other *opening) {
	o.opened = append(o.opened, other.opened...)
	if other.next < o.next {
		o.next, o.why = other.next, other.why
	}
}

// openAll opens segments of q until one is not here.
func (r *Reader) openAll(w wanted, q *queue) *opening {
	did := &opening{next: q.take()}
	if did.next > q.last {
		return did
	}
	did.taken++
	buf := r.buffers.takeSealed()
	defer r.buffers.giveSealed(buf)
	for _, p := range r.places(w.o, q.last) {
		at := tailIndex
		op, err := r.openerFrom(w.o, p)
		for err == nil && did.next <= q.last {
			at = did.next
			if err = r.openOne(w, op, p, at, buf, did); err == nil {
				if did.next = q.take(); did.next <= q.last {
					did.taken++
				}
			}
		}
		p.close()
		if did.next > q.last {
			break
		}
		if err != nil && !errors.Is(err, errAbsent) {
			if !errors.Is(err, ErrKey) {
				p.bad(at)
				r.forget(w.o)
			}
			did.why = append(did.why, fmt.Errorf("%v: %w", p, err))
		}
	}
	did.next = min(did.next, q.last+1)
	return did
}

// openOne opens one segment from a place.
func (r *Reader) openOne(w wanted, op *opener, p place, index int, buf *[sealedSize]byte, did *opening) error {
	sealed, err := p.segment(index, buf)
	if err != nil {
		return err
	}
	if dst := w.direct(index); dst != nil {
		_, err := op.open(dst, index, sealed)
		return err
	}
	s, err := r.open(op, index, sealed)
	if err != nil {
		return err
	}
	s.used = w.copy(index, s.b)
	did.opened = append(did.opened, s)
	return nil
}

// open opens one segment into memory.
func (r *Reader) open(op *opener, index int, sealed []byte) (*segment, error) {
	buf := r.buffers.take(max(0, len(sealed)-crypt.Overhead))
	b, err := op.open(buf, index, sealed)
	if err != nil {
		r.buffers.give(buf)
		return nil, err
	}
	return &segment{key: key{op.o, index}, b: b, content: op.o.plain(index)}, nil
}

// openerFrom returns what opens the segments of o, from the tail that p has when
// no opener is in memory.
func (r *Reader) openerFrom(o Object, p place) (*opener, error) {
	if op := r.opener(o); op != nil {
		return op, nil
	}
	b, err := p.tail()
	if err != nil {
		return nil, err
	}
	op, err := r.unlock(o, b)
	if err != nil {
		return nil, err
	}
	r.keepOpener(op)
	return op, nil
}
