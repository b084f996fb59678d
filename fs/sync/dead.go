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
	// fetched, many at a time, which mostly tell that it is nobody's commit.
	deadFew = 16

	// deadAhead is how many ends are on their way at a time.
	deadAhead = 64

	// deadMost is how many are passed over at a time.
	deadMost = 1 << 18

	// deadTold is after how long it is said for the first time in the log how far that is,
	// and deadSeldom how often at last; deadShown is how often LoadOptions.Passing is called.
	deadTold   = 10 * time.Second
	deadSeldom = 10 * time.Minute
	deadShown  = 200 * time.Millisecond
)

// row passes over a long row of dead slots.
type row struct {
	b       store.Bucket
	st      *chain.State
	log     *slog.Logger
	passing func(from, at, last chain.Slot) // see LoadOptions.Passing; nil: nobody is told

	// whole is given an object whose end does not tell what it is, and that the store
	// gave twice. True: it is dead too, and st is as it was.
	whole func(ctx context.Context, slot chain.Slot, object []byte) (dead bool, err error)
}

// at is what lies in a slot, as far as its end tells.
type at struct {
	absent, foreign bool
	object          []byte // all of it; nil before it was fetched
}

// pass returns the first slot from one on, and not above last, that is absent or not
// dead. What lies in those before it was sealed with no key that counts, or is dead by
// the word of whole; either way two equal answers of the store show it. It holds a few
// objects at a time. After an error the slots below the one that it returns are passed.
func (r *row) pass(ctx context.Context, from, last chain.Slot) (chain.Slot, error) {
	begun, wait := time.Now(), deadTold
	due, shown := begun.Add(wait), time.Time{}
	for slot := from; slot <= last; {
		some, err := r.look(ctx, slot, last)
		if err != nil {
			return slot, err
		}
		for i := range some {
			dead := some[i].foreign
			if !dead && !some[i].absent {
				if dead, err = r.decide(ctx, slot, some[i:]); err != nil {
					return slot, err
				}
			}
			if !dead {
				return slot, nil
			}
			slot++
		}
		now := time.Now()
		if r.passing != nil && now.Sub(shown) >= deadShown {
			r.passing(from, slot, last)
			shown = now
		}
		if now.After(due) {
			r.log.Warn("many slots hold no commit; they are passed over", "from", uint64(from), "now", uint64(slot), "took", now.Sub(begun).Round(time.Second))
			wait = min(2*wait, deadSeldom)
			due = now.Add(wait)
		}
	}
	return last + 1, nil
}

// look fetches the ends of some slots side by side.
func (r *row) look(ctx context.Context, slot, last chain.Slot) ([]at, error) {
	n := chain.Slot(deadAhead)
	if last-slot < n {
		n = last - slot + 1
	}
	some := make([]at, n)
	g, ctx := errgroup.WithContext(ctx)
	for i := range some {
		g.Go(func() error { return r.end(ctx, slot+chain.Slot(i), &some[i]) })
	}
	return some, g.Wait()
}

// end finds out what the end of an object tells.
func (r *row) end(ctx context.Context, slot chain.Slot, a *at) error {
	name := chain.SlotName(r.st.Volume, slot)
	end, err := r.b.Get(ctx, name, -chain.EndLength, -1)
	if errors.Is(err, store.ErrNotExist) {
		a.absent = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the end of slot %d: %w", slot, err)
	}
	if !r.st.Foreign(end) {
		return nil
	}
	again, err := r.b.Get(ctx, name, -chain.EndLength, -1)
	if err != nil {
		return fmt.Errorf("look at the end of slot %d again: %w", slot, err)
	}
	if !bytes.Equal(end, again) {
		return differs(slot)
	}
	a.foreign = true
	return nil
}

