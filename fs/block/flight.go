package block

import (
	"context"
	"errors"

	"github.com/hushfs/hushfs/crypt"
)

// flight brings segments of one object. All who want one of them wait for it;
// when the last has given up it is cancelled.
type flight struct {
	o      Object
	first  int
	count  int
	asked  [2]int             // the first and the last that somebody asked for; what else it cannot bring is no error
	ahead  bool               // nobody asked at all: it goes on without waiters
	why    []error            // what was wrong with the first of asked on this machine
	cancel context.CancelFunc // nil for one that reads this machine only

	// Guarded by Reader.mu.
	waiting int
	held    bool // those in landed are referred to once by the flight

	done   chan struct{} // closed when the fields below are set
	landed []*segment    // from first on; nil for one that did not come
	err    error         // of segment failed
	failed int
}

// askedFor tells whether somebody asked f for the segment, and is to hear why it
// does not come.
func (f *flight) askedFor(index int) bool {
	return !f.ahead && index >= f.asked[0] && index <= f.asked[1]
}

// bring gets what is wanted from wherever it is.
func (r *Reader) bring(ctx context.Context, w wanted) error {
	for index := w.first; index <= w.last; {
		r.mu.Lock()
		if r.closed {
			r.mu.Unlock()
			return ErrClosed
		}
		s, end := r.find(w, index)
		if s != nil {
			r.mu.Unlock()
			r.finish(s, w.copy(index, s.b))
			index++
			continue
		}
		f := r.flights[key{w.o, index}]
		if f != nil {
			f.waiting++
			r.mu.Unlock()
		} else {
			f = r.reserve(w, index, end)
			r.mu.Unlock()
			if index, f = r.search(w, f); f == nil {
				continue
			}
		}
		var err error
		if index, err = r.await(ctx, w, index, f); err != nil {
			return err
		}
	}
	return nil
}

// await waits for f, takes what is wanted of it from index on, and returns what
// comes next.
func (r *Reader) await(ctx context.Context, w wanted, index int, f *flight) (int, error) {
	select {
	case <-f.done:
	default:
		select {
		case <-ctx.Done():
			r.leave(f)
			return index, ctx.Err()
		case <-f.done:
		}
	}
	defer r.leave(f)
	for ; index <= w.last && index-f.first < len(f.landed); index++ {
		s := f.landed[index-f.first]
		if s == nil {
			break
		}
		n := w.copy(index, s.b)
		r.mu.Lock()
		r.shelf.used(s, n)
		r.mu.Unlock()
	}
	if f.err != nil && f.failed == index && f.askedFor(index) {
		return index, f.err
	}
	// It was to come along with another, and did not.
	return index, nil
}

// leave is called by who waits for f no longer.
func (r *Reader) leave(f *flight) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.waiting--; f.waiting > 0 {
		return
	}
	if f.held {
		f.held = false
		for _, s := range f.landed {
			if s != nil {
				r.release(s, 0)
			}
		}
	}
	if f.cancel != nil && !f.ahead {
		r.land(f)
		f.cancel()
	}
}

// land takes f from the flights that can be joined; r is locked.
func (r *Reader) land(f *flight) {
	for i := range f.count {
		if k := (key{f.o, f.first + i}); r.flights[k] == f {
			delete(r.flights, k)
		}
	}
}

// deliver hands what was opened to those who wait and to memory; r is locked,
// and done is closed after that.
func (r *Reader) deliver(f *flight, opened []*segment) {
	f.landed = make([]*segment, f.count)
	f.held = f.waiting > 0
	for _, s := range opened {
		if f.held {
			s.refs++
		}
		f.landed[s.index-f.first] = s
		r.keep(s)
	}
	r.land(f)
}

// reserve begins a flight that reads segments from to end on this machine. Those
// that are wanted whole go straight to where they are wanted, and others who want
// them read them themselves; r is locked.
func (r *Reader) reserve(w wanted, from, end int) *flight {
	f := &flight{o: w.o, first: from, count: end - from + 1, done: make(chan struct{})}
	for index := from; index <= end; index++ {
		if w.direct(index) == nil {
			r.flights[key{w.o, index}] = f
		}
	}
	return f
}

