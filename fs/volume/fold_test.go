package volume

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
)

// commits makes n commits, a file each.
func commits(name string, n int) act {
	return func(m *machine) error {
		for i := range n {
			if err := write(fmt.Sprintf("%s%d", name, i), fmt.Sprint(i))(m); err != nil {
				return err
			}
			if err := drained(m); err != nil {
				return err
			}
		}
		return nil
	}
}

// folded folds what lies above the checkpoint.
func folded(m *machine) error { return m.v.sync.Fold(m.t.Context()) }

// gets counts the requests that reading took since the last call.
func (w *world) gets() map[string]int {
	n := map[string]int{}
	log := w.faults.Log()
	for _, c := range log[w.seen:] {
		if c.Op == fault.Get || c.Op == fault.List {
			kind := strings.TrimPrefix(c.Name, "v0/s/"+w.vol.String()+"/")
			n[kind[:min(2, len(kind))]]++
		}
	}
	w.seen = len(log)
	return n
}

func TestANewMachineBeginsAtTheCheckpoint(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, commits("a", 20), mkdir("d"), write("d/x", "deep"), unlink("a3"), drained, folded)
	want := w.laptop.tree()
	w.gets()
	m := w.machine("desktop")
	m.mustOpen()
	if n := w.gets(); n["l/"] > 2 || n["a/"] != 0 {
		t.Errorf("mounted with %v requests", n)
	}
	if got := m.tree(); got != want {
		t.Errorf("the tree is\n%s\nwant\n%s", got, want)
	}
	if got, want := m.v.Usage().Usage, w.laptop.v.Usage().Usage; got != want {
		t.Errorf("usage %+v, want %+v", got, want)
	}
	// Both go on, and see each other's work.
	as(m, write("from desktop", "1"), unlink("a5"), write("a6", "new"), drained)
	as(w.laptop, write("from laptop", "2"), drained, read("from desktop", "1"), missing("a5"), read("a6", "new"))
	as(w.laptop, folded)
	as(m, write("b", "3"), drained, read("from laptop", "2"), folded)
	want = m.tree()
	for _, name := range []string{"third", "fourth"} {
		third := w.machine(name)
		third.mustOpen()
		if got := third.tree(); got != want {
			t.Errorf("%s: the tree is\n%s\nwant\n%s", name, got, want)
		}
	}
}

// A machine that was away while others folded finds its head again under their
// checkpoints, and its journal still fits.
func TestComingBackUnderACheckpoint(t *testing.T) {
	w := newWorld(t)
	m := w.machine("desktop")
	as(m, write("mine", "1"), lock)
	// What it changed last stays in its journal.
	m.bucket = fault.Wrap(w.objects, fault.On(fault.Put, 1, fault.Fail(store.ErrUnavailable)).Onwards())
	as(m, write("late", "2"), fsync("late"))
	m.crash()
	for round := range 3 {
		as(w.laptop, commits(fmt.Sprint("r", round), 9), folded)
	}
	m.bucket = w.faults
	as(m, read("mine", "1"), read("late", "2"), read("r28", "8"), lock)
	as(w.laptop, write("x", "y"), drained, read("late", "2"))
}

// A store that lost what this machine saw, under a checkpoint that it has, is refused.
func TestRollbackUnderACheckpoint(t *testing.T) {
	w := newWorld(t)
	m := w.machine("desktop")
	as(w.laptop, commits("a", 9), folded, lock)
	old := w.objects.Clone()
	as(m, commits("b", 3), folded, lock)
	m.bucket = old
	if err := m.open(); !errors.Is(err, ErrRollback) {
		t.Errorf("mount: %v", err)
	}
	// The same where another history went on from there, and folded.
	other := w.machine("other")
	other.bucket = old
	as(other, commits("c", 9), folded, lock)
	if err := m.open(); !errors.Is(err, ErrRollback) && !errors.Is(err, ErrFork) {
		t.Errorf("another history: %v", err)
	}
}

