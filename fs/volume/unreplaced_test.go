package volume

import (
	"context"
	"errors"
	"slices"
	"testing"
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

// A program that writes to a file while another waits to hear whether a rename replaced it is
// told that its bytes are in the store when it is known what became of them, and not before.
func TestConfirmWhileItIsReplaced(t *testing.T) {
	for name, lost := range map[string]bool{"done": false, "refused": true, "nobody waits any more": true, "killed": true} {
		t.Run(name, func(t *testing.T) {
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
	}
}

// That bytes went to a copy is told to who wrote them, and not to who opens the file, or the
// copy, later, or the other machine's file meanwhile.
func TestCopyIsToldToWhoWroteIt(t *testing.T) {
	for _, how := range []string{"the file, later", "the copy, later", "the file, meanwhile"} {
		t.Run(how, func(t *testing.T) {
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
	}
}
