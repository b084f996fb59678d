package cache

import "math/bits"

// geometry follows from the limit of a cache. All in bytes.
type geometry struct {
	share      int64 // of the limit that values may take
	generation int64 // what a generation may come to
	table      int64 // what makes a table
	spare      int64 // kept free: for a table while its log is still there
}

const (
	minTable = 256 << 10
	maxTable = 64 << 20 // far more than one has
	maxFresh = 4 << 20  // bounds the memory
	maxShare = 1 << 30  // bounds the tables that a lookup has to ask
	minLimit = 8 << 20
)

// plan divides a limit: a quarter is for values, an eighth of that a generation.
// ok is false when it is too small for a share that is worth it.
func plan(limit int64) (g geometry, ok bool) {
	g.share = min(limit/4, maxShare)
	g.table = min(max(int64(1)<<bits.Len64(uint64(max(g.share, 0)/32)), minTable), maxFresh)
	g.generation = max(g.share/8, 2*g.table)
	g.spare = g.table*3/2 + 256<<10 // with index and filter, and the last batch
	return g, limit >= minLimit
}
