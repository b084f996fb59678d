package volume

import (
	"errors"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
)

// An fsync that has nothing to wait for hears of no copy, and neither does a later one,
// which waits for what was written to the copy since.
func TestConfirmOfNothing(t *testing.T) {
	m, h := changedElsewhere(t, []byte("XX"), rewrite("f", "theirs"))
	as(m, synced(h), drained)
	if err := m.v.Confirm(t.Context(), h); err != nil {
		t.Errorf("with nothing to wait for: %v", err)
	}
	as(m, puts(h, 2, "YY"), synced(h))
	m.run()
	if err := m.v.Confirm(t.Context(), h); err != nil {
		t.Errorf("of what is in the copy alone: %v", err)
	}
	as(m, shows(h, "XXYY"), lock)
}

// A file that did not get a name, since another machine was faster, is known by the one
// that it has: what is kept of it beside another machine's is there, after a kill too.
func TestPlaceOfWhatWasRefused(t *testing.T) {
	exchanged := func(m *machine) (Given, error) {
		dir, name, _, err := m.find("d/a")
		if err != nil {
			return Given{}, err
		}
		dir2, name2, _, err := m.find("e/x")
		if err != nil {
			return Given{}, err
		}
		return m.v.RenameSure(m.t.Context(), dir, name, dir2, name2, meta.Exchange)
	}
	for name, c := range map[string]struct {
		give    gives
		faster  act    // of the other machine
		dir, as string // where the file is
	}{
		"renamed":        {moved("d/a", "n"), write("n", "theirs"), "d", "a"},
		"linked":         {linked("d/a", "n"), write("n", "theirs"), "d", "a"},
		"exchanged":      {exchanged, rename("e/x", "y"), "d", "a"},
		"exchanged over": {exchanged, rename("d/a", "y"), "e", "x"},
	} {
		for _, killed := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", killed"}[killed], func(t *testing.T) {
				w := newWorld(t)
				laptop, desk := w.laptop, w.machine("desk")
				laptop.set = remote
				path := c.dir + "/" + c.as
				as(laptop, mkdir("d"), mkdir("e"), write("d/a", "base"), write("e/x", "base"), drained)
				as(desk, caughtUp)
				h := laptop.opens(path, true)
				given := c.give.must(laptop)
				as(desk, c.faster, drained)
				as(laptop, caughtUp)
				if err := laptop.v.Named(given); !errors.Is(err, publish.ErrFaster) {
					t.Fatalf("another machine was faster, and the program hears %v", err)
				}
				_, _, d, err := desk.find(c.dir)
				if err != nil {
					t.Fatal(err)
				}
				if got := laptop.v.Folder(h); got != d.Ref {
					t.Errorf("the open file is in %v, want %v", got, d.Ref)
				}
				as(laptop, puts(h, 0, "mine"), synced(h))
				if killed {
					laptop.crash()
				}
				as(desk, rewrite(path, "theirs"), drained)
				as(laptop, drained, read(path, "theirs"))
				as(laptop, read(laptop.copyOf(c.dir, c.as), "mine"), lock)
			})
		}
	}
}

// The name of a half made file may be another machine's by the time that it is to be taken
// away, and that file is not ours to take.
func TestAnothersFileByTheNameOfAHalfMadeOne(t *testing.T) {
	w := newWorld(t)
	laptop, desk := w.laptop, w.machine("desk")
	laptop.set = remote
	as(laptop, write("a", "1"), drained)
	as(desk, caughtUp)
	ours := tmpfile(laptop, "", "ours")
	hidden := string(incomplete(laptop.v.Ino(ours)))
	given := namedSo(ours, "n").must(laptop)
	as(desk, write(hidden, "another's"), write("n", "theirs"), drained)
	as(laptop, caughtUp)
	if err := laptop.v.ConfirmName(over(t), given); !errors.Is(err, publish.ErrFaster) {
		t.Errorf("another machine has the name, and the program hears %v", err)
	}
	as(laptop, read("n", "theirs"), read(hidden, "another's"), shows(ours, "ours"), closes(ours), drained)
	as(desk, caughtUp, read("n", "theirs"), read(hidden, "another's"), lock)
	as(laptop, lock)
}
