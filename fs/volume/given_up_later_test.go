package volume

import (
	"strings"
	"testing"
)

// What was written to a file that a rename replaced is kept also where the other machine's
// changes come one after the other: those to the file while the rename can still be done, and
// then one that takes away what was to be put in its place.
func TestWrittenAndReplacementGivenUpLater(t *testing.T) {
	for name, first := range map[string]act{
		"written": write("b", "theirs"),
		"deleted": unlink("b"),
	} {
		for _, how := range []string{"", ", killed", ", more between", ", of many parts"} {
			t.Run(name+how, func(t *testing.T) {
				w := newWorld(t)
				laptop, desk := w.laptop, w.machine("desk")
				as(laptop, write("a", "1"), write("b", "base"), drained)
				as(desk, caughtUp)
				mine := "mine"
				if how == ", of many parts" { // more than a step makes again
					mine = strings.Repeat("m", 600)
					h := laptop.opens("b", true)
					for i := range 600 {
						as(laptop, puts(h, uint64((i*7)%600), "m"), synced(h))
					}
					as(laptop, closes(h))
				} else {
					as(laptop, write("b", mine), fsync("b"))
				}
				as(laptop, rename("a", "b"))
				as(desk, first, drained)
				as(laptop, caughtUp)
				if how == ", killed" {
					laptop.crash()
				}
				if how == ", more between" {
					as(desk, write("b", "again"), drained)
					as(laptop, caughtUp)
					as(desk, write("other", "2"), drained)
					as(laptop, caughtUp)
				}
				as(desk, rename("a", "x"), drained)
				as(laptop, caughtUp)
				if how == ", killed" {
					laptop.crash()
				}
				as(laptop, drained, held(mine), held("1"))
				if n := len(laptop.unresolved()); n < 2 {
					t.Errorf("%d records, want one of the rename and one of what stays", n)
				}
				as(laptop, lock)
			})
		}
	}
}

// Where nothing comes in the way of the rename it is done, and nothing is left of what it
// replaced: no copy, and no more records than there would be.
func TestWrittenAndReplacedLater(t *testing.T) {
	for name, c := range map[string]struct {
		first, then act
		records     int
	}{
		"deleted":                       {unlink("b"), write("other", "2"), 0},
		"deleted, and made again":       {unlink("b"), write("b", "new"), 1},
		"written":                       {write("b", "theirs"), write("other", "2"), 1},
		"written, and the copy is free": {write("b", "theirs"), unlink("b"), 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			laptop, desk := w.laptop, w.machine("desk")
			as(laptop, write("a", "1"), write("b", "base"), drained)
			as(desk, caughtUp)
			as(laptop, write("b", "mine"), fsync("b"), rename("a", "b"))
			as(desk, c.first, drained)
			as(laptop, caughtUp)
			as(desk, c.then, drained)
			as(laptop, caughtUp)
			laptop.crash()
			as(laptop, drained, held("1"))
			names, _ := laptop.list("")
			for _, name := range names {
				if read(name, "mine")(laptop) == nil {
					t.Errorf("%q holds what was replaced", name)
				}
			}
			if all := laptop.unresolved(); len(all) != c.records {
				t.Errorf("%d records, want %d: %+v", len(all), c.records, all)
			}
			as(laptop, lock)
		})
	}
}
