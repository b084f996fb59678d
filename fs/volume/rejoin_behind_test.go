package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/store/mem"
)

// removedBehind is a drive whose store was set back: laptop accepted that, and removed desk,
// which saw more and has something that waits.
func removedBehind(t *testing.T) (w *world, desk *machine, old *mem.Bucket) {
	w, desk, old = twoMachines(t)
	as(desk, read("d/kept", "3"),
		write("precious", big), fsync("precious"), // fits
		write("d/kept", "4"), fsync("d/kept"), // another content lies under it
		rename("d/new", "d/moved"), // is not there
		mkdir("d2"), write("d2/tail", "small"), fsync("d2/tail"))
	desk.crash()
	w.laptop.bucket, desk.bucket = old, old
	w.laptop.mustAccept()
	as(w.laptop, remove(2), write("after", "1"), lock)
	return w, desk, old
}

// rejoining has a machine join anew and accept whatever the store has; it says whether it
// was asked.
func (m *machine) rejoining(discard bool) (asked *Setback, err error) {
	m.t.Helper()
	m.crash()
	m.set = func(o *Options) {
		o.Rejoin = &Rejoin{Discard: discard}
		o.Accept = func(s *Setback) error { asked = s; return nil }
	}
	defer func() { m.set = nil }()
	if err := m.open(); err != nil {
		m.v = nil
		return asked, err
	}
	if _, err := m.v.Join(context.Background()); err != nil {
		return asked, err
	}
	return asked, lock(m)
}

