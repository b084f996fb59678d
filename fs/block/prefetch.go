package block

import "github.com/hushfs/hushfs/crypt"

// bridge is how many segments that are here already are fetched once more so
// that what lies on both sides comes in one request.
const bridge = 4

// Prefetch brings n bytes of o from off on, or as many as there are, in the
// background, where they are not on this machine. It returns at once how many
// bytes from off on need no further call: they are here, or on their way. What
// finds no room, because too much is on its way already, is dropped. Nobody is
// told of what cannot be brought: who wants it asks for it.
func (r *Reader) Prefetch(o Object, off, n int64) int64 {
	w, err := want(o, off, min(n, o.Length-off), nil)
	if err != nil || w.last < w.first {
		return 0
	}
	if r.isHere(o) {
		return w.end - w.off
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return 0
	}
	for index := w.first; index <= w.last; index++ {
		if !r.missing(o, index) {
			continue
		}
		end := index // the last missing one of the run
		for next := index + 1; next <= w.last && next-end <= bridge+1; next++ {
			if r.missing(o, next) {
				end = next
			}
		}
		count := min(end-index+1, int((r.o.Flight-r.under)/crypt.SegmentSize))
		if count <= 0 {
			return max(0, int64(index)*crypt.SegmentSize-w.off)
		}
		r.under += int64(count) * crypt.SegmentSize
		r.start(&flight{o: o, first: index, count: count, ahead: true, done: make(chan struct{})})
		index += count - 1
	}
	return w.end - w.off
}
