package sync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/view"
	"github.com/hushfs/hushfs/store"
)

// CatchUp follows every slot that is in the store and returns when the next one
// is free.
func (s *Syncer) CatchUp(ctx context.Context) error {
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
	return s.catchUp(ctx)
}

func (s *Syncer) catchUp(ctx context.Context) error {
	a := s.readAhead(ctx, false)
	defer a.end()
	return s.catchUpBy(ctx, a)
}

// catchUpBy is catchUp by what is on its way already.
func (s *Syncer) catchUpBy(ctx context.Context, a *ahead) error {
	for {
		slot := s.slot()
		f := a.take(slot)
		if errors.Is(f.err, store.ErrNotExist) {
			// The end, or where others trimmed.
			if err := s.show(ctx); err != nil {
				return err
			}
			if err := s.comeBack(ctx); err != nil {
				return err
			}
			if s.slot() == slot {
				return nil
			}
			continue
		}
		if f.err != nil {
			return fmt.Errorf("look at slot %d: %w", slot, f.err)
		}
		j, err := s.judge(ctx, slot, f.object)
		if err != nil {
			return err
		}
		if j.Verdict == chain.Junk {
			a.alone()
		}
		if _, err := s.pass(ctx, j, f); err != nil {
			return err
		}
	}
}

// judge says what the object that lies in slot is: a commit of another device,
// or junk, which two answers of the store agree on. Anything else stops
// publishing and is an error.
func (s *Syncer) judge(ctx context.Context, slot chain.Slot, object []byte) (chain.Judgement, error) {
	return s.decide(ctx, slot, object, false)
}

// decide is judge of an object that the store gave once, or twice already.
func (s *Syncer) decide(ctx context.Context, slot chain.Slot, object []byte, twice bool) (chain.Judgement, error) {
	j, err := judge(ctx, s.o.Chain, slot, object, s.confirmed())
	if err != nil {
		return j, fmt.Errorf("judge slot %d: %w", slot, err)
	}
	if j.Verdict == chain.Evidence {
		over, err := s.forks.over(ctx, s.o.Bucket, s.o.Chain, j.Commit, s.confirmed())
		if err != nil {
			return j, fmt.Errorf("judge slot %d: %w", slot, err)
		}
		if over {
			return dead(j), nil
		}
	}
	switch j.Verdict {
	case chain.Valid:
		_, number, _ := s.o.State.Device()
		// The commit that enrolled this machine may be met again, behind those that what
		// waits was made on.
		if _, enrolled := s.o.Chain.Ledger.Device(number); enrolled && j.Commit.Device == number {
			return j, s.stop(fmt.Errorf("%w: slot %d", errTwin, slot))
		}
		s.keep(slot, object)
		return j, nil
	case chain.Junk:
		if twice {
			return j, nil
		}
		again, err := s.get(ctx, chain.SlotName(s.volume, slot), chain.MaxCommit)
		if err != nil {
			return j, fmt.Errorf("look at slot %d again: %w", slot, err)
		}
		if !bytes.Equal(again, object) {
			return j, differs(slot)
		}
		return j, nil
	case chain.Evidence:
		// Behind a dead slot it may be that a commit was damaged, and comes back.
		if slot == s.o.Chain.Slot+1 {
			s.o.Evidence(slot, object)
		}
	}
	return j, s.stop(trouble(slot, j))
}

// pass moves the chain over a slot that was judged, and says whether it was moved: an
// error may come after. The view comes after, several slots at a time: see show.
func (s *Syncer) pass(ctx context.Context, j chain.Judgement, f *fetched) (passed bool, err error) {
	slot, object := f.slot, f.object
	if j.Verdict == chain.Junk {
		few := slot-s.o.Chain.Slot <= deadFew
		if few {
			s.log.Warn("dead slot", "slot", uint64(slot), "reason", j.Reason)
		}
		s.setNext(slot + 1)
		s.countDead(slot, slot+1)
		if !few {
			return true, s.skipDead(ctx)
		}
		return true, nil
	}
	if len(s.unseen.slots) == 0 {
		s.unseen.state = s.o.View.Snapshot()
	}
	if err := s.advance(j.Commit, object); err != nil {
		return false, err
	}
	s.knows(j.Commit.ID, object)
	s.saw(f.at, f.up)
	u := &s.unseen
	u.slots = append(u.slots, view.Slot{No: uint64(slot), Batch: j.Commit.Batch, Usage: j.Commit.Usage})
	u.state.Apply(uint64(slot), j.Commit.Batch, j.Commit.Usage)
	u.bytes += len(object)
	s.setNext(slot + 1)
	if j.Commit.Checkpoint != nil || len(u.slots) >= unseenSlots || u.bytes >= unseenBytes {
		if err := s.show(ctx); err != nil {
			return true, err
		}
		s.folded(ctx, j.Commit)
	}
	return true, nil
}

