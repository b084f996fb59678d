package table

import (
	"bytes"
	"context"
	"iter"
)

// folder merges rows and a delta. The delta is newer than all rows.
type folder struct {
	rows  []*row // newest first
	older []Run  // what does not take part
	out   builder
}

func (f *folder) fold(ctx context.Context, delta iter.Seq2[Entry, error]) (Run, error) {
	var last []byte
	for e, err := range delta {
		if err != nil {
			return nil, err
		}
		if len(e.Key) > MaxKey || len(e.Value) > MaxValue || bytes.Compare(e.Key, last) <= 0 {
			return nil, ErrEntry
		}
		last = append(last[:0], e.Key...)
		if err := f.below(ctx, e.Key); err != nil {
			return nil, err
		}
		for _, r := range f.rows {
			if err := r.pass(e.Key); err != nil {
				return nil, err
			}
		}
		if err := f.add(ctx, e); err != nil {
			return nil, err
		}
	}
	if err := f.below(ctx, nil); err != nil {
		return nil, err
	}
	if err := f.out.close(ctx); err != nil {
		return nil, err
	}
	return f.out.run, nil
}

// below merges the entries of the rows with keys below limit; nil is none.
func (f *folder) below(ctx context.Context, limit []byte) error {
	for {
		var best *row
		bound := limit // the lowest key of all others
		for _, r := range f.rows {
			switch {
			case r.done:
			case best == nil || bytes.Compare(r.key, best.key) < 0:
				if best != nil {
					bound = lower(best.key, bound)
				}
				best = r
			default:
				bound = lower(r.key, bound)
			}
		}
		if best == nil || limit != nil && bytes.Compare(best.key, limit) >= 0 {
			return nil
		}
		if err := f.take(ctx, best, bound); err != nil {
			return err
		}
	}
}

func lower(a, b []byte) []byte {
	if b == nil || bytes.Compare(a, b) < 0 {
		return a
	}
	return b
}

// take takes from a row, the newest of those with the lowest key, what lies
// below bound, the lowest key of all others: a table as it is, the entries up
// to bound or the end of a table, or, if bound is the row's key too, one entry;
// the older ones of that key are passed by.
func (f *folder) take(ctx context.Context, r *row, bound []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.closed() {
		if t := &r.run[0]; f.reusable(t, bound) {
			r.skip()
			return f.out.reuse(ctx, t)
		}
		if err := r.begin(); err != nil {
			return err
		}
	}
	if bound != nil && bytes.Equal(r.key, bound) {
		for _, other := range f.rows {
			if other == r {
				continue
			}
			if err := other.pass(r.key); err != nil {
				return err
			}
		}
		if err := f.add(ctx, r.entry()); err != nil {
			return err
		}
		return r.next() // bound may have changed: it was a row's
	}
	for !r.done && !r.closed() && (bound == nil || bytes.Compare(r.key, bound) < 0) {
		if err := f.add(ctx, r.entry()); err != nil {
			return err
		}
		if err := r.next(); err != nil {
			return err
		}
	}
	return nil
}

// reusable tells whether a table of which nothing was taken yet can be used
// again as it is. No other key below bound is left.
func (f *folder) reusable(t *Table, bound []byte) bool {
	if bound != nil && bytes.Compare(t.Last, bound) >= 0 {
		return false
	}
	if t.Length < f.out.small || !f.out.enough() {
		return false // or there would be more and more small ones
	}
	return t.Dead == 0 || f.hidden(t.First, t.Last)
}

// hidden tells whether an older run may have a key from first to last.
func (f *folder) hidden(first, last []byte) bool {
	for _, r := range f.older {
		if r.meets(first, last) {
			return true
		}
	}
	return false
}

// add adds an entry to the new run, unless it is a tombstone over nothing.
func (f *folder) add(ctx context.Context, e Entry) error {
	if e.Dead && !f.hidden(e.Key, e.Key) {
		return nil
	}
	return f.out.add(ctx, e)
}

// row goes through the entries of one run. It stands on an entry, or before a
// table of which nothing was read: then key is the table's first.
type row struct {
	run  Run // the table at hand and those after it
	open func(t *Table) *stream
	at   *stream // nil before a table
	key  []byte
	done bool
}

func (r *row) closed() bool { return !r.done && r.at == nil }

func (r *row) entry() Entry { return Entry{r.at.it.key, r.at.it.value, r.at.it.dead} }

// settle stands before the next table.
func (r *row) settle() {
	if r.at = nil; len(r.run) == 0 {
		r.key, r.done = nil, true
		return
	}
	r.key = r.run[0].First
}

// skip passes by a whole table.
func (r *row) skip() {
	r.run = r.run[1:]
	r.settle()
}

// begin opens the table before which the row stands.
func (r *row) begin() error {
	r.at = r.open(&r.run[0])
	return r.stand(r.at.begin())
}

// next goes to the next entry.
func (r *row) next() error { return r.stand(r.at.next()) }

func (r *row) stand(err error) error {
	if err != nil {
		return err
	}
	if !r.at.it.ok {
		r.skip()
		return nil
	}
	r.key = r.at.it.key
	return nil
}

// pass goes beyond the key if the row stands on it.
func (r *row) pass(key []byte) error {
	if r.done || !bytes.Equal(r.key, key) {
		return nil
	}
	if r.closed() {
		if err := r.begin(); err != nil {
			return err
		}
	}
	return r.next()
}
