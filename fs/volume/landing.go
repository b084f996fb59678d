package volume

import "sync"

// landing counts the writes whose bytes lie in a pack already and that no extent
// names yet. Who wants to know which packs nothing needs waits for those that began
// before; those that begin later do not wait for it. The zero value is ready.
type landing struct {
	mu    sync.Mutex // guards the fields below; nothing is taken after it
	round uint64
	began map[uint64]int // writes on their way, by the round in which they began
	ended sync.Cond      // of mu, once somebody waits
}

// enter is called before bytes go to a pack, leave when an extent names them, or
// nothing ever will.
func (l *landing) enter() (leave func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.began == nil {
		l.began = map[uint64]int{}
	}
	round := l.round
	l.began[round]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.began[round]--; l.began[round] == 0 {
			delete(l.began, round)
		}
		if l.ended.L != nil {
			l.ended.Broadcast()
		}
	}
}

// pass returns when all writes that had entered before have left.
func (l *landing) pass() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended.L = &l.mu
	last := l.round
	l.round++
	for l.older(last) {
		l.ended.Wait()
	}
}

// older says whether writes of the round last, or one before, are on their way; l is
// locked.
func (l *landing) older(last uint64) bool {
	for round := range l.began {
		if round <= last {
			return true
		}
	}
	return false
}
