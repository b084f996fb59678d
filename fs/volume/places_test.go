package volume

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/fs/journal"
	"github.com/hushfs/hushfs/fs/meta"
)

// Of a file that was changed the name is remembered until the chain has the change,
// whatever else is looked up meanwhile: what is kept of it beside another machine's has a
// name like it, in the same folder.
func TestManyNamesMeanwhile(t *testing.T) {
	t.Parallel()
	const files = 20
	name := func(i int) string { return fmt.Sprintf("d/f%d", i) }
	w := newWorld(t)
	as(w.laptop, mkdir("d"))
	for i := range files {
		as(w.laptop, write(name(i), "base"), fsync(name(i)))
	}
	as(w.laptop, drained)
	desk := w.machine("desk")
	for i := range files {
		as(desk, write(name(i), "theirs"), fsync(name(i)))
	}
	as(desk, drained)

	for i := range files {
		as(w.laptop, write(name(i), fmt.Sprint("mine", i)), fsync(name(i)))
	}
	p := &w.laptop.v.places
	others := func(from, n int) {
		for i := range n {
			p.found(meta.Ref{Home: meta.Root, Ino: meta.Ino(1<<40 + from + i)}, meta.RootRef, []byte("another"))
		}
	}
	others(0, 4*placesMost)
	if n := len(p.young) + len(p.old); n > placesMost || len(p.waiting) != files {
		t.Errorf("%d names are remembered, and %d that wait", n, len(p.waiting))
	}
	as(w.laptop, upToDate, drained)
	as(desk, upToDate)
	tree := desk.tree()
	for i := range files {
		if want := name(i) + " (conflict"; !strings.Contains(tree, want) {
			t.Errorf("no %q in\n%s", want, tree)
		}
	}
	if strings.Contains(tree, "recovered") {
		t.Errorf("a file lost its name:\n%s", tree)
	}
}

// The journal has the name of a file that is changed once, unless a waiting operation says it.
func TestNamesInTheJournal(t *testing.T) {
	t.Parallel()
	ref, dir := meta.Ref{Home: meta.Root, Ino: 1<<40 + 1}, meta.RootRef
	op := &meta.Write{Ref: ref}
	var p places
	told := func(no, settled meta.OpNo) bool {
		r, ok := p.tell(no, op, settled)
		return ok && string(r.Name) == "a" && r.No == no
	}
	if told(1, 0) {
		t.Error("a name that nobody knows")
	}
	p.gave(2, ref, dir, []byte("a"))
	if told(3, 1) {
		t.Error("operation 2 says it and waits")
	}
	if !told(4, 2) {
		t.Error("operation 2 waits no more")
	}
	if told(5, 3) {
		t.Error("operation 4 has told it and waits")
	}
	p.found(ref, dir, []byte("a"))
	if told(6, 3) {
		t.Error("it is the same name")
	}
	if !told(7, 4) {
		t.Error("operation 4 waits no more")
	}
	p.found(ref, dir, []byte("b"))
	if r, ok := p.tell(8, op, 4); !ok || string(r.Name) != "b" {
		t.Error("another name")
	}
	p.take(8)
	if r, ok := p.tell(9, op, 4); !ok || string(r.Name) != "b" {
		t.Error("operation 8 goes with a commit")
	}
}

// Names of changes that are in the store are forgotten as others are.
func TestNamesOfWhatIsSettled(t *testing.T) {
	t.Parallel()
	var p places
	for i := range 10 * placesMost {
		ref := meta.Ref{Home: meta.Root, Ino: meta.Ino(1<<40 + i)}
		p.found(ref, meta.RootRef, []byte("a"))
		no := meta.OpNo(i + 1)
		if _, ok := p.tell(no, &meta.Write{Ref: ref}, no-1); !ok {
			t.Fatalf("operation %d is not told", no)
		}
		if n := len(p.young) + len(p.old) + len(p.waiting); n > placesMost+2*waitingFew {
			t.Fatalf("%d names are remembered", n)
		}
	}
}

// lookedUp is a lot of other names.
func lookedUp(p *places) {
	for i := range 4 * placesMost {
		p.found(meta.Ref{Home: meta.Root, Ino: meta.Ino(1<<50 + i)}, meta.RootRef, []byte("another"))
	}
}

// A name is not forgotten before the last operation that may need it is settled: under
// whatever other name the file is found meanwhile, and whichever of its operations the
// journal told it with.
func TestNameOfWhatWaits(t *testing.T) {
	t.Parallel()
	ref := meta.Ref{Home: meta.Root, Ino: 1<<40 + 1}
	write := &meta.Write{Ref: ref}
	for what, c := range map[string]struct {
		do   func(p *places)
		want string
	}{
		"found under another name": {func(p *places) {
			p.tell(1, write, 0)
			p.found(ref, meta.RootRef, []byte("b"))
		}, "b"},
		"written again, and the first operation is settled": {func(p *places) {
			p.tell(1, write, 0)
			p.tell(9000, write, 0)
		}, "a"},
		"of an operation in the journal behind that which has it": {func(p *places) {
			p.recorded(journal.PlaceRecord{No: 1, Ref: ref, Parent: meta.RootRef, Name: []byte("a")}, 9000)
		}, "a"},
	} {
		var p places
		p.found(ref, meta.RootRef, []byte("a"))
		c.do(&p)
		settled := meta.OpNo(8000)
		if c.want == "b" {
			settled = 0
		}
		for i := range meta.OpNo(4 * waitingFew) { // these have it looked which still wait
			other := meta.Ref{Home: meta.Root, Ino: meta.Ino(1<<45) + meta.Ino(i)}
			p.found(other, meta.RootRef, []byte("another"))
			p.tell(9001+i, &meta.Write{Ref: other}, settled)
		}
		lookedUp(&p)
		if _, name, ok := p.find(ref); !ok || string(name) != c.want {
			t.Errorf("%s: it is called %q", what, name)
		}
	}
}

