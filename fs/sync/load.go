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
	Damaged   []string                // objects that are missing or no commits; the first of them

	// Evidence is the object that shows two histories, and its slot; nil: none.
	Evidence     []byte
	EvidenceSlot chain.Slot

	ledgers map[chain.ID]bool // heads that the ledger had on the way
	dead    int               // dead slots since the last commit
	ended   bool              // a slot is absent: the chain ends before it
}

// hintsPage is how many hints are listed at a time, newest first, and hintsMax
// how many are tried.
const (
	hintsPage = 64
	hintsMax  = 4 * hintsPage
)

const (
	// fetchAhead is how many commits are on their way at a time.
	fetchAhead = 16

	// lookAbove is how many objects above the first absent slot are looked at.
	lookAbove = 64

	// deadMax is how many dead slots in a row are jumped. Junk costs whoever puts
	// it there as little as a request.
	deadMax = 10000

	// damagedMax is how many objects are named.
	damagedMax = 100
)

// Load finds the volume's key and ledger, and follows the chain from slot 1 to the
// first slot that is absent. Whatever lies above it is nobody's commit, since
// everybody takes the first slot that is free; a commit there shows that the store
// is missing one. The hint that key and ledger were found by is a claim, signed by
// a device, that there was a slot: a store that does not show it is missing commits
// as well.
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
	l := &Loaded{
		Chain: start, Confirmed: view.NewMemory(), Next: 1,
		IDs:     map[chain.Slot]chain.ID{0: start.Head},
		ledgers: map[chain.ID]bool{start.Ledger.Head(): true},
	}
	slots, err := listSlots(ctx, b, vol)
	if err != nil {
		return nil, err
	}
	for len(slots) > 0 && l.Trouble == nil && !l.ended {
		n := min(len(slots), fetchAhead)
		done, err := l.followRun(ctx, b, slots[:n], log)
		if err != nil {
			return nil, err
		}
		slots = slots[done:]
	}
	if l.ended {
		if err := l.above(ctx, b, slots[:min(len(slots), lookAbove)]); err != nil {
			return nil, err
		}
	}
	l.claim(f, log)
	return l, nil
}

// claim holds the chain against what a hint says of it. It counts when the chain
// knows the device that signed it and had the ledger that it names; or when that
// ledger, which the owner signed, goes on where the chain's ends: then what made it
// longer is not shown.
func (l *Loaded) claim(f found, log *slog.Logger) {
	h := f.hint
	if got, ok := l.IDs[h.Slot]; l.Trouble != nil || ok && got == h.Commit {
		return
	}
	d, known := f.ledger.Device(h.Device)
	if _, still := l.Chain.Ledger.Device(h.Device); !(still && l.ledgers[h.Ledger.Head]) && !extends(f.ledger, l.Chain.Ledger) || !known {
		log.Warn("hint is not of this history", "slot", uint64(h.Slot), "device", int(h.Device))
		return
	}
	l.Trouble = fmt.Errorf("%w: device %d (%s) vouches for slot %d, and it is not there", ErrRollback, h.Device, d.Name, h.Slot)
}

// extends says whether long has records after those of short, and the same before.
func extends(long, short *chain.Ledger) bool {
	return long.Len() > short.Len() && long.Suffix(short.Len() - 1)[0].Hash() == short.Head()
}

// above looks whether a commit lies above the absent slot.
func (l *Loaded) above(ctx context.Context, b store.Bucket, slots []chain.Slot) error {
	for _, s := range slots {
		o, err := b.Get(ctx, chain.SlotName(l.Chain.Volume, s), 0, chain.MaxCommit+1)
		if errors.Is(err, store.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("get slot %d: %w", s, err)
		}
		if j := l.Chain.Judge(s, o, past{l.Confirmed}); j.Verdict != chain.Junk {
			l.damage(l.Next)
			l.Trouble = fmt.Errorf("%w: slot %d is not there, and slot %d is", ErrRollback, l.Next, s)
			return nil
		}
	}
	return nil
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
func (l *Loaded) followRun(ctx context.Context, b store.Bucket, slots []chain.Slot, log *slog.Logger) (int, error) {
	for i, s := range slots {
		if s != l.Next+chain.Slot(i) {
			slots, l.ended = slots[:i], true
			break
		}
	}
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
		return 0, err
	}
	for i, s := range slots {
		if objects[i] == nil {
			l.ended = true // listed, and gone
			return i, nil
		}
		if err := l.judge(ctx, b, s, objects[i], log); err != nil || l.Trouble != nil {
			return i, err
		}
	}
	return len(slots), nil
}

// judge moves over the next slot.
func (l *Loaded) judge(ctx context.Context, b store.Bucket, slot chain.Slot, object []byte, log *slog.Logger) error {
	j := l.Chain.Judge(slot, object, past{l.Confirmed})
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
		l.damage(slot)
		l.Next = slot + 1
		if l.dead++; l.dead > deadMax {
			l.Trouble = fmt.Errorf("%w: %d slots in a row hold no commit", ErrRollback, l.dead)
		}
		return nil
	default:
		l.Trouble = trouble(slot, j)
		switch {
		case l.dead > 0:
			// A commit that was damaged looks like this too, and may come back.
			l.Trouble = fmt.Errorf("%w: what came after %s cannot be trusted", ErrRollback, l.Damaged[0])
		case j.Verdict == chain.Evidence:
			l.Evidence, l.EvidenceSlot = object, slot
		}
		return nil
	}
	if err := l.Confirmed.Apply(uint64(slot), j.Commit.Batch); err != nil {
		return err
	}
	if err := l.Chain.Advance(j.Commit); err != nil {
		return err
	}
	l.ledgers[l.Chain.Ledger.Head()] = true
	l.IDs[slot] = j.Commit.ID
	l.Next, l.dead = slot+1, 0
	return nil
}

// damage names an object that is missing or no commit.
func (l *Loaded) damage(s chain.Slot) {
	if len(l.Damaged) < damagedMax {
		l.Damaged = append(l.Damaged, chain.SlotName(l.Chain.Volume, s))
	}
}