// A machine that was removed, below a store that was set back, is told that it was removed;
// what waits can be saved, and then it joins anew. It is not sent to and fro.
func TestRemovedBehind(t *testing.T) {
	w, desk, old := removedBehind(t)
	there := old.Names()
	for what, open := range map[string]func() error{
		"mount":  desk.open,
		"accept": func() error { _, err := desk.accepting(); return err },
		"rejoin": func() error { asked, err := desk.rejoining(false); return errors.Join(err, s2err(asked)) },
	} {
		err := open()
		if what != "rejoin" && !errors.Is(err, publish.ErrRemoved) || what == "rejoin" && !errors.Is(err, ErrUnexported) {
			t.Errorf("%s: %v", what, err)
		}
		if what == "mount" && (!strings.Contains(err.Error(), "3 changes") || strings.Contains(err.Error(), "accept-rollback")) {
			t.Errorf("%s says %v", what, err)
		}
		desk.v = nil
	}

	as(desk.reading(true), read("precious", big), read("d2/tail", "small"), read("after", "1"), read("d/kept", "1"), refuses(write("x", "y"), ErrReadOnly))
	recovered(t, desk, "4")
	if s := desk.v.Status(); !strings.Contains(s.Stopped, "3 changes") || len(s.Warnings) == 0 {
		t.Errorf("%+v", s)
	}
	to := filepath.Join(t.TempDir(), "export")
	x, err := desk.v.ExportPending(t.Context(), to)
	if err != nil || len(x.Failed) > 0 || x.Unfit != 3 || x.Files != 3 {
		t.Fatalf("%+v, %v", x, err)
	}
	for name, want := range map[string]string{"precious": big, "d2/tail": "small"} {
		if b, err := os.ReadFile(filepath.Join(to, name)); err != nil || string(b) != want {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
	}
	if more, err := filepath.Glob(filepath.Join(to, "recovered-*")); err != nil || len(more) != 1 {
		t.Errorf("%v, %v", more, err)
	} else if b, err := os.ReadFile(more[0]); err != nil || string(b) != "4" {
		t.Errorf("%q, %v", b, err)
	}
	if err := desk.shut(0); !errors.Is(err, ErrUndrained) && err != nil {
		t.Error(err)
	}
	if now := old.Names(); len(now) != len(there) {
		t.Error("looking wrote into the store")
	}

	// Nothing is lost when the store comes back: nothing of all that is remembered.
	desk.bucket = w.faults
	as(desk.reading(false), read("precious", big), read("d/kept", "4"), read("d/moved", "1"))
	desk.crash()
	desk.bucket = old

	asked, err := desk.rejoining(false)
	if err != nil || asked == nil || asked.Removed == nil {
		t.Fatalf("%v, %v", asked, err)
	}
	as(desk, read("after", "1"), missing("precious"), write("back", "1"), lock)
	if n := desk.number(); n != 4 {
		t.Errorf("it is device %d", n)
	}
	as(w.laptop, read("back", "1"), missing("precious"), lock)
	third := w.machine("third")
	third.bucket = old
	as(third, read("back", "1"), write("third", "1"), lock)
	if acc := w.look(old, t.TempDir()).Accepted; len(acc) != 2 || acc[1].Device != 4 {
		t.Errorf("%+v", acc)
	}
	for _, n := range folders(t, desk.state()) {
		if strings.HasPrefix(n, "accepted-") || strings.HasPrefix(n, "move-") {
			t.Errorf("left over: %s", n)
		}
	}
}

// s2err makes an error of having been asked.
func s2err(s *Setback) error {
	if s == nil {
		return nil
	}
	return errors.New("a person was asked before it was known that nothing was exported")
}

// Nobody who says no, or is away, is made to join.
func TestRejoinBehindIsAsked(t *testing.T) {
	_, desk, old := removedBehind(t)
	before, there := folders(t, desk.state()), old.Names()
	no := errors.New("no")
	desk.set = func(o *Options) { o.Rejoin, o.Accept = &Rejoin{Discard: true}, func(*Setback) error { return no } }
	if err := desk.open(); !errors.Is(err, no) {
		t.Error(err)
	}
	desk.v, desk.set = nil, nil
	if err := desk.rejoined(true); !errors.Is(err, publish.ErrRemoved) || !errors.Is(err, ErrRollback) && !errors.Is(err, ErrFork) {
		t.Error(err)
	}
	desk.v = nil
	if after := folders(t, desk.state()); len(after) != len(before) || len(old.Names()) != len(there) {
		t.Errorf("%v became %v", before, after)
	}
	// Who was not removed does not join anew.
	w, other, old := twoMachines(t)
	other.bucket, w.laptop.bucket = old, old
	if asked, err := w.laptop.rejoining(true); asked != nil || !errors.Is(err, ErrRollback) || errors.Is(err, publish.ErrRemoved) {
		t.Errorf("%v, %v", asked, err)
	}
}

// phoneHasTheNumber is a drive whose store was set back to before desk became device 2,
// and on which phone is that now. On desk something waits.
func phoneHasTheNumber(t *testing.T) (w *world, desk *machine, old *mem.Bucket) {
	w = newWorld(t)
	as(w.laptop, write("shared", "base"), drained)
	old = w.objects.Clone()
	desk = w.machine("desk")
	as(desk, write("mine", "1"), drained, write("waits", "2"), fsync("waits"))
	desk.crash()
	w.laptop.crash()
	phone := w.machine("phone")
	phone.bucket, w.laptop.bucket, desk.bucket = old, old, old
	as(phone, write("phone", "1"), lock)
	return w, desk, old
}

// A number that is another's in what the store has was not taken away from this machine.
func TestAnotherWasRemovedBehind(t *testing.T) {
	w, desk, _ := phoneHasTheNumber(t)
	as(w.laptop, read("phone", "1"), remove(2), lock)
	if s := desk.setBack(); s.Removed != nil {
		t.Errorf("%v", s)
	}
	desk.mustAccept()
	as(desk, drained, read("waits", "2"), read("phone", "1"), missing("mine"))
	if n := desk.number(); n != 3 {
		t.Errorf("it is device %d", n)
	}
	as(w.laptop, read("waits", "2"))
}

// Nor is its name this machine's.
func TestAcceptKeepsItsName(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("shared", "base"), drained)
	old := w.objects.Clone()
	desk, phone := w.machine("desk"), w.machine("phone")
	as(desk, write("mine", "1"), drained)
	desk.crash()
	phone.bucket, desk.bucket = old, old
	as(phone, write("phone", "1"), lock)
	desk.mustAccept()
	all, err := desk.v.Devices(t.Context())
	if err != nil || len(all) != 3 || all[1].Name != "phone" || all[2].Name != "desk" || !all[2].This {
		t.Errorf("%+v, %v", all, err)
	}
}