// Killed at any step of a fold, what is left is a drive that all machines read alike.
func TestFoldEndsAtAnyStep(t *testing.T) {
	for _, step := range append(append([]string(nil), publish.FoldSteps...), "sync.attempt", "sync.put", "sync.taken", "sync.remembered", "sync.settled") {
		t.Run(step, func(t *testing.T) {
			w := newWorld(t)
			as(w.laptop, commits("a", 9), unlink("a2"), drained)
			want := w.laptop.tree()
			reached := make(chan struct{})
			w.laptop.step = func(name string) {
				if name == step {
					w.laptop.step = nil
					close(reached)
					select {} // it never comes back from there
				}
			}
			v := w.laptop.v
			go func() { _ = v.sync.Fold(t.Context()) }()
			select {
			case <-reached:
			case <-time.After(time.Minute):
				t.Fatal("the step is not reached")
			}
			w.laptop.crash()
			w.laptop.step = nil
			for _, m := range []*machine{w.laptop, w.machine("desktop")} {
				m.mustOpen()
				if got := m.tree(); got != want {
					t.Errorf("%s sees\n%s\nwant\n%s", m.name, got, want)
				}
				as(m, write(m.name, "1"), drained, folded)
				want = m.tree()
				as(m, lock)
			}
			as(w.machine("third"), read("laptop", "1"), read("desktop", "1"), missing("a2"))
			w.checkOps(1)
		})
	}
}

// Two machines that fold the same slots do not disturb each other.
func TestTwoFoldAtOnce(t *testing.T) {
	w := newWorld(t)
	m := w.machine("desktop")
	as(w.laptop, commits("a", 9))
	as(m, write("b", "1"), drained)
	as(w.laptop, write("c", "2"), drained)
	done := make(chan error, 2)
	for _, v := range []*Volume{w.laptop.v, m.v} {
		go func() { done <- v.sync.Fold(t.Context()) }()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	as(w.laptop, write("d", "3"), drained)
	as(m, write("e", "4"), drained)
	third := w.machine("third")
	third.mustOpen()
	if got, want := third.tree(), m.tree(); got != want {
		t.Errorf("the tree is\n%s\nwant\n%s", got, want)
	}
}

// Where a table that every mount needs is damaged, the commits under it tell the same,
// and the next fold makes tables that are whole.
func TestDamagedTable(t *testing.T) {
	for name, harm := range map[string]func(w *world, victim string){
		"missing": func(w *world, victim string) { _ = w.objects.Delete(t.Context(), victim) },
		"one bit": func(w *world, victim string) { w.change(victim, func(b []byte) []byte { b[9] ^= 4; return b }) },
		"cut":     func(w *world, victim string) { w.change(victim, func(b []byte) []byte { return b[:len(b)-1] }) },
		"another": func(w *world, victim string) { w.objects.Overwrite(victim, w.object(w.names("p")[0])) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			as(w.laptop, write("a", big), drained, commits("b", 9), folded, write("c", "1"), drained)
			want := w.laptop.tree()
			as(w.laptop, lock)
			victim := w.names("t")[0]
			harm(w, victim)
			m := w.machine("desktop")
			m.mustOpen()
			if got := m.tree(); got != want {
				t.Errorf("the tree is\n%s\nwant\n%s", got, want)
			}
			if s := m.v.Status(); !slices.Contains(s.Damaged, victim) {
				t.Errorf("damaged: %v, want %s", s.Damaged, victim)
			}
			as(m, write("d", "2"), drained, folded, lock)
			third := w.machine("third")
			third.mustOpen()
			if s := third.v.Status(); len(s.Damaged) > 0 {
				t.Errorf("after another fold: damaged %v", s.Damaged)
			}
			as(third, read("a", big), read("d", "2"))
		})
	}
}

// Damage in a table that the mount does not look at is an error for what lies there, not
// an absence; the next mount reads the commits, and its fold mends the drive.
func TestDamagedTableElsewhere(t *testing.T) {
	w := newWorld(t)
	w.laptop.mustOpen()
	w.generate(t, 10, 30, 300)
	w.laptop.crash()
	as(w.machine("folder"), write("one more", "1"), drained, folded, lock)
	// One that the mount does not need: of those with many names, not the first.
	for _, victim := range w.names("t") {
		b := w.object(victim)
		m := w.machine("desktop " + victim[len(victim)-4:])
		w.change(victim, func(b []byte) []byte { b[len(b)/3] ^= 1; return b })
		m.mustOpen()
		failed := 0
		for d := range 10 {
			for s := range 30 {
				_, _, _, err := m.find(fmt.Sprintf("folder %03d/sub %03d/file-0123.txt", d, s))
				if errors.Is(err, meta.ErrNotExist) {
					t.Fatalf("%s: a file is said not to be there", victim)
				}
				if err != nil {
					failed++
				}
			}
		}
		if failed > 0 {
			if s := m.v.Status(); !slices.Contains(s.Damaged, victim) {
				t.Errorf("damaged: %v, want %s", s.Damaged, victim)
			}
			as(m, lock)
			m.mustOpen()
			for d := range 10 {
				if _, _, _, err := m.find(fmt.Sprintf("folder %03d/sub 007/file-0123.txt", d)); err != nil {
					t.Errorf("at the next mount: %v", err)
				}
			}
			as(m, write("mended", "1"), drained, folded, lock)
			as(w.machine("third"), read("mended", "1"))
			third := w.machine("fourth")
			third.mustOpen()
			if _, _, _, err := third.find("folder 002/sub 029/file-0299.txt"); err != nil || len(third.v.Status().Damaged) > 0 {
				t.Errorf("after the fold: %v, %v", err, third.v.Status().Damaged)
			}
			return
		}
		as(m, lock)
		w.objects.Overwrite(victim, b)
	}
	t.Error("no table was looked at")
}

