package volume

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
)

// squat puts junk into the next n slots: noise, what looks like a commit under another
// key, and now and then what one who has the key sealed.
func (w *world) squat(b store.Bucket, n int) (first chain.Slot) {
	w.t.Helper()
	return w.squatWith(b, n, func(i int) bool { return i%1000 == 3 })
}

// squatWith is squat by somebody who has the key and uses it for these.
func (w *world) squatWith(b store.Bucket, n int, keyed func(int) bool) (first chain.Slot) {
	w.t.Helper()
	l := seen(w, b, w.laptop)
	noise := make([]byte, 300)
	other, _, _ := crypt.NewSealer(crypt.NewKey(), w.vol, crypt.TypeCommit, l.Chain.Epoch).Seal(nil, noise)
	for i := range n {
		object, err := noise, error(nil)
		switch {
		case keyed(i):
			object, _, _ = crypt.NewSealer(l.Chain.Key, w.vol, crypt.TypeCommit, l.Chain.Epoch).Seal(nil, []byte("no commit"))
		case i%2 == 0:
			object = other
		}
		slot := l.Next + chain.Slot(i)
		if f, ok := b.(filler); ok {
			err = f.fill(slot, object)
		} else {
			err = b.PutIfAbsent(w.t.Context(), chain.SlotName(w.vol, slot), object)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
	return l.Next
}

// Thousands of slots that hold nobody's commit are passed over by everybody: who is
// there, who comes back, and who is new; and all write above them.
func TestManyDeadSlots(t *testing.T) {
	w := newWorld(t)
	m := w.machine("desktop")
	as(w.laptop, write("a", "1"), drained)
	as(m, write("b", "1"), drained)
	as(w.laptop, upToDate)
	first := w.squat(w.objects, 12000)
	as(w.laptop, write("c", "1"), drained)
	if at := w.laptop.v.view.Slot(); at != uint64(first)+12000 {
		t.Errorf("the commit lies in slot %d, want %d", at, first+12000)
	}
	as(m, upToDate, read("c", "1"), write("d", "1"), drained)
	as(m, lock, read("c", "1"), lock)
	w.gets()
	third := w.machine("third")
	as(third, read("d", "1"), write("e", "1"), drained)
	if n := w.gets()["l/"]; n > 2*12000+2000 {
		t.Errorf("%d requests for 12000 dead slots", n)
	}
	as(w.laptop, upToDate, read("e", "1"))
	if w.laptop.tree() != third.tree() {
		t.Error("they see different trees")
	}
	// Over a fold they are gone from everybody's way.
	as(w.laptop, folded)
	w.gets()
	as(w.machine("fourth"), read("e", "1"))
	if n := w.gets()["l/"]; n > 4 {
		t.Errorf("%d requests above the fold", n)
	}
	w.checkOps(2)
}

// A commit above a hole in many slots shows that the store is missing one.
func TestHoleAmongManySlots(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("a", "1"), drained)
	first := w.squat(w.objects, 3000)
	as(w.laptop, write("b", "1"), drained)
	if err := w.objects.Delete(t.Context(), chain.SlotName(w.vol, first+1500)); err != nil {
		t.Fatal(err)
	}
	m := w.machine("desktop")
	m.mustOpen()
	if s := m.v.Status(); s.Stopped == "" {
		t.Error("the hole was not noticed")
	}
}

// A store that answers differently each time is failing: nothing is passed over by that.
func TestDeadSlotsThatChange(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("a", "1"), drained)
	w.squat(w.objects, 100)
	var n atomic.Uint32
	w.faults.Add(fault.On(fault.Get, 1, func(ctx context.Context, r fault.Request) fault.Answer {
		a := r.Do(ctx)
		if len(a.Data) > 0 {
			a.Data[0] ^= byte(n.Add(1))
		}
		return a
	}).Prefix(w.prefix("l")).Onwards())
	m := w.machine("desktop")
	if err := m.open(); err == nil && m.v.Status().Stopped == "" {
		t.Error("it was mounted")
	}
}

// Who had a key, and may not write, seals junk with it: what lies in a slot must be got
// whole to tell that it is nobody's. That costs a few requests a slot, and a few lines in
// the log.
func TestDeadSlotsOfWhoHadTheKey(t *testing.T) {
	const n = 600
	for name, keyed := range map[string]func(int) bool{
		"all":               func(int) bool { return true },
		"every second":      func(i int) bool { return i%2 == 0 },
		"some among others": func(i int) bool { return i%7 < 2 },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			m := w.machine("desktop")
			as(w.laptop, write("a", "1"), drained)
			as(m, write("b", "1"), drained)
			as(w.laptop, upToDate)
			first := w.squatWith(w.objects, n, keyed)
			for _, one := range []*machine{w.laptop, m} {
				w.gets()
				told := strings.Count(one.log.String(), "dead slot")
				as(one, write("of "+one.name, "2"), drained)
				if got := w.gets()["l/"]; got > 4*n {
					t.Errorf("%s: %d requests for %d dead slots", one.name, got, n)
				}
				if lines := strings.Count(one.log.String(), "dead slot") - told; lines > 20 {
					t.Errorf("%s: %d lines in the log", one.name, lines)
				}
			}
			if at := m.v.view.Slot(); at < uint64(first)+n {
				t.Errorf("the commit lies in slot %d, want at least %d", at, first+n)
			}
			as(w.laptop, upToDate)
			w.gets()
			third := w.machine("third")
			as(third, read("of laptop", "2"), read("of desktop", "2"))
			if got := w.gets()["l/"]; got > 4*n {
				t.Errorf("a new machine: %d requests for %d dead slots", got, n)
			}
			if lines := strings.Count(third.log.String(), "dead slot"); lines > 20 {
				t.Errorf("a new machine: %d lines in the log", lines)
			}
			if s := third.v.Status(); s.DeadSlots != n || len(s.Damaged) > 0 {
				t.Errorf("%d slots are skipped, and damaged are %q", s.DeadSlots, s.Damaged)
			}
		})
	}
}

// Slots that commits went on over hold nothing that was lost: they are no damage. What
// lies above the newest commit may be damage, until a commit goes on over it.
func TestDeadSlotsAreNoDamage(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("a", "1"), drained)
	w.squat(w.objects, 42)
	m := w.machine("desktop")
	as(m, stateOf(0, 42, t))
	as(w.laptop, write("b", "1"), drained, stateOf(42, 0, t))
	as(m, upToDate, stateOf(42, 0, t))
	w.squat(w.objects, 2)
	as(w.machine("third"), stateOf(42, 2, t))
	as(w.laptop, write("c", "1"), drained)
	as(m, upToDate, stateOf(44, 0, t))
	as(w.machine("fourth"), stateOf(44, 0, t), read("c", "1"))
}

// Who writes above very many dead slots folds them away, so that nobody has to look at
// them again.
func TestDeadSlotsAreFoldedAway(t *testing.T) {
	for _, n := range []int{1000, 1100} {
		w := newWorld(t)
		as(w.laptop, write("a", "1"), drained)
		w.squat(w.objects, n)
		as(w.laptop, write("b", "1"), drained)
		m := w.machine("desktop")
		as(m, read("b", "1"), lock)
		as(w.laptop, func(m *machine) error { return m.v.sync.Leave(t.Context()) })
		w.gets()
		as(w.machine("third"), read("b", "1"))
		if got := w.gets()["l/"]; (got < n) != (n > 1024) {
			t.Errorf("%d requests over %d dead slots", got, n)
		}
	}
}
