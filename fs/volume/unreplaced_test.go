package volume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	publish "github.com/hushfs/hushfs/fs/sync"
)

// held wants just one file of the root folder to hold something.
func held(content string) act {
	return func(m *machine) error {
		names, _ := m.list("")
		n := 0
		for _, name := range names {
			if read(name, content)(m) == nil {
				n++
			}
		}
		if n != 1 {
			m.t.Errorf("%d of %q hold %q, want 1", n, names, content)
		}
		return nil
	}
}

// theirChanges are what another machine does to b while a rename of a over b waits.
var theirChanges = map[string][]act{
	"written":             {write("b", "theirs")},
	"written, moved away": {write("b", "theirs"), rename("a", "x")},
	"deleted":             {unlink("b")},
	"deleted, moved away": {unlink("b"), rename("a", "x")},
	"moved away":          {rename("a", "x")},
	"replaced":            {rename("a", "b")},
}

// What was written to a file, and a rename was to replace that is refused, is kept, whatever
// another machine did to the file: also where it is open, and when the machine is killed.
func TestWrittenAndNotReplaced(t *testing.T) {
	for name, theirs := range theirChanges {
		for _, how := range []string{"", ", open", ", killed"} {
			t.Run(name+how, func(t *testing.T) {
				laptop, desk := remotely(t, write("a", "1"), write("b", "base"))
				as(laptop, write("b", "mine"), fsync("b"))
				h := laptop.opens("b", true)
				if how != ", open" {
					as(laptop, closes(h))
				}
				given := moved("a", "b").must(laptop)
				as(desk, theirs...)
				as(desk, drained)
				as(laptop, caughtUp, slower(given))
				if how == ", killed" {
					laptop.crash()
				}
				as(laptop, drained, held("mine"))
				if how == ", open" {
					as(laptop, shows(h, "mine"), puts(h, 0, "MINE"), synced(h), held("MINE"), closes(h), drained, held("MINE"))
				}
				as(desk, caughtUp)
				if theirs := slices.Contains([]string{"written", "written, moved away"}, name); theirs {
					as(desk, read("b", "theirs"))
				}
				as(laptop, lock)
			})
		}
	}
}

// So it is where nobody waits for the rename, and another machine has moved away what was to
// be put in its place.
func TestWrittenAndReplacementGivenUp(t *testing.T) {
	for _, name := range []string{"written, moved away", "deleted, moved away", "moved away"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			laptop, desk := w.laptop, w.machine("desk")
			as(laptop, write("a", "1"), write("b", "base"), drained)
			as(desk, caughtUp)
			as(laptop, write("b", "mine"), fsync("b"), rename("a", "b"))
			as(desk, theirChanges[name]...)
			as(desk, drained)
			as(laptop, drained, held("mine"), lock)
		})
	}
}

// What is written through an open handle when nobody waits for the rename over its file is kept
// too where that is given up: whatever another machine did to the file, at once or first.
func TestWrittenWhileTheReplacementIsGivenUp(t *testing.T) {
	for name, c := range map[string]struct {
		first act // that the machine follows before the rename is given up; nil: nothing
		then  []act
		b     string
	}{
		"moved away":                {nil, []act{rename("a", "x")}, "base"},
		"written, moved away":       {nil, []act{write("b", "theirs"), rename("a", "x")}, "theirs"},
		"written, removed":          {nil, []act{write("b", "theirs"), unlink("a")}, "theirs"},
		"deleted, moved away":       {nil, []act{unlink("b"), rename("a", "x")}, "MINE"},
		"deleted, then moved away":  {unlink("b"), []act{rename("a", "x")}, "MINE"},
		"linked, then moved away":   {links("b", "c"), []act{rename("a", "x")}, "base"},
		"replaced, then moved away": {rename("other", "b"), []act{rename("a", "x")}, "2"},
	} {
		for _, when := range []string{"meanwhile", "afterwards"} {
			t.Run(name+", "+when, func(t *testing.T) {
				w := newWorld(t)
				laptop, desk := w.laptop, w.machine("desk")
				as(laptop, write("a", "1"), write("b", "base"), write("other", "2"), drained)
				as(desk, caughtUp)
				h := laptop.opens("b", true)
				as(laptop, rename("a", "b"))
				if when == "meanwhile" {
					as(laptop, puts(h, 0, "MINE"), synced(h))
				}
				if c.first != nil {
					as(desk, c.first, drained)
					as(laptop, caughtUp)
				}
				as(desk, c.then...)
				as(desk, drained)
				as(laptop, caughtUp)
				if when == "afterwards" {
					as(laptop, shows(h, "base"), puts(h, 0, "MINE"), synced(h))
				}
				kept, b := held("MINE"), c.b
				if b == "base" && when == "afterwards" { // nobody changed it: it is the file, by all of its names
					b = "MINE"
					kept = read("b", b)
				}
				as(laptop, shows(h, "MINE"), closes(h), drained, kept, lock)
				as(desk, caughtUp, kept, read("b", b), lock)
			})
		}
	}
}

