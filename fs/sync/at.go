package sync

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/store"
)

// At returns the chain as it was at an earlier slot of l: operations that wait were made
// on that state, and are executed on it before what came later is followed. The Trouble
// and the damage are those of l. ErrTrimmed when that state cannot be had any more.
func (l *Loaded) At(ctx context.Context, slot chain.Slot) (*Loaded, error) {
	if slot >= l.Chain.Slot {
		return l, nil
	}
	id, ok, err := l.ID(ctx, slot)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("%w: slot %d", ErrTrimmed, slot)
	}
	w := &Loaded{o: l.o, newest: l.newest, key: l.key, hint: l.hint, ledgers: map[chain.ID]bool{}, forks: newForks(l.o.Settled)}
	if err := l.beginUnder(ctx, w, slot); err != nil {
		return nil, err
	}
	for w.Trouble == nil && !w.ended && w.Next <= slot {
		if err := w.passDead(ctx, slot); err != nil {
			return nil, err
		}
		if w.Next > slot {
			break
		}
		if err := w.replay(ctx, min(slot, w.Next+fetchAhead-1)); err != nil {
			return nil, err
		}
	}
	if w.Chain.Slot != slot || w.Chain.Head != id {
		return nil, fmt.Errorf("%w: slot %d", ErrTrimmed, slot)
	}
	w.earlier, w.counted = true, l.Next
	w.Trouble, w.Damaged, w.Skipped, w.Dead = l.Trouble, l.Damaged, l.Skipped, l.Dead
	w.Evidence, w.EvidenceSlot, w.Claim, w.Above = l.Evidence, l.EvidenceSlot, l.Claim, l.Above
	return w, nil
}

// beginUnder begins w at the newest checkpoint of l at or below a slot, or before slot 1.
func (l *Loaded) beginUnder(ctx context.Context, w *Loaded, slot chain.Slot) error {
	for at := l.Chain.Announced(); at.Slot > 0; {
		c, err := l.leads(ctx, at)
		if err != nil {
			return err
		}
		if c == nil {
			break
		}
		if c.Checkpoint.Slot <= slot {
			err := w.beginAt(ctx, at)
			if err == nil || passing(ctx, err) {
				return err
			}
			l.o.Log.Warn("checkpoint passed over", "slot", uint64(c.Checkpoint.Slot), "err", err)
		}
		at = c.Checkpoint.Before
	}
	return w.beginFirst()
}

// replay moves over the slots up to last, of which there are at most fetchAhead.
func (l *Loaded) replay(ctx context.Context, last chain.Slot) error {
	first := l.Next
	objects := make([][]byte, last-first+1)
	g, gctx := errgroup.WithContext(ctx)
	for i := range objects {
		g.Go(func() (err error) {
			objects[i], err = l.commit(gctx, first+chain.Slot(i))
			if errors.Is(err, store.ErrNotExist) {
				return nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("get slots %d to %d: %w", first, last, err)
	}
	for i, object := range objects {
		if object == nil {
			l.ended = true
			return nil
		}
		if err := l.judge(ctx, first+chain.Slot(i), object); err != nil || l.Trouble != nil {
			return err
		}
	}
	return nil
}

// commit gets the object of a slot.
func (l *Loaded) commit(ctx context.Context, slot chain.Slot) ([]byte, error) {
	object, err := l.o.Bucket.Get(ctx, chain.SlotName(l.o.Volume, slot), 0, chain.MaxCommit+1)
	if errors.Is(err, store.ErrNotExist) {
		if kept, kerr := l.o.Slots.Get(slot); kerr == nil {
			return kept, nil
		}
	}
	return object, err
}
