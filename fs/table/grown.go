package table

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/meta"
)

// Grown finds out whether the map after is the map before with a delta: nil, or
// ErrWrong. It is what a fold claims, and does not believe.
//
// The entries of the delta are as for Fold. Only keys of the delta, and those that
// stand in a table which one of the two has and the other has not, can differ: each of
// these is looked up in both. bring fetches what a lookup misses, as Far says; its error
// ends the search. step is called now and then.
//
// It holds of each run that is not in both an index and a block.
func Grown(ctx context.Context, before, after *Set, delta iter.Seq2[Entry, error], bring func(error) error, step func()) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	expander := newExpander()
	var rows []*row
	for _, s := range [...]struct{ of, other *Set }{{before, after}, {after, before}} {
		for _, run := range apart(s.of, s.other) {
			r := &row{run: run, open: func(t *Table) *stream {
				return &stream{ctx: ctx, src: s.of.src, table: t, expander: expander, wg: &wg}
			}}
			r.settle()
			rows = append(rows, r)
		}
	}
	g := grown{before: before, after: after, bring: bring, step: step}
	if g.step == nil {
		g.step = func() {}
	}
	var last []byte
	for e, err := range delta {
		if err != nil {
			return err
		}
		if bytes.Compare(e.Key, last) <= 0 {
			return ErrEntry
		}
		last = append(last[:0], e.Key...)
		if err := g.unchanged(ctx, rows, e.Key); err != nil {
			return err
		}
		if err := g.holds(e); err != nil {
			return err
		}
	}
	return g.unchanged(ctx, rows, nil)
}

// grown compares two maps.
type grown struct {
	before, after *Set
	bring         func(error) error
	step          func()
	n             int
}

// unchanged looks at the keys that the rows have below limit, nil is none, and passes
// by limit itself.
func (g *grown) unchanged(ctx context.Context, rows []*row, limit []byte) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		var low []byte
		for _, r := range rows {
			if !r.done && (low == nil || bytes.Compare(r.key, low) < 0) {
				low = r.key
			}
		}
		if low == nil || limit != nil && bytes.Compare(low, limit) > 0 {
			return nil
		}
		key := bytes.Clone(low)
		for _, r := range rows {
			if err := r.pass(key); err != nil {
				return err
			}
		}
		if limit != nil && bytes.Equal(key, limit) {
			return nil // the delta says what it is now
		}
		was, err := g.get(g.before, key, true)
		if err != nil {
			return err
		}
		if err := g.holds(Entry{Key: key, Value: was, Dead: was == nil}); err != nil {
			return err
		}
	}
}

// holds finds an entry in the map after.
func (g *grown) holds(want Entry) error {
	if g.n++; g.n%1000 == 0 {
		g.step()
	}
	// A filter that hides a key has it read so by those who look it up, and otherwise by
	// those who list: both must be right.
	for _, filters := range [...]bool{true, false} {
		got, err := g.get(g.after, want.Key, filters)
		if err != nil {
			return err
		}
		if want.Dead != (got == nil) || !bytes.Equal(got, want.Value) && !want.Dead {
			return fmt.Errorf("%w: of a key of kind %q", ErrWrong, want.Key[0])
		}
	}
	return nil
}

// get returns the value of a key, nil when it has none.
func (g *grown) get(s *Set, key []byte, filters bool) ([]byte, error) {
	for {
		b, err := s.lookup(key, filters)
		switch {
		case err == nil && b == nil:
			return []byte{}, nil
		case err == nil:
			return b, nil
		case errors.Is(err, meta.ErrAbsent):
			return nil, nil
		}
		if err := g.bring(err); err != nil {
			return nil, err
		}
	}
}

// apart returns of each run of s the tables that other has not, or all where those that
// both have do not lie in the same order: then one may hide in one map what it does not
// in the other.
func apart(s, other *Set) []Run {
	there := map[crypt.Name]int{}
	for i, run := range other.runs {
		for j := range run {
			there[run[j].Name] = i
		}
	}
	shared := func(t *Table) (int, bool) {
		i, ok := there[t.Name]
		return i, ok && other.runs[i].find(t.First) != nil && other.runs[i].find(t.First).same(t)
	}
	ordered, deepest := true, -1 // the lowest run of other that a table of an upper run lies in
	for _, run := range s.runs {
		low := deepest
		for j := range run {
			if i, ok := shared(&run[j]); ok {
				ordered = ordered && i >= deepest
				low = max(low, i)
			}
		}
		deepest = low
	}
	if !ordered {
		return s.runs
	}
	var out []Run
	for _, run := range s.runs {
		var own Run
		for j := range run {
			if _, ok := shared(&run[j]); !ok {
				own = append(own, run[j])
			}
		}
		if len(own) > 0 {
			out = append(out, own)
		}
	}
	return out
}