// A checkpoint whose announcing commit or hint is gone is passed over: the commits
// before it are still there.
func TestFoldWithoutHint(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, commits("a", 9), folded)
	want := w.laptop.tree()
	for _, n := range w.names("k") {
		if n != w.names("k")[len(w.names("k"))-1] {
			_ = w.objects.Delete(t.Context(), n)
		}
	}
	m := w.machine("desktop")
	m.mustOpen()
	if got := m.tree(); got != want {
		t.Errorf("the tree is\n%s\nwant\n%s", got, want)
	}
}

// Where the store is away, what is not near is an error that says so, whether it is
// there or not: never an absence.
func TestNotKnownIsNotAbsent(t *testing.T) {
	w := newWorld(t)
	w.laptop.mustOpen()
	w.generate(t, 10, 30, 300)
	w.laptop.crash()
	as(w.machine("folder"), write("one more", "1"), drained, folded, lock)
	// Another machine tells where the folders are; this one has not looked at any.
	guide := w.machine("guide")
	guide.mustOpen()
	var subs []meta.Ref
	for i := range 10 {
		_, _, sub, err := guide.find(fmt.Sprintf("folder %03d/sub 017", i))
		if err != nil {
			t.Fatal(err)
		}
		subs = append(subs, sub.Ref)
	}
	m := w.machine("desktop")
	m.mustOpen()
	w.faults.Add(fault.On(fault.Get, 1, fault.Fail(store.ErrUnavailable)).Prefix(w.prefix("t")).Onwards())
	unknown := 0
	for i, sub := range subs {
		_, err := m.v.Lookup(t.Context(), sub, []byte("file-0123.txt"))
		if errors.Is(err, meta.ErrUnknown) {
			unknown++
		} else if err != nil {
			t.Errorf("a name that is there, in folder %d: %v", i, err)
		}
		// A filter that is near may say no; nothing may say yes.
		_, err = m.v.Lookup(t.Context(), sub, []byte("no such file"))
		if !errors.Is(err, meta.ErrUnknown) && !errors.Is(err, meta.ErrNotExist) {
			t.Errorf("a name that is not there, in folder %d: %v", i, err)
		}
	}
	if unknown == 0 {
		t.Error("everything was near, and nothing was tried")
	}
	w.faults.Clear()
	if _, _, _, err := m.find("folder 009/sub 029/file-0123.txt"); err != nil {
		t.Errorf("when the store is back: %v", err)
	}
	if _, _, _, err := m.find("folder 009/sub 029/file-0300.txt"); !errors.Is(err, meta.ErrNotExist) {
		t.Errorf("what is not there, when the store is back: %v", err)
	}
}

// After an hour without an answer the head must still be there before the next commit.
func TestSleeper(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, commits("a", 3))
	w.laptop.slept.Store(int64(2 * time.Hour))
	w.gets()
	as(w.laptop, write("b", "1"), drained)
	if n := w.gets(); n["l/"] == 0 {
		t.Error("the head was not looked at")
	}
	as(w.laptop, write("c", "2"))
	w.laptop.slept.Store(int64(4 * time.Hour))
	names := w.names("l")
	_ = w.objects.Delete(t.Context(), names[0])         // the newest comes first
	as(w.laptop, refuses(drained, publish.ErrRollback)) // nobody went on: the store was set back
	if err := w.objects.PutIfAbsent(t.Context(), chain.HintName(w.vol, 1000), []byte("of somebody who did")); err != nil {
		t.Fatal(err)
	}
	as(w.laptop, refuses(drained, publish.ErrRollback)) // it is nobody's
	if len(w.names("l")) != len(names)-1 {
		t.Error("a commit was put all the same")
	}
}
