package volume

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	publish "github.com/hushfs/hushfs/fs/sync"
)

// acceptedInSteps is a machine that has something that waits, and each step at which its
// acceptance of a rollback may be interrupted.
func acceptedInSteps(t *testing.T) (w *world, desk *machine, all []stage) {
	w, desk, old := twoMachines(t)
	as(desk, write("precious", big), fsync("precious"))
	desk.crash()
	desk.bucket, desk.near = old, -1
	return w, desk, desk.steps(old, func() error { _, err := desk.accepting(); return err })
}

// removedAt has the machine be as a step left it, and another remove what devices it is
// there, from a number on.
func (m *machine) removedAt(w *world, s stage, from int) (third *machine) {
	m.t.Helper()
	m.restore(s.folder)
	m.bucket = s.objects
	third = w.machine("third")
	third.bucket = s.objects
	as(third, read("d/kept", "1"))
	all, err := third.v.Devices(context.Background())
	if err != nil {
		m.t.Fatal(err)
	}
	for _, d := range all {
		if strings.HasPrefix(d.Name, m.name) && d.No >= from {
			as(third, remove(d.No))
		}
	}
	as(third, lock)
	return third
}

// saved exports what waits, which must be precious.
func (m *machine) saved() {
	m.t.Helper()
	to := filepath.Join(m.t.TempDir(), "export")
	as(m.reading(true), read("precious", big))
	if x, err := m.v.ExportPending(context.Background(), to); err != nil || len(x.Failed) > 0 {
		m.t.Fatalf("%+v, %v", x, err)
	}
	if b, err := os.ReadFile(filepath.Join(to, "precious")); err != nil || string(b) != big {
		m.t.Fatalf("%d bytes, %v", len(b), err)
	}
	m.reading(false)
}

// A machine that is removed while it accepts a rollback, killed at any step of it, whether
// both numbers that it has by then were removed or the new one: it is told, what waits can be
// saved, nothing of it comes into the drive, and then it joins anew.
func TestRemovedWhileAccepting(t *testing.T) {
	for name, from := range map[string]int{"both numbers": 2, "the new one": 3} {
		t.Run(name, func(t *testing.T) {
			w, desk, all := acceptedInSteps(t)
			told := 0
			for _, s := range all {
				third := desk.removedAt(w, s, from)
				if err := desk.open(); !errors.Is(err, publish.ErrRemoved) {
					desk.crash()
					if from == 2 {
						t.Fatalf("after %s: it was removed: %v", s.step, err)
					}
					continue // what was removed is not this machine yet
				}
				told++
				desk.v = nil
				if _, err := desk.rejoining(false); !errors.Is(err, ErrUnexported) {
					t.Fatalf("after %s: what nobody exported is left behind: %v", s.step, err)
				}
				desk.saved()
				if _, err := desk.rejoining(false); err != nil {
					t.Fatalf("after %s: %v", s.step, err)
				}
				as(desk, missing("precious"), write("back", "1"), lock)
				as(third, read("back", "1"), missing("precious"), lock)
			}
			if told < 5 {
				t.Errorf("%d steps were interrupted: this shows nothing", told)
			}
		})
	}
}

// Nor is anything of it lost, or does it come into the drive, when joining anew is killed
// as well.
func TestRemovedWhileAcceptingKilledAgain(t *testing.T) {
	w, desk, all := acceptedInSteps(t)
	var third *machine
	at := slices.IndexFunc(all, func(s stage) bool { // it just became another device
		third = desk.removedAt(w, s, 3)
		err := desk.open()
		desk.crash()
		return errors.Is(err, publish.ErrRemoved)
	})
	objects := all[at].objects
	rejoin := func() error { _, err := desk.rejoining(true); return err }
	for _, s := range desk.steps(objects, rejoin) {
		desk.restore(s.folder)
		desk.bucket, third.bucket = s.objects, s.objects
		kept := slices.ContainsFunc(folders(t, desk.state()), func(n string) bool { return strings.HasPrefix(n, "kept-0002") })
		if !kept {
			desk.saved()
		}
		if err := rejoin(); err != nil && (!kept || !errors.Is(err, ErrNotRemoved)) {
			t.Fatalf("after %s: %v", s.step, err)
		}
		desk.crash()
		third.forget()
		as(desk, missing("precious"), write("back", "1"), lock)
		as(third, read("back", "1"), missing("precious"), lock)
		if len(w.look(s.objects, t.TempDir()).Accepted) == 0 {
			t.Errorf("after %s: nobody is told", s.step)
		}
		for _, n := range folders(t, desk.state()) {
			if strings.HasPrefix(n, "accepted-") || strings.HasPrefix(n, "move-") {
				t.Errorf("after %s: left over: %s", s.step, n)
			}
		}
	}
}

// A mount that only reads cannot go on with an acceptance that was interrupted, and says
// what it was and that a mount that may write does. No state folder was copied.
func TestReadingWhileAccepting(t *testing.T) {
	_, desk, all := acceptedInSteps(t)
	told := 0
	for _, s := range all {
		desk.restore(s.folder)
		desk.bucket = s.objects
		switch err := desk.reading(true).open(); {
		case err == nil:
			as(desk, read("precious", big)) // all is done
		case errors.Is(err, ErrRollback), errors.Is(err, ErrFork):
			desk.v = nil // nothing is done
		case !errors.Is(err, ErrUnfinished) || !strings.Contains(err.Error(), "accepting a rollback") || strings.Contains(err.Error(), "copied"):
			t.Fatalf("after %s: %v", s.step, err)
		default:
			desk.v = nil
			told++
			as(desk.reading(false), read("precious", big), lock)
		}
		desk.reading(false)
	}
	if told < 5 {
		t.Errorf("%d steps were interrupted: this shows nothing", told)
	}
}

// Who was removed, and finds a commit of a third history, settles that by words as well, and
// then joins anew: to accept alone is refused to it.
func TestRemovedSettlesThenRejoins(t *testing.T) {
	w := newWorld(t)
	desk, third := w.machine("desk"), w.machine("third")
	as(desk, write("x", "1"), lock)
	as(third, write("y", "1"), lock)
	slot := w.look(w.objects, t.TempDir()).Store.Slot // all saw it, or will
	fork, other := w.objects.Clone(), w.objects.Clone()
	desk.bucket, third.bucket = fork, other
	as(desk, write("fork", "1"), drained, lock)
	for range 3 {
		as(third, write("third", "1"), drained)
	}
	third.crash()
	as(w.laptop, read("y", "1"), write("b", "1"), drained, remove(2), lock)
	w.copySlots(other, w.objects, slot+3)
	desk.bucket = w.faults
	_, err := desk.rejoining(false)
	if !errors.Is(err, ErrUnacceptable) || !strings.Contains(err.Error(), "then join anew") {
		t.Fatal(err)
	}
	desk.v = nil
	words, ok, err := w.look(w.objects, w.laptop.state()).At(t.Context(), slot+2)
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	if n, err := w.look(w.objects, desk.state()).Settle(words.Words); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if _, err := desk.rejoining(false); err != nil {
		t.Fatal(err)
	}
	as(desk, read("y", "1"), read("b", "1"), missing("third"), missing("fork"), write("c", "1"), lock)
}
