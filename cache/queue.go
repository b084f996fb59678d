package cache

import "sync"

// entry is a value on its way to a table, or that there shall be none.
type entry struct {
	value []byte
	dead  bool
}

// queue holds what is put until it is in the log: pending waits, flying is being
// written. Of two entries with one key the later one counts.
type queue struct {
	limit int64
	wake  chan struct{} // has one element when there may be something to do

	mu      sync.Mutex // guards the fields below; a last lock
	pending map[string]entry
	flying  map[string]entry
	bytes   int64 // of pending
}

func newQueue(limit int64) queue {
	return queue{limit: limit, wake: make(chan struct{}, 1), pending: map[string]entry{}}
}

// entryCost is what an entry takes besides key and value, about.
const entryCost = 64

func cost(key string, e entry) int64 { return int64(len(key)+len(e.value)) + entryCost }

// add tells whether there was room for the entry, limit bytes being all there is.
func (q *queue) add(key string, e entry, limit int64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	old, had := q.pending[key]
	bytes := q.bytes + cost(key, e)
	if had {
		bytes -= cost(key, old)
	}
	if bytes > limit {
		return false
	}
	q.pending[key], q.bytes = e, bytes
	return true
}

func (q *queue) find(key string) (entry, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e, ok := q.pending[key]
	if !ok {
		e, ok = q.flying[key]
	}
	return e, ok
}

// knock wakes the one who writes.
func (q *queue) knock() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take moves about so many bytes from pending to flying, one entry at least.
func (q *queue) take(limit int64) (batch map[string]entry, size int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	batch = map[string]entry{}
	for key, e := range q.pending {
		n := cost(key, e)
		if size > 0 && size+n > limit {
			continue
		}
		batch[key] = e
		delete(q.pending, key)
		size += n
		if size >= limit {
			break
		}
	}
	q.bytes -= size
	q.flying = batch
	return batch, size
}

// landed says that what was taken is written, or lost.
func (q *queue) landed() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.flying = nil
}
