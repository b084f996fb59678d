package volume

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/state"
	publish "github.com/hushfs/hushfs/fs/sync"
)

// Head is a commit with the words by which people compare it.
type Head struct {
	chain.Link
	Words  []string
	Device meta.Device // who made it; 0: not known any more
	Name   string      // of that device
	Time   time.Time   // by that device's clock
}

// Heads are the newest commits that a store shows and that this machine remembers.
type Heads struct {
	Store    Head             // the newest of the chain that the store shows
	Machine  Head             // the newest that this machine remembers; slot 0: none
	Minimum  Head             // the oldest that a new machine takes for the newest, by the drive's header; slot 0: any
	Setback  *Setback         // nil: the store has all of them
	Trouble  string           // why nothing can be written, empty: it can
	Proofs   []Proof          // of another history, not settled
	Accepted []chain.Accepted // rollbacks of the past
	Names    map[meta.Device]string

	l  *publish.Loaded
	st *state.State
}

// compareBack is how many slots before the newest are looked at for a fingerprint that
// comes without a slot.
const compareBack = 1 << 16

// Look reads the chain and this machine's memory, without mounting anything or taking
// part. Close ends it. Options are those of Open; what is about mounting is not used.
func Look(ctx context.Context, o Options) (*Heads, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.ReadOnly, o.CacheSize, o.Clock, o.Step = true, -1, time.Now, func(string) {}
	v := &Volume{o: o, log: o.Log, bucket: &counted{Bucket: o.Bucket}}
	v.life, v.kill = context.WithCancel(context.Background())
	defer v.kill()
	u := o.Drive
	var err error
	if v.state, _, err = state.Open(o.State, u.Root(), u.ID, o.DeviceName, u.Previous()...); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	if err := v.openCache(); err != nil {
		return nil, err
	}
	defer v.closeNear()
	h, err := v.heads(ctx)
	if err != nil {
		v.state.Wipe()
		return nil, err
	}
	return h, nil
}

func (v *Volume) heads(ctx context.Context) (*Heads, error) {
	whole := v.distrusted()
	l, err := v.loadChain(ctx, whole)
	if err != nil {
		return nil, err
	}
	l, s, err := v.compareHeads(ctx, l, whole)
	if err != nil {
		return nil, err
	}
	h := &Heads{Setback: s, l: l, st: v.state, Accepted: l.Chain.Ledger.Accepted(), Names: map[meta.Device]string{}}
	for _, d := range l.Chain.Ledger.Devices() {
		h.Names[d.No] = d.Name
	}
	near := append(v.state.Remembered(), l.Chain.Remembered()...)
	head := func(at chain.Link) Head {
		f := chain.Fingerprint(l.Chain.Volume, at)
		h := Head{Link: at, Words: keyslot.Spoken(f[:])}
		for _, r := range near {
			if r.Link == at {
				h.Device, h.Name, h.Time = r.Device, r.Name, r.Time
			}
		}
		return h
	}
	mine, vol := v.state.Head(), v.o.Drive.Main()
	h.Store = head(chain.Link{Slot: l.Chain.Slot, ID: l.Chain.Head})
	if mine.Slot > 0 {
		h.Machine = head(chain.Link{Slot: mine.Slot, ID: mine.ID})
	}
	if vol.MinSlot > 0 {
		h.Minimum = head(chain.Link{Slot: chain.Slot(vol.MinSlot), ID: vol.MinCommit})
	}
	if l.Evidence != nil {
		v.evidence(l.EvidenceSlot, l.Evidence)
	}
	if h.Proofs, err = unsettled(v.o.State, l, v.state, v.lost); err != nil {
		return nil, err
	}
	if l.Trouble != nil {
		h.Trouble = l.Trouble.Error()
	}
	return h, nil
}

// Close wipes the keys that Look read.
func (h *Heads) Close() { h.st.Wipe() }

// At returns the commit in a slot of the history that the store shows, or that this
// machine remembers; false when neither is known.
func (h *Heads) At(ctx context.Context, slot chain.Slot) (Head, bool, error) {
	id, ok, err := h.l.ID(ctx, slot)
	if err != nil {
		return Head{}, false, fmt.Errorf("look for slot %d: %w", slot, err)
	}
	if !ok {
		return Head{}, false, nil
	}
	at := chain.Link{Slot: slot, ID: id}
	f := chain.Fingerprint(h.l.Chain.Volume, at)
	return Head{Link: at, Words: keyslot.Spoken(f[:])}, true, nil
}

// Find looks for the slot whose words these are, in the history that the store shows:
// among the newest, and those that are known without asking.
func (h *Heads) Find(words []string) (chain.Slot, bool) {
	for slot := h.l.Chain.Slot; slot > 0 && h.l.Chain.Slot-slot < compareBack; slot-- {
		id, ok := h.l.Near(slot)
		if !ok {
			continue
		}
		f := chain.Fingerprint(h.l.Chain.Volume, chain.Link{Slot: slot, ID: id})
		if slices.Equal(keyslot.Spoken(f[:]), words) {
			return slot, true
		}
	}
	return 0, false
}

// Settle takes the proofs of another history for strangers' work, since words that
// another machine showed are those of this machine's history, at a slot that none of the
// proofs comes after by more than one: then both are on one side of the fork. It returns
// how many were settled. ErrFork when the words are no such ones. The caller holds the
// lock on the state folder.
func (h *Heads) Settle(words []string) (int, error) {
	slot, ok := h.Find(words)
	if !ok {
		return 0, fmt.Errorf("%w: no slot of it has these words; those of slot %d are needed, or of one before in which the histories have parted", ErrFork, h.l.Chain.Slot)
	}
	var links []chain.Link
	for _, p := range h.Proofs {
		if !p.Opens {
			return 0, fmt.Errorf("%w: %s does not open", ErrFork, p.File)
		}
		before := p.Slot - 1
		for ; before > slot; before-- {
			if _, ok := h.l.Near(before); ok {
				return 0, fmt.Errorf("%w: these words are of slot %d, and the histories part after slot %d: words of a later slot are needed", ErrFork, slot, before)
			}
		}
		links = append(links, chain.Link{Slot: p.Slot, ID: p.Commit})
	}
	if len(links) == 0 {
		return 0, nil
	}
	return len(links), h.st.Settle(links...)
}
