package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
)

func TestRollbackIsRefused(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("a", "1"), lock)
	old := w.objects.Clone()
	as(w.laptop, write("a", "2"), lock)
	w.laptop.bucket = old
	if err := w.laptop.open(); !errors.Is(err, ErrRollback) {
		t.Errorf("rolled back: %v", err)
	}
	w.laptop.bucket = w.faults
	as(w.laptop, read("a", "2"))
}

func TestRollbackIsRefusedByWhoOnlyRead(t *testing.T) {
	w := newWorld(t)
	old := w.objects.Clone()
	as(w.laptop, write("a", "1"), lock)
	m := w.machine("reader")
	m.ro = true
	as(m, read("a", "1"))
	m.crash()
	m.bucket = old
	if err := m.open(); !errors.Is(err, ErrRollback) {
		t.Errorf("rolled back: %v", err)
	}
}

func TestForkIsRefused(t *testing.T) {
	w := newWorld(t)
	desk := w.machine("desktop")
	desk.near = 64 << 20 // its own packs are in no store but the fork
	as(desk, write("x", "1"), lock)
	// The store shows each its own history from here on.
	fork := w.objects.Clone()
	desk.bucket = fork
	as(w.laptop, write("a", "1"), drained)
	as(desk, write("b", "2"), lock)

	// They meet at slot n, both with a commit of their own.
	desk.bucket = w.faults
	if err := desk.open(); !errors.Is(err, ErrFork) {
		t.Errorf("mount: %v", err)
	}
	// An open mount finds it when it wants the next slot.
	for _, n := range fork.Names() {
		if strings.HasPrefix(n, w.prefix("l")) {
			if b, err := fork.Get(t.Context(), n, 0, -1); err == nil {
				w.objects.Overwrite(n, b)
			}
		}
	}
	as(desk, read("b", "2"), write("c", "3"), lock)
	as(w.laptop, write("d", "4"), refuses(drained, publish.ErrFork))
	found := false
	for _, n := range folders(t, w.laptop.state()) {
		found = found || strings.HasPrefix(n, "evidence-")
	}
	if !found {
		t.Error("evidence was not kept")
	}
	if s := w.laptop.v.Status(); !strings.Contains(s.Stopped, "desktop") {
		t.Errorf("it does not name the device: %q", s.Stopped)
	}
}

// A copy of a machine's state is another machine: both go on, under numbers of
// their own.
func TestCopiedState(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("common", "0"), lock)
	twin := w.machine("twin")
	copyFolder(t, w.laptop.state(), twin.state())
	as(w.laptop, write("a", big), mkdir("da"))
	as(twin, write("b", big), mkdir("db"), write("common", "1"), lock)
	as(w.laptop, drained, lock)
	if a, b := w.laptop.number(), twin.number(); a != 1 || b != 2 {
		t.Errorf("devices %d and %d", a, b)
	}
	m := w.machine("third")
	as(m, read("a", big), read("b", big), read("common", "1"))
	m.oneNumberEach()
}

// oneNumberEach finds each inode number once.
func (m *machine) oneNumberEach() {
	m.t.Helper()
	seen := map[meta.Ino]string{}
	var walk func(path string, ref meta.Ref)
	walk = func(path string, ref meta.Ref) {
		l, err := m.v.List(context.Background(), ref)
		if err != nil {
			m.t.Fatal(err)
		}
		for _, e := range l {
			p := path + "/" + string(e.Name)
			if other, ok := seen[e.Ref.Ino]; ok {
				m.t.Errorf("%s and %s are inode %d", p, other, e.Ref.Ino)
			}
			seen[e.Ref.Ino] = p
			if e.Kind == meta.Dir {
				walk(p, e.Ref)
			}
		}
	}
	walk("", meta.RootRef)
}

