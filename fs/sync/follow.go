package sync

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/hushfs/hushfs/fs/chain"
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
		if err := s.pass(slot, j); err != nil {
			return err
		}
	}
}

// judge says what the object that lies in slot is: a commit of another device,
// or junk, which two answers of the store agree on. Anything else stops
// publishing and is an error.
func (s *Syncer) judge(ctx context.Context, slot chain.Slot, object []byte) (chain.Judgement, error) {
	j := s.o.Chain.Judge(slot, object, past{s.o.View.Confirmed()})
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

// pass moves chain and view over a slot that was judged.
func (s *Syncer) pass(slot chain.Slot, j chain.Judgement) error {
	if j.Verdict == chain.Junk {
		s.log.Warn("dead slot", "slot", uint64(slot), "reason", j.Reason)
		if slot-s.o.Chain.Slot > deadMax {
			return s.stop(fmt.Errorf("%w: %d slots in a row hold no commit", ErrRollback, slot-s.o.Chain.Slot))
		}
		s.setNext(slot + 1)
		return nil
	}
	if err := s.o.Chain.Advance(j.Commit); err != nil {
		return s.stop(err)
	}
	s.mu.Lock()
	s.next = slot + 1
	// Under mu, or who asks in between would take what failed for stored.
	failed, err := s.o.View.Follow(uint64(slot), j.Commit.Batch)
	s.failed += len(failed)
	s.mu.Unlock()
	if err != nil {
		return s.stop(err)
	}
	s.o.Changed(j.Commit.Batch)
	if len(failed) > 0 {
		// They stay in the journal, whole.
		return s.stop(fmt.Errorf("%w: %d changes made here wait in the journal: %w", ErrConflict, len(failed), failed[0].Err))
	}
	if err := s.o.State.Remember(s.o.Chain.Remember(), 0); err != nil {
		return fmt.Errorf("remember slot %d: %w", slot, err)
	}
	return nil
}

// trouble puts a verdict into words.
func trouble(slot chain.Slot, j chain.Judgement) error {
	if j.Verdict == chain.Evidence {
		return fmt.Errorf("%w: slot %d: %s", ErrFork, slot, j.Reason)
	}
	return fmt.Errorf("slot %d: %s", slot, j.Reason)
}