// decide says whether the first of some slots is dead, of which the end does not tell it.
// Where many are like that somebody has an old key, and no right to write. So those
// behind it are fetched beside it.
func (r *row) decide(ctx context.Context, slot chain.Slot, some []at) (dead bool, err error) {
	if some[0].object == nil {
		g, gctx := errgroup.WithContext(ctx)
		n := 0
		for i := range some {
			if some[i].absent || n == fetchAhead {
				break // what lies above an absent slot is nobody's
			}
			if !some[i].foreign {
				n++
				g.Go(func() (err error) {
					some[i].object, err = r.twice(gctx, slot+chain.Slot(i))
					return err
				})
			}
		}
		if err := g.Wait(); err != nil {
			return false, err
		}
	}
	object := some[0].object
	some[0].object = nil
	return r.whole(ctx, slot, object)
}

// twice fetches an object two times.
func (r *row) twice(ctx context.Context, slot chain.Slot) ([]byte, error) {
	name := chain.SlotName(r.st.Volume, slot)
	object, err := r.b.Get(ctx, name, 0, chain.MaxCommit+1)
	if err != nil {
		return nil, fmt.Errorf("get slot %d: %w", slot, err)
	}
	again, err := r.b.Get(ctx, name, 0, chain.MaxCommit+1)
	if err != nil {
		return nil, fmt.Errorf("get slot %d again: %w", slot, err)
	}
	if !bytes.Equal(object, again) {
		return nil, differs(slot)
	}
	return object, nil
}

