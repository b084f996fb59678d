package pack

import (
	"context"

	"github.com/hushfs/hushfs/crypt"
)

// flight brings a run of segments of one pack. All who want one of them wait for
// it; when the last has given up it is cancelled.
type flight struct {
	info   Info
	first  int
	count  int
	cancel context.CancelFunc

	waiting int // guarded by Reader.mu

	done  chan struct{} // closed when the fields below are set
	plain [][]byte      // from first on; fewer than count when one does not verify
	err   error         // of the segment called first
}

// window is how many segments are brought at once where reading goes forward.
const window = 16

// segment returns the plaintext of one segment; it must not be changed.
func (r *Reader) segment(ctx context.Context, info Info, index int) ([]byte, error) {
	key := segment{info.Name, index}
	for {
		if b, ok := r.segments.Get(key); ok {
			return b, nil
		}
		f, b := r.board(ctx, info, index)
		if f == nil {
			return b, nil
		}
		select {
		case <-ctx.Done():
			r.leave(f)
			return nil, ctx.Err()
		case <-f.done:
		}
		switch at := index - f.first; {
		case at < len(f.plain):
			return f.plain[at], nil
		case at == 0:
			return nil, f.err
		}
		// It was to come along with another, and did not.
	}
}

// board joins the flight that brings the segment, or starts one; nil and the
// segment when one has just landed.
func (r *Reader) board(ctx context.Context, info Info, index int) (*flight, []byte) {
	key := segment{info.Name, index}
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.flights[key]
	if f == nil {
		if b, ok := r.segments.Get(key); ok {
			return nil, b
		}
		// It ends when nobody waits any more, not with the one who came first.
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		f = &flight{info: info, first: index, count: r.ahead(info, index), cancel: cancel, done: make(chan struct{})}
		for i := range f.count {
			r.flights[segment{info.Name, f.first + i}] = f
		}
		go r.fly(ctx, f)
	}
	f.waiting++
	return f, nil
}

// ahead is how many segments to bring when index is wanted: the one alone, or
// more where reading goes forward through a pack; r is locked.
func (r *Reader) ahead(info Info, index int) int {
	if index == 0 || !r.segments.Contains(segment{info.Name, index - 1}) {
		return 1
	}
	most := min(window, crypt.Segments(crypt.Padme(info.Length))-index)
	for n := 1; n < most; n++ {
		key := segment{info.Name, index + n}
		if r.flights[key] != nil || r.segments.Contains(key) {
			return n
		}
	}
	return most
}

// fly brings the segments of f.
func (r *Reader) fly(ctx context.Context, f *flight) {
	defer f.cancel()
	f.plain, f.err = r.load(ctx, f.info, f.first, f.count)
	r.mu.Lock()
	r.land(f)
	r.mu.Unlock()
	close(f.done)
}

// leave is called by who waits for f no longer.
func (r *Reader) leave(f *flight) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.waiting--; f.waiting == 0 {
		r.land(f)
		f.cancel()
	}
}

// land takes f from the flights that can be joined; r is locked.
func (r *Reader) land(f *flight) {
	for i := range f.count {
		if key := (segment{f.info.Name, f.first + i}); r.flights[key] == f {
			delete(r.flights, key)
		}
	}
}
