package table

import (
	"context"
	"fmt"
	"sort"

	"golang.org/x/sync/errgroup"

	"github.com/hushfs/hushfs/fs/meta"
)

const (
	// farBytes is how much one Far of a scan brings of a table at most.
	farBytes = 4 << 20
	// farWhole is the content of a table that is fetched whole, since two or
	// three requests for parts of it would take longer.
	farWhole = 3 << 19
	// farAtOnce is how many parts are fetched at a time.
	farAtOnce = 8
)

// Far is the error of a lookup that needs bytes which are not near. Whoever got
// it lets go of all locks, calls Fetch, and looks up again: once more for each
// step of the way, so twice where neither the index of a table nor a block of
// it was near.
type Far struct {
	src   Source
	parts []part
}

// part is a piece of one table's content.
type part struct {
	table  *Table
	off, n int64
}

func (f *Far) Error() string {
	return fmt.Sprintf("%v: %d bytes", ErrFar, f.Bytes())
}

// Unwrap makes a Far both ErrFar and meta.ErrUnknown.
func (f *Far) Unwrap() []error { return []error{ErrFar, meta.ErrUnknown} }

// Bytes tells how much content Fetch brings.
func (f *Far) Bytes() (sum int64) {
	for _, p := range f.parts {
		sum += p.n
	}
	return sum
}

// Fetch brings what was missing, all parts at the same time, by the Fetch of
// the set's source. It answers the first error.
func (f *Far) Fetch(ctx context.Context) error {
	if len(f.parts) == 1 {
		return f.parts[0].fetch(ctx, f.src)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(farAtOnce)
	for _, p := range f.parts {
		g.Go(func() error { return p.fetch(ctx, f.src) })
	}
	return g.Wait()
}

func (p part) fetch(ctx context.Context, src Source) error {
	if err := src.Fetch(ctx, *p.table, p.off, p.n); err != nil {
		return fmt.Errorf("fetch %d bytes at %d: %w", p.n, p.off, err) // a source names the object
	}
	return nil
}

// partOf is n bytes of a table at off, or all of it if it is small.
func partOf(t *Table, off, n int64) part {
	if t.Length <= farWhole {
		off, n = 0, t.Length
	}
	return part{t, off, n}
}

// endOf is filter, index and footer of a table, or all of it if it is small.
func endOf(t *Table) part { return partOf(t, t.Length-int64(t.Index), int64(t.Index)) }

// bringable is the longest row of blocks from i to at most j that one Far
// brings: i at least.
func (x *index) bringable(i, j int) part {
	more := sort.Search(j-i, func(k int) bool {
		_, n := x.span(i, i+1+k)
		return n > farBytes
	})
	off, n := x.span(i, i+more)
	return partOf(&x.table, off, n)
}
