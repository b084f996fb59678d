package sync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/store"
)

const (
	// fetchAhead is how many commits are on their way at a time.
	fetchAhead = 16

	// lookAbove is how many objects above the first absent slot are looked at, and how
	// many of the newest.
	lookAbove = 64

	// damagedMax is how many objects are named.
	damagedMax = 100
)

// above looks whether a commit lies above the absent slot. What else lies there is nobody's:
// it is counted, and stays where it is.
func (l *Loaded) above(ctx context.Context, slots []chain.Slot) error {
	for _, s := range slots {
		o, err := l.o.Bucket.Get(ctx, chain.SlotName(l.Chain.Volume, s), 0, chain.MaxCommit+1)
		if errors.Is(err, store.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("get slot %d: %w", s, err)
		}
		j, err := judge(ctx, l.Chain, s, o, l.Confirmed)
		if err != nil {
			return err
		}
		if j.Verdict != chain.Junk {
			l.damage(l.Next)
			l.Above = s
			l.Trouble = fmt.Errorf("%w: slot %d is not there, and slot %d is", ErrRollback, l.Next, s)
			return nil
		}
		if l.Stray++; l.StrayFirst == "" {
			l.StrayFirst = chain.SlotName(l.Chain.Volume, s)
		}
	}
	if l.Stray > 0 {
		l.o.Log.Warn("objects above the first free slot are nobody's commits", "n", l.Stray, "first", l.StrayFirst)
	}
	return nil
}

// listSlots returns the slots from a slot on that the store lists, ascending.
func listSlots(ctx context.Context, b store.Bucket, vol crypt.VolumeID, from chain.Slot) ([]chain.Slot, error) {
	var slots []chain.Slot
	for after := ""; ; {
		page, err := b.List(ctx, chain.SlotPrefix(vol), after, listedMost)
		if err != nil {
			return nil, fmt.Errorf("list commits: %w", err)
		}
		older := false // the newest come first
		for _, i := range page {
			s, ok := chain.ParseSlotName(vol, i.Name)
			if ok && s >= from {
				slots = append(slots, s)
			}
			older = older || ok && s < from
		}
		if older || len(page) < listedMost {
			break
		}
		last := page[len(page)-1].Name
		if last <= after {
			return nil, fmt.Errorf("list commits: the store repeats itself: %w", store.ErrUnavailable)
		}
		after = last
	}
	slices.Reverse(slots)
	return slots, nil
}

// followRun gets the commits of a run of slots side by side and judges them in
// their order, until one is absent. It says how many were there.
func (l *Loaded) followRun(ctx context.Context, slots []chain.Slot) (int, error) {
	for i, s := range slots {
		if s != l.Next+chain.Slot(i) {
			slots, l.ended = slots[:i], true
			break
		}
	}
	objects := make([][]byte, len(slots))
	g, gctx := errgroup.WithContext(ctx)
	for i, s := range slots {
		if s == l.begun {
			objects[i] = l.object
			continue
		}
		g.Go(func() error {
			o, err := l.o.Bucket.Get(gctx, chain.SlotName(l.Chain.Volume, s), 0, chain.MaxCommit+1)
			if err != nil && !errors.Is(err, store.ErrNotExist) {
				return fmt.Errorf("get slot %d: %w", s, err)
			}
			objects[i] = o
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	for i, s := range slots {
		if objects[i] == nil {
			l.ended = true // listed, and gone
			return i, nil
		}
		if err := l.judge(ctx, s, objects[i]); err != nil || l.Trouble != nil {
			return i, err
		}
	}
	return len(slots), nil
}

// judge moves over the next slot.
func (l *Loaded) judge(ctx context.Context, slot chain.Slot, object []byte) error {
	return l.decide(ctx, slot, object, false)
}

// decide is judge of an object that the store gave once, or twice already.
func (l *Loaded) decide(ctx context.Context, slot chain.Slot, object []byte, twice bool) error {
	j, err := judge(ctx, l.Chain, slot, object, l.Confirmed)
	if err != nil {
		return err
	}
	if j.Verdict == chain.Evidence {
		over, err := l.forks.over(ctx, l.o.Bucket, l.Chain, j.Commit, l.Confirmed)
		if err != nil {
			return err
		}
		if over {
			l.o.Log.Warn("a commit of another history is passed over: it was settled, or its device removed", "object", chain.SlotName(l.Chain.Volume, slot), "commit", j.Commit.ID.String(), "device", int(j.Commit.Device))
			l.Next = slot + 1
			return nil
		}
	}
	switch j.Verdict {
	case chain.Valid:
		if err := l.move(ctx, j.Commit, int64(len(object))); err != nil {
			return err
		}
		if l.o.Keep != nil {
			l.o.Keep(slot, object)
		}
		l.o.Slots.Put(slot, object)
		return nil
	case chain.Junk:
		if !twice {
			again, err := l.o.Bucket.Get(ctx, chain.SlotName(l.Chain.Volume, slot), 0, chain.MaxCommit+1)
			if err != nil {
				return fmt.Errorf("get slot %d again: %w", slot, err)
			}
			if !bytes.Equal(again, object) {
				return differs(slot)
			}
		}
		if l.dead < deadFew {
			l.o.Log.Warn("dead slot", "object", chain.SlotName(l.Chain.Volume, slot), "reason", j.Reason)
		}
		l.damage(slot)
		l.Next = slot + 1
		l.dead++
		return nil
	}
	l.Trouble = trouble(slot, j)
	switch {
	case l.dead > 0 && j.Verdict == chain.Evidence:
		// A commit that was damaged looks like this too, and may come back.
		l.Trouble = fmt.Errorf("%w: what came after %s cannot be trusted", ErrRollback, l.Damaged[0])
	case j.Verdict == chain.Evidence:
		l.Evidence, l.EvidenceSlot = object, slot
	}
	return nil
}

// move moves chain and state over a valid commit of size bytes.
func (l *Loaded) move(ctx context.Context, c *chain.Commit, size int64) error {
	if err := l.Chain.Advance(c); err != nil {
		return err
	}
	l.Confirmed.Apply(uint64(c.Slot), c.Batch, c.Usage)
	if len(c.Records) > 0 {
		l.o.Keys.learn(l.Chain)
	}
	l.bytes += size
	set, err := fold(ctx, l.Chain, c, l.Confirmed, l.o)
	if err != nil {
		return err
	}
	if set != nil {
		l.Confirmed.Rebase(uint64(c.Checkpoint.Slot), set)
		l.tables, l.bytes = set, size
	}
	l.ledgers[l.Chain.Ledger.Head()] = true
	l.ids[c.Slot] = c.ID
	l.wentOn()
	l.Next, l.dead = c.Slot+1, 0
	return nil
}

// wentOn takes the dead slots since the last commit for what they are: the next one goes
// on over them.
func (l *Loaded) wentOn() {
	l.Skipped = append(l.Skipped, l.Damaged[:min(len(l.Damaged), damagedMax-len(l.Skipped))]...)
	l.Dead, l.Damaged = l.Dead+l.dead, nil
}

// Doubtful is how many slots above the newest commit hold none, and the newest of them.
// They may have been commits; but not when one goes on over them.
func (l *Loaded) Doubtful() (n int, upto chain.Slot) { return l.dead, l.Next - 1 }

// damage names an object that is missing or no commit.
func (l *Loaded) damage(s chain.Slot) {
	if len(l.Damaged) < damagedMax {
		l.Damaged = append(l.Damaged, chain.SlotName(l.Chain.Volume, s))
	}
}