// A file that is open to write keeps its name, and the one that it gets meanwhile.
func TestNameOfAnOpenFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	as(w.laptop, write("f", "1"), fsync("f"), drained)
	v, ctx := w.laptop.v, t.Context()
	a, err := v.Lookup(ctx, meta.RootRef, []byte("f"))
	if err != nil {
		t.Fatal(err)
	}
	h, err := v.Open(ctx, a.Ref, true)
	if err != nil {
		t.Fatal(err)
	}
	v.Called(h, meta.RootRef, []byte("f"))
	is := func(want string) {
		t.Helper()
		lookedUp(&v.places)
		if err := errors.Join(v.Write(ctx, h, 0, []byte(want)), v.Fsync(ctx, h)); err != nil {
			t.Fatal(err)
		}
		if _, name, ok := v.places.find(a.Ref); !ok || string(name) != want {
			t.Errorf("it is called %q, want %q", name, want)
		}
		as(w.laptop, drained)
	}
	is("f")
	if err := v.Rename(ctx, meta.RootRef, []byte("f"), meta.RootRef, []byte("g"), 0); err != nil {
		t.Fatal(err)
	}
	v.Called(h, meta.RootRef, []byte("f")) // by who found it before
	is("g")
	v.Release(h)
}

// A file is written on, and so are others, while the commit with what was written to them
// before is on its way; then the machine is killed. What it kept of them is called like
// them, in their folders, though what the journal had their names with is settled.
func TestNameOutlivesTheCommitThatTookIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m, desk := w.laptop, w.machine("desk")
	as(desk, mkdir("d"), mkdir("e"), write("moved", "base"), rename("moved", "d/moved"), write("d/stays", "base"), fsync("d/stays"), drained)
	as(m, upToDate)
	files := []string{"d/moved", "d/stays", "e/made"}
	for _, f := range files {
		as(m, write(f, "1"), fsync(f))
	}
	as(m, rename("e/made", "d/made"))
	files[2] = "d/made"
	more := true
	m.step = func(name string) {
		if name == "sync.build" && more {
			more = false
			for _, f := range files {
				as(m, write(f, "22"), fsync(f))
			}
		}
	}
	as(m, drained)
	m.step = nil
	if n := m.v.view.Pending().Len(); more || n == 0 {
		t.Fatalf("%d operations wait", n)
	}
	m.crash()
	as(desk, upToDate)
	for _, f := range files {
		as(desk, write(f, "theirs"), fsync(f))
	}
	as(desk, drained)
	as(m, upToDate, drained)
	tree := m.tree()
	for _, f := range files {
		if !strings.Contains(tree, f+" (conflict") {
			t.Errorf("no copy of %s:\n%s", f, tree)
		}
	}
}

// A state that was copied becomes another device, with a journal of its own: that has the
// names, too, under which files were found before.
func TestNameOutlivesACopiedState(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m, desk := w.laptop, w.machine("desk")
	as(desk, mkdir("d"), write("d/f", "base"), drained)
	as(m, upToDate, write("d/f", "mine"), fsync("d/f"))
	was := m.v.device
	m.crash()
	original := m.state()
	m.dir = t.TempDir()
	copyFolder(t, original, m.state())
	as(m, read("d/f", "mine"))
	if m.v.device == was {
		t.Fatal("it is the device that it was")
	}
	m.crash()
	as(desk, write("d/f", "theirs"), drained)
	as(m, drained, read("d/f", "theirs"))
	if tree := m.tree(); !strings.Contains(tree, "d/f (conflict") {
		t.Errorf("no copy of it beside:\n%s", tree)
	}
}

// What a full disk kept from the journal is told with the next attempt.
func TestNameThatDidNotReachTheJournal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m, desk := w.laptop, w.machine("desk")
	as(desk, write("f", "base"), drained)
	as(m, upToDate)
	h := m.opens("f", true)
	as(m, puts(h, 0, "mine"), closes(h))
	if err := m.v.journal.Close(); err != nil {
		t.Fatal(err)
	}
	if m.v.SyncTree() == nil {
		t.Fatal("the journal took it")
	}
	for _, q := range m.v.queue {
		if _, ok := m.v.places.tell(q.no, q.op, m.v.sync.Settled()); needsName(q.op) && !ok {
			t.Errorf("operation %d: its file's name is not told", q.no)
		}
	}
	if len(m.v.queue) == 0 {
		t.Error("nothing waits")
	}
}