// What the copy's journal held is the copy's to publish, when nobody did.
func TestCopiedStateWithPendingWork(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, mkdir("d"), write("d/a", "inline"), write("d/b", big), rename("d/a", "d/c"), fsync("d/b"))
	was := w.laptop.tree()
	w.laptop.crash()
	twin := w.machine("twin")
	copyFolder(t, w.laptop.state(), twin.state())
	as(twin, read("d/c", "inline"), read("d/b", big), lock)
	as(twin, read("d/c", "inline"), read("d/b", big))
	if n := twin.number(); n != 2 {
		t.Errorf("device %d", n)
	}
	if strings.Contains(twin.tree(), lineOf(was, "/d/b")) {
		t.Error("the copy goes on under the old numbers")
	}
	for _, n := range folders(t, twin.state()) {
		if strings.HasPrefix(n, "move-") || strings.HasPrefix(n, "kept-") || strings.HasPrefix(n, "done-") {
			t.Errorf("%s is left", n)
		}
	}
	as(w.machine("third"), read("d/c", "inline"), read("d/b", big))
}

// lineOf is the line of a tree that begins with a path.
func lineOf(tree, path string) string {
	for l := range strings.Lines(tree) {
		if strings.HasPrefix(l, path+" ") {
			return l
		}
	}
	return "nothing"
}

// When the original published the same work meanwhile, the copy must neither do
// it twice nor drop it without a word.
func TestCopiedStateWhoseWorkIsPublished(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("a", "1"), fsync("a"))
	w.laptop.crash()
	twin := w.machine("twin")
	copyFolder(t, w.laptop.state(), twin.state())
	as(w.laptop, write("b", "2"), lock)
	as(twin, read("a", "1"), read("b", "2"), write("c", "3"))
	if s := twin.v.Status(); len(s.Warnings) == 0 || !strings.Contains(s.Warnings[0], "copied state") {
		t.Errorf("warnings %q", s.Warnings)
	}
	as(twin, lock)
	kept := false
	for _, n := range folders(t, twin.state()) {
		kept = kept || strings.HasPrefix(n, "kept-")
	}
	if !kept {
		t.Error("the journal of the copy is gone")
	}
	as(w.laptop, read("c", "3"))
}

// twinWorld has two machines that nothing but their work tells apart, as after a
// clone of a virtual machine: the binding of the state is the same.
func twinWorld(t *testing.T) (*world, *machine, *machine) {
	w := newWorld(t)
	a, b := w.laptop, w.machine("twin")
	as(a, write("common", "0"), lock)
	return w, a, b
}

// A twin that works at the same time is found at the first slot that it takes.
func TestTwinIsFound(t *testing.T) {
	w, a, b := twinWorld(t)
	saved := filepath.Join(t.TempDir(), "saved")
	copyFolder(t, a.state(), saved)
	as(a, write("a", "1"), lock)
	// The machine is set back to an earlier snapshot, in place; it does not know.
	restore(t, saved, a.state())
	as(a, read("a", "1"), write("b", "2"), lock)
	if n := a.number(); n != 2 {
		t.Errorf("device %d", n)
	}
	as(b, read("a", "1"), read("b", "2"), read("common", "0"))
	b.oneNumberEach()
	w.checkOps(1)
}

// The same with work in the journal of the snapshot under numbers that the chain
// has by now for other work: kept aside, and said.
func TestTwinWithPendingWork(t *testing.T) {
	_, a, b := twinWorld(t)
	as(a, write("x", "1"), fsync("x"))
	a.crash()
	saved := filepath.Join(t.TempDir(), "saved")
	copyFolder(t, a.state(), saved)
	as(a, write("y", "2"), lock)
	restore(t, saved, a.state())
	as(a, read("x", "1"), read("y", "2"), write("z", "3"))
	if s := a.v.Status(); len(s.Warnings) == 0 {
		t.Error("no warning")
	}
	as(a, lock)
	as(b, read("x", "1"), read("y", "2"), read("z", "3"))
}

// restore makes the content of the folder to that of from, in place.
func restore(t *testing.T, from, to string) {
	t.Helper()
	for _, n := range folders(t, to) {
		if err := os.RemoveAll(filepath.Join(to, n)); err != nil {
			t.Fatal(err)
		}
	}
	copyFolder(t, from, to)
}

