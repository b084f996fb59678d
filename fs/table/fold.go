package table

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/hushfs/hushfs/crypt"
)

// Entry is a key with its value, or, if Dead, a tombstone: the key has none.
type Entry struct {
	Key, Value []byte
	Dead       bool
}

// FoldOptions of a fold. Src, Write and Epoch are needed.
type FoldOptions struct {
	Plan   Plan
	Src    Source
	Write  func(ctx context.Context, content []byte) (crypt.Name, error) // seals and stores a table; does not keep content
	Epoch  crypt.Epoch                                                   // that Write seals under
	Target int64                                                         // bytes of content of a table; 0 means 2 MiB, and more from 1 GiB of tables on
	Step   func()                                                        // called after each block that was made, and before each table is written or used again; nil is none
}

const (
	minTarget   = 2 << 20
	maxTarget   = 64 << 20
	aimedTables = 512
	smallPart   = 8 // a table below that part of the target is merged where it can be
)

// Fold merges a delta, and as many of the newest runs as o.Plan says, into a new
// run, and returns the list of runs with it, newest first. The runs given stay
// as they are, and so do their tables; Write was called for each new one.
//
// The entries of the delta ascend, each key once; their slices need not outlive
// the step. An error that comes with one ends the fold.
//
// A table of a merged run is used again as it is if no key of the others falls
// between its first and its last. A tombstone goes where no older run has a
// table with its key between first and last. If nothing is left there is no new
// run. After an error, also when ctx ended, nothing counts but what Write did:
// tables that no list names.
//
// Fold reads by o.Src.Near, and fetches ahead what is not near; it may wait for
// the store. It holds one table that it makes, up to twice Target, and of each
// merged run an index and a block.
func Fold(ctx context.Context, runs []Run, delta iter.Seq2[Entry, error], o FoldOptions) ([]Run, error) {
	merge := min(max(o.Plan.Merge, 0), len(runs))
	target := o.target(runs)
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	f := &folder{
		older: runs[merge:],
		out: builder{
			write: o.Write, epoch: o.Epoch, target: target, small: target / smallPart,
			step: o.Step, squeezer: newCompressor(),
		},
	}
	if f.out.step == nil {
		f.out.step = func() {}
	}
	expander := newExpander()
	for _, r := range runs[:merge] {
		c := &row{run: r, open: func(t *Table) *stream {
			return &stream{ctx: ctx, src: o.Src, table: t, expander: expander, wg: &wg}
		}}
		c.settle()
		f.rows = append(f.rows, c)
	}
	run, err := f.fold(ctx, delta)
	if err != nil {
		return nil, fmt.Errorf("fold: %w", err)
	}
	all := slices.Clone(f.older)
	if len(run) > 0 {
		all = slices.Insert(all, 0, run)
	}
	if !fits(all) {
		return nil, fmt.Errorf("fold: %w", ErrTooMany)
	}
	return all, nil
}

// target is the content of a table, so that there are not too many of them.
func (o *FoldOptions) target(runs []Run) int64 {
	if o.Target > 0 {
		return min(o.Target, maxTarget)
	}
	var sum int64
	for _, r := range runs {
		for i := range r {
			sum += r[i].Length
		}
	}
	return min(max(sum/aimedTables, minTarget), maxTarget)
}