// An acceptance that was interrupted goes on when another device has been removed that has
// the number which this machine had.
func TestAnotherIsRemovedWhileAccepting(t *testing.T) {
	w, desk, old := phoneHasTheNumber(t)
	states := desk.steps(old, func() error { _, err := desk.accepting(); return err })
	for _, s := range states {
		desk.restore(s.folder)
		w.laptop.forget()
		w.laptop.bucket, desk.bucket = s.objects, s.objects
		as(w.laptop, read("phone", "1"), remove(2), lock)
		if asked, err := desk.accepting(); err != nil && !errors.Is(err, ErrNothingMissing) {
			t.Errorf("after %s: %v, %v", s.step, asked, err)
		}
		desk.crash()
		as(desk, drained, read("waits", "2"), read("phone", "1"), missing("mine"), lock)
	}
}

// What no journal holds counts for nothing when the store comes back: what waits then may
// not be left behind unless it was exported.
func TestExportedBehind(t *testing.T) {
	w, desk, _ := removedBehind(t)
	as(desk.reading(true), read("precious", big))
	if _, err := desk.v.ExportPending(t.Context(), filepath.Join(t.TempDir(), "export")); err != nil {
		t.Fatal(err)
	}
	desk.reading(false)
	desk.bucket = w.faults
	as(desk, write("later", "1"), fsync("later"))
	desk.crash()
	w.laptop.forget()
	w.laptop.bucket = w.faults
	as(w.laptop, remove(2), lock)
	if err := desk.rejoined(false); !errors.Is(err, ErrUnexported) {
		t.Errorf("what nobody exported is left behind: %v", err)
	}
}

// What is shown has a name of its own in a folder that is another's.
func TestRecoveredBehindBesideOthers(t *testing.T) {
	w, desk, _ := removedBehind(t)
	as(desk.reading(true), read("precious", big))
	var name string
	list, err := desk.v.List(t.Context(), meta.RootRef)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if strings.HasPrefix(string(e.Name), "recovered-") {
			name = string(e.Name)
		}
	}
	as(w.laptop, write(name, "theirs"), write(name+"-2", "theirs too"), lock)
	as(desk.reading(true), read(name, "theirs"), read(name+"-3", "4"))
}

// The commits of the history that lost lie in slots of the one that goes on: who made them
// accepts that, and is one of all again. Who has settled nothing, and saw neither, is told.
func TestLoserAccepts(t *testing.T) {
	w, desk, fork := forked(t)
	w.copySlots(fork, w.objects, 6)
	as(w.laptop, write("b", "2"), fsync("b"), refuses(drained, publish.ErrFork))
	w.laptop.crash()
	h := w.look(w.objects, w.laptop.state())
	if n, err := h.Settle(h.Store.Words); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	as(w.laptop, read("b", "2"), drained, missing("fork2"), lock) // slot 7

	as(desk, write("waits", "w"), fsync("waits"))
	desk.crash()
	desk.bucket = w.faults
	there := w.look(w.objects, w.laptop.state()).Store
	said := w.look(w.objects, desk.state())
	if said.Store.Link != there.Link || said.Setback == nil || said.Trouble != "" || len(said.Proofs) != 0 {
		t.Fatalf("heads: slot %d, which is %d; %v; trouble %q; %v", said.Store.Slot, there.Slot, said.Setback, said.Trouble, said.Proofs)
	}
	if s := desk.mustAccept(); s.Store.Slot != there.Slot || s.Same.Slot != 4 || s.Missing.Slots != 2 {
		t.Errorf("%v", s)
	}
	as(desk, drained, read("a", "1"), read("b", "2"), read("waits", "w"), missing("fork"), missing("fork2"), write("c", "1"), lock)
	as(desk, read("c", "1"), lock)
	as(w.laptop, read("waits", "w"), read("c", "1"), lock)
}

