package volume

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/drive"
)

// misledBy says what a machine's status has of hints, and how often its log names one.
func misledBy(m *machine, hint string) (warning string, named int) {
	for _, w := range m.v.Status().Warnings {
		if strings.HasPrefix(w, "hints: ") {
			warning = w
		}
	}
	return warning, strings.Count(m.log.String(), "hint passed over\" object="+hint)
}

// hinted is a drive with hints, the newest of which leads to the newest checkpoint.
func hinted(t *testing.T) (w *world, newest string) {
	w = newWorld(t)
	as(w.laptop, write("a", "1"), drained, folded, write("a", "2"), drained, folded, lock)
	return w, w.names("k")[0] // the newest comes first
}

const (
	headOfHint = 8 + 4 + 32 + 2
	boxesEnd   = headOfHint + chain.BoxStep*identity.BoxSize
)

// A hint that is not what a device wrote is named once by who passes it over, and by its
// status until it is what it was or a newer one was written. All is shown as ever.
func TestDamagedHint(t *testing.T) {
	for name, harm := range map[string]func(b []byte) []byte{
		"a bit of what is sealed": func(b []byte) []byte { b[boxesEnd+20] ^= 4; return b },
		"the last bit":            func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"the epoch":               func(b []byte) []byte { b[11]++; return b },
		"the check value":         func(b []byte) []byte { b[20] ^= 1; return b },
		"cut":                     func(b []byte) []byte { return b[:len(b)-1] },
		"empty":                   func(b []byte) []byte { return nil },
		"junk":                    func(b []byte) []byte { return []byte("junk") },
		"the reader's own box, among others": func(b []byte) []byte {
			for i := range chain.BoxStep {
				b[headOfHint+i*identity.BoxSize+700] ^= 1
			}
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, victim := hinted(t)
				was := w.object(victim)
				w.change(victim, harm)
				look, folds := w.machine("look"), w.machine("folds")
				look.ro = true
				for _, m := range []*machine{look, folds} {
					m.run()
					defer m.halt()
					as(m, read("a", "2"))
					if s, n := misledBy(m, victim); !strings.Contains(s, victim) || n != 1 {
						t.Errorf("%s: status %q, %d times in the log", m.name, s, n)
					}
				}
				time.Sleep(hintsBound)
				synctest.Wait()
				for _, m := range []*machine{look, folds} {
					if s, n := misledBy(m, victim); !strings.Contains(s, victim) || n != 1 {
						t.Errorf("%s, later: status %q, %d times in the log", m.name, s, n)
					}
				}
				w.objects.Overwrite(victim, was)
				time.Sleep(hintsBound)
				synctest.Wait()
				if s, _ := misledBy(look, victim); s != "" {
					t.Errorf("it is what it was, and status says %q", s)
				}
			})
		})
	}
}

// hintsBound is for how long a mount may take to look again at hints that it passed over.
const hintsBound = 11*time.Minute + time.Second

// Where a newer hint was written nobody asks for the damaged one.
func TestDamagedHintIsOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, victim := hinted(t)
		w.change(victim, func(b []byte) []byte { return b[:100] })
		look, folds := w.machine("look"), w.machine("folds")
		look.ro = true
		for _, m := range []*machine{look, folds} {
			m.run()
			defer m.halt()
			if s, _ := misledBy(m, victim); s == "" {
				t.Errorf("%s: status says nothing", m.name)
			}
		}
		as(folds, write("b", "1"), drained, folded)
		if s, _ := misledBy(folds, victim); s != "" || w.names("k")[0] == victim {
			t.Errorf("behind a newer hint: %q", s)
		}
		time.Sleep(hintsBound)
		synctest.Wait()
		if s, _ := misledBy(look, victim); s != "" {
			t.Errorf("a reader, behind a newer hint: %q", s)
		}
	})
}

// Boxes of others and boxes for nobody are no business of who has his own: a hint in which
// the store altered those leads on, and nothing is amiss.
func TestBoxesOfOthersAreAltered(t *testing.T) {
	w, victim := hinted(t)
	u, err := drive.FromHandover(w.unlock)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Wipe()
	b, altered := w.object(victim), 0
	for i := range chain.BoxStep {
		at := headOfHint + i*identity.BoxSize + 700
		b[at] ^= 1
		sealed, err := chain.ParseHint(b)
		if err != nil {
			t.Fatal(err)
		}
		k, err := sealed.Unbox(w.vol, u.Identity())
		if err != nil {
			b[at] ^= 1 // the owner's
			continue
		}
		k.Wipe()
		altered++
	}
	w.objects.Overwrite(victim, b)
	look := w.machine("look")
	as(look, read("a", "2"))
	if s, n := misledBy(look, victim); altered == 0 || s != "" || n > 0 {
		t.Errorf("%d boxes: status %q, %d times in the log", altered, s, n)
	}
}

// Older hints are asked for when the newest leads to a checkpoint that cannot be read: of
// those too each that is no good is named.
func TestOlderHintIsDamaged(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("a", "1"), drained, folded, write("a", "2"), drained, folded, write("a", "3"), drained, folded, lock)
	hints := w.names("k")
	slot, ok := chain.ParseHintName(w.vol, hints[0])
	if !ok {
		t.Fatal("no hint")
	}
	w.change(hints[1], func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
	w.change(chain.SlotName(w.vol, slot), func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
	look := w.machine("look")
	as(look, read("a", "3"))
	if s, n := misledBy(look, hints[1]); !strings.Contains(s, hints[1]) || n != 1 {
		t.Errorf("status %q, %d times in the log:\n%s", s, n, look.log)
	}
}

// Junk under the name of the hint that a fold is about to write is told of until a later
// fold has written one.
func TestHintIsSquatted(t *testing.T) {
	w, _ := hinted(t)
	m := w.machine("desk")
	as(m, write("b", "1"), drained)
	// The checkpoint takes the next slot, and so does its hint.
	next := chain.HintName(w.vol, chain.Slot(m.v.Status().Slot)+1)
	if err := w.objects.PutIfAbsent(t.Context(), next, []byte("junk")); err != nil {
		t.Fatal(err)
	}
	if err := folded(m); err == nil {
		t.Error("a hint was written where junk lies")
	}
	if s, n := misledBy(m, next); !strings.Contains(s, next) || n != 1 {
		t.Errorf("status %q, %d times in the log", s, n)
	}
	as(m, write("b", "2"), drained, folded)
	if s, _ := misledBy(m, next); s != "" {
		t.Errorf("behind another hint: %q", s)
	}
	as(w.machine("late"), read("b", "2"))
}
