package sync

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/store"
)

const (
	// pollEvery is how often the next slot is looked for while the mount is in use,
	// which it is for usedFor after somebody used it; then it is looked for less and
	// less often, down to pollIdle.
	pollEvery = 1500 * time.Millisecond
	pollIdle  = time.Minute
	usedFor   = 10 * time.Second

	// pollRest is the least time from the end of one look to the next: others want their
	// turn as well.
	pollRest = 5 * turnEvery

	// pollAway is the longest wait while the store does not answer and the mount is in
	// use.
	pollAway = 10 * time.Second

	// watchMin and watchMax are the waits before the store is asked again to tell of new
	// slots by itself, after it ceased to; watchNone where it does not do such a thing.
	watchMin  = time.Second
	watchMax  = time.Minute
	watchNone = time.Hour

	// watchTries is how often a store that answers else may be asked in vain before it
	// is taken for one that does not.
	watchTries = 3

	// turnEvery is how often who waits for another's turn to end looks whether it has.
	turnEvery = 20 * time.Millisecond

	// holdMin is the least time between two looks for slots that the store told of and
	// that are not there.
	holdMin = 50 * time.Millisecond
)

// polling is what those tell the follower who want it to look sooner.
type polling struct {
	used  atomic.Bool   // somebody used the mount since the last look
	doubt atomic.Bool   // the store was away, or this machine slept: it may be without what it had
	told  atomic.Uint64 // newest slot that the store told of since; 0: none
	again chan struct{} // of capacity 1: how long to wait has changed
	now   chan struct{} // of capacity 1: do not wait
}

func newPolling() polling {
	return polling{again: make(chan struct{}, 1), now: make(chan struct{}, 1)}
}

// poke wakes who receives from c, or lets it not wait the next time.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Used tells that a program looks at the mount. It costs next to nothing, and may be
// called for each request.
func (s *Syncer) Used() {
	if !s.polling.used.Load() && s.polling.used.CompareAndSwap(false, true) {
		poke(s.polling.again)
	}
}

// lookNow has the next slot looked for without a wait.
func (s *Syncer) lookNow() { poke(s.polling.now) }

// Follow follows what other machines write until ctx ends: it looks for the next slot
// now and then, and when the store tells of one. It is a part of Run, and all that is
// run where nothing is published.
//
// A look is one request for one byte of an object that is mostly not there. While
// something is published the follower waits for that; what it finds it follows to the
// end of the chain.
func (s *Syncer) Follow(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.watch(ctx) })
	g.Go(func() error { return s.poll(ctx) })
	return g.Wait()
}

func (s *Syncer) poll(ctx context.Context) error {
	every := s.o.Poll
	if every <= 0 {
		every = pollEvery
	}
	longest := max(pollIdle, every)
	p := &s.polling
	// Load read all that there was, for somebody.
	began, looked, used := time.Now(), time.Now(), time.Now()
	idle, away, hold := every, time.Duration(0), time.Duration(0)
	for ctx.Err() == nil {
		wait := idle
		if p.used.Load() || time.Since(used) < usedFor {
			wait = every
		}
		// From beginning to beginning, or what is shown would be older by as long as it
		// takes to follow much.
		due := began.Add(max(wait, looked.Sub(began)+max(pollRest, away)))
		if !p.wait(ctx, due, looked.Add(hold)) {
			continue // for another time, as it may be
		}
		began = time.Now()
		if p.used.Swap(false) {
			used = time.Now()
		}
		told := p.told.Swap(0)
		found, err := s.look(ctx, chain.Slot(told))
		looked = time.Now()
		inUse := looked.Sub(used) < usedFor
		switch {
		case ctx.Err() != nil:
		case err != nil:
			p.doubt.Store(true)
			level := slog.LevelDebug
			if away == 0 && !errors.Is(err, store.ErrUnavailable) {
				level = slog.LevelWarn // that the store is away others say
			}
			s.log.Log(ctx, level, "other machines not followed; it is tried again", "err", err)
			away = min(max(2*away, every), longest)
			if inUse {
				away = min(away, max(pollAway, every))
			}
			continue
		case told > 0 && !found:
			hold = min(max(2*hold, holdMin), every) // whoever says so for nothing is not run after
		default:
			hold = 0
		}
		away = 0
		if inUse {
			idle = every
		} else {
			idle = min(2*idle, longest)
		}
	}
	return nil
}

