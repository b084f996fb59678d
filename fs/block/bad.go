package block

import "sync"

// mostBad is how many bad segments are remembered. An object that has more is called
// damaged until the reader is closed.
const mostBad = 4096

// bad are the segments that the bucket did not give, or not as they were, when they were
// asked for last.
type bad struct {
	mu sync.Mutex // guards the fields below; held over Bad and Mended, taken with no other lock
	of map[string]map[key]bool
	n  int
}

// damaged tells of an object of which the bucket does not have a segment.
func (r *Reader) damaged(o Object, index int, why error) {
	place := r.o.Place(o)
	r.bad.mu.Lock()
	defer r.bad.mu.Unlock()
	if r.bad.of == nil {
		r.bad.of = map[string]map[key]bool{}
	}
	of := r.bad.of[place]
	if of == nil {
		of = map[key]bool{}
		r.bad.of[place] = of
	}
	k := key{o, index}
	if !of[k] && r.bad.n >= mostBad {
		k = key{index: -1} // which no fetch brings
	}
	if !of[k] {
		of[k] = true
		r.bad.n++
	}
	r.o.Bad(place, why)
}

// mended tells of an object when the bucket has given all that was bad of it.
func (r *Reader) mended(o Object, got []*segment) {
	r.bad.mu.Lock()
	defer r.bad.mu.Unlock()
	if len(r.bad.of) == 0 {
		return
	}
	place := r.o.Place(o)
	of := r.bad.of[place]
	if of == nil {
		return
	}
	for _, s := range got {
		if k := (key{o, s.index}); of[k] {
			delete(of, k)
			r.bad.n--
		}
	}
	if len(of) == 0 {
		delete(r.bad.of, place)
		r.o.Mended(place)
	}
}
