package table

// Plan says how a fold merges: the delta with that many of the newest runs.
type Plan struct{ Merge int }

const (
	stayLeast = 3        // runs that a fold leaves at most, as long as there is little
	stayMost  = 6        // and however much there is
	stayMore  = 64 << 20 // bytes in plain above which one more stays, and above four times that one more
	mergeFree = 1 << 20  // bytes in plain up to which everything is merged into one run
)

// MakePlan plans the fold of a delta of that many bytes of keys and values over
// runs, newest first.
//
// The runs form tiers. As many of the newest are merged as can be while the
// oldest of them is at most a third of all that comes to it: a key is written
// again only by a fold that makes its run four times as large. Where that would
// leave too many runs, a half, the whole, the double and so on will do. At most 3
// stay, since a new machine asks each for the first listing; above 64 MiB of keys
// and values 4, above 256 MiB 5, above 1 GiB 6. Runs of at most 1 MiB together
// are always merged.
//
// Sizes are of keys and values; the content of tables is some 0.36 of that. Of
// deltas of 4 MiB a byte is written, where no table can be used again, 2.8 times
// in a life of 30 deltas (a million files made), 4.7 times in one of 300, 8.8
// times in one of 3,000. A table that is used again costs nothing, so keys that
// come in ascending order are written less.
func MakePlan(runs []Run, plain uint64) Plan {
	sizes := make([]uint64, len(runs))
	total := plain
	for i, r := range runs {
		sizes[i] = r.plain()
		total += sizes[i]
	}
	stay := stayLeast
	for limit := uint64(stayMore); stay < stayMost && total > limit; limit *= 4 {
		stay++
	}
	// A part of a run is at most its share of what comes to it.
	for _, share := range [...]struct{ of, to uint64 }{{3, 1}, {2, 1}, {1, 1}, {1, 2}, {1, 4}, {1, 8}} {
		if n := reach(sizes, plain, share.of, share.to); len(runs)-n+1 <= stay {
			return Plan{n}
		}
	}
	return Plan{len(runs) + 1 - stay}
}

// reach is how many runs merge while the oldest of them, of times, is at most
// to times all that comes to it.
func reach(sizes []uint64, plain, of, to uint64) (n int) {
	for i, size := range sizes {
		if size*of <= plain*to || size+plain <= mergeFree {
			n = i + 1
		}
		plain += size
	}
	return n
}
