package view

import (
	"bytes"
	"iter"
	"slices"
	"sort"

	"github.com/tidwall/btree"

	"github.com/hushfs/hushfs/fs/meta"
)

// Confirmed is the state after one slot of the chain: what the batches above a
// checkpoint wrote, in memory, over the tables of that checkpoint, of which nothing
// is loaded before it is looked at. Nothing pending is ever written to it, so it can
// be dropped and built again at any time.
//
// Reads fail as the tables do; what is not near is an error, not an absence. Apply,
// Rebase and Clone must have it to themselves.
type Confirmed struct {
	slot   uint64
	usage  meta.Usage
	base   uint64      // slot of the tables; what is above came later
	tables meta.Reader // nil: nothing lies below
	above  layer       // what the batches above the tables say

	// cuts are the ranges that were deleted from the tables, by the first bytes of
	// their keys (see cutField): a range never reaches further. They are sorted and
	// disjoint. The slices are not changed.
	cuts btree.Map[string, []cut]
}

// NewConfirmed returns the state that tables hold: that after slot, with the given
// usage. Nil and 0 is the empty state before slot 1.
func NewConfirmed(slot uint64, tables meta.Reader, usage meta.Usage) *Confirmed {
	return &Confirmed{slot: slot, base: slot, tables: tables, usage: usage, above: newLayer()}
}

// Slot is the newest slot whose batch was applied.
func (c *Confirmed) Slot() uint64 { return c.slot }

// Usage is what the volume holds as of that slot.
func (c *Confirmed) Usage() meta.Usage { return c.usage }

// Base is the slot of the tables below.
func (c *Confirmed) Base() uint64 { return c.base }

// Keys is how many keys are held in memory.
func (c *Confirmed) Keys() int { return c.above.len() + c.cuts.Len() }

// Bytes is the length of the keys and values that are held in memory.
func (c *Confirmed) Bytes() (n int64) {
	c.above.scan(func(r record) bool {
		n += int64(r.bytes())
		return true
	})
	return n
}

// Clone returns a copy that can be changed on its own. It costs little: the two share
// what neither changes.
func (c *Confirmed) Clone() *Confirmed {
	d := *c
	d.above, d.cuts = c.above.copy(), *c.cuts.Copy()
	return &d
}

// Get returns the value of key, or meta.ErrAbsent. The value must not be changed.
func (c *Confirmed) Get(key []byte) ([]byte, error) {
	if r, ok := c.above.get(key); ok {
		if r.deleted() {
			return nil, meta.ErrAbsent
		}
		return r.value(), nil
	}
	if c.tables == nil || c.cut(key) {
		return nil, meta.ErrAbsent
	}
	return c.tables.Get(key)
}

// cut tells whether a key was deleted from the tables by a range.
func (c *Confirmed) cut(key []byte) bool {
	if c.cuts.Len() == 0 || len(key) < cutField {
		return false
	}
	cuts, _ := c.cuts.Get(string(key[:cutField]))
	n := sort.Search(len(cuts), func(i int) bool { return bytes.Compare(key, cuts[i].To) < 0 })
	return n < len(cuts) && cuts[n].Contains(key)
}

// Scan calls fn for each key in [from, to), ascending, until fn returns false.
func (c *Confirmed) Scan(from, to []byte, fn func(k, v []byte) bool) error {
	if c.tables == nil {
		return c.above.over(nothing, from, to, fn)
	}
	return c.above.over(func(from, to []byte, fn func(k, v []byte) bool) error {
		return c.tables.Scan(from, to, func(k, v []byte) bool { return c.cut(k) || fn(k, v) })
	}, from, to, fn)
}

func nothing([]byte, []byte, func(k, v []byte) bool) error { return nil }