// What is of a third history is settled by words that another machine says, and then what
// the store has can be accepted.
func TestLoserSettlesThenAccepts(t *testing.T) {
	w := newWorld(t)
	desk, third := w.machine("desk"), w.machine("third")
	as(desk, write("x", "1"), lock)
	as(third, write("y", "1"), lock)
	slot := w.look(w.objects, t.TempDir()).Store.Slot // all saw it, or will
	fork, other := w.objects.Clone(), w.objects.Clone()
	desk.bucket, third.bucket = fork, other
	as(desk, write("fork", "1"), drained, lock)
	as(third, write("third", "1"), drained, write("third", "2"), drained, lock)
	as(w.laptop, read("y", "1"), write("b", "1"), drained, lock)
	w.copySlots(other, w.objects, slot+2)
	desk.bucket = w.faults
	_, err := desk.accepting()
	if !errors.Is(err, ErrUnacceptable) || !strings.Contains(err.Error(), fmt.Sprintf("heads --slot %d STORE", slot+1)) {
		t.Fatal(err)
	}
	desk.v = nil
	words, ok, err := w.look(w.objects, w.laptop.state()).At(t.Context(), slot+1)
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	if n, err := w.look(w.objects, desk.state()).Settle(words.Words); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	desk.mustAccept()
	as(desk, read("y", "1"), read("b", "1"), missing("third"), missing("fork"), write("c", "1"), lock)
}

// stage is a machine, and the store, as a kill at a step leaves them.
type stage struct {
	step, folder string
	objects      *mem.Bucket
}

// steps has do done, and returns all the steps that it takes.
func (m *machine) steps(b *mem.Bucket, do func() error) (all []stage) {
	m.t.Helper()
	m.step = func(step string) {
		s := stage{step, m.t.TempDir(), b.Clone()}
		copyFolder(m.t, m.state(), s.folder)
		all = append(all, s)
	}
	if err := do(); err != nil {
		m.t.Fatal(err)
	}
	m.step = nil
	if len(all) < 2 {
		m.t.Fatalf("%d steps", len(all))
	}
	return all
}

// Killed at any step of it, joining anew goes on or begins again.
func TestRejoinBehindKilledAtEveryStep(t *testing.T) {
	w, desk, old := removedBehind(t)
	as(desk.reading(true), read("precious", big))
	if _, err := desk.v.ExportPending(t.Context(), filepath.Join(t.TempDir(), "export")); err != nil {
		t.Fatal(err)
	}
	desk.reading(false)
	all := desk.steps(old, func() error { _, err := desk.rejoining(false); return err })
	for _, s := range all {
		desk.restore(s.folder)
		desk.bucket = s.objects
		unfinished := false
		switch err := desk.reading(true).open(); {
		case err == nil:
			as(desk, read("after", "1")) // an export is made from this
		case errors.Is(err, ErrUnfinished) && strings.Contains(err.Error(), "joining the drive anew"):
			desk.v = nil // it is another device by now, which is to be said first
			unfinished = true
		default:
			t.Fatalf("after %s: %v", s.step, err)
		}
		desk.reading(false)
		if err := desk.open(); err != nil {
			if unfinished || !errors.Is(err, publish.ErrRemoved) {
				t.Fatalf("after %s: %v", s.step, err)
			}
			desk.v = nil
			if _, err := desk.rejoining(false); err != nil {
				t.Fatalf("after %s: %v", s.step, err)
			}
		}
		as(desk, read("after", "1"), missing("precious"), write("back", "1"), lock)
		third := w.machine("third")
		third.bucket = s.objects
		as(third, read("back", "1"), lock)
		if len(w.look(s.objects, t.TempDir()).Accepted) < 2 {
			t.Errorf("after %s: nobody is told", s.step)
		}
	}
	t.Logf("%d steps", len(all))
}

// Whoever asks again for it, after a kill, is not told that the machine was not removed,
// as long as it is not through.
func TestRejoinBehindAgain(t *testing.T) {
	_, desk, old := removedBehind(t)
	rejoin := func() error { _, err := desk.rejoining(true); return err }
	for _, s := range desk.steps(old, rejoin) {
		desk.restore(s.folder)
		desk.bucket = s.objects
		under := slices.ContainsFunc(folders(t, desk.state()), func(n string) bool {
			return strings.HasPrefix(n, "accepted-") || strings.HasPrefix(n, "move-")
		})
		if err := rejoin(); err != nil && (under || !errors.Is(err, ErrNotRemoved)) {
			t.Errorf("after %s: %v", s.step, err)
		}
		desk.crash()
		as(desk, read("after", "1"), missing("precious"), write("back", "1"), lock)
	}
}