// wait returns true at the time due, or when somebody wants it now, but not before
// soonest; false when due may have changed. It ends with ctx.
func (p *polling) wait(ctx context.Context, due, soonest time.Time) bool {
	t := time.NewTimer(time.Until(due))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-p.again:
		return false
	case <-t.C:
		return true
	case <-p.now:
	}
	t.Reset(time.Until(soonest))
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// look follows what there is to follow, and says whether there was something. told is
// a slot that is said to be there, 0 for none. Where nothing may be followed any more
// it asks for nothing.
func (s *Syncer) look(ctx context.Context, told chain.Slot) (found bool, err error) {
	if s.halted() != nil {
		return false, nil
	}
	before, seen := s.slot(), told == 0
	if seen {
		told = before
		_, err := s.o.Bucket.Get(ctx, chain.SlotName(s.volume, told), 0, 1)
		s.reached(err)
		if errors.Is(err, store.ErrNotExist) {
			return false, s.stillThere(ctx)
		}
		if err != nil {
			return false, err
		}
	}
	if err := s.turn(ctx); err != nil {
		return false, err
	}
	defer s.working.Unlock()
	if s.halted() != nil {
		return false, nil
	}
	if s.slot() > told {
		return true, nil // ours, or met while it was published
	}
	if err := s.conclude(ctx); err != nil {
		return false, err
	}
	a := s.readAhead(ctx, seen)
	defer a.end()
	if err = s.catchUpBy(ctx, a); err == nil {
		s.nothingMore()
	}
	return s.slot() > before, err
}

// FollowNow follows every slot that is in the store now. It fails with ctx, where nothing
// is followed any more, and with ErrRollback when the newest slot that was known is gone:
// nothing new is there then, but what was is not either.
func (s *Syncer) FollowNow(ctx context.Context) error {
	if err := s.turn(ctx); err != nil {
		return err
	}
	defer s.working.Unlock()
	if err := s.halted(); err != nil {
		return err
	}
	if err := s.conclude(ctx); err != nil {
		return err
	}
	if err := s.catchUp(ctx); err != nil {
		return err
	}
	return s.lookAgain(ctx)
}

// StillThere fails with ErrRollback when the store has the newest slot that this machine
// knows no more, and with ctx. Where the store does not say it returns nil.
func (s *Syncer) StillThere(ctx context.Context) error {
	if err := s.turn(ctx); err != nil {
		return err
	}
	defer s.working.Unlock()
	if err := s.lookAgain(ctx); errors.Is(err, ErrRollback) {
		return err
	}
	return nil
}

// lookAgain is headThere whatever was seen before; working is held.
func (s *Syncer) lookAgain(ctx context.Context) error {
	s.end.seen = false
	if err := s.headThere(ctx); !errors.Is(err, errReturned) {
		return err
	}
	return nil
}

// turn locks working when nobody else has it, however long that takes.
func (s *Syncer) turn(ctx context.Context) error { return lockFor(ctx, &s.working) }

// lockFor locks mu, or fails with ctx.
func lockFor(ctx context.Context, mu *sync.Mutex) error {
	for !mu.TryLock() {
		t := time.NewTimer(turnEvery)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
	}
	return nil
}

// stillThere looks now and then whether the head is there still: a machine that slept,
// or one of a drive where little happens, might take for new what is long gone, and for
// quiet a store that was set back.
func (s *Syncer) stillThere(ctx context.Context) error {
	// Who only looks whether there is something to do has it for a moment, at the very
	// ticks at which this is asked.
	if !s.lockSoon(ctx, pollRest) {
		return nil // who publishes looks too
	}
	defer s.working.Unlock()
	if err := s.comeBack(ctx); err != nil {
		return err
	}
	if err := s.lookBack(ctx); err != nil {
		return err
	}
	s.nothingMore()
	return nil
}

// watch has the store tell of new slots, where it does. Nothing depends on it: what it
// does not tell is found by looking.
func (s *Syncer) watch(ctx context.Context) error {
	wait, silent := watchMin, 0
	for {
		var began atomic.Bool
		err := store.Watch(ctx, s.o.Bucket, chain.SlotPrefix(s.volume), func() {
			began.Store(true)
			s.lookNow() // for what came before
		}, s.heardOf)
		if ctx.Err() != nil {
			return nil
		}
		switch {
		case errors.Is(err, store.ErrNoWatch), errors.Is(err, store.ErrDenied):
			wait = watchNone
		case began.Load():
			wait, silent = watchMin, 0
		default:
			wait = min(2*wait, watchMax)
			if _, offline := s.Trouble(); offline == nil {
				silent++
			}
			if silent >= watchTries {
				wait, silent = watchNone, 0 // it answers all but this
			}
		}
		s.log.Debug("the store does not tell of commits; it is asked", "err", err, "again in", wait)
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-t.C:
		}
	}
}

// heardOf is told the name of an object that the store says is new.
func (s *Syncer) heardOf(name string) {
	slot, ok := chain.ParseSlotName(s.volume, name)
	if !ok || slot < s.slot() {
		return
	}
	for told := &s.polling.told; ; {
		was := told.Load()
		if was >= uint64(slot) || told.CompareAndSwap(was, uint64(slot)) {
			break
		}
	}
	s.lookNow()
}