// Where another machine has done the same, or the rename gets another name, it is done: what is
// written to the file that it replaced ends with the handle, and nothing is left of it.
func TestWrittenWhileTheReplacementIsDoneOtherwise(t *testing.T) {
	for name, theirs := range map[string]act{
		"replaced": rename("a", "b"),
		"written":  write("b", "theirs"),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			laptop, desk := w.laptop, w.machine("desk")
			as(laptop, write("a", "1"), write("b", "base"), drained)
			as(desk, caughtUp)
			h := laptop.opens("b", true)
			as(laptop, rename("a", "b"), puts(h, 0, "gone"), synced(h))
			as(desk, theirs, drained)
			as(laptop, caughtUp, shows(h, "gone"), puts(h, 0, "GONE"), synced(h), closes(h), drained, held("1"))
			for _, content := range []string{"gone", "GONE"} {
				if as := laptop.named(content); as != "" {
					t.Errorf("%q holds what was written to a file that was replaced", as)
				}
			}
			as(laptop, lock)
		})
	}
}

// A program that writes to a file while another waits to hear whether a rename replaced it is
// told that its bytes are in the store when it is known what became of them, and not before.
func TestConfirmWhileItIsReplaced(t *testing.T) {
	for name, lost := range map[string]bool{"done": false, "refused": true, "nobody waits any more": true, "killed": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				laptop, desk := w.laptop, w.machine("desk")
				laptop.set = remote
				as(laptop, write("a", "1"), write("b", "base"), drained)
				as(desk, caughtUp)
				h := laptop.opens("b", true)
				given := moved("a", "b").must(laptop)
				as(laptop, puts(h, 0, "mine"), synced(h))
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				if err := laptop.v.Confirm(ctx, h); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("nothing is published, and its program hears %v", err)
				}
				if lost {
					as(desk, rename("a", "theirs"), drained)
				}
				switch name {
				case "killed": // nobody was told anything of what was written
					laptop.crash()
					as(laptop, drained, read("b", "base"), lock)
					return
				case "nobody waits any more":
					_ = laptop.v.Named(given)
				}
				laptop.run()
				err := laptop.v.Confirm(t.Context(), h)
				if lost && !errors.Is(err, publish.ErrConflict) || !lost && err != nil {
					t.Errorf("the program that wrote hears %v", err)
				}
				if name == "refused" {
					as(laptop, slower(given))
				}
				laptop.halt()
				third := w.machine("third")
				if lost {
					as(third, held("mine"), read("b", "base"))
				} else {
					as(third, read("b", "1"), missing("a"))
				}
			})
		})
	}
}

// What is written through an open handle, while a rename over its file waits or after that is
// refused, is kept: whatever another machine did to the file, and by the name that it had.
func TestWrittenWhileItIsNotReplaced(t *testing.T) {
	for name, theirs := range theirChanges {
		for _, when := range []string{"meanwhile", "afterwards", "before and meanwhile"} {
			t.Run(name+", "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					laptop, desk := remotely(t, write("a", "1"), write("b", "base"))
					h := laptop.opens("b", true)
					if when == "before and meanwhile" {
						as(laptop, puts(h, 0, "mine"), synced(h))
					}
					given := moved("a", "b").must(laptop)
					if when != "afterwards" {
						as(laptop, puts(h, 0, "MINE"), synced(h))
					}
					as(desk, theirs...)
					as(desk, drained)
					as(laptop, caughtUp, slower(given))
					if when == "afterwards" {
						as(laptop, shows(h, "base"), puts(h, 0, "MINE"), synced(h))
					}
					laptop.run()
					err := laptop.v.Confirm(t.Context(), h)
					if joins := name == "moved away" && when == "afterwards"; joins && err != nil || !joins && !errors.Is(err, publish.ErrConflict) {
						t.Errorf("the program that wrote hears %v", err)
					}
					as(laptop, shows(h, "MINE"), closes(h))
					laptop.halt()
					b := "MINE" // there again
					switch {
					case strings.HasPrefix(name, "written"):
						b = "theirs"
					case name == "replaced":
						b = "1"
					case when == "before and meanwhile":
						b = "mine" // as it was when it was to be replaced
					case name == "moved away" && when == "meanwhile":
						b = "base"
					}
					as(desk, caughtUp, held("MINE"), read("b", b), lock)
					if names, _ := desk.list(""); slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "recovered") }) {
						t.Errorf("its name was not known any more: %q", names)
					}
				})
			})
		}
	}
}

// So it is where another machine gave the file a further name before: it is there again while
// the rename still waits.
func TestWrittenWhileItHasAnotherName(t *testing.T) {
	for _, refused := range []bool{false, true} {
		t.Run(fmt.Sprint("refused ", refused), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				laptop, desk := remotely(t, write("a", "1"), write("b", "base"))
				h := laptop.opens("b", true)
				given := moved("a", "b").must(laptop)
				as(desk, links("b", "c"), drained)
				as(laptop, caughtUp, puts(h, 0, "MINE"), synced(h))
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				if err := laptop.v.Confirm(ctx, h); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("the rename waits, and the program that wrote hears %v", err)
				}
				if refused {
					as(desk, rename("a", "z"), drained)
					as(laptop, caughtUp, slower(given))
				}
				laptop.run()
				err := laptop.v.Confirm(t.Context(), h)
				if refused && !errors.Is(err, publish.ErrConflict) || !refused && err != nil {
					t.Errorf("the program that wrote hears %v", err)
				}
				as(laptop, shows(h, "MINE"), closes(h))
				laptop.halt()
				as(desk, caughtUp, read("c", "base"))
				if refused {
					as(desk, held("MINE"), read("b", "base"), read("z", "1"))
				} else {
					as(desk, bare, read("b", "1"), missing("a"))
				}
				as(desk, lock)
			})
		})
	}
}

