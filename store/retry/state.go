package retry

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hushfs/hushfs/store"
)

var errCancelled = errors.New("call was cancelled")

// state knows whether the store answers, from the calls that are made anyway.
type state struct {
	failingFor, silentFor time.Duration // Options.Failing and Silent
	apart                 time.Duration // failures further apart are not of one series

	mu       sync.Mutex           // guards the fields below
	newest   uint64               // number of the newest call
	began    map[uint64]time.Time // calls under way, by number
	answered time.Time            // last answer
	first    time.Time            // first failure of the series since, or zero
	last     time.Time            // last failure of it
	err      error                // that failure
	down     bool                 // the series was long enough; until there is an answer
}

func (s *state) begin(now time.Time) (call uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.began == nil {
		s.began = make(map[uint64]time.Time)
	}
	s.newest++
	s.began[s.newest] = now
	return s.newest
}

// end notes how a call ended: nil with an answer, errCancelled by its caller.
func (s *state) end(call uint64, now time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.began, call)
	switch {
	case err == nil:
		s.answered, s.first, s.err, s.down = now, time.Time{}, nil, false
	case errors.Is(err, errCancelled):
	default:
		// One failure an hour ago and one now are two accidents.
		if s.first.IsZero() || !s.down && now.Sub(s.last) > s.apart {
			s.first = now
		}
		s.last, s.err = now, err
		s.down = s.down || now.Sub(s.first) >= s.failingFor
	}
}

func (s *state) offline(now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	// The next try may be seconds away: a series that goes on is judged by the clock.
	series := s.last.After(s.first) && now.Sub(s.last) <= s.apart && now.Sub(s.first) >= s.failingFor
	if s.down || s.err != nil && series {
		return fmt.Errorf("no answer for %s: %w", now.Sub(s.first).Round(time.Second), s.err)
	}
	for _, began := range s.began {
		// An answer to another call shows that the store is there.
		if began.Before(s.answered) {
			began = s.answered
		}
		if d := now.Sub(began); d >= s.silentFor {
			return fmt.Errorf("no answer for %s: %w: %w", d.Round(time.Second), store.ErrUnavailable, errSilent)
		}
	}
	return nil
}

// errSilent is the cause when nothing failed yet.
var errSilent = errors.New("calls are under way and none is answered")
