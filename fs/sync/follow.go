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
	return s.catchUp(ctx)
}

func (s *Syncer) catchUp(ctx context.Context) error {
	for {
		slot := s.slot()
		object, err := s.o.Bucket.Get(ctx, chain.SlotName(s.o.Chain.Volume, slot), 0, -1)
		s.reached(err)
		if errors.Is(err, store.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("look at slot %d: %w", slot, err)
		}
		if err := s.follow(ctx, slot, object); err != nil {
			return err
		}
	}
}

// follow judges the object that lies in slot and moves chain and view over it.
func (s *Syncer) follow(ctx context.Context, slot chain.Slot, object []byte) error {
	j := s.o.Chain.Judge(slot, object, nil)
	if j.Verdict == chain.Junk {
		again, err := s.o.Bucket.Get(ctx, chain.SlotName(s.o.Chain.Volume, slot), 0, -1)
		s.reached(err)
		if err != nil {
			return fmt.Errorf("look at slot %d again: %w", slot, err)
		}
		if !bytes.Equal(again, object) {
			return fmt.Errorf("slot %d: the store gave two different answers: %w", slot, store.ErrUnavailable)
		}
		s.log.Warn("dead slot", "slot", uint64(slot), "reason", j.Reason)
		s.setNext(slot + 1)
		return nil
	}
	if j.Verdict != chain.Valid {
		return s.stop(trouble(slot, j))
	}
	if err := s.o.Chain.Advance(j.Commit); err != nil {
		return s.stop(err)
	}
	s.setNext(slot + 1)
	failed, err := s.o.View.Follow(uint64(slot), j.Commit.Batch)
	if err != nil {
		return s.stop(err)
	}
	if err := s.o.State.Remember(s.o.Chain.Remember(), 0); err != nil {
		return err
	}
	s.o.Changed(j.Commit.Batch)
	if len(failed) > 0 {
		// They stay in the journal, whole.
		return s.stop(fmt.Errorf("%w: %d changes made here wait in the journal: %w", ErrConflict, len(failed), failed[0].Err))
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
