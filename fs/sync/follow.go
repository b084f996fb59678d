package sync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/view"
	"github.com/hushfs/hushfs/store"
)

// CatchUp follows every slot that is in the store and returns when the next one
// is free.
func (s *Syncer) CatchUp(ctx context.Context) error {
	s.working.Lock()
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
	for {
		slot := s.slot()
		object, err := s.get(ctx, chain.SlotName(s.o.Chain.Volume, slot), chain.MaxCommit)
		if errors.Is(err, store.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("look at slot %d: %w", slot, err)
		}
		j, err := s.judge(ctx, slot, object)
		if err != nil {
			return err
		}
		if _, err := s.pass(ctx, slot, j, len(object)); err != nil {
			return err
		}
	}
}

// judge says what the object that lies in slot is: a commit of another device,
// or junk, which two answers of the store agree on. Anything else stops
// publishing and is an error.
func (s *Syncer) judge(ctx context.Context, slot chain.Slot, object []byte) (chain.Judgement, error) {
	j, err := judge(ctx, s.o.Chain, slot, object, s.o.View.Confirmed())
	if err != nil {
		return j, fmt.Errorf("judge slot %d: %w", slot, err)
	}
	switch j.Verdict {
	case chain.Valid:
		_, number, _ := s.o.State.Device()
		if number != 0 && j.Commit.Device == number {
			return j, s.stop(fmt.Errorf("%w: slot %d", errTwin, slot))
		}
		return j, nil
	case chain.Junk:
		again, err := s.get(ctx, chain.SlotName(s.o.Chain.Volume, slot), chain.MaxCommit)
		if err != nil {
			return j, fmt.Errorf("look at slot %d again: %w", slot, err)
		}
		if !bytes.Equal(again, object) {
			return j, fmt.Errorf("slot %d: the store gave two different answers: %w", slot, store.ErrUnavailable)
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

// pass moves chain and view over a slot that was judged, and says whether they were
// moved: an error may come after.
func (s *Syncer) pass(ctx context.Context, slot chain.Slot, j chain.Judgement, size int) (passed bool, err error) {
	if j.Verdict == chain.Junk {
		s.log.Warn("dead slot", "slot", uint64(slot), "reason", j.Reason)
		if slot-s.o.Chain.Slot > deadMax {
			return false, s.stop(fmt.Errorf("%w: %d slots in a row hold no commit", ErrRollback, slot-s.o.Chain.Slot))
		}
		s.setNext(slot + 1)
		return true, nil
	}
	var failed []view.Failure
	err = Retry(ctx, func() (err error) {
		// Under mu, or who asks in between would take what failed for stored.
		s.mu.Lock()
		defer s.mu.Unlock()
		if failed, err = s.o.View.Follow(uint64(slot), j.Commit.Batch, j.Commit.Usage); err == nil {
			s.next = slot + 1
			s.failed += len(failed)
		}
		return err
	})
	if err != nil {
		return false, fmt.Errorf("follow slot %d: %w", slot, err)
	}
	if err := s.advance(ctx, j.Commit, size); err != nil {
		return true, err
	}
	s.o.Changed(j.Commit.Batch)
	if len(failed) > 0 {
		// They stay in the journal, whole.
		return true, s.stop(fmt.Errorf("%w: %d changes made here wait in the journal: %w", ErrConflict, len(failed), failed[0].Err))
	}
	if err := s.o.State.Remember(s.o.Chain.Remember(), 0); err != nil {
		return true, fmt.Errorf("remember slot %d: %w", slot, err)
	}
	return true, nil
}

// advance moves the chain over a commit that the view shows already.
func (s *Syncer) advance(ctx context.Context, c *chain.Commit, size int) error {
	if err := s.o.Chain.Advance(c); err != nil {
		return s.stop(err)
	}
	if len(c.Records) > 0 {
		s.o.Keys.learn(s.o.Chain)
	}
	s.bytes += int64(size)
	s.moved, s.heard = time.Now(), s.o.Uptime()
	s.folded(ctx, c)
	return nil
}

// trouble puts a verdict into words.
func trouble(slot chain.Slot, j chain.Judgement) error {
	if j.Verdict == chain.Evidence {
		return fmt.Errorf("%w: slot %d: %s", ErrFork, slot, j.Reason)
	}
	return fmt.Errorf("slot %d: %s", slot, j.Reason)
}
