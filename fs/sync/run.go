package sync

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hushfs/hushfs/fs/meta"
)

// Run publishes what is pending, follows others, and folds, until ctx ends.
func (s *Syncer) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.maintain(ctx) })
	g.Go(func() error { return s.run(ctx) })
	g.Go(func() error { return s.Follow(ctx) })
	return g.Wait()
}

func (s *Syncer) run(ctx context.Context) error {
	s.setEnded(false)
	defer s.setEnded(true)
	tick := time.NewTicker(pace)
	defer tick.Stop()
	backoff := backoffMin
	failing := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-s.wake:
		}
		if !s.due() {
			continue
		}
		err := s.Publish(ctx)
		if err == nil {
			if failing {
				s.log.Info("published again")
			}
			backoff, failing = backoffMin, false
			continue
		}
		if ctx.Err() != nil {
			return nil
		}
		level := slog.LevelWarn
		if failing || s.halted() != nil {
			level = slog.LevelDebug // it was said, and status says what is the matter now
		}
		failing = true
		s.lookNow() // what another machine did may be the reason
		s.log.Log(ctx, level, "not published; it is tried again", "err", err, "wait", backoff)
		if s.pause(ctx, backoff) != nil {
			return nil
		}
		backoff = min(2*backoff, backoffMax)
	}
}

// pause waits, but not when somebody begins to wait for it or ctx ends.
func (s *Syncer) pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	s.setNextTry(time.Now().Add(d))
	defer s.setNextTry(time.Time{})
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.wake:
	case <-t.C:
	}
	return nil
}

func (s *Syncer) setNextTry(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextTry = t
}

// NextTry is when sending is tried again after a failure; zero when it is not
// waited for.
func (s *Syncer) NextTry() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nextTry
}

// setEnded notes whether Run works. When it does not, nobody waits for it.
func (s *Syncer) setEnded(ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = ended
	if !ended {
		return
	}
	for w := range s.waiting {
		w.err = errors.Join(errEnded, s.stopped, s.offline)
		close(w.done)
	}
	clear(s.waiting)
}

// due says whether there is something to publish now.
func (s *Syncer) due() bool {
	s.mu.Lock()
	waited, stopped, again := len(s.waiting) > 0, s.stopped != nil, s.failure != nil
	s.mu.Unlock()
	switch {
	case stopped:
		return false
	case waited, again:
		return true
	}
	pending := s.o.View.Pending()
	if pending.Len() == 0 {
		return len(s.o.Packs.Locals()) > 0 && s.sweepable()
	}
	t := pending.First().Time
	age := time.Since(time.Unix(t.Sec, int64(t.Nsec)))
	return age < 0 || age >= idleAge || s.o.Packs.Bytes() >= eagerBytes || s.o.Eager != nil && s.o.Eager()
}

// sweepable says whether the last sweep was a while ago.
func (s *Syncer) sweepable() bool {
	if !s.working.TryLock() {
		return false // whoever has it sweeps too, or the next tick does
	}
	defer s.working.Unlock()
	return time.Since(s.swept) >= sweepEvery
}

// Flush returns when all operations up to last are in the chain. It fails when
// that will not happen: nothing is published any more, or Run has ended.
func (s *Syncer) Flush(ctx context.Context, last meta.OpNo) error {
	return s.wait(ctx, &waiter{last: last, done: make(chan struct{})})
}

// Confirm is Flush for a program that waits for these operations alone: what was done
// after them, by others, comes in a later commit.
func (s *Syncer) Confirm(ctx context.Context, last meta.OpNo) error {
	return s.wait(ctx, &waiter{last: last, soon: true, done: make(chan struct{})})
}

func (s *Syncer) wait(ctx context.Context, w *waiter) error {
	last := w.last
	s.mu.Lock()
	switch {
	case s.stored(last):
		s.mu.Unlock()
		return nil
	case s.stopped != nil:
		defer s.mu.Unlock()
		return s.stopped
	case s.missing != nil:
		defer s.mu.Unlock()
		return s.missing
	case s.ended:
		defer s.mu.Unlock()
		return errEnded
	}
	s.waiting[w] = true
	if w.soon {
		s.hurried = time.Now()
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.waiting, w)
		return errors.Join(ctx.Err(), s.offline)
	}
}

// stored says whether all operations up to last are in the chain; mu is held.
// Operations that change nothing reach it with the next that does: they are as
// good as stored.
func (s *Syncer) stored(last meta.OpNo) bool {
	if s.settled >= last {
		return true
	}
	pending := s.o.View.Pending()
	return pending.Len() == 0 || pending.First().No > last
}

// hurry says up to which operation the next commit is to go, at most last: no further
// than programs wait for, where some do. They share it. Some time after one did commits
// are kept small, so that the next has not to wait for much that is on its way.
func (s *Syncer) hurry(last meta.OpNo) (upto meta.OpNo, packs int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.waiting {
		if w.soon {
			upto = max(upto, w.last)
		}
	}
	packs = packsMax
	if !s.hurried.IsZero() && time.Since(s.hurried) < hurriedFor {
		packs = packsSoon
	}
	if upto == 0 || upto > last {
		upto = last
	}
	return upto, packs
}

// release lets waiters go whose operations are in the chain, or all when
// nothing is published any more, or not until the store is mended.
func (s *Syncer) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.waiting {
		if !s.stored(w.last) {
			if w.err = s.stopped; w.err == nil {
				w.err = s.missing
			}
			if w.err == nil {
				continue
			}
		}
		close(w.done)
		delete(s.waiting, w)
	}
}
