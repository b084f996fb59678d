package sync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/store"
)

const (
	// deadFew is how many dead slots in a row are looked at one by one. Junk costs whoever
	// puts it there a request each, and there may be a million: then only the ends are
	// fetched, many at a time, which tell that it is nobody's commit.
	deadFew = 16

	// deadAhead is how many ends are on their way at a time.
	deadAhead = 64

	// deadMost is how many are passed over at a time.
	deadMost = 1 << 18

	// deadTold is how often it is said how far that is.
	deadTold = 10 * time.Second
)

// passForeign returns the first slot from one on, and not above last, that is absent or
// may hold a commit. What lies in those before it was sealed with no key that counts, as
// two equal answers of the store show. It holds a few ends at a time.
func passForeign(ctx context.Context, b store.Bucket, st *chain.State, from, last chain.Slot, log *slog.Logger) (chain.Slot, error) {
	told := time.Now()
	for slot := from; ; {
		n := chain.Slot(deadAhead)
		if last-slot < n {
			n = last - slot + 1
		}
		foreign := make([]bool, n)
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(deadAhead)
		for i := range foreign {
			g.Go(func() (err error) {
				foreign[i], err = isForeign(gctx, b, st, slot+chain.Slot(i))
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return from, err
		}
		for _, f := range foreign {
			if !f {
				if slot > from {
					log.Warn("dead slots were passed over", "from", uint64(from), "to", uint64(slot-1))
				}
				return slot, nil
			}
			slot++
		}
		if slot > last {
			return slot, nil
		}
		if time.Since(told) >= deadTold {
			told = time.Now()
			log.Warn("many slots hold no commit; they are passed over", "from", uint64(from), "now", uint64(slot))
		}
	}
}

func isForeign(ctx context.Context, b store.Bucket, st *chain.State, slot chain.Slot) (bool, error) {
	name := chain.SlotName(st.Volume, slot)
	end, err := b.Get(ctx, name, -chain.EndLength, -1)
	if errors.Is(err, store.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at the end of slot %d: %w", slot, err)
	}
	if !st.Foreign(end) {
		return false, nil
	}
	again, err := b.Get(ctx, name, -chain.EndLength, -1)
	if err != nil {
		return false, fmt.Errorf("look at the end of slot %d again: %w", slot, err)
	}
	if !bytes.Equal(end, again) {
		return false, fmt.Errorf("slot %d: the store gave two different answers: %w", slot, store.ErrUnavailable)
	}
	return true, nil
}

// follow moves over the slots that the store has, up to last. It lists some of them at a
// time, so that no number of them fills the memory.
func (l *Loaded) follow(ctx context.Context, last chain.Slot) error {
	for {
		begun := l.Next
		slots, above, err := someSlots(ctx, l.o.Bucket, l.o.Volume, begun)
		if err != nil {
			return err
		}
		for n, s := range slots {
			if s > last {
				slots, above = slots[:n], nil
				break
			}
		}
		for len(slots) > 0 && l.Trouble == nil && !l.ended {
			n := min(len(slots), fetchAhead)
			done, err := l.followRun(ctx, slots[:n])
			if err != nil {
				return err
			}
			if slots = slots[done:]; l.dead >= deadFew && !l.ended && l.Trouble == nil {
				if err := l.passDead(ctx, last); err != nil {
					return err
				}
				for len(slots) > 0 && slots[0] < l.Next {
					slots = slots[1:]
				}
			}
		}
		switch {
		case l.Trouble != nil:
			return nil
		case l.ended:
			return l.above(ctx, edges(slots, above))
		case len(above) == 0 || l.Next > last:
			return nil
		case l.Next == begun:
			// Nothing is listed next, and something further up.
			l.ended = true
			return l.above(ctx, edges(nil, above))
		}
	}
}

// edges are the lowest and the highest of the slots above an absent one, of which next
// are the lowest and newest, unless there are no others, the highest.
func edges(next, newest []chain.Slot) []chain.Slot {
	if len(newest) == 0 {
		newest = next
	}
	look := slices.Concat(next[:min(len(next), lookAbove)], newest[max(0, len(newest)-lookAbove):])
	slices.Sort(look)
	return slices.Compact(look)
}

// passDead passes over a long row of dead slots, to a commit or an absent slot. Nothing
// is listed for it: a store that has very many objects may take its time for that.
func (l *Loaded) passDead(ctx context.Context, last chain.Slot) error {
	for l.dead >= deadFew && l.Trouble == nil && l.Next <= last {
		next, err := passForeign(ctx, l.o.Bucket, l.Chain, l.Next, last, l.o.Log)
		if err != nil {
			return err
		}
		for s := l.Next; s < next && len(l.Damaged) < damagedMax; s++ {
			l.damage(s)
		}
		l.dead += int(next - l.Next)
		if l.Next = next; next > last {
			return nil
		}
		object, err := l.o.Bucket.Get(ctx, chain.SlotName(l.o.Volume, next), 0, chain.MaxCommit+1)
		if errors.Is(err, store.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("get slot %d: %w", next, err)
		}
		if err := l.judge(ctx, next, object); err != nil {
			return err
		}
	}
	return nil
}

// someSlots returns slots from one on that the store lists, ascending: all, or where these
// are many some, and then also the newest.
func someSlots(ctx context.Context, b store.Bucket, vol crypt.VolumeID, from chain.Slot) (slots, newest []chain.Slot, err error) {
	slots, all, err := listPage(ctx, b, vol, "", from)
	if err != nil || all {
		return slots, nil, err
	}
	newest = slots
	slots, _, err = listPage(ctx, b, vol, chain.SlotName(vol, from+store.DefaultList), from)
	return slots, newest, err
}

// listPage returns the slots of a page of a listing, ascending, that are not below from,
// and whether no others are between.
func listPage(ctx context.Context, b store.Bucket, vol crypt.VolumeID, after string, from chain.Slot) (slots []chain.Slot, all bool, err error) {
	page, err := b.List(ctx, chain.SlotPrefix(vol), after, 0)
	if err != nil {
		return nil, false, fmt.Errorf("list commits: %w", err)
	}
	all = len(page) < store.DefaultList
	for i := len(page) - 1; i >= 0; i-- { // the newest come first
		s, ok := chain.ParseSlotName(vol, page[i].Name)
		if ok && s >= from {
			slots = append(slots, s)
		}
		all = all || ok && s < from
	}
	return slots, all, nil
}

// skipDead passes over a long row of dead slots; working is held. It goes no further than
// what the store lists, and not very far at a time: a store that has an object for every
// name that it is asked for must keep nobody busy for ever.
func (s *Syncer) skipDead(ctx context.Context) error {
	from := s.slot()
	if s.squatted < from {
		// Once for all of them: where very many lie in a folder, each listing reads it whole.
		newest, _, err := listPage(ctx, s.o.Bucket, s.o.Chain.Volume, "", from-1)
		s.reached(err)
		if err != nil {
			return err
		}
		if len(newest) == 0 {
			// Not even the one that was just read. They are looked at anew.
			s.setNext(s.o.Chain.Slot + 1)
			return fmt.Errorf("the store has objects in slots up to %d that it does not list: %w", from-1, store.ErrUnavailable)
		}
		s.squatted = newest[len(newest)-1]
	}
	last := min(s.squatted, from+deadMost-1)
	if last < from {
		return nil
	}
	next, err := passForeign(ctx, s.o.Bucket, s.o.Chain, from, last, s.log)
	s.reached(err)
	if err != nil {
		return err
	}
	s.setNext(next)
	if next > last && last == from+deadMost-1 {
		return fmt.Errorf("the %d slots up to %d hold no commit, and there are more: %w", last-s.o.Chain.Slot, last, store.ErrUnavailable)
	}
	return nil
}
