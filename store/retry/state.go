package retry

import (
	"context"
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

	mu       sync.Mutex       // guards the fields below
	newest   uint64           // number of the newest call
	began    map[uint64]began // calls under way, by number
	answered time.Time        // last answer
	first    time.Time        // first failure of the series since, or zero
	last     time.Time        // last failure of it
	err      error            // that failure
	down     bool             // the series was long enough; until there is an answer
	told     bool             // that it is off line, to the log
	asking   chan struct{}    // a reader asks whether it is back; closed when it has its answer
	asksAt   time.Time        // when it began to
	asked    time.Time        // when the last one had its answer
}

// began is a call under way.
type began struct {
	at    time.Time
	grace time.Duration // silence that its bytes explain
}

func (s *state) begin(now time.Time, grace time.Duration) (call uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.began == nil {
		s.began = make(map[uint64]began)
	}
	s.newest++
	s.began[s.newest] = began{now, grace}
	return s.newest
}

// end notes how a call ended: nil with an answer, errCancelled by its caller.
func (s *state) end(call uint64, now time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.began[call]
	delete(s.began, call)
	switch {
	case err == nil:
		s.answered, s.first, s.err, s.down = now, time.Time{}, nil, false
	case errors.Is(err, errCancelled):
	default:
		// One failure an hour ago and one now are two accidents.
		if s.first.IsZero() || !s.down && now.Sub(s.last) > s.apart {
			s.first = now
			// A call that hung is a series by itself, unless others were answered.
			if now.Sub(b.at) >= s.failingFor && !s.answered.After(b.at) {
				s.first = b.at
			}
		}
		s.last, s.err = now, err
		s.down = s.down || now.Sub(s.first) >= s.failingFor
	}
}

// offline returns nil, or since when the store does not answer and why.
func (s *state) offline(now time.Time) *Outage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.outage(now)
}

// outage is offline with mu held.
func (s *state) outage(now time.Time) *Outage {
	// The next try may be seconds away: a series that goes on is judged by the clock.
	series := s.last.After(s.first) && now.Sub(s.last) <= s.apart && now.Sub(s.first) >= s.failingFor
	if s.down || s.err != nil && series {
		return &Outage{Since: s.first, Err: s.err}
	}
	for _, b := range s.began {
		// An answer to another call shows that the store is there.
		at := b.at
		if at.Before(s.answered) {
			at = s.answered
		}
		if now.Sub(at) >= s.silentFor+b.grace {
			return &Outage{Since: at, Err: errSilent}
		}
	}
	return nil
}

// ask says whether a reader may make a call. While the store is off line one at a
// time may, every now and then, and finds out whether it is back; the others are
// told that it is not. With probe the caller says when it is done. Where another
// asks, and has not for long, answered is closed when it knows, and whoever waits for
// that asks again: the store may have been back for an hour, with nobody to notice.
func (s *state) ask(now time.Time, every time.Duration) (probe bool, answered <-chan struct{}, out *Outage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out = s.outage(now)
	switch {
	case out == nil:
		return false, nil, nil
	case s.asking != nil && now.Sub(s.asksAt) < every:
		return false, s.asking, out
	case s.asking != nil || now.Sub(s.asked) < every:
		return false, nil, out
	}
	s.asking, s.asksAt = make(chan struct{}), now
	return true, nil, nil
}

// asks ends what ask began: with the store's answer or its silence, or since the reader
// was interrupted, and then the next may ask.
func (s *state) asks(now time.Time, interrupted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.asking)
	s.asking = nil
	if !interrupted {
		s.asked = now
	}
}

// askOrWait is ask for one who waits, but no longer than every, while another asks.
func (s *state) askOrWait(ctx context.Context, every time.Duration) (probe bool, err error) {
	patient := time.NewTimer(every)
	defer patient.Stop()
	for {
		probe, answered, out := s.ask(time.Now(), every)
		if out == nil {
			return probe, nil
		}
		if answered == nil {
			return false, out
		}
		select {
		case <-answered:
		case <-patient.C:
			return false, out
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// change says what the log was not told yet: that the store is off line now, or
// on line again.
func (s *state) change(now time.Time) (out *Outage, changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out = s.outage(now)
	changed = s.told != (out != nil)
	s.told = out != nil
	return out, changed
}

// errSilent is the cause when nothing failed yet.
var errSilent = fmt.Errorf("%w: calls are under way and none is answered", store.ErrUnavailable)

// Outage is an error that says since when the store does not answer.
type Outage struct {
	Since time.Time
	Err   error
}

func (o *Outage) Error() string {
	return fmt.Sprintf("no answer for %s: %s", time.Since(o.Since).Round(time.Second), o.Err)
}

// Unwrap returns the cause. Who is told of an outage has not waited: what another
// call waited for in vain is no timeout of theirs.
func (o *Outage) Unwrap() error {
	if errors.Is(o.Err, store.ErrTimeout) {
		return store.ErrUnavailable
	}
	return o.Err
}
