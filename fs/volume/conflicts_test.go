package volume

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// report leaves a record of a conflict between two paths; empty: a side that never was.
func report(kind meta.ConflictKind, mine, theirs, meant string) act {
	return func(m *machine) error {
		c := meta.Conflict{Kind: kind, Time: now()}
		for of, ref := range map[string]*meta.Ref{mine: &c.Ours, theirs: &c.Theirs} {
			if of == "" {
				continue
			}
			_, _, a, err := m.find(of)
			if err != nil {
				return err
			}
			*ref = a.Ref
		}
		dir, name, _, err := m.find(meant)
		if err != nil && !errors.Is(err, meta.ErrNotExist) {
			return err
		}
		c.Parent, c.Name = dir, name
		if kind == meta.ConflictCopy || kind == meta.ConflictName {
			c.As = []byte(path.Base(mine))
		}
		return m.v.changing(m.t.Context(), func() error { return m.v.execute(&meta.Report{Conflict: c}) })
	}
}

// unresolved are the conflicts that wait.
func (m *machine) unresolved() []Conflict {
	m.t.Helper()
	all, err := m.v.Conflicts(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	return all
}

// resolve resolves the only conflict that there is.
func resolve(keep Keep) act {
	return func(m *machine) error {
		all := m.unresolved()
		if len(all) != 1 {
			return errors.New("not one conflict")
		}
		id, _ := meta.ParseConflictID(all[0].ID)
		return m.v.Resolve(m.t.Context(), id, keep, all[0].Token)
	}
}

// Each choice does what it says by ordinary operations, loses nothing that it does not
// name, and takes the record away; or it is refused, and then nothing has changed.
func TestResolveConflicts(t *testing.T) {
	t.Parallel()
	const copied = "a (conflict)"
	for _, c := range []struct {
		name    string
		before  []act
		keep    Keep
		refused bool
		deletes string
		after   []act
	}{
		{"a copy, mine", []act{write("a", "theirs"), write(copied, "mine"), report(meta.ConflictCopy, copied, "a", "a")},
			KeepMine, false, "/a", []act{read("a", "mine"), missing(copied)}},
		{"a copy, theirs", []act{write("a", "theirs"), write(copied, "mine"), report(meta.ConflictCopy, copied, "a", "a")},
			KeepTheirs, false, "/" + copied, []act{read("a", "theirs"), missing(copied)}},
		{"a copy, both", []act{write("a", "theirs"), write(copied, "mine"), report(meta.ConflictCopy, copied, "a", "a")},
			KeepBoth, false, "", []act{read("a", "theirs"), read(copied, "mine")}},
		{"a copy that was moved, mine", []act{mkdir("d"), write("a", "theirs"), write(copied, "mine"), report(meta.ConflictCopy, copied, "a", "a"), rename("a", "d/b"), rename(copied, "c")},
			KeepMine, false, "/d/b", []act{read("d/b", "mine"), missing("a"), missing("c")}},
		{"a copy, theirs gone, mine", []act{write("a", "theirs"), write(copied, "mine"), report(meta.ConflictCopy, copied, "a", "a"), unlink("a")},
			KeepMine, false, "", []act{read("a", "mine"), missing(copied)}},
		{"a copy, theirs gone and its name taken, mine", []act{write("a", "theirs"), write(copied, "mine"), report(meta.ConflictCopy, copied, "a", "a"), unlink("a"), write("a", "another")},
			KeepMine, false, "/a", []act{read("a", "mine"), missing(copied)}},
		{"a copy, theirs saved over, mine", []act{write("a", "theirs"), write(copied, "mine"), report(meta.ConflictCopy, copied, "a", "a"), write("t", "more"), rename("t", "a")},
			KeepMine, false, "/a", []act{read("a", "mine"), missing(copied)}},
		{"a copy, theirs saved over, theirs", []act{write("a", "theirs"), write(copied, "mine"), report(meta.ConflictCopy, copied, "a", "a"), write("t", "more"), rename("t", "a")},
			KeepTheirs, false, "/" + copied, []act{read("a", "more"), missing(copied)}},
		{"a copy, theirs a folder with files now, mine", []act{write("a", "theirs"), write(copied, "mine"), report(meta.ConflictCopy, copied, "a", "a"), unlink("a"), mkdir("a"), write("a/x", "1")},
			KeepMine, true, "/a", []act{read("a/x", "1"), read(copied, "mine")}},
		{"a copy, theirs moved and another in its place, mine", []act{write("a", "theirs"), write(copied, "mine"), report(meta.ConflictCopy, copied, "a", "a"), rename("a", "b"), write("a", "another")},
			KeepMine, false, "/b", []act{read("a", "another"), read("b", "mine"), missing(copied)}},
		{"a copy, saved over, mine", []act{write("a", "theirs"), write(copied, "mine"), report(meta.ConflictCopy, copied, "a", "a"), write("t", "more"), rename("t", copied)},
			KeepMine, false, "/a", []act{read("a", "more"), missing(copied)}},
		{"a copy, saved over, theirs", []act{write("a", "theirs"), write(copied, "mine"), report(meta.ConflictCopy, copied, "a", "a"), write("t", "more"), rename("t", copied)},
			KeepTheirs, false, "/" + copied, []act{read("a", "theirs"), missing(copied)}},
		{"a copy, saved over in a folder that was moved, mine", []act{mkdir("d"), write("d/a", "theirs"), write("d/"+copied, "mine"), report(meta.ConflictCopy, "d/"+copied, "d/a", "d/a"), rename("d", "e"), write("t", "more"), rename("t", "e/"+copied)},
			KeepMine, false, "/e/a", []act{read("e/a", "more"), missing("e/" + copied)}},
		{"a copy, saved over by a file with another name, theirs", []act{write("a", "theirs"), write(copied, "mine"), report(meta.ConflictCopy, copied, "a", "a"), write("b", "more"), unlink(copied), links("b", copied)},
			KeepTheirs, false, "/" + copied, []act{read("a", "theirs"), read("b", "more"), missing(copied)}},
		{"a copy, replaced by theirs, theirs", []act{write("a", "theirs"), write(copied, "mine"), report(meta.ConflictCopy, copied, "a", "a"), unlink(copied), links("a", copied)},
			KeepTheirs, false, "", []act{read("a", "theirs"), read(copied, "theirs")}},
		{"a further name beside theirs, theirs", []act{write("a", "theirs"), write("0", "mine"), links("0", copied), report(meta.ConflictName, copied, "a", "a")},
			KeepTheirs, false, "/" + copied, []act{read("a", "theirs"), read("0", "mine"), missing(copied)}},
		{"a further name beside theirs, mine", []act{write("a", "theirs"), write("0", "mine"), links("0", copied), report(meta.ConflictName, copied, "a", "a")},
			KeepMine, false, "/a", []act{read("a", "mine"), read("0", "mine"), missing(copied)}},
		{"both saved over, mine", []act{write("a", "theirs"), write(copied, "mine"), report(meta.ConflictName, copied, "a", "a"), write("t", "more"), rename("t", copied), write("t", "and more"), rename("t", "a")},
			KeepMine, false, "/a", []act{read("a", "more"), missing(copied)}},
		{"a copy, theirs gone, theirs", []act{write("a", "theirs"), write(copied, "mine"), report(meta.ConflictCopy, copied, "a", "a"), unlink("a")},
			KeepTheirs, true, "", []act{read(copied, "mine")}},
		{"a copy, mine gone, mine", []act{write("a", "theirs"), write(copied, "mine"), report(meta.ConflictCopy, copied, "a", "a"), unlink(copied)},
			KeepMine, true, "", []act{read("a", "theirs")}},
		{"a copy, both gone", []act{write("a", "theirs"), write(copied, "mine"), report(meta.ConflictCopy, copied, "a", "a"), unlink("a"), unlink(copied)},
			KeepMine, false, "", []act{missing("a"), missing(copied)}},
		{"a copy that was put in the place of theirs, mine", []act{write("a", "theirs"), write(copied, "mine"), report(meta.ConflictCopy, copied, "a", "a"), rename(copied, "a")},
			KeepMine, false, "", []act{read("a", "mine"), missing(copied)}},
		{"a copy that has the name of theirs, which was moved, mine", []act{write("a", "theirs"), write(copied, "mine"), report(meta.ConflictCopy, copied, "a", "a"), rename("a", "b"), rename(copied, "a")},
			KeepMine, false, "/b", []act{read("a", "mine"), missing("b"), missing(copied)}},
		{"a folder against a file, mine", []act{write("a", "theirs"), mkdir(copied), write(copied+"/x", "1"), report(meta.ConflictName, copied, "a", "a")},
			KeepMine, false, "/a", []act{read("a/x", "1"), missing(copied)}},
		{"a file against a folder, mine", []act{mkdir("a"), write(copied, "mine"), report(meta.ConflictName, copied, "a", "a")},
			KeepMine, false, "/a", []act{read("a", "mine"), missing(copied)}},
		{"a file against a folder with files, mine", []act{mkdir("a"), write("a/x", "1"), write(copied, "mine"), report(meta.ConflictName, copied, "a", "a")},
			KeepMine, true, "/a", []act{read("a/x", "1"), read(copied, "mine")}},
		{"a folder with files, theirs", []act{write("a", "theirs"), mkdir(copied), write(copied+"/x", "1"), report(meta.ConflictName, copied, "a", "a")},
			KeepTheirs, true, "/" + copied, []act{read("a", "theirs"), read(copied+"/x", "1")}},
		{"revived, mine", []act{write("a", "x"), report(meta.ConflictRevived, "a", "", "a")}, KeepMine, false, "", []act{read("a", "x")}},
		{"revived, theirs", []act{write("a", "x"), report(meta.ConflictRevived, "a", "", "a")}, KeepTheirs, false, "/a", []act{missing("a")}},
		{"kept, mine", []act{write("a", "x"), report(meta.ConflictKept, "", "a", "a")}, KeepMine, false, "/a", []act{missing("a")}},
		{"kept, theirs", []act{write("a", "x"), report(meta.ConflictKept, "", "a", "a")}, KeepTheirs, false, "", []act{read("a", "x")}},
		{"moved, mine", []act{mkdir("d"), write("a", "x"), report(meta.ConflictMoved, "a", "", "d/b")}, KeepMine, false, "", []act{read("d/b", "x"), missing("a")}},
		{"moved, mine, the name taken", []act{mkdir("d"), write("a", "x"), write("d/b", "y"), report(meta.ConflictMoved, "a", "", "d/b")}, KeepMine, true, "", []act{read("a", "x"), read("d/b", "y")}},
		{"moved, mine, there by now", []act{mkdir("d"), write("a", "x"), report(meta.ConflictMoved, "a", "", "d/b"), rename("a", "d/b")}, KeepMine, false, "", []act{read("d/b", "x"), missing("a")}},
		{"revived, saved over, theirs", []act{write("a", "x"), report(meta.ConflictRevived, "a", "", "a"), write("t", "y"), rename("t", "a")}, KeepTheirs, false, "/a", []act{missing("a")}},
		{"moved, theirs", []act{mkdir("d"), write("a", "x"), report(meta.ConflictMoved, "a", "", "d/b")}, KeepTheirs, false, "", []act{read("a", "x"), missing("d/b")}},
		{"a cycle that still is one, mine", []act{mkdir("d"), mkdir("d/e"), report(meta.ConflictCycle, "d", "", "d/e/d")}, KeepMine, true, "", []act{write("d/e/x", "1")}},
		{"lost, mine", []act{write("a", "x"), report(meta.ConflictLost, "a", "", "a")}, KeepMine, true, "", []act{read("a", "x")}},
		{"lost, both", []act{write("a", "x"), report(meta.ConflictLost, "a", "", "a")}, KeepBoth, false, "", []act{read("a", "x")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			as(w.laptop, c.before...)
			told := w.laptop.unresolved()
			if len(told) != 1 || told[0].DeviceName != "laptop" || told[0].What == "" {
				t.Fatalf("%+v", told)
			}
			if n := w.laptop.v.Status().Conflicts; n != 1 {
				t.Errorf("status counts %d", n)
			}
			choice := told[0].Choices[c.keep]
			if got := strings.Join(choice.Deletes, " "); got != c.deletes {
				t.Errorf("it would delete %q, want %q", got, c.deletes)
			}
			err := resolve(c.keep)(w.laptop)
			if c.refused != errors.Is(err, ErrUnresolved) || !c.refused && err != nil {
				t.Errorf("resolved: %v", err)
			}
			as(w.laptop, c.after...)
			want := 0
			if c.refused {
				want = 1
			}
			if left := w.laptop.unresolved(); len(left) != want {
				t.Errorf("left: %+v", left)
			}
			as(w.laptop, drained, lock)
			w.laptop.mustOpen()
			as(w.laptop, c.after...)
			if left := w.laptop.unresolved(); len(left) != want {
				t.Errorf("left after a remount: %+v", left)
			}
		})
	}
}

// What has changed since it was shown is not touched.
func TestResolveWhatHasChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	as(w.laptop, write("a", "theirs"), write("b", "mine"), report(meta.ConflictCopy, "b", "a", "a"))
	shown := w.laptop.unresolved()[0]
	id, _ := meta.ParseConflictID(shown.ID)
	for _, change := range []act{write("b", "mine, and more"), rename("a", "c"), fsync("b")} {
		as(w.laptop, change)
		if err := w.laptop.v.Resolve(t.Context(), id, KeepTheirs, shown.Token); !errors.Is(err, ErrUnresolved) {
			t.Errorf("%v", err)
		}
	}
	as(w.laptop, read("b", "mine, and more"), read("c", "theirs"), resolve(KeepTheirs), read("c", "theirs"), missing("b"))
	if err := w.laptop.v.Resolve(t.Context(), id, KeepTheirs, ""); !errors.Is(err, ErrNoConflict) {
		t.Errorf("%v", err)
	}
}