// A file that was open, and to which nothing was written, makes no copy because a rename over
// it is refused. It stays what it was, as any that another machine changes; and where nobody
// changed it, it is the one by the name.
func TestOpenWhileItIsNotReplaced(t *testing.T) {
	for name, theirs := range theirChanges {
		t.Run(name, func(t *testing.T) {
			laptop, desk := remotely(t, write("a", "1"), write("b", "base"))
			h := laptop.opens("b", true)
			given := moved("a", "b").must(laptop)
			as(desk, theirs...)
			as(desk, drained)
			as(laptop, caughtUp, slower(given), bare, shows(h, "base"))
			if err := laptop.v.Confirm(t.Context(), h); err != nil {
				t.Errorf("the program that wrote nothing hears %v", err)
			}
			if name == "moved away" {
				as(laptop, rewrite("b", "MINE"), shows(h, "MINE"))
			}
			as(laptop, closes(h), drained, bare, lock)
			as(desk, caughtUp, bare, lock)
		})
	}
}

// Where a rename is done otherwise than it was meant, since its folder has become another, the
// file that it replaced is gone: what is written to that ends with the handle.
func TestReplacedInAFolderOfTwo(t *testing.T) {
	laptop, desk := remotely(t, write("x", "0"))
	as(laptop, mkdir("d"), write("d/a", "1"), write("d/b", "base"))
	h := laptop.opens("d/b", true)
	dir, name, _, err := laptop.find("d/a")
	if err != nil {
		t.Fatal(err)
	}
	given, err := laptop.v.RenameSure(t.Context(), dir, name, dir, []byte("b"), 0)
	if err != nil {
		t.Fatal(err)
	}
	as(laptop, puts(h, 0, "gone"))
	as(desk, mkdir("d"), drained)
	as(laptop, caughtUp)
	if err := laptop.v.Named(given); err != nil {
		t.Fatalf("the rename: %v", err)
	}
	as(laptop, shows(h, "gone"), puts(h, 0, "GONE"), synced(h), bare, closes(h), drained)
	as(desk, caughtUp, bare, read("d/b", "1"), missing("d/a"), lock)
	as(laptop, lock)
}

// A program whose file was replaced, as is settled, waits for nothing that others write to the
// file that another machine made again.
func TestConfirmWhenItWasReplaced(t *testing.T) {
	laptop, desk := remotely(t, write("a", "1"), write("b", "base"))
	h := laptop.opens("b", true)
	given := moved("a", "b").must(laptop)
	as(desk, write("b", "theirs"))
	as(laptop, drained)
	if err := laptop.v.Named(given); err != nil {
		t.Fatalf("the rename: %v", err)
	}
	as(desk, drained)
	as(laptop, caughtUp, shows(h, "base"))
	as(laptop, held("theirs"))
	again := laptop.named("theirs")
	as(laptop, rewrite(again, "another's"), fsync(again))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := laptop.v.Confirm(ctx, h); err != nil {
		t.Errorf("the program whose file was replaced hears %v", err)
	}
	as(laptop, closes(h), lock)
}

// named is the name of the file in the root folder that holds something; empty: none does.
func (m *machine) named(content string) string {
	names, _ := m.list("")
	for _, name := range names {
		if read(name, content)(m) == nil {
			return name
		}
	}
	return ""
}

// That bytes went to a copy is told to who wrote them, and not to who opens the file, or the
// copy, later, or the other machine's file meanwhile.
func TestCopyIsToldToWhoWroteIt(t *testing.T) {
	for _, how := range []string{"the file, later", "the copy, later", "the file, meanwhile"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, h := changedElsewhere(t, []byte("XX"), rewrite("f", "theirs"))
				as(m, synced(h))
				name := "f"
				if how == "the copy, later" {
					name = m.copyOf("", "f")
				}
				meanwhile := how == "the file, meanwhile"
				if !meanwhile {
					as(m, closes(h), drained)
				}
				again := m.opens(name, true)
				as(m, puts(again, 0, "T"), synced(again))
				m.run()
				if err := m.v.Confirm(t.Context(), again); err != nil {
					t.Errorf("the program that opened another file hears %v", err)
				}
				if meanwhile {
					as(m, puts(h, 2, "YY"), synced(h))
					if err := m.v.Confirm(t.Context(), h); !errors.Is(err, publish.ErrConflict) {
						t.Errorf("the program whose bytes went to a copy hears %v", err)
					}
				}
				as(m, closes(again))
				m.halt()
			})
		})
	}
}
