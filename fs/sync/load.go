package sync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/view"
	"github.com/hushfs/hushfs/store"
)

// Loaded is the chain as the store shows it, followed to its end.
type Loaded struct {
	Chain     *chain.State
	Confirmed *view.Memory
	Next      chain.Slot              // the first slot that is free
	IDs       map[chain.Slot]chain.ID // of the valid commits
	Trouble   error                   // why nothing may be written; the state is that before it
	Damaged   []string                // objects that are missing or no commits
}

// hintsPage is how many hints are listed at a time, newest first.
const hintsPage = 64

// fetchAhead is how many commits are on their way at a time.
const fetchAhead = 16

// Load finds the volume's key and ledger, and follows the chain from slot 1. The
// hint that it found them by is a claim, signed by a device, that there was a
// slot: a store that does not show that slot is missing commits.
func Load(ctx context.Context, b store.Bucket, vol crypt.VolumeID, id *identity.Identity, log *slog.Logger) (*Loaded, error) {
	f, err := findLedger(ctx, b, vol, id, log)
	if err != nil {
		return nil, err
	}
	start, err := chain.NewState(vol, f.key, f.ledger)
	if err != nil {
		return nil, err
	}
	start.Identity = id
	l := &Loaded{Chain: start, Confirmed: view.NewMemory(), Next: 1, IDs: map[chain.Slot]chain.ID{0: start.Head}}
	slots, err := listSlots(ctx, b, vol)
	if err != nil {
		return nil, err
	}
	for len(slots) > 0 && l.Trouble == nil {
		n := min(len(slots), fetchAhead)
		if err := l.followRun(ctx, b, slots[:n], log); err != nil {
			return nil, err
		}
		slots = slots[n:]
	}
	if got, ok := l.IDs[f.hint.Slot]; l.Trouble == nil && (!ok || got != f.hint.Commit) {
		l.Trouble = fmt.Errorf("%w: device %d vouches for slot %d, and it is not there", ErrRollback, f.hint.Device, f.hint.Slot)
	}
	return l, nil
}

// listSlots returns the slots that the store lists, ascending.
func listSlots(ctx context.Context, b store.Bucket, vol crypt.VolumeID) ([]chain.Slot, error) {
	var slots []chain.Slot
	for after := ""; ; {
		page, err := b.List(ctx, chain.SlotPrefix(vol), after, 0)
		if err != nil {
			return nil, fmt.Errorf("list commits: %w", err)
		}
		for _, i := range page {
			if s, ok := chain.ParseSlotName(vol, i.Name); ok && s > 0 {
				slots = append(slots, s)
			}
		}
		if len(page) < store.DefaultList {
			break
		}
		after = page[len(page)-1].Name
	}
	slices.Reverse(slots)
	return slots, nil
}

// followRun gets the commits of a run of slots side by side and judges them in
// their order.
func (l *Loaded) followRun(ctx context.Context, b store.Bucket, slots []chain.Slot, log *slog.Logger) error {
	objects := make([][]byte, len(slots))
	g, gctx := errgroup.WithContext(ctx)
	for i, s := range slots {
		g.Go(func() error {
			o, err := b.Get(gctx, chain.SlotName(l.Chain.Volume, s), 0, chain.MaxCommit+1)
			if err != nil && !errors.Is(err, store.ErrNotExist) {
				return fmt.Errorf("get slot %d: %w", s, err)
			}
			objects[i] = o
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, s := range slots {
		if err := l.judge(ctx, b, s, objects[i], log); err != nil || l.Trouble != nil {
			return err
		}
	}
	return nil
}

// judge moves over one slot.
func (l *Loaded) judge(ctx context.Context, b store.Bucket, slot chain.Slot, object []byte, log *slog.Logger) error {
	for ; l.Next < slot; l.Next++ {
		l.missing(l.Next)
	}
	if object == nil {
		l.missing(slot)
		l.Next = slot + 1
		return nil
	}
	j := l.Chain.Judge(slot, object, nil)
	switch j.Verdict {
	case chain.Valid:
	case chain.Junk:
		again, err := b.Get(ctx, chain.SlotName(l.Chain.Volume, slot), 0, chain.MaxCommit+1)
		if err != nil {
			return fmt.Errorf("get slot %d again: %w", slot, err)
		}
		if !bytes.Equal(again, object) {
			return fmt.Errorf("slot %d: the store gave two different answers: %w", slot, store.ErrUnavailable)
		}
		log.Warn("dead slot", "object", chain.SlotName(l.Chain.Volume, slot), "reason", j.Reason)
		l.Damaged = append(l.Damaged, chain.SlotName(l.Chain.Volume, slot))
		l.Next = slot + 1
		return nil
	default:
		l.Trouble = trouble(slot, j)
		if len(l.Damaged) > 0 {
			l.Trouble = fmt.Errorf("%w: what came after %s cannot be trusted", ErrRollback, l.Damaged[0])
		}
		return nil
	}
	if err := l.Confirmed.Apply(uint64(slot), j.Commit.Batch); err != nil {
		return err
	}
	if err := l.Chain.Advance(j.Commit); err != nil {
		return err
	}
	l.IDs[slot] = j.Commit.ID
	l.Next = slot + 1
	return nil
}

func (l *Loaded) missing(s chain.Slot) {
	l.Damaged = append(l.Damaged, chain.SlotName(l.Chain.Volume, s))
}