// unseen are slots that the chain was moved over and the view was not. What is pending
// is executed again once for all of them.
type unseen struct {
	slots []view.Slot
	state *view.Confirmed // after the last of them
	bytes int             // of their commits
}

const (
	unseenSlots = 64
	unseenBytes = 8 << 20
)

// confirmed is the state after the newest slot of the chain; working is held.
func (s *Syncer) confirmed() meta.Reader {
	if len(s.unseen.slots) > 0 {
		return s.unseen.state
	}
	return s.o.View.Confirmed()
}

// aheadLeast is from how many pending operations on it is found out first what they mean
// over slots of others, while the map can be used: it may be for nothing.
const aheadLeast = 2000

// show moves the view to where the chain is; working is held. While it fails nothing
// else is done, and it is tried again.
func (s *Syncer) show(ctx context.Context) error {
	if len(s.unseen.slots) == 0 {
		return s.writeBehind()
	}
	if err := s.o.Gather(); err != nil {
		return err
	}
	first, last := s.unseen.slots[0].No, s.o.Chain.Slot
	if s.o.View.Pending().Len() >= aheadLeast {
		// Nobody waits meanwhile. What goes wrong is met again.
		_ = Retry(ctx, func() error { return s.o.View.Ahead(s.unseen.slots, s.o.Rebase()) })
	}
	err := Retry(ctx, func() error {
		return s.o.Switch(s.unseen.slots, func() (view.Followed, error) {
			return s.o.View.Follow(s.unseen.slots, s.o.Rebase(), s.o.Replace)
		})
	})
	if err != nil {
		return fmt.Errorf("follow slots %d to %d: %w", first, last, err)
	}
	s.unseen, s.behind = unseen{}, true
	s.o.Step("sync.followed")
	return s.writeBehind()
}

// writeBehind has journal and state know where the view went, if they do not; working is
// held. What stands for operations now must be on the disk before the state says that the
// slot was seen, or they would be executed on a state that they do not fit. While it fails
// nothing else is done, as with show.
func (s *Syncer) writeBehind() error {
	if !s.behind {
		return nil
	}
	if err := s.o.Persist(); err != nil {
		return err
	}
	if err := s.o.State.Remember(s.o.Chain.Remember(), 0); err != nil {
		return fmt.Errorf("remember slot %d: %w", s.o.Chain.Slot, err)
	}
	s.note()
	s.behind = false
	return nil
}

// advance moves the chain over a commit of another device.
func (s *Syncer) advance(c *chain.Commit, object []byte) error {
	s.met()
	if err := s.o.Chain.Advance(c); err != nil {
		return s.stop(err)
	}
	if len(c.Records) > 0 {
		s.o.Keys.learn(s.o.Chain)
		s.noticeSelf()
	}
	s.bytes += int64(len(object))
	s.moved = time.Now()
	return nil
}

// trouble puts a verdict into words.
func trouble(slot chain.Slot, j chain.Judgement) error {
	if j.Verdict == chain.Evidence {
		return fmt.Errorf("%w: slot %d: %s", ErrFork, slot, j.Reason)
	}
	if j.Newer {
		return newer{fmt.Errorf("slot %d: %s. This version of hushfs cannot go on from there; what waits stays in the journal of this machine until a newer one is installed", slot, j.Reason)}
	}
	return fmt.Errorf("slot %d: %s", slot, j.Reason)
}

// newer is a chain.ErrVersion in its own words.
type newer struct{ error }

func (newer) Is(target error) bool { return target == chain.ErrVersion }
