package sync

import (
	"context"
	"os"
	"slices"
	"time"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
)

// Known is a commit of the history that this machine saw, as far as its records show it.
// Device 0: they show no more than that it was there.
type Known struct {
	chain.Remembered
	Next bool // the one after it goes on from it: nothing lay between
}

// Known lists what this machine's records show of the history that ends with head,
// ascending: the commits that it remembers one by one; those that it kept and that lead to
// these or to head; and those of which the checkpoints in them have the steps. What is kept
// of another history leads nowhere and is none.
func (l *Loaded) Known(head chain.Link, remembered []chain.Remembered, kept ...*LocalSlots) []Known {
	t := tracer{l: l, kept: kept, remembered: map[chain.Slot]chain.Remembered{}, steps: map[chain.Slot]stepped{}}
	slots := []chain.Slot{head.Slot}
	for _, r := range remembered {
		t.remembered[r.Slot] = r
		slots = append(slots, r.Slot)
	}
	for _, k := range kept {
		slots = append(slots, k.slots()...)
	}
	t.steps[head.Slot] = stepped{id: head.ID}
	t.want = head.ID
	slots = order(slots)
	for len(slots) > 0 {
		slot := slots[len(slots)-1]
		slots = slots[:len(slots)-1]
		if slot == 0 || slot > head.Slot {
			continue
		}
		if more := t.step(slot); len(more) > 0 {
			slots = order(append(slots, more...))
		}
	}
	slices.Reverse(t.known)
	return t.known
}

func order(slots []chain.Slot) []chain.Slot {
	slices.Sort(slots)
	return slices.Compact(slots)
}

// slots lists what is kept, in any order.
func (k *LocalSlots) slots() (all []chain.Slot) {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.read()
	for slot := range k.sizes {
		all = append(all, slot)
	}
	return all
}

// LookAtSlots is OpenLocalSlots of a folder into which another process may write: nothing
// is put there, or removed.
func LookAtSlots(dir string) *LocalSlots {
	k := OpenLocalSlots(dir, nil)
	k.sizes = map[chain.Slot]int64{}
	entries, _ := os.ReadDir(dir) // there may be nothing
	for _, e := range entries {
		if slot, ok := parseKept(e.Name()); ok {
			k.sizes[slot] = 0
		}
	}
	return k
}

// tracer goes down a history from its newest commit.
type tracer struct {
	l          *Loaded
	kept       []*LocalSlots
	remembered map[chain.Slot]chain.Remembered
	steps      map[chain.Slot]stepped // of checkpoints that were met; they count where want is
	want       chain.ID               // of the commit before the last of known; zero: not known
	known      []Known                // newest first
}

// stepped is what a checkpoint says of a commit.
type stepped struct {
	id, prev chain.ID
	device   meta.Device // 0: unknown
	time     int64
}

// step looks what is known of a slot. It returns slots that are to be looked at besides.
func (t *tracer) step(slot chain.Slot) (more []chain.Slot) {
	r, remembered := t.remembered[slot]
	s := t.steps[slot]
	c := t.open(slot, r.ID)
	switch {
	case c != nil:
		more = t.meets(c.Checkpoint, slot)
		s = stepped{c.ID, c.Prev, c.Device, c.Time.UnixNano()}
	case s.id != chain.ID{} && s.id == t.want:
	case remembered && s.id != r.ID:
		s = stepped{id: r.ID}
	case !remembered:
		return nil
	}
	k := Known{Remembered: r, Next: s.id == t.want && len(t.known) > 0}
	if r.ID != s.id {
		k.Remembered = chain.Remembered{Link: chain.Link{Slot: slot, ID: s.id}}
		if s.device != 0 {
			k.Device, k.Time = s.device, time.Unix(0, s.time)
		}
	}
	t.known, t.want = append(t.known, k), s.prev
	return more
}

// open returns the commit that was kept of a slot, when it is in the history; else nil.
func (t *tracer) open(slot chain.Slot, remembered chain.ID) *chain.Commit {
	for _, k := range t.kept {
		object, err := k.Get(slot)
		if err != nil {
			continue
		}
		c, err := t.l.Chain.Open(slot, object)
		if err == nil && (c.ID == t.want || c.ID == remembered) {
			return c
		}
	}
	return nil
}

// meets notes the steps of a checkpoint, and which commits it knows the devices of. One
// that leads elsewhere has none.
func (t *tracer) meets(k *chain.Checkpoint, above chain.Slot) (slots []chain.Slot) {
	if k == nil || k.Slot >= above {
		return nil
	}
	ids, err := k.IDs(t.l.o.Volume)
	if err != nil {
		return nil
	}
	prev := chain.ID{}
	for _, slot := range append([]chain.Slot{k.Base.Slot}, slotsOf(k.Steps)...) {
		if _, there := t.steps[slot]; !there {
			t.steps[slot] = stepped{id: ids[slot], prev: prev}
			slots = append(slots, slot)
		}
		prev = ids[slot]
	}
	for device, seen := range k.Seen {
		if s, there := t.steps[seen.Slot]; there && s.device == 0 {
			s.device, s.time = device, seen.Time
			t.steps[seen.Slot] = s
		}
	}
	return slots
}

func slotsOf(steps []chain.Step) (slots []chain.Slot) {
	for _, s := range steps {
		slots = append(slots, s.Slot)
	}
	return slots
}

// Parting compares what is known of a history with the one that the store shows: same is
// the newest commit that both have, slot 0 where none is known; and from the slot parted
// on they are known to be different, 0 where they are not.
func (l *Loaded) Parting(ctx context.Context, known []Known) (same Known, parted chain.Slot, err error) {
	search := func() bool {
		parted = 0
		for _, k := range slices.Backward(known) {
			id, there := l.Near(k.Slot)
			if there && id == k.ID {
				same = k
				return true
			}
			if there || k.Slot >= l.lowest {
				parted = k.Slot
			}
		}
		return len(known) == 0
	}
	if !search() {
		// Under the checkpoint, perhaps.
		if _, _, err := l.ID(ctx, known[0].Slot); err != nil {
			return Known{}, 0, err
		}
		search()
	}
	if same.Slot > 0 && same.Device == 0 {
		object, err := l.commit(ctx, same.Slot)
		if passing(ctx, err) {
			return Known{}, 0, err
		}
		if c, oerr := l.Chain.Open(same.Slot, object); err == nil && oerr == nil && c.ID == same.ID {
			same.Device, same.Time = c.Device, c.Time
		}
	}
	return same, parted, nil
}

// remembers lists the commits that are remembered one by one; same is that of a slot when
// the store has it there.
func (s *Syncer) remembers(ctx context.Context, slot chain.Slot) (same Known, known []Known, err error) {
	recent := s.o.Chain.Remembered() // each goes on from the one before
	for _, r := range s.o.State.Remembered() {
		if len(recent) == 0 || r.Slot < recent[0].Slot {
			known = append(known, Known{Remembered: r})
		}
	}
	for _, r := range recent {
		known = append(known, Known{Remembered: r, Next: true})
	}
	i := slices.IndexFunc(known, func(k Known) bool { return k.Slot == slot })
	if i < 0 {
		return Known{}, known, nil
	}
	object, err := s.get(ctx, chain.SlotName(s.volume, slot), chain.MaxCommit)
	if err == nil && s.o.Chain.Is(slot, known[i].ID, object) {
		same = known[i]
	}
	return same, known, answered(err)
}