// An open mount whose twin takes a slot stops, and the next mount makes it a
// device of its own.
func TestTwinAtWork(t *testing.T) {
	w, a, b := twinWorld(t)
	saved := filepath.Join(t.TempDir(), "saved")
	copyFolder(t, a.state(), saved)
	shown := w.objects.Clone()
	as(a, write("a", "1"), lock)
	twinsWork := w.objects.Clone()

	restore(t, saved, a.state())
	a.bucket = shown
	as(a, write("b", "2"), fsync("b"))
	for _, n := range twinsWork.Names() {
		if o, err := twinsWork.Get(t.Context(), n, 0, -1); err == nil {
			shown.Overwrite(n, o)
		}
	}
	err := drained(a)
	if err == nil || !strings.Contains(err.Error(), "copy of this machine's state") {
		t.Errorf("publish: %v", err)
	}
	a.crash()
	as(a, read("a", "1"))
	if n := a.number(); n != 2 {
		t.Errorf("device %d", n)
	}
	b.bucket = shown
	as(a, write("c", "3"), lock)
	as(b, read("a", "1"), read("c", "3"))
}

// A renewal that is interrupted, anywhere, loses nothing and begins again.
func TestInterruptedRenewal(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("a", "inline"), write("b", big), mkdir("d"), fsync("b"))
	w.laptop.crash()
	m := w.machine("copy")
	copyFolder(t, w.laptop.state(), m.state())

	// What a crash at each step would leave, of the machine and of the store.
	var mu sync.Mutex // guards left; packs are sent at the same time
	var left []*machine
	m.step = func(step string) {
		mu.Lock()
		defer mu.Unlock()
		c := w.machine("crashed at " + step)
		copyFolder(t, m.state(), c.state())
		c.bucket = w.objects.Clone()
		left = append(left, c)
	}
	m.mustOpen()
	m.step = nil
	m.crash()
	if len(left) < 10 {
		t.Fatalf("only %d steps", len(left))
	}
	for _, c := range left {
		as(c, read("a", "inline"), read("b", big), lock)
		c.forget()
		as(c, read("a", "inline"), read("b", big))
		c.oneNumberEach()
		c.crash()
	}
}

// Much work of a copied state goes to the new journal bit by bit, and not all of it is in
// memory; after a crash in between nothing is lost, and nothing is there twice.
func TestCopiedStateWithMuchWork(t *testing.T) {
	w := newWorld(t)
	const dirs = 2*adoptMost + 100
	for i := range dirs {
		as(w.laptop, mkdir(fmt.Sprint("d", i)))
	}
	if err := w.laptop.v.SyncTree(); err != nil {
		t.Fatal(err)
	}
	w.laptop.crash()
	m := w.machine("copy")
	copyFolder(t, w.laptop.state(), m.state())

	var mu sync.Mutex // guards left; packs are sent at the same time
	var left []*machine
	moving := func() bool {
		return slices.ContainsFunc(folders(t, m.state()), func(n string) bool { return strings.HasPrefix(n, "move-") })
	}
	m.step = func(step string) {
		mu.Lock()
		defer mu.Unlock()
		if step != "journal.write" || !moving() {
			return
		}
		c := w.machine(fmt.Sprint("crashed ", len(left)))
		copyFolder(t, m.state(), c.state())
		c.bucket = w.objects.Clone()
		left = append(left, c)
	}
	m.mustOpen()
	m.step = nil
	if len(left) < 3 {
		t.Errorf("all was written to the journal in %d goes", len(left))
	}
	for _, c := range append(left, m) {
		if c != m {
			c.mustOpen()
		}
		if l, err := c.v.List(t.Context(), meta.RootRef); err != nil || len(l) != dirs {
			t.Errorf("%s: %d folders, want %d: %v", c.name, len(l), dirs, err)
		}
		c.oneNumberEach()
		c.crash()
	}
}
