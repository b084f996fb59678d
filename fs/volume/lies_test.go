package volume

import (
	"slices"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/fs/chain"
)

// What the store says that nobody wrote is named in the log of who met it, by its object,
// and by the status, until the next mount does not meet it.
func TestWhatNobodyWroteIsNamed(t *testing.T) {
	for fact, c := range map[string]struct {
		victim func(w *world) string // what lies under its name is no part of the drive
		shown  string                // the status names it with this before it
	}{
		"a slot far above the newest": {func(w *world) string { return chain.SlotName(w.vol, 1<<40) }, "slots: "},
		"a newer header":              {func(*world) string { return keyslot.ObjectName(9) }, "headers: "},
		"how the chain goes further back": {func(w *world) string {
			as(w.laptop, commits("b", 2), folded)
			victim := chain.SlotName(w.vol, seen(w, w.objects, w.laptop).Chain.Announced().Slot)
			as(w.laptop, commits("c", 2), folded, commits("d", 2), folded)
			return victim
		}, ""},
	} {
		t.Run(fact, func(t *testing.T) {
			w := newWorld(t)
			as(w.laptop, commits("a", 2))
			m := w.machine("desktop") // it will look for the slot that it saw
			as(m, read("a1", "1"), lock)
			victim := c.victim(w)
			was, err := w.objects.Get(t.Context(), victim, 0, -1)
			w.objects.Overwrite(victim, []byte("junk"))
			m.unlock = w.newest()
			before := len(m.log.String())
			as(m, read("a1", "1"))
			if s := m.v.Status(); !slices.ContainsFunc(append(s.Warnings, s.Damaged...), func(line string) bool {
				return strings.HasPrefix(line, c.shown) && strings.Contains(line, victim)
			}) {
				t.Errorf("status: %q, damaged: %q", s.Warnings, s.Damaged)
			}
			if c.shown != "headers: " && strings.Count(m.log.String()[before:], victim) == 0 {
				t.Errorf("log: %s", m.log.String()[before:])
			}
			as(m, lock)
			if w.objects.Overwrite(victim, was); err != nil {
				if err := w.objects.Delete(t.Context(), victim); err != nil {
					t.Fatal(err)
				}
			}
			m.unlock = w.newest()
			as(m, read("a1", "1"))
			if s := m.v.Status(); len(s.Warnings) > 0 || len(s.Damaged) > 0 {
				t.Errorf("it is gone, and status says %q, damaged: %q", s.Warnings, s.Damaged)
			}
		})
	}
}
