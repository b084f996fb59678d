package sync

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/store"
)

// PassedHints are the hints that lead nowhere: they are damaged, of a stranger or of
// another history, or something else lies under their names. Each is named in the log
// once, and told of until it is what it was, or nobody asks for it any more since a good
// one of a later slot is there. It is safe for concurrent use.
type PassedHints struct {
	log  *slog.Logger
	tell func(error) // nil again when there are none

	mu     sync.Mutex // guards the fields below; held over tell
	passed map[string]passedHint
	named  map[string]bool // in the log
}

type passedHint struct {
	name string
	slot chain.Slot // by its name
	err  error
	lies bool // it is whole, and says what is not so
}

// newer says whether a newer program made the hint, as far as it looks so, and whether
// that is for sure: then a record of its ledger shows it, and it is of the history of a
// ledger; by all else anybody can make a hint look so. Where it is for sure of another
// history, one that was given up perhaps, it says nothing of this one.
func (h passedHint) newer(mine *chain.Ledger) (looks, sure bool) {
	if r := (newerRecord{}); errors.As(h.err, &r) {
		n := mine.Len()
		sure = len(r.upto) >= n && r.upto[n-1] == mine.Head()
		return sure, sure
	}
	return errors.Is(h.err, chain.ErrVersion) || errors.Is(h.err, crypt.ErrVersion), false
}

// newerOf is one of hints, of a slot above one, that looks as if a newer program had made
// it, if there is one that does so for sure; none has no name.
func newerOf(hints []passedHint, above chain.Slot, mine *chain.Ledger) (one passedHint, sure bool) {
	for _, h := range hints {
		if h.slot <= above {
			continue
		}
		looks, sure := h.newer(mine)
		if sure {
			return h, true
		}
		if looks && one.name == "" {
			one = h
		}
	}
	return one, false
}

// NewPassedHints begins with none; tell may be nil. It must not call back.
func NewPassedHints(log *slog.Logger, tell func(error)) *PassedHints {
	if tell == nil {
		tell = func(error) {}
	}
	return &PassedHints{log: log, tell: tell, passed: map[string]passedHint{}, named: map[string]bool{}}
}

const (
	// passedEvery is how often hints that were passed over are looked at again.
	passedEvery = 10 * time.Minute

	// hintsNamed is how many are looked at again at a time.
	hintsNamed = 8

	// hintsKept is how many are named and remembered.
	hintsKept = 4 * hintsMax
)

// pass notes that a hint was passed over.
func (p *PassedHints) pass(h passedHint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.named) < hintsKept && !p.named[h.name] {
		p.named[h.name] = true
		p.log.Warn("hint passed over", "object", h.name, "err", h.err)
	}
	if _, again := p.passed[h.name]; again || len(p.passed) < hintsKept {
		p.passed[h.name] = h
		p.tell(p.err())
	}
}

// good notes that there is a hint of a slot that opens: nobody asks for those before it.
func (p *PassedHints) good(slot chain.Slot) {
	p.forget(func(_ string, h passedHint) bool { return h.slot < slot || h.slot == slot && !h.lies })
}

// has says whether a hint was passed over.
func (p *PassedHints) has(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.passed[name]
	return ok
}

// newer is a hint of a slot above one that looks as if a newer program had made it; none
// has no name.
func (p *PassedHints) newer(above chain.Slot, mine *chain.Ledger) passedHint {
	p.mu.Lock()
	defer p.mu.Unlock()
	h, _ := newerOf(slices.Collect(maps.Values(p.passed)), above, mine)
	return h
}

// forget takes out those for which which is true.
func (p *PassedHints) forget(which func(name string, h passedHint) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.passed)
	if maps.DeleteFunc(p.passed, which); len(p.passed) < n {
		p.tell(p.err())
	}
}

// some are the names of the first few that may be what they were again, the newest first.
func (p *PassedHints) some() (names []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(p.passed)) {
		if !p.passed[name].lies && len(names) < hintsNamed {
			names = append(names, name)
		}
	}
	return names
}

// err is what a person should know of them; mu is held.
func (p *PassedHints) err() error {
	names := slices.Sorted(maps.Keys(p.passed))
	if len(names) == 0 {
		return nil
	}
	more := ""
	if len(names) > 1 {
		more = fmt.Sprintf(", and %d more", len(names)-1)
	}
	return fmt.Errorf("%s leads nowhere%s: %w. A machine that mounts begins at another hint; no file is affected", names[0], more, p.passed[names[0]].err)
}

// lookAtPassed looks whether hints that were passed over are what they were, or gone, or
// whether a good one was written after them. It looks at few, however many there are;
// working is held.
func (s *Syncer) lookAtPassed(ctx context.Context) error {
	look := s.hints.some()
	if len(look) == 0 || time.Since(s.sight.hints) < passedEvery {
		return nil
	}
	vol := s.volume
	page, err := s.o.Bucket.List(ctx, chain.HintPrefix(vol), "", hintsPage)
	s.reached(err)
	if err != nil {
		return fmt.Errorf("list hints: %w", err)
	}
	for _, i := range page { // the newest come first
		if !s.hints.has(i.Name) {
			look = append(look, i.Name)
			break
		}
	}
	for _, name := range look {
		f, err := openHint(ctx, s.o.Bucket, vol, s.o.Identity, name)
		switch {
		case passing(ctx, err):
			s.reached(err)
			return fmt.Errorf("look at %s: %w", name, err)
		case err == nil:
			s.hints.good(f.hint.Slot)
		case errors.Is(err, store.ErrNotExist):
			s.hints.forget(func(n string, _ passedHint) bool { return n == name })
		}
	}
	s.sight.hints = time.Now()
	return nil
}
