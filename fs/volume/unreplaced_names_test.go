package volume

import "testing"

// A file of two names, of which each is replaced by a rename, is kept where one of those is
// given up, and that is told: whichever it is, and where nothing of it is given up nothing is
// kept.
func TestWrittenAndItsNamesReplaced(t *testing.T) {
	for name, c := range map[string]struct {
		moved      []string
		left, told int
	}{
		"none is given up": {nil, 0, 0},
		"the first":        {[]string{"a1"}, 1, 2},
		"the second":       {[]string{"a2"}, 1, 2},
		"both":             {[]string{"a1", "a2"}, 2, 4},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			laptop, desk := w.laptop, w.machine("desk")
			as(laptop, write("a1", "1"), write("a2", "2"), write("b1", "base"), links("b1", "b2"), drained)
			as(desk, caughtUp)
			as(laptop, write("b1", "mine"), fsync("b1"), rename("a1", "b1"), rename("a2", "b2"))
			as(desk, unlink("b1"), unlink("b2"), drained)
			as(laptop, caughtUp)
			as(desk, write("other", "3"), drained)
			as(laptop, caughtUp)
			for _, a := range c.moved {
				as(desk, rename(a, "moved "+a))
			}
			as(desk, drained)
			as(laptop, caughtUp)
			laptop.crash()
			as(laptop, drained, held("1"), held("2"))
			names, _ := laptop.list("")
			left := 0
			for _, name := range names {
				if read(name, "mine")(laptop) == nil {
					left++
				}
			}
			if left != c.left {
				t.Errorf("%d of %q hold what was written, want %d", left, names, c.left)
			}
			if all := laptop.unresolved(); len(all) != c.told {
				t.Errorf("%d records, want %d: %+v", len(all), c.told, all)
			}
			as(laptop, lock)
		})
	}
}