// A copy that was deleted is gone, also when the copy of a later conflict has its name. What
// theirs became is theirs of both.
func TestCopyOfALaterConflict(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	as(w.laptop, write("a", "theirs"), write("b", "mine"), report(meta.ConflictCopy, "b", "a", "a"), unlink("b"),
		write("b", "later"), report(meta.ConflictName, "b", "a", "a"), write("t", "more"), rename("t", "a"))
	var got []string
	for _, c := range w.laptop.unresolved() {
		got = append(got, strings.Join(append(c.Mine.Paths, c.Theirs.Paths...), " "))
	}
	if want := []string{"/a", "/b /a"}; !slices.Equal(got, want) {
		t.Errorf("they are of %q, want %q", got, want)
	}
}

// Files that hold the same are resolved by themselves, and no others.
func TestResolveIdentical(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	big := strings.Repeat("x", 3<<20)
	as(w.laptop,
		write("a", "same"), write("a2", "same"), report(meta.ConflictCopy, "a2", "a", "a"),
		write("b", "one"), write("b2", "two"), report(meta.ConflictCopy, "b2", "b", "b"),
		write("c", big+"1"), write("c2", big+"2"), report(meta.ConflictName, "c2", "c", "c"),
		write("d", big), write("d2", big), report(meta.ConflictName, "d2", "d", "d"),
		mkdir("e"), mkdir("e2"), report(meta.ConflictName, "e2", "e", "e"),
		write("f", "same"), report(meta.ConflictRevived, "f", "", "f"),
	)
	done, err := w.laptop.v.Identical(t.Context())
	if err != nil || len(done) != 2 {
		t.Fatalf("%v, %d", err, len(done))
	}
	as(w.laptop, read("a", "same"), missing("a2"), read("b2", "two"), read("d", big), missing("d2"), read("f", "same"))
	var left []string
	for _, c := range w.laptop.unresolved() {
		left = append(left, c.Meant)
	}
	if !slices.Equal(left, []string{"/b", "/c", "/e", "/f"}) {
		t.Errorf("left: %q", left)
	}
}

// Two machines that resolve the same at once both have it resolved, and end with one tree.
func TestResolveTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	desktop := w.machine("desktop")
	as(w.laptop, write("a", "theirs"), write("b", "mine"), report(meta.ConflictCopy, "b", "a", "a"), drained)
	catchUp := func(m *machine) error { return m.v.sync.CatchUp(context.Background()) }
	as(desktop, write("d", "x"), drained, catchUp)
	if len(desktop.unresolved()) != 1 {
		t.Fatalf("%+v", desktop.unresolved())
	}
	as(w.laptop, resolve(KeepTheirs))
	as(desktop, resolve(KeepTheirs))
	as(w.laptop, drained)
	as(desktop, drained)
	as(w.laptop, catchUp)
	for _, m := range []*machine{w.laptop, desktop} {
		as(m, read("a", "theirs"), missing("b"))
		if left := m.unresolved(); len(left) > 0 {
			t.Errorf("left: %+v", left)
		}
	}
	if w.laptop.tree() != desktop.tree() {
		t.Errorf("%s\nand\n%s", w.laptop.tree(), desktop.tree())
	}
}
