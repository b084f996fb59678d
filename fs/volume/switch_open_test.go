package volume

import (
	"errors"
	"strings"
	"testing"
)

// fragmented gives a file so many bytes m, each a piece of its own: what holds it is more than
// a step makes again, so it comes back as another inode.
func fragmented(path string, n int) act {
	return func(m *machine) error {
		h := m.opens(path, true)
		for i := range n {
			as(m, puts(h, uint64((i*7)%n), "m"))
		}
		return errors.Join(synced(h)(m), closes(h)(m))
	}
}

// A file that a rename replaced here, and that has another name elsewhere, is there again; who
// opens it by that name is another than who has it open since before: for the kernel they are
// two files, with a cache each. They stay two where the file becomes another inode.
func TestOpenedAgainAndBecomesAnother(t *testing.T) {
	const n = 600
	base := strings.Repeat("m", n)
	w := newWorld(t)
	laptop, desk := w.laptop, w.machine("desk")
	as(laptop, write("a", "1"), write("b", ""), fragmented("b", n), drained)
	as(desk, caughtUp)
	old := laptop.opens("b", true)
	as(laptop, rename("a", "b"))
	as(desk, links("b", "c"), drained)
	as(laptop, caughtUp, shows(old, base))
	again := laptop.opens("c", true)
	as(laptop, links("c", "e"))
	as(desk, unlink("b"), unlink("c"), drained)
	as(laptop, caughtUp, read("e", base))
	if laptop.v.held[old.Ino] == laptop.v.held[again.Ino] {
		t.Error("they are one file, and the kernel has a cache of each")
	}
	as(laptop, puts(again, 0, "AGAIN"), synced(again), shows(old, base), read("e", "AGAIN"+base[5:]))
	as(laptop, puts(old, 0, "OLD"), synced(old), shows(again, "AGAIN"+base[5:]), shows(old, "OLD"+base[3:]))
	as(laptop, closes(old), closes(again), drained, read("e", "AGAIN"+base[5:]), read("b", "1"), lock)
}

// A file that was made here, and that another machine's stands for now, since that holds the same
// and has the name: who has it open has what he wrote, and not what the other one was before.
func TestOpenBecomesOneThatWasAnother(t *testing.T) {
	w := newWorld(t)
	laptop, desk := w.laptop, w.machine("desk")
	as(laptop, write("x", "old"), drained)
	as(desk, caughtUp)
	as(laptop, write("f", ""))
	h := laptop.opens("f", true)
	as(laptop, puts(h, 0, "same"), synced(h))
	as(desk, rewrite("x", "same"), rename("x", "f"), drained)
	as(laptop, caughtUp, shows(h, "same"))
	as(laptop, puts(h, 4, "!"), synced(h), shows(h, "same!"), read("f", "same!"), closes(h), drained, bare, lock)
}

// A file that is open, in a folder that both machines made, is the one that its name leads to in
// the folder that theirs and ours are now.
func TestOpenInAFolderOfTwo(t *testing.T) {
	w := newWorld(t)
	laptop, desk := w.laptop, w.machine("desk")
	as(laptop, write("x", "1"), drained)
	as(desk, caughtUp)
	k := caching(laptop)
	as(laptop, mkdir("e"), write("e/f", "mine"))
	n := k.opens("e/f")
	as(desk, mkdir("e"), drained)
	as(laptop, caughtUp)
	k.right()
	if k.find("e/f") != n {
		t.Error("who goes by its name has another cache than who has it open")
	}
	if err := k.writes(n, "written"); err != nil {
		t.Fatal(err)
	}
	k.right()
	k.closes(0)
	as(laptop, drained, read("e/f", "written"), bare, lock)
}

// A file that was made here is another machine's, which holds the same and has the name, and what
// was written to that one before it was moved away is a copy: each is what it is for who has it
// open, and for the kernel.
func TestBecomesWhatBecomesAnother(t *testing.T) {
	for range 8 { // whichever of the two comes first
		for _, open := range []string{"", "f", "g", "f and g"} {
			t.Run("open: "+open, func(t *testing.T) {
				w := newWorld(t)
				laptop, desk := w.laptop, w.machine("desk")
				as(laptop, write("f", "old"), drained)
				as(desk, caughtUp)
				k := caching(laptop)
				as(laptop, rewrite("f", "mine"), rename("f", "g"), write("f", "same"))
				k.right()
				for _, name := range strings.Split(open, " and ") {
					if name != "" {
						k.opens(name)
					}
				}
				as(desk, rewrite("f", "same"), drained)
				as(laptop, caughtUp, read("f", "same"), read("g", "mine"))
				k.right()
				for _, n := range k.open {
					if err := k.writes(n, "and "+string(n.bytes)); err != nil {
						t.Fatal(err)
					}
				}
				k.right()
				as(laptop, drained)
				k.right()
				if names, _ := laptop.list(""); len(names) != 2 {
					t.Errorf("there is %q", names)
				}
				as(laptop, lock)
			})
		}
	}
}
