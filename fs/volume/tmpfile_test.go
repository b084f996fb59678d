package volume

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
)

// A crash while a file without a name gets one leaves the whole file, or none.
func TestCrashWhileATmpfileIsNamed(t *testing.T) {
	w := newWorld(t)
	m := w.laptop
	as(m, mkdir("d"))
	whole := false
	for done := 1; !whole; done++ {
		m.mustOpen()
		_, _, d, err := m.find("d")
		if err != nil {
			t.Fatal(err)
		}
		a, err := m.v.Tmpfile(t.Context(), d.Ref, Node{Kind: meta.File, Perm: 0o600})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.v.Write(t.Context(), a.Ref, 0, []byte("content")); err != nil {
			t.Fatal(err)
		}
		if err := m.v.SetXattr(t.Context(), a.Ref, []byte("user.x"), []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprint("named", done)
		n := &naming{v: m.v, o: m.v.orphans[a.Ref.Ino], parent: meta.RootRef, name: []byte(name), temp: incomplete(a.Ref.Ino)}
		err = m.v.locked(t.Context(), func() error {
			if err := n.gather(); err != nil {
				return err
			}
			whole = done == len(n.ops)
			n.ops = n.ops[:done]
			return n.run()
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.v.persist(); err != nil {
			t.Fatal(err)
		}
		m.crash()
		if whole {
			as(m, read(name, "content"))
		} else {
			as(m, missing(name))
		}
		if tree := m.tree(); strings.Contains(tree, "incomplete") {
			t.Errorf("after %d operations there is\n%s", done, tree)
		}
	}
	as(m, lock)
	as(w.machine("desktop"), mkdir("more"))
}

// tmpfile is a file without a name that a program has open, made in a directory.
func tmpfile(m *machine, dir, content string) (held meta.Ref) {
	m.t.Helper()
	m.mustOpen()
	home := meta.RootRef
	if dir != "" {
		_, _, d, err := m.find(dir)
		if err != nil {
			m.t.Fatal(err)
		}
		home = d.Ref
	}
	a, err := m.v.Tmpfile(m.t.Context(), home, Node{Kind: meta.File, Perm: 0o600, UID: 1000, GID: 1000})
	if err == nil {
		err = puts(a.Held, 0, content)(m)
	}
	if err == nil {
		err = m.v.SetXattr(m.t.Context(), a.Held, []byte("user.x"), []byte("1"), 0)
	}
	if err != nil {
		m.t.Fatal(err)
	}
	return a.Held
}

// namedSo gives what is open a name of the root.
func namedSo(held meta.Ref, name string) gives {
	return func(m *machine) (Given, error) {
		a, err := m.v.Link(m.t.Context(), held, meta.RootRef, []byte(name))
		return a.Given, err
	}
}

// over is the context of a program that is interrupted.
func over(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// bare finds nothing on a machine that a name which was not given left.
func bare(m *machine) error {
	if tree := m.tree(); strings.Contains(tree, "incomplete") || strings.Contains(tree, "conflict") {
		return fmt.Errorf("there is\n%s", tree)
	}
	if got := m.conflicts(); len(got) != 0 {
		return fmt.Errorf("conflicts %v", got)
	}
	return nil
}

// Two machines give one name to files that had none: one has it. The other's program hears
// so, nothing of its file is left, and it can give it another name, with all that was
// written to it.
func TestTmpfileOfTheSlower(t *testing.T) {
	for name, home := range map[string]string{"in the root": "", "in a folder that both made": "d"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			laptop, desk := w.laptop, w.machine("desk")
			laptop.set, desk.set = remote, remote
			as(laptop, write("a", "1"), drained)
			as(desk, caughtUp, mkdir("d"))
			as(laptop, mkdir("d"))
			ours, theirs := tmpfile(laptop, home, "ours"), tmpfile(desk, home, "theirs")
			first, second := namedSo(theirs, "n").must(desk), namedSo(ours, "n").must(laptop)
			as(laptop, puts(ours, 4, ", and more"))
			as(desk, drained)
			if err := desk.v.Named(first); err != nil {
				t.Errorf("the faster hears %v", err)
			}
			as(laptop, caughtUp)
			if tree := laptop.tree(); strings.Contains(tree, "incomplete") {
				t.Errorf("before anybody hears of it there is\n%s", tree)
			}
			if err := laptop.v.ConfirmName(over(t), second); !errors.Is(err, publish.ErrFaster) || !errors.Is(err, meta.ErrExist) {
				t.Errorf("the slower hears %v", err)
			}
			as(laptop, read("n", "theirs"), bare, drained)
			as(desk, caughtUp, bare)
			if a, err := laptop.v.Attr(t.Context(), ours); err != nil || a.Inode.Nlink != 0 {
				t.Errorf("what is open has links: %+v, %v", a.Inode, err)
			}
			as(laptop, puts(ours, 14, "!"))
			again := namedSo(ours, "m").must(laptop)
			as(laptop, drained, closes(ours))
			if err := laptop.v.Named(again); err != nil {
				t.Errorf("under another name: %v", err)
			}
			as(desk, caughtUp, read("m", "ours, and more!"), read("n", "theirs"), bare, lock)
			as(laptop, read("m", "ours, and more!"), bare, lock)
		})
	}
}

// What did not get its name is gone after a kill too, whether the program had heard of it
// or not, and when it was closed before it could.
func TestTmpfileOfTheSlowerSurvivesNoKill(t *testing.T) {
	for name, end := range map[string]act{
		"untold": func(m *machine) error { return nil },
		"told": func(m *machine) error {
			return m.v.takeBack() // nothing is left to do
		},
		"closed":  func(m *machine) error { return drained(m) },
		"offline": func(m *machine) error { return m.v.persist() },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			laptop, desk := w.laptop, w.machine("desk")
			laptop.set = remote
			as(laptop, write("a", "1"), drained)
			as(desk, caughtUp)
			ours := tmpfile(laptop, "", "ours")
			given := namedSo(ours, "n").must(laptop)
			as(desk, write("n", "theirs"), drained)
			if name == "closed" {
				as(laptop, closes(ours))
			}
			as(laptop, caughtUp)
			if name == "told" {
				if err := laptop.v.ConfirmName(over(t), given); !errors.Is(err, publish.ErrFaster) {
					t.Errorf("it hears %v", err)
				}
			}
			as(laptop, end)
			laptop.crash()
			as(laptop, bare, read("n", "theirs"), drained, lock)
			as(desk, caughtUp, bare, read("n", "theirs"), lock)
		})
	}
}

