package volume

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/hushfs/hushfs/fs/chain"
	publish "github.com/hushfs/hushfs/fs/sync"
)

// tomorrows makes hints of slots above one those of a layout of tomorrow, as far as anybody
// can tell; back undoes it, as a newer program on this machine does.
func (w *world) tomorrows(above chain.Slot) (back func()) {
	w.t.Helper()
	was := map[string][]byte{}
	for _, name := range w.names("k") {
		if slot, ok := chain.ParseHintName(w.vol, name); ok && slot > above {
			was[name] = w.object(name)
			b := slices.Clone(was[name])
			b[7]++
			w.objects.Overwrite(name, b)
		}
	}
	if len(was) == 0 {
		w.t.Fatalf("no hint above slot %d", above)
	}
	return func() {
		for name, b := range was {
			w.objects.Overwrite(name, b)
		}
	}
}

// A machine that was away while others worked with a newer program, whose hints it cannot
// read, and trimmed: it says so, gives nothing up, and puts nothing into a slot that was
// trimmed. When it can read them, what waited is sent.
func TestAwayBelowHintsOfTomorrow(t *testing.T) {
	for name, c := range map[string]struct {
		announced bool // its newest slot announces a checkpoint, and stays
		off       bool // it was switched off, not asleep
	}{
		"asleep at a slot that stays":       {true, false},
		"asleep at a slot that is gone":     {false, false},
		"switched off at a slot that stays": {true, true},
		"switched off at one that is gone":  {false, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.laptop.trim = publish.TrimOptions{Keep: 5}
				m := w.machine("desktop")
				as(m, write("mine", "1"), drained)
				as(w.laptop, commits("a", 12), folded)
				if !c.announced {
					as(w.laptop, commits("b", 1))
				}
				as(m, upToDate, write("late", "2"), fsync("late"))
				head := m.v.state.Head().Slot
				if c.off {
					m.crash()
				}
				rounds(w, w.laptop, "c", 4, 9)
				sleeps(34*day, m)
				rounds(w, w.laptop, "d", 2, 9)
				as(w.laptop, trimmed(-1))
				before := w.slots()
				if slices.Contains(before, head) != c.announced || slices.Contains(before, head+1) {
					t.Fatalf("slot %d is its newest, and there are %v", head, before)
				}
				back := w.tomorrows(head)

				switch {
				case !c.off:
					as(m, refuses(drained, chain.ErrVersion))
					if s := m.v.Status(); !strings.Contains(s.Stopped, "newer version") || s.Stored {
						t.Errorf("stopped: %q, stored %v", s.Stopped, s.Stored)
					}
				case c.announced:
					as(m, refuses(drained, chain.ErrVersion))
				default:
					err := m.open()
					if !errors.Is(err, chain.ErrVersion) || errors.Is(err, ErrRollback) || errors.Is(err, publish.ErrRollback) {
						t.Errorf("it mounts with %v", err)
					}
					if _, err := m.accepting(); !errors.Is(err, chain.ErrVersion) || errors.Is(err, ErrUnacceptable) {
						t.Errorf("what is missing is accepted with %v", err)
					}
				}
				if !slices.Equal(w.slots(), before) {
					t.Errorf("the store has slots %v, and had %v", w.slots(), before)
				}
				if c.off {
					m.crash()
				}
				back()
				as(m, upToDate, drained)
				as(w.laptop, upToDate, read("late", "2"))
				if got, want := m.tree(), w.laptop.tree(); got != want {
					t.Errorf("it has\n%s\nand the others\n%s", got, want)
				}
			})
		})
	}
}