// Apply makes the batch of slot, which adds d to the usage, part of the state. Values
// are copied: those of a decoded batch alias the commit, of which one small value that
// stays would keep the whole 1 MiB.
func (c *Confirmed) Apply(slot uint64, b *meta.Batch, d meta.Delta) {
	for ranges := b.Ranges; len(ranges) > 0; {
		field := ranges[0].From[:cutField]
		n := 1
		for n < len(ranges) && bytes.HasPrefix(ranges[n].From, field) {
			n++
		}
		for _, r := range ranges[:n] {
			// The range hides what the tables have, now or after the next Rebase.
			for _, written := range c.above.in(r) {
				c.above.forget(written)
			}
		}
		cuts, _ := c.cuts.Get(string(field))
		c.cuts.Set(string(field), cutMore(cuts, ranges[:n], slot))
		ranges = ranges[n:]
	}
	for _, k := range b.Deletes {
		c.above.set(gone(k, slot))
	}
	for _, kv := range b.Puts {
		c.above.set(put(kv.Key, kv.Value, slot))
	}
	c.slot, c.usage = slot, c.usage.Plus(d)
}

// Rebase puts tables below that hold the state after the slot base, and forgets what
// was written up to there.
func (c *Confirmed) Rebase(base uint64, tables meta.Reader) {
	var folded []record
	c.above.scan(func(r record) bool {
		if r.no() <= base {
			folded = append(folded, r)
		}
		return true
	})
	for _, r := range folded {
		c.above.forget(r)
	}
	kept := map[string][]cut{}
	c.cuts.Scan(func(field string, cuts []cut) bool {
		kept[field] = slices.DeleteFunc(slices.Clone(cuts), func(r cut) bool { return r.slot <= base })
		return true
	})
	for field, cuts := range kept {
		if len(cuts) > 0 {
			c.cuts.Set(field, cuts)
		} else {
			c.cuts.Delete(field)
		}
	}
	c.base, c.tables = base, tables
}

// Written calls fn for each key whose newest write above the tables is of a slot up to
// last, ascending, until it returns false. The slices must not be changed.
func (c *Confirmed) Written(last uint64, fn func(key, value []byte, deleted bool) bool) {
	c.above.scan(func(r record) bool {
		if r.no() > last {
			return true
		}
		key, value := r.parts()
		return fn(key, value, r.deleted())
	})
}

// Change is what lies above the tables of one key.
type Change struct {
	Key, Value []byte
	Deleted    bool
}

// Changes returns what lies above the tables, ascending by key, ranges resolved into
// the keys of the tables that they delete. Where these are not near, fetch brings them
// and the scan goes on from there; the first error ends it.
func (c *Confirmed) Changes(fetch func(error) error) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		dead, err := c.cutKeys(fetch)
		if err != nil {
			yield(Change{}, err)
			return
		}
		it := c.above.tree.Iter()
		more := it.First()
		for _, k := range dead {
			for more && it.Item().key() < k {
				if !yield(change(it.Item()), nil) {
					return
				}
				more = it.Next()
			}
			if more && it.Item().key() == k {
				continue // the newer write of it comes next
			}
			if !yield(Change{Key: []byte(k), Deleted: true}, nil) {
				return
			}
		}
		for ; more; more = it.Next() {
			if !yield(change(it.Item()), nil) {
				return
			}
		}
	}
}

func change(r record) Change {
	key, value := r.parts()
	return Change{key, value, r.deleted()}
}

// cutKeys lists the keys of the tables that ranges deleted, ascending and unique.
func (c *Confirmed) cutKeys(fetch func(error) error) ([]string, error) {
	if c.tables == nil {
		return nil, nil
	}
	var dead []string
	var failed error
	c.cuts.Scan(func(_ string, cuts []cut) bool {
		for _, r := range cuts {
			from := r.From
			for {
				err := c.tables.Scan(from, r.To, func(k, _ []byte) bool {
					dead = append(dead, string(k))
					from = append([]byte(string(k)), 0)
					return true
				})
				if err == nil {
					break
				}
				if failed = fetch(err); failed != nil {
					return false
				}
			}
		}
		return true
	})
	slices.Sort(dead)
	return slices.Compact(dead), failed
}
