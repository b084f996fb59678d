package volume

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/mem"
)

// setBack opens a machine whose store was set back, and returns what is missing.
func (m *machine) setBack() *Setback {
	m.t.Helper()
	err := m.open()
	var s *Setback
	if !errors.As(err, &s) {
		m.t.Fatalf("%s opens, or fails otherwise: %v", m.name, err)
	}
	return s
}

// accepting opens a machine that accepts whatever the store has.
func (m *machine) accepting() (*Setback, error) {
	m.t.Helper()
	var asked *Setback
	m.set = func(o *Options) {
		o.Accept = func(s *Setback) error { asked = s; return nil }
	}
	err := m.open()
	m.set = nil
	return asked, err
}

func (m *machine) mustAccept() *Setback {
	m.t.Helper()
	s, err := m.accepting()
	if err != nil {
		m.t.Fatalf("%s does not accept: %v", m.name, err)
	}
	if s == nil {
		m.t.Fatalf("%s was not asked", m.name)
	}
	return s
}

// twoMachines is a drive on which laptop and desk have written, and the store as it was
// before the last three commits: two of desk, one of laptop.
func twoMachines(t *testing.T) (w *world, desk *machine, old *mem.Bucket) {
	w = newWorld(t)
	desk = w.machine("desk")
	w.laptop.near, desk.near = 64<<20, 64<<20
	as(w.laptop, mkdir("d"), write("d/kept", "1"), write("d/gone", "1"), lock)
	as(desk, read("d/kept", "1"), write("desk", "1"), lock)
	as(w.laptop, read("desk", "1"), lock)
	old = w.objects.Clone()
	as(desk, write("d/kept", "2"), drained, write("d/new", "1"), drained, lock)
	as(w.laptop, write("d/kept", "3"), unlink("d/gone"), drained, lock)
	return w, desk, old
}