// search is what a flight begun by reserve does. It returns the segment that
// comes next, and the flight that brings it from the bucket if it is not here;
// nil when it is here or somebody else brings it.
func (r *Reader) search(w wanted, f *flight) (int, *flight) {
	next, opened, why := r.here(w, f.first, f.first+f.count-1)
	defer close(f.done)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deliver(f, opened)
	if next == f.first+f.count || r.closed || !r.missing(w.o, next) {
		return next, nil
	}
	_, end := r.find(w, next)
	return next, r.depart(w.o, next, end, why)
}

// small is the size in bytes of an object up to which it is fetched whole.
const small = 130 << 10

// depart begins a flight that brings segments from to end from the bucket, and
// boards it; r is locked.
func (r *Reader) depart(o Object, from, end int, why []error) *flight {
	asked := [2]int{from, end}
	if o.Size() <= small {
		for ; from > 0 && r.missing(o, from-1); from-- {
		}
		for ; end < o.segments()-1 && r.missing(o, end+1); end++ {
		}
	}
	f := &flight{o: o, first: from, count: end - from + 1, asked: asked, why: why, waiting: 1, done: make(chan struct{})}
	r.start(f)
	return f
}

// start lets f fly; r is locked.
func (r *Reader) start(f *flight) {
	// It ends when nobody waits any more, not with the one who came first.
	ctx, cancel := context.WithCancel(r.life)
	f.cancel = cancel
	for i := range f.count {
		if k := (key{f.o, f.first + i}); r.missing(k.o, k.index) {
			r.flights[k] = f
		}
	}
	r.work.Add(1)
	go r.fly(ctx, f)
}

// fly brings the segments of f.
func (r *Reader) fly(ctx context.Context, f *flight) {
	defer r.work.Done()
	defer f.cancel()
	opened, parcels, failed, err := r.load(ctx, f)
	if err != nil && r.life.Err() != nil {
		err = ErrClosed
	}
	r.mu.Lock()
	f.err, f.failed = err, failed
	r.deliver(f, opened)
	r.mu.Unlock()
	close(f.done)
	r.preserve(f, parcels)
}

// load brings what it can of f, up to a segment that it cannot bring and why.
func (r *Reader) load(ctx context.Context, f *flight) (opened []*segment, parcels []parcel, failed int, err error) {
	next, end := f.first, f.first+f.count
	if f.ahead {
		next, opened, _ = r.here(wanted{o: f.o}, next, end-1)
	}
	for count := end - next; count > 0; {
		got, p, err := r.fetch(ctx, f, next, count)
		if err != nil && next < f.asked[0] && errors.Is(err, ErrDamaged) {
			next = f.asked[0]
			count = end - next
			continue
		}
		if err != nil {
			return opened, parcels, max(next, f.asked[0]), err
		}
		opened = append(opened, got...)
		parcels = append(parcels, p)
		next += len(got)
		if len(got) < count {
			count = 1 // this one did not verify: it is asked for alone
		} else {
			count = end - next
		}
	}
	return opened, parcels, end, nil
}

// preserve puts what f brought into the cache, unless the disk is behind already. It
// counts as under way until then, so that what reads ahead waits for the disk.
func (r *Reader) preserve(f *flight, parcels []parcel) {
	for _, p := range parcels {
		n := int64(len(p.sealed))
		r.mu.Lock()
		room := r.writing+n <= r.o.Flight
		if room {
			r.writing += n
		}
		r.mu.Unlock()
		if room {
			r.store(f.o, p)
			r.mu.Lock()
			r.writing -= n
			r.mu.Unlock()
		}
	}
	if f.ahead {
		r.mu.Lock()
		r.under -= int64(f.count) * crypt.SegmentSize
		r.mu.Unlock()
	}
}