// A program that gave up waiting may have the name all the same, as any change that waits:
// its file is there, whole, under the name or beside it.
func TestTmpfileThatWasGivenUp(t *testing.T) {
	for name, faster := range map[string]bool{"first": false, "second": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				laptop, desk := w.laptop, w.machine("desk")
				laptop.set = remote
				as(laptop, write("a", "1"), drained)
				as(desk, write("b", "1"), drained)
				laptop.run()
				w.faults.Add(fault.On(fault.Put, 0, fault.Fail(store.ErrUnavailable)))
				given := namedSo(tmpfile(laptop, "", "ours"), "n").must(laptop)
				if err := laptop.v.ConfirmName(t.Context(), given); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("with the store away: %v", err)
				}
				laptop.halt()
				w.faults.Clear()
				if faster {
					as(desk, caughtUp, write("n", "theirs"), drained)
					as(laptop, drained, read("n", "theirs"))
					as(laptop, read(laptop.copyOf("", "n"), "ours"))
				} else {
					as(laptop, drained, read("n", "ours"), bare)
				}
				laptop.crash()
				as(laptop, lock)
				as(desk, caughtUp)
				if tree := desk.tree(); strings.Contains(tree, "incomplete") {
					t.Errorf("there is\n%s", tree)
				}
				as(desk, lock)
			})
		})
	}
}
