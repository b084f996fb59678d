package volume

import (
	"fmt"
	"strings"
	"testing"

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
	for i := range 4 * placesMost {
		ref := meta.Ref{Home: meta.Root, Ino: meta.Ino(1<<40 + i)}
		w.laptop.v.places.found(ref, meta.RootRef, []byte("another"))
	}
	if n := len(w.laptop.v.places.known); n > placesMost+files {
		t.Errorf("%d names are remembered", n)
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
}