func TestSetbackSaysWhatIsMissing(t *testing.T) {
	w, desk, old := twoMachines(t)
	w.laptop.bucket, desk.bucket = old, old
	s := w.laptop.setBack()
	if s.Missing.Slots != 3 || s.Missing.Unknown != 0 || s.Fork || s.By != ThisMachine || s.Same.Slot != s.Store.Slot || s.Seen.Slot != s.Store.Slot+3 {
		t.Errorf("%+v", s)
	}
	want := []publish.MissingDevice{{Device: 2, Name: "desk", Commits: 2}, {Device: 1, Name: "laptop", Commits: 1}}
	if !slices.Equal(s.Missing.Devices, want) || s.Missing.Since.IsZero() || s.Missing.Until.Before(s.Missing.Since) {
		t.Errorf("%+v", s.Missing)
	}
	for _, word := range []string{"3 changes", "device 2 (desk): 2", "device 1 (laptop): 1", fmt.Sprint("up to slot ", s.Store.Slot)} {
		if !strings.Contains(s.Error(), word) {
			t.Errorf("%q is not in %q", word, s.Error())
		}
	}
	// The other one has not seen the last of them.
	if s := desk.setBack(); s.Missing.Slots != 2 || !slices.Equal(s.Missing.Devices, want[:1]) {
		t.Errorf("%+v", s.Missing)
	}
	// What is told is only as good as the memory, and nothing depends on it. The commits
	// themselves are as good as what is remembered of them.
	if err := os.Remove(filepath.Join(w.laptop.state(), "remembered")); err != nil {
		t.Fatal(err)
	}
	if again := w.laptop.setBack(); again.Same != s.Same || again.Missing.Slots != 3 || again.Missing.Unknown != 0 {
		t.Errorf("%v", again)
	}
	for _, dir := range []string{filepath.Join(w.laptop.state(), slotsDir), w.laptop.cache()} {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	if s := w.laptop.setBack(); s.Missing.Slots != 3 || s.Missing.Most != 0 || s.Missing.Unknown != 3 || s.Same.Slot != 0 || !strings.Contains(s.Error(), "at least 3 changes, of which this machine knows no more") {
		t.Errorf("%v", s)
	}
	w.laptop.bucket = w.faults
	as(w.laptop, read("d/kept", "3"), lock)
}

// A mounted machine whose store is set back says the same, keeps what is written, and
// goes on when the store is what it was.
func TestSetBackWhileMounted(t *testing.T) {
	w, _, old := twoMachines(t)
	now := w.objects.Clone()
	as(w.laptop, read("d/kept", "3"))
	for _, n := range w.objects.Names() {
		if _, err := old.Get(t.Context(), n, 0, 1); err != nil {
			if err := w.objects.Delete(t.Context(), n); err != nil {
				t.Fatal(err)
			}
		}
	}
	as(w.laptop, write("mine", "1"), fsync("mine"), refuses(drained, publish.ErrRollback), read("d/kept", "3"), read("mine", "1"), write("mine2", "1"))
	for _, word := range []string{"3 changes", "device 2 (desk): 2"} {
		if s := w.laptop.v.Status(); !strings.Contains(s.Stopped, word) {
			t.Errorf("%q is not in %q", word, s.Stopped)
		}
	}
	if n := len(w.names("l")); n != len(names(old, "l")) {
		t.Errorf("%d commits in a store that was set back", n)
	}
	for _, n := range now.Names() {
		b, err := now.Get(t.Context(), n, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		w.objects.Overwrite(n, b)
	}
	as(w.laptop, drained, lock)
	as(w.machine("third"), read("mine", "1"), read("mine2", "1"), read("d/kept", "3"))
}

// A machine on which nothing waits does not say that all is in a store that was set back,
// neither when it is asked to sync nor when it is locked.
func TestSetBackWhileIdle(t *testing.T) {
	w, desk, old := twoMachines(t)
	as(w.laptop, read("d/kept", "3"))
	as(desk, read("d/kept", "3"))
	for _, n := range w.objects.Names() {
		if _, err := old.Get(t.Context(), n, 0, 1); err != nil {
			if err := w.objects.Delete(t.Context(), n); err != nil {
				t.Fatal(err)
			}
		}
	}
	sync := func(m *machine) error {
		_, _, err := m.v.Sync(t.Context(), false)
		return err
	}
	wait := func(m *machine) error { return m.v.WaitStored(t.Context()) }
	waitFile := func(m *machine) error {
		_, _, a, err := m.find("d/kept")
		if err != nil {
			return err
		}
		return m.v.WaitFile(t.Context(), a.Ref.Ino)
	}
	as(w.laptop, refuses(wait, publish.ErrRollback), refuses(waitFile, publish.ErrRollback))
	as(w.laptop, refuses(sync, publish.ErrRollback), refuses(sync, publish.ErrRollback))
	if s := w.laptop.v.Status(); !strings.Contains(s.Stopped, "3 changes") {
		t.Errorf("status says %q", s.Stopped)
	}
	as(desk, refuses(lock, publish.ErrRollback))
}

func names(b *mem.Bucket, kind string) (l []string) {
	for _, n := range b.Names() {
		if strings.Contains(n, "/"+kind+"/") {
			l = append(l, n)
		}
	}
	return l
}

// A store that was set back can be looked at; what waits stays as it is, and nothing that
// is seen is remembered.
func TestOlderIsOnlyLooking(t *testing.T) {
	w, _, old := twoMachines(t)
	as(w.laptop, write("waits", big), fsync("waits"), write("d/kept", "4"), fsync("d/kept"))
	w.laptop.crash()
	w.laptop.bucket = old
	before := old.Names()
	m := w.laptop
	m.set = func(o *Options) { o.Older = true }
	as(m, read("d/kept", "1"), read("d/gone", "1"), missing("waits"), refuses(write("x", "y"), ErrReadOnly))
	s := m.v.Status()
	if !s.ReadOnly || s.Stored || s.PendingOps == 0 || !strings.Contains(s.Stopped, "3 changes") {
		t.Errorf("%+v", s)
	}
	if err := m.shut(0); err != nil {
		t.Error(err)
	}
	if !slices.Equal(old.Names(), before) {
		t.Error("looking wrote into the store")
	}
	m.set = nil
	m.setBack()
	m.bucket = w.faults
	as(m, read("waits", big), read("d/kept", "4"), lock)
	if m.number() != 1 {
		t.Errorf("device %d", m.number())
	}
	// A store that was not set back is mounted as always.
	m.set = func(o *Options) { o.Older = true }
	as(m, read("waits", big), write("x", "y"), lock)
}

func TestAcceptedRollback(t *testing.T) {
	w, desk, old := twoMachines(t)
	m := w.laptop
	as(m,
		mkdir("d2"), write("d2/f", big), fsync("d2/f"), // fits
		write("d/kept", "4"), fsync("d/kept"), // another content lies under it
		rename("d/new", "d/moved"), // is not there
		write("tail", "small"), fsync("tail"))
	m.crash()
	m.bucket, desk.bucket = old, old
	s := m.mustAccept()
	if s.Waiting == 0 || s.Known != 3 {
		t.Errorf("%d waiting, %d commits known", s.Waiting, s.Known)
	}
	want := map[string]string{"/d/kept": "older", "/d/new": "missing", "/d/gone": "back"}
	got := map[string]string{}
	for _, f := range s.Files {
		got[f.Path] = f.What
		if f.Path == "/d/kept" && f.Versions != 2 || f.Path == "/d/new" && f.Versions != 1 {
			t.Errorf("%+v", f)
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	as(m, read("d2/f", big), read("tail", "small"), read("d/gone", "1"), read("desk", "1"))
	recovered(t, m, "4")
	a := m.v.Acceptance()
	if a.Device != 3 || a.Executed == 0 || a.Recovered != 1 {
		t.Errorf("%+v", a)
	}
	as(m, lock)
	if m.number() != 3 {
		t.Errorf("device %d", m.number())
	}
	if list := folders(t, m.state()); slices.ContainsFunc(list, func(n string) bool { return strings.HasPrefix(n, "accepted-") || strings.HasPrefix(n, "move-") }) {
		t.Errorf("left over: %v", list)
	}

	// It stands in the history, for everybody.
	acc := w.look(old, t.TempDir()).Accepted
	if len(acc) != 1 || acc[0].Seen != s.Seen || acc[0].Had != s.Store || acc[0].Device != 3 {
		t.Errorf("%+v", acc)
	}
	// Who saw more has to accept by itself; who saw no more goes on; so does a new machine.
	m.mustOpen()
	as(m, lock)
	ds := desk.setBack()
	if ds.Fork == false && ds.Same.Slot >= ds.Store.Slot {
		t.Errorf("%v", ds)
	}
	third := w.machine("third")
	third.bucket = old
	as(third, read("d2/f", big), write("third", "1"), lock)
	desk.mustAccept()
	as(desk, read("d2/f", big), read("third", "1"), write("desk2", "1"), lock)
	if desk.number() != 5 {
		t.Errorf("desk is device %d", desk.number())
	}
	as(m, read("desk2", "1"), lock)
	m.mustOpen()
	m.oneNumberEach()
}

// What was given up is slots of another history. Who vouches for one of the same number in
// the history that goes on is believed, and no acceptance is told that both histories have.
func TestAcceptedRollbackGivesUpNothingNewer(t *testing.T) {
	w := newWorld(t)
	m := w.laptop
	as(m, write("a", "1"), lock)
	old := w.objects.Clone()
	for i := range 9 {
		as(m, write("a", fmt.Sprint("more ", i)), drained)
	}
	as(m, lock)
	m.bucket = old
	m.mustAccept()
	as(m, write("b", "1"), lock)
	there := names(old, "l")
	desk := w.machine("desk")
	desk.bucket = old
	as(desk, read("b", "1"), write("desk", "1"), lock) // it is a device from here on, and a hint says so
	for _, n := range names(old, "l") {
		if !slices.Contains(there, n) {
			if err := old.Delete(t.Context(), n); err != nil {
				t.Fatal(err)
			}
		}
	}
	third := w.machine("third")
	third.bucket = old
	third.mustOpen()
	if s := third.v.Status(); !strings.Contains(s.Stopped, "device 3 (desk) vouches for slot 6") {
		t.Errorf("what desk did is gone, and a new machine says %q", s.Stopped)
	}
	as(third, refuses(write("c", "1"), publish.ErrRollback))
	if s := desk.setBack(); s.Accepted != nil {
		t.Errorf("desk is told that somebody accepted this: %v", s)
	}
}

// Who gives up a history is not passed over what others did in it above all that he saw.
func TestAcceptShowsNoLessThanIsGivenUp(t *testing.T) {
	w := newWorld(t)
	desk, third := w.machine("desk"), w.machine("third")
	as(desk, write("x", "1"), lock)
	as(third, write("y", "1"), lock)
	slot := w.look(w.objects, t.TempDir()).Store.Slot
	fork := w.objects.Clone()
	desk.bucket, third.bucket = fork, fork
	as(desk, write("fork", "1"), drained, lock)
	as(third, read("fork", "1"), write("third", "1"), drained, lock)
	as(w.laptop, read("y", "1"), write("b", "1"), drained, lock)
	w.copySlots(fork, w.objects, slot+2) // it goes on from what desk made and saw last
	desk.bucket = w.faults
	if _, err := desk.accepting(); !errors.Is(err, ErrUnacceptable) {
		t.Errorf("%v, want %v", err, ErrUnacceptable)
	}
}

// recovered finds a file recovered-… in the root folder with a content.
func recovered(t *testing.T, m *machine, content string) {
	t.Helper()
	list, err := m.v.List(t.Context(), meta.RootRef)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if strings.HasPrefix(string(e.Name), "recovered-") {
			if err := read(string(e.Name), content)(m); err == nil {
				return
			}
		}
	}
	t.Errorf("no recovered file holds %.20q", content)
}

// look is what a machine with an empty memory sees of the heads in b.
func (w *world) look(b store.Bucket, state string) *Heads {
	w.t.Helper()
	u, err := drive.FromHandover(w.unlock)
	if err != nil {
		w.t.Fatal(err)
	}
	h, err := Look(w.t.Context(), Options{Bucket: b, Drive: u, State: state})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(h.Close)
	return h
}

func TestWhatCannotBeAccepted(t *testing.T) {
	t.Run("nothing is missing", func(t *testing.T) {
		w, _, _ := twoMachines(t)
		if _, err := w.laptop.accepting(); !errors.Is(err, ErrNothingMissing) {
			t.Error(err)
		}
		as(w.laptop, write("x", "y"), lock)
		if w.laptop.number() != 1 {
			t.Error("another device")
		}
	})
	t.Run("a person says no", func(t *testing.T) {
		w, _, old := twoMachines(t)
		as(w.laptop, write("waits", "w"), fsync("waits"))
		w.laptop.crash()
		before := folders(t, w.laptop.state())
		no := errors.New("no")
		w.laptop.bucket = old
		w.laptop.set = func(o *Options) { o.Accept = func(*Setback) error { return no } }
		if err := w.laptop.open(); !errors.Is(err, no) {
			t.Error(err)
		}
		w.laptop.set = nil
		if after := folders(t, w.laptop.state()); !slices.Equal(before, after) {
			t.Errorf("%v became %v", before, after)
		}
		w.laptop.setBack()
		w.laptop.bucket = w.faults
		as(w.laptop, read("waits", "w"), lock)
	})
	t.Run("a hole with commits above", func(t *testing.T) {
		w, _, _ := twoMachines(t)
		l := w.names("l")
		slices.Sort(l) // newest first
		if err := w.objects.Delete(t.Context(), l[1]); err != nil {
			t.Fatal(err)
		}
		_, err := w.laptop.accepting()
		if !errors.Is(err, ErrUnacceptable) || !strings.Contains(err.Error(), l[0]) {
			t.Error(err)
		}
		// Once nothing lies above it is a rollback as others.
		if err := w.objects.Delete(t.Context(), l[0]); err != nil {
			t.Fatal(err)
		}
		w.laptop.mustAccept()
		as(w.laptop, write("x", "y"), lock)
	})
	t.Run("a mount that may not write", func(t *testing.T) {
		w, _, old := twoMachines(t)
		w.laptop.bucket, w.laptop.ro = old, true
		if _, err := w.laptop.accepting(); !errors.Is(err, ErrUnacceptable) {
			t.Error(err)
		}
	})
}

// Hints that are older or newer than the commits, alone.
func TestPartialSetback(t *testing.T) {
	t.Run("hints alone are older", func(t *testing.T) {
		w, _, old := twoMachines(t)
		for _, n := range w.names("k") {
			if _, err := old.Get(t.Context(), n, 0, 1); err != nil {
				if err := w.objects.Delete(t.Context(), n); err != nil {
					t.Fatal(err)
				}
			}
		}
		as(w.laptop, read("d/kept", "3"), write("x", "y"), lock)
		as(w.machine("third"), read("d/kept", "3"), read("x", "y"))
	})
	t.Run("commits alone are older", func(t *testing.T) {
		w := newWorld(t)
		as(w.laptop, write("a", "1"), lock)
		old := w.objects.Clone()
		third := w.machine("third")
		as(third, write("b", "1"), lock) // its hint stays
		for _, n := range w.names("l") {
			if _, err := old.Get(t.Context(), n, 0, 1); err != nil {
				if err := w.objects.Delete(t.Context(), n); err != nil {
					t.Fatal(err)
				}
			}
		}
		// A machine that never saw more reads, and writes nothing.
		as(w.laptop, read("a", "1"), write("x", "y"), fsync("x"), refuses(drained, publish.ErrRollback))
		w.laptop.crash()
		s := w.laptop.mustAccept()
		if s.By != AHint {
			t.Errorf("%+v", s)
		}
		as(w.laptop, read("x", "y"), lock)
		as(w.machine("fourth"), read("a", "1"), read("x", "y"), missing("b"), write("c", "1"), lock)
		third.setBack()
	})
	t.Run("the first commit alone is left", func(t *testing.T) {
		w, _, _ := twoMachines(t)
		l := w.names("l")
		slices.Sort(l)
		for _, n := range l[:len(l)-1] {
			if err := w.objects.Delete(t.Context(), n); err != nil {
				t.Fatal(err)
			}
		}
		s := w.laptop.mustAccept()
		if s.Store.Slot != 1 {
			t.Errorf("%+v", s)
		}
		as(w.laptop, missing("d"), write("x", "y"), lock)
		as(w.machine("third"), read("x", "y"))
	})
	t.Run("to a checkpoint", func(t *testing.T) {
		w := newWorld(t)
		w.laptop.near = 64 << 20
		for i := range 12 {
			as(w.laptop, write(fmt.Sprint("f", i), fmt.Sprint(i)), drained)
		}
		as(w.laptop, folded, lock)
		old := w.objects.Clone()
		as(w.laptop, write("f3", "new"), drained, write("g", "new"), drained, lock)
		w.laptop.bucket = old
		s := w.laptop.mustAccept()
		if s.Missing.Slots != 2 || s.Known != 2 || len(s.Files) != 2 || s.Files[0].Path != "/f3" || s.Files[1].Path != "/g" {
			t.Errorf("%+v", s)
		}
		as(w.laptop, read("f3", "3"), missing("g"), write("h", "1"), lock)
		m := w.machine("third")
		m.bucket = old
		as(m, read("f3", "3"), read("h", "1"))
	})
}

// What is missing was written over by a machine that never saw it.
func TestAcceptWhatOthersWroteOver(t *testing.T) {
	w, _, old := twoMachines(t)
	third := w.machine("third")
	third.bucket = old
	for i := range 6 { // more than is missing
		as(third, write(fmt.Sprint("over", i), "1"), drained)
	}
	as(third, lock)
	as(w.laptop, write("waits", "w"), fsync("waits"))
	w.laptop.crash()
	w.laptop.bucket = old
	s := w.laptop.setBack()
	if !s.Fork || !errors.Is(s, ErrFork) || s.Missing.Slots != 3 || s.Same.Slot != s.Seen.Slot-3 {
		t.Errorf("%v: %+v", s, s.Missing)
	}
	if s := w.laptop.mustAccept(); len(s.Files) != 3 {
		t.Errorf("%+v", s.Files)
	}
	as(w.laptop, read("over0", "1"), read("waits", "w"), lock)
	as(third, read("waits", "w"), lock)
}

// Killed at any step of it, an acceptance goes on or begins again, and what waited is
// there once.
func TestAcceptKilledAtEveryStep(t *testing.T) {
	t.Run("within an epoch", func(t *testing.T) { killedAccepting(t) })
	t.Run("what waits is of an epoch that is missing", func(t *testing.T) { killedAccepting(t, remove(2)) })
}

// killedAccepting has laptop do what is given before it writes what waits.
func killedAccepting(t *testing.T, before ...act) {
	w, _, old := twoMachines(t)
	m := w.laptop
	as(m, before...)
	as(m, mkdir("d2"), write("d2/f", big), fsync("d2/f"), write("d/kept", "4"), fsync("d/kept"))
	m.crash()
	m.bucket = old
	type snapshot struct {
		step    string
		folder  string
		objects *mem.Bucket
	}
	var mu sync.Mutex // guards all and seen; packs are sent at the same time
	var all []snapshot
	every, seen := number(t, roundsEnv, 0) > 0, map[string]int{}
	m.step = func(step string) {
		mu.Lock()
		defer mu.Unlock()
		// Each step for the first time, or whenever it comes.
		if seen[step]++; !every && seen[step] > 1 {
			return
		}
		s := snapshot{step: step, folder: t.TempDir()}
		copyFolder(t, m.state(), s.folder)
		s.objects = old.Clone() // the later one: what was on its way may arrive
		all = append(all, s)
	}
	m.mustAccept()
	as(m, lock)
	m.step = nil
	if len(all) < 8 {
		t.Fatalf("%d steps", len(all))
	}
	for i, s := range all {
		// The same folder: another would be a copy.
		m.restore(s.folder)
		m.bucket = s.objects
		err := m.open()
		switch {
		case err == nil:
		case errors.Is(err, ErrRollback) || errors.Is(err, ErrFork):
			m.mustAccept()
		default:
			t.Fatalf("%d, after %s: %v", i, s.step, err)
		}
		as(m, read("d2/f", big), read("d/gone", "1"))
		recovered(t, m, "4")
		as(m, lock)
		third := w.machine("third")
		third.bucket = s.objects
		as(third, read("d2/f", big))
		if len(w.look(s.objects, t.TempDir()).Accepted) == 0 {
			t.Errorf("%d, after %s: nobody is told", i, s.step)
		}
		third.crash()
	}
	t.Logf("%d steps", len(all))
}

// The seen numbers of the device that it was are in what is missing, and used no more.
func TestAcceptedNumbers(t *testing.T) {
	w, _, old := twoMachines(t)
	w.laptop.bucket = old
	w.laptop.mustAccept()
	as(w.laptop, write("n", "1"), lock)
	w.laptop.mustOpen()
	_, _, a, err := w.laptop.find("n")
	if err != nil {
		t.Fatal(err)
	}
	if a.Ref.Ino.Device() != 3 {
		t.Errorf("inode of device %d", a.Ref.Ino.Device())
	}
}
