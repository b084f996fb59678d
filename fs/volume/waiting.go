package volume

import (
	"sync"
	"time"
)

// waiting counts programs that wait for something. The zero value is ready.
type waiting struct {
	mu    sync.Mutex // guards the fields below; nothing is taken after it
	next  uint64
	since map[uint64]time.Time
}

// begin counts one more; end takes it back.
func (w *waiting) begin() (end func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since == nil {
		w.since = map[uint64]time.Time{}
	}
	w.next++
	no := w.next
	w.since[no] = time.Now()
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.since, no)
	}
}

// count is how many wait, and since when the first of them does.
func (w *waiting) count() (n int, since time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.since {
		if since.IsZero() || t.Before(since) {
			since = t
		}
	}
	return len(w.since), since
}
