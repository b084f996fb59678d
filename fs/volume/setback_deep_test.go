package volume

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/store/mem"
)

// deepSetback is a store that was set back behind more commits than are remembered one by
// one, all by laptop and desk in turns, and written over by third since. After the
// commits of each number of folds laptop folded. It returns the slot before the first that
// is missing and that of the newest.
func deepSetback(t *testing.T, depth, over int, folds ...int) (w *world, desk, third *machine, old *mem.Bucket, from, upto chain.Slot) {
	w = newWorld(t)
	desk, third = w.machine("desk"), w.machine("third")
	w.laptop.near, w.laptop.fold, desk.fold = 64<<20, 1<<20, 1<<20
	as(w.laptop, write("kept", "1"), drained)
	as(desk, write("of desk", "1"), drained)
	as(w.laptop, write("kept", "2"), drained, read("of desk", "1"))
	from = w.laptop.v.state.Head().Slot
	old = w.objects.Clone()
	for i := range depth {
		m := []*machine{w.laptop, desk}[i%2]
		as(m, write(fmt.Sprint(m.name, i%7), fmt.Sprint(i)), drained)
		for _, n := range folds {
			if n == i+1 {
				as(w.laptop, folded)
			}
		}
	}
	as(w.laptop, drained)
	if err := w.laptop.v.sync.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	upto = w.laptop.v.state.Head().Slot
	as(w.laptop, write("waits", big), fsync("waits"), write("kept", "waits too"), fsync("kept"))
	w.laptop.crash()
	desk.crash()
	third.bucket = old
	for i := range over {
		as(third, write(fmt.Sprint("over", i%5), fmt.Sprint(i)), drained)
	}
	as(third, lock)
	w.laptop.bucket, desk.bucket = old, old
	return w, desk, third, old, from, upto
}

// accepts has laptop go on with the store, and finds what waited and what others wrote.
func (w *world) accepts(third *machine, old *mem.Bucket, from chain.Slot) *Setback {
	w.t.Helper()
	m := w.laptop
	s := m.mustAccept()
	as(m, read("waits", big), read("of desk", "1"), lock)
	if acc := w.look(old, w.t.TempDir()).Accepted; len(acc) != 1 || acc[0].Seen != s.Seen || acc[0].Had.Slot > from || acc[0].Had.ID == (chain.ID{}) {
		w.t.Errorf("it is said that %+v was accepted; the histories part after slot %d", acc, from)
	}
	as(third, read("waits", big), lock)
	as(m, read("waits", big), lock) // and again
	fresh := w.machine("fresh")
	fresh.bucket = old
	as(fresh, read("waits", big))
	return s
}

// A store that was set back by hundreds of changes, and written over, shows what it is
// without: exactly, as far as the commits themselves are kept, or the steps of a
// checkpoint, here and there under one.
func TestDeepSetback(t *testing.T) {
	t.Run("no checkpoint between", func(t *testing.T) {
		const depth = 80
		w, _, third, old, from, upto := deepSetback(t, depth, 10)
		// Heads says the same, and takes nothing away.
		if h := w.look(old, w.laptop.state()); h.Setback == nil || h.Setback.Missing.Slots != depth || h.Setback.Missing.Unknown != 0 {
			t.Errorf("%v", h.Setback)
		}
		s := w.laptop.setBack()
		m := s.Missing
		if m.Slots != uint64(upto-from) || m.Most != m.Slots || m.Unknown != 0 || s.Same.Slot != from || !strings.Contains(s.Error(), "others wrote over what came after") {
			t.Errorf("%v; %d to %d", s, from, upto)
		}
		if len(m.Devices) != 2 || m.Devices[0].Commits+m.Devices[1].Commits != depth || m.Devices[0].Name == "" || m.Since.IsZero() {
			t.Errorf("%+v", m)
		}
		if s := w.accepts(third, old, from); s.Known != depth {
			t.Errorf("files are named from %d commits", s.Known)
		}
	})
	t.Run("a checkpoint between", func(t *testing.T) {
		w, desk, third, old, from, upto := deepSetback(t, 210, 20, 120)
		s := w.laptop.setBack()
		m := s.Missing
		if s.Fork || m.Slots != uint64(upto-from) || m.Most != m.Slots || s.Same.Slot != from {
			t.Errorf("%v; %d to %d", s, from, upto)
		}
		// Under the checkpoint the newest of each device is known.
		if len(m.Devices) != 2 || m.Devices[0].Name == "" || m.Devices[1].Name == "" || m.Unknown == 0 || m.Unknown > 120 || m.Since.IsZero() || m.After.IsZero() || m.After.After(m.Since) {
			t.Errorf("%+v", m)
		}
		for _, word := range []string{fmt.Sprint(m.Slots, " changes, made since "), "(desk)", "(laptop)", "no more than that they were there"} {
			if !strings.Contains(s.Error(), word) {
				t.Errorf("%q is not in %q", word, s)
			}
		}
		if strings.Contains(s.Error(), "at least") {
			t.Errorf("%q", s)
		}
		w.accepts(third, old, from)
		ds := desk.setBack()
		if ds.Same.Slot != from || ds.Accepted == nil {
			t.Errorf("%v", ds)
		}
		desk.mustAccept()
		as(desk, read("waits", big), lock)
	})
	t.Run("two checkpoints between", func(t *testing.T) {
		w, _, third, old, from, upto := deepSetback(t, 100, 20, 15, 25)
		s := w.laptop.setBack()
		m := s.Missing
		depth := uint64(upto - from)
		if m.Slots > depth || m.Most < depth || m.Slots < depth*3/4 || m.Most > depth*5/4 || s.Same.Slot > from || s.Same.Slot == 0 {
			t.Errorf("%v; %d to %d", s, from, upto)
		}
		if len(m.Devices) != 2 || m.Since.IsZero() || m.After.IsZero() {
			t.Errorf("%+v", m)
		}
		if m.Most > m.Slots && !strings.Contains(s.Error(), fmt.Sprintf("at least %d changes, at most %d, made since ", m.Slots, m.Most)) {
			t.Errorf("%q", s)
		}
		w.accepts(third, old, from)
	})
	t.Run("the machine forgot all but its newest slot", func(t *testing.T) {
		w, _, third, old, from, upto := deepSetback(t, 6, 10)
		for _, gone := range []string{"remembered", slotsDir} {
			if err := os.RemoveAll(filepath.Join(w.laptop.state(), gone)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.RemoveAll(w.laptop.cache()); err != nil {
			t.Fatal(err)
		}
		s := w.laptop.setBack()
		if m := s.Missing; m.Slots != 1 || m.Most != 0 || s.Same.Slot != 0 || s.Seen.Slot != upto || !strings.Contains(s.Error(), "at least 1 change, ") {
			t.Errorf("%v: %+v", s, m)
		}
		w.accepts(third, old, from)
	})
}