// differs: nothing is decided by a store that says one thing and then another.
func differs(slot chain.Slot) error {
	return fmt.Errorf("slot %d: the store gave two different answers: %w", slot, store.ErrUnavailable)
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
		// A store that has an object for every name that it is asked for keeps nobody busy
		// for ever.
		top := min(last, highest(slots, above))
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
				if err := l.passDead(ctx, top); err != nil {
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

// highest is the highest of slots, of which next are the lowest and above, unless there
// are no others, the highest; 0: there are none.
func highest(next, above []chain.Slot) (top chain.Slot) {
	for _, s := range [][]chain.Slot{next, above} {
		if len(s) > 0 {
			top = max(top, s[len(s)-1])
		}
	}
	return top
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

// passDead passes over a long row of dead slots, to a commit, which it moves over, or an
// absent slot, and not above last. Nothing is listed for it: a store that has very many
// objects may take its time for that.
func (l *Loaded) passDead(ctx context.Context, last chain.Slot) error {
	if l.dead < deadFew || l.Trouble != nil || l.Next > last {
		return nil
	}
	from := l.Next
	r := row{b: l.o.Bucket, st: l.Chain, log: l.o.Log, passing: l.o.Passing}
	r.whole = func(ctx context.Context, slot chain.Slot, object []byte) (bool, error) {
		l.pass(slot)
		err := l.decide(ctx, slot, object, true)
		return l.Trouble == nil && l.Chain.Slot < slot, err
	}
	next, err := r.pass(ctx, l.Next, last)
	if err != nil {
		return err
	}
	l.pass(next)
	if next > from+1 {
		l.o.Log.Warn("dead slots were passed over", "from", uint64(from), "to", uint64(next-1))
	}
	return nil
}

// pass moves over dead slots below one.
func (l *Loaded) pass(next chain.Slot) {
	for s := l.Next; s < next && len(l.Damaged) < damagedMax; s++ {
		l.damage(s)
	}
	if next > l.Next {
		l.dead += int(next - l.Next)
		l.Next = next
	}
}

// someSlots returns slots from one on that the store lists, ascending: all, or where these
// are many some, and then also the newest.
func someSlots(ctx context.Context, b store.Bucket, vol crypt.VolumeID, from chain.Slot) (slots, newest []chain.Slot, err error) {
	slots, all, err := listPage(ctx, b, vol, "", from)
	if err != nil || all {
		return slots, nil, err
	}
	newest, slots = slots, nil
	// All of them: where other names lie between, a page may leave out the first.
	after := chain.SlotName(vol, from+store.DefaultList)
	for range pagesMost {
		page, err := listNames(ctx, b, vol, after)
		if err != nil {
			return nil, nil, err
		}
		some, _ := slotsIn(vol, page, from)
		slots = append(some, slots...)
		if len(page) < store.DefaultList || page[len(page)-1].Name >= chain.SlotName(vol, from) {
			return slots, newest, nil
		}
		after = page[len(page)-1].Name
	}
	return nil, nil, errNames
}

// listPage returns the slots of a page of a listing, ascending, that are not below from,
// and whether no others are between. Names that are no slots', of which anybody can make
// very many, are passed over: a page without a slot is none.
func listPage(ctx context.Context, b store.Bucket, vol crypt.VolumeID, after string, from chain.Slot) (slots []chain.Slot, all bool, err error) {
	for range pagesMost {
		page, err := listNames(ctx, b, vol, after)
		if err != nil {
			return nil, false, err
		}
		slots, older := slotsIn(vol, page, from)
		all = older || len(page) < store.DefaultList
		if all || len(slots) > 0 {
			return slots, all, nil
		}
		after = page[len(page)-1].Name
	}
	return nil, false, errNames
}

// pagesMost is how many pages of names that are no slots' are passed over, which the store
// can make up without an end.
const pagesMost = 1000

var errNames = fmt.Errorf("list commits: there is no end of names that are no slots': %w", store.ErrUnavailable)

// slotsIn are the slots of a page of a listing that are not below from, ascending, and
// whether one is below.
func slotsIn(vol crypt.VolumeID, page []store.Info, from chain.Slot) (slots []chain.Slot, older bool) {
	for _, i := range slices.Backward(page) { // the newest come first
		s, ok := chain.ParseSlotName(vol, i.Name)
		if ok && s >= from {
			slots = append(slots, s)
		}
		older = older || ok && s < from
	}
	return slots, older
}

// listNames lists a page of names where slots lie.
func listNames(ctx context.Context, b store.Bucket, vol crypt.VolumeID, after string) ([]store.Info, error) {
	page, err := b.List(ctx, chain.SlotPrefix(vol), after, 0)
	if err != nil {
		return nil, fmt.Errorf("list commits: %w", err)
	}
	if len(page) > 0 && page[len(page)-1].Name <= after {
		return nil, fmt.Errorf("list commits: the store repeats itself: %w", store.ErrUnavailable)
	}
	return page, nil
}

// deadAbove is how many dead slots lie above the newest checkpoint and below the head:
// who begins there looks at each of them. working is held.
func (s *Syncer) deadAbove() uint64 {
	return uint64(s.o.Chain.Slot-s.o.Chain.Folded().Slot) - uint64(s.o.Chain.Above())
}

// Dead is how many dead slots were passed over since New.
func (s *Syncer) Dead() uint64 { return s.dead.Load() }

// countDead notes that the slots from one on, below next, are dead. Those that are looked at
// anew count once. working is held.
func (s *Syncer) countDead(from, next chain.Slot) {
	if from = max(from, s.counted); next > from {
		s.dead.Add(uint64(next - from))
		s.counted = next
	}
}

// skipDead passes over a long row of dead slots; working is held. It goes no further than
// what the store lists, and not very far at a time: a store that has an object for every
// name that it is asked for must keep nobody busy for ever.
func (s *Syncer) skipDead(ctx context.Context) error {
	from := s.slot()
	if s.squatted < from {
		// Once for all of them: where very many lie in a folder, each listing reads it whole.
		newest, _, err := listPage(ctx, s.o.Bucket, s.volume, "", from-1)
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
	r := row{b: s.o.Bucket, st: s.o.Chain, log: s.log}
	r.whole = func(ctx context.Context, slot chain.Slot, object []byte) (bool, error) {
		j, err := s.decide(ctx, slot, object, true)
		return j.Verdict == chain.Junk, err
	}
	next, err := r.pass(ctx, from, last)
	s.reached(err)
	if next > from {
		s.setNext(next)
		s.countDead(from, next)
	}
	if err != nil {
		return err
	}
	if next > from {
		s.log.Warn("dead slots were passed over", "from", uint64(from), "to", uint64(next-1))
	}
	if next > last && last == from+deadMost-1 {
		return fmt.Errorf("the %d slots up to %d hold no commit, and there are more: %w", last-s.o.Chain.Slot, last, store.ErrUnavailable)
	}
	return nil
}
