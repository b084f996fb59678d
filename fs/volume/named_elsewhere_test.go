package volume

import "testing"

// What is kept of a file that another machine has given another name in its folder is beside
// it, also while what was written here waits.
func TestPlaceOfWhatWasRenamedElsewhere(t *testing.T) {
	for name, c := range map[string]struct{ before, after bool }{
		"written before":       {before: true},
		"written after":        {after: true},
		"written all the time": {before: true, after: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			laptop, desk := w.laptop, w.machine("desk")
			as(laptop, mkdir("d"), write("d/a", "base"), drained)
			as(desk, caughtUp)
			h := laptop.opens("d/a", true)
			if c.before {
				as(laptop, puts(h, 0, "mine"), synced(h))
			}
			as(desk, rename("d/a", "d/b"), drained)
			as(laptop, caughtUp)
			if c.after {
				as(laptop, puts(h, 0, "mine"), synced(h))
			}
			as(desk, rewrite("d/b", "theirs"), drained)
			as(laptop, drained, read("d/b", "theirs"))
			as(laptop, read(laptop.copyOf("d", "b"), "mine"), lock)
		})
	}
}
