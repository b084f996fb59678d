package meta

import (
	"bytes"
	"slices"

	"github.com/tidwall/btree"
)

// Builder merges the batches of successive operations into one that does the
// same as all of them, one after the other. The zero value is empty and
// usable. It is not safe for concurrent use.
type Builder struct {
	points btree.Map[string, change] // puts, and deletes that no range contains
	puts   int                       // of points
	bytes  int                       // that points and ranges take in the encoding
	ranges []Range                   // sorted, disjoint
}

// change is what happens to one key.
type change struct {
	value   []byte
	deleted bool
}

// Add merges a good batch, which comes after all that were added before. The
// builder keeps slices of it, so it must not be modified any more.
func (b *Builder) Add(x *Batch) {
	for _, r := range x.Ranges {
		b.addRange(r)
	}
	for _, k := range x.Deletes {
		if b.inRange(k) {
			b.drop(string(k))
		} else {
			b.set(k, change{deleted: true})
		}
	}
	for _, kv := range x.Puts {
		b.set(kv.Key, change{value: kv.Value})
	}
}

// Size is the length of the merged batch's encoding, in bytes.
func (b *Builder) Size() int {
	return b.bytes + uvarintLen(uint64(len(b.ranges))) + uvarintLen(uint64(b.puts)) +
		uvarintLen(uint64(b.points.Len()-b.puts))
}

// Batch returns what was merged so far. More can be added afterwards.
func (b *Builder) Batch() *Batch {
	out := &Batch{Ranges: slices.Clone(b.ranges)}
	if b.puts > 0 {
		out.Puts = make([]KV, 0, b.puts)
	}
	if n := b.points.Len() - b.puts; n > 0 {
		out.Deletes = make([][]byte, 0, n)
	}
	b.points.Scan(func(k string, c change) bool {
		if c.deleted {
			out.Deletes = append(out.Deletes, []byte(k))
		} else {
			out.Puts = append(out.Puts, KV{[]byte(k), c.value})
		}
		return true
	})
	return out
}

func (b *Builder) set(key []byte, c change) {
	k := string(key)
	if old, had := b.points.Set(k, c); had {
		b.account(k, old, -1)
	}
	b.account(k, c, +1)
}

func (b *Builder) drop(k string) {
	if old, had := b.points.Delete(k); had {
		b.account(k, old, -1)
	}
}

func (b *Builder) account(k string, c change, sign int) {
	b.bytes += sign * stringSize(len(k))
	if !c.deleted {
		b.bytes += sign * stringSize(len(c.value))
		b.puts += sign
	}
}

// addRange drops what was done to keys in r, and merges r with the ranges that
// overlap it. Extent ranges that only touch are merged as well.
func (b *Builder) addRange(r Range) {
	var inside []string
	b.points.Ascend(string(r.From), func(k string, _ change) bool {
		if k >= string(r.To) {
			return false
		}
		inside = append(inside, k)
		return true
	})
	for _, k := range inside {
		b.drop(k)
	}

	// Ranges [lo, hi) overlap r or touch it.
	lo, _ := slices.BinarySearchFunc(b.ranges, r.From, func(x Range, from []byte) int { return bytes.Compare(x.To, from) })
	hi := lo
	for hi < len(b.ranges) && bytes.Compare(b.ranges[hi].From, r.To) <= 0 {
		hi++
	}
	if r.From[0] != prefixExtent {
		// Attribute ranges are equal or disjoint, and must stay one an inode.
		if at, found := slices.BinarySearchFunc(b.ranges, r, compareRange); !found {
			b.ranges = slices.Insert(b.ranges, at, r)
			b.bytes += rangeSize(r)
		}
		return
	}
	for _, x := range b.ranges[lo:hi] {
		b.bytes -= rangeSize(x)
		if bytes.Compare(x.From, r.From) < 0 {
			r.From = x.From
		}
		if bytes.Compare(x.To, r.To) > 0 {
			r.To = x.To
		}
	}
	b.bytes += rangeSize(r)
	b.ranges = slices.Replace(b.ranges, lo, hi, r)
}

func (b *Builder) inRange(k []byte) bool {
	after, _ := slices.BinarySearchFunc(b.ranges, k, func(x Range, k []byte) int {
		if bytes.Compare(x.From, k) <= 0 {
			return -1
		}
		return 1
	})
	return after > 0 && b.ranges[after-1].Contains(k)
}
