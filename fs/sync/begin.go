package sync

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/store"
)

// begin sets the state from which the chain is followed: that of the newest checkpoint
// that a hint leads to and that can be begun with, or that before slot 1. A checkpoint
// that cannot be read is passed over as long as there is something else; where the
// commits before it were trimmed there may be nothing, and that is ErrTrimmed.
func (l *Loaded) begin(ctx context.Context) error {
	at, err := l.newestGood(ctx, l.hint.Fold)
	if passing(ctx, err) {
		return err
	}
	if err == nil && at.Slot > 0 {
		err = l.beginAt(ctx, at)
		if err == nil || passing(ctx, err) {
			return err
		}
	}
	if err != nil {
		l.o.Log.Warn("checkpoint passed over", "announced", uint64(l.hint.Fold.Slot), "err", err)
		found, herr := l.beginByOlder(ctx)
		if found || herr != nil {
			return herr
		}
	}
	if err == nil {
		return l.beginFirst()
	}
	there, gerr := l.firstThere(ctx)
	if gerr != nil {
		return gerr
	}
	if !there {
		return fmt.Errorf("%w: no checkpoint can be read, and the commits under them are not there any more: %w", ErrTrimmed, err)
	}
	return l.beginFirst()
}

// newestGood goes down from the checkpoint that the commit at announces to the first that
// is neither wrong nor rests on a wrong one; slot 0 where there is none.
func (l *Loaded) newestGood(ctx context.Context, at chain.Link) (chain.Link, error) {
	lowest := l.o.Wrong.lowest()
	if lowest == 0 {
		return l.below(ctx, at)
	}
	good := at
	for at.Slot > 0 {
		c, err := l.announcing(ctx, at)
		if err != nil {
			return at, err
		}
		k := c.Checkpoint
		if k.Slot < lowest {
			break
		}
		at = k.Before
		if l.o.Wrong.is(k.Slot) {
			good = at
		}
	}
	return l.below(ctx, good)
}

// below goes down from at to the first checkpoint that is announced under the slot that
// this load must stay under.
func (l *Loaded) below(ctx context.Context, at chain.Link) (chain.Link, error) {
	for l.under > 0 && at.Slot >= l.under {
		c, err := l.announcing(ctx, at)
		if err != nil {
			return at, err
		}
		at = c.Checkpoint.Before
	}
	return at, nil
}

// olderMax is how many hints are looked at for another checkpoint.
const olderMax = 256

// beginByOlder begins with the newest checkpoint that an older hint leads to.
func (l *Loaded) beginByOlder(ctx context.Context) (bool, error) {
	failed := map[chain.Link]bool{l.hint.Fold: true}
	after := chain.HintName(l.o.Volume, l.hint.Slot)
	for range olderMax / hintsPage {
		page, err := l.o.Bucket.List(ctx, chain.HintPrefix(l.o.Volume), after, hintsPage)
		if err != nil {
			return false, fmt.Errorf("list hints: %w", err)
		}
		for _, i := range page {
			f, err := openHint(ctx, l.o.Bucket, l.o.Volume, l.o.Identity, i.Name)
			if passing(ctx, err) {
				return false, err
			}
			if err != nil && !errors.Is(err, chain.ErrNoBox) { // a newer member has none in older hints
				slot, _ := chain.ParseHintName(l.o.Volume, i.Name)
				l.o.Hints.pass(passedHint{name: i.Name, slot: slot, err: err})
			}
			if err != nil || failed[f.hint.Fold] || f.hint.Fold.Slot == 0 {
				continue
			}
			failed[f.hint.Fold] = true
			at, err := l.newestGood(ctx, f.hint.Fold)
			if err == nil && at.Slot > 0 {
				err = l.beginAt(ctx, at)
			}
			switch {
			case passing(ctx, err):
				return false, err
			case err != nil:
				l.o.Log.Warn("checkpoint passed over", "announced", uint64(at.Slot), "err", err)
			case at.Slot > 0:
				return true, nil
			}
		}
		if len(page) < hintsPage {
			break
		}
		after = page[len(page)-1].Name
	}
	return false, nil
}

// firstThere says whether the chain's first commit is there.
func (l *Loaded) firstThere(ctx context.Context) (bool, error) {
	_, err := l.o.Bucket.Get(ctx, chain.SlotName(l.o.Volume, 1), 0, 1)
	if errors.Is(err, store.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at slot 1: %w", err)
	}
	return true, nil
}

// beginLow begins as low as commits lead on to what is there now: before slot 1, or where
// the oldest were trimmed at the lowest checkpoint above which all are there.
func (l *Loaded) beginLow(ctx context.Context) error {
	there, err := l.firstThere(ctx)
	if err != nil {
		return err
	}
	if there || l.hint.Fold.Slot == 0 {
		return l.beginFirst()
	}
	slots, err := listSlots(ctx, l.o.Bucket, l.o.Volume, 1)
	if err != nil {
		return err
	}
	at, err := l.newestGood(ctx, l.hint.Fold)
	if err != nil {
		return err
	}
	for low := at; low.Slot > 0; {
		c, err := l.leads(ctx, low)
		if err != nil {
			return err
		}
		if c == nil {
			break
		}
		at, low = low, c.Checkpoint.Before
		if len(c.Checkpoint.Steps) == 0 || !allListed(c.Checkpoint.Steps, slots) {
			break
		}
	}
	if at.Slot == 0 {
		return fmt.Errorf("%w: no checkpoint can be read, and the first commits are not there any more", ErrTrimmed)
	}
	l.o.Log.Warn("old commits were trimmed; the lowest checkpoint above them is begun with", "announced", uint64(at.Slot))
	return l.beginAt(ctx, at)
}

// allListed says whether all steps are of slots, which ascend.
func allListed(steps []chain.Step, slots []chain.Slot) bool {
	for _, s := range steps {
		if _, there := slices.BinarySearch(slots, s.Slot); !there {
			return false
		}
	}
	return true
}
