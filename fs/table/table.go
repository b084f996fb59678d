// Package table keeps folded metadata: sorted maps from keys to values, each
// in a few immutable objects.
//
// A run is one map, cut by key into tables. A set of runs, newest first, is the
// whole: of a key that stands in several, the newest run counts, and there it
// may stand as a tombstone, which says that the key has no value. Folding
// merges what was written since with some of the newest runs into one new run
// and uses tables again in which nothing changed; no table is ever changed.
//
// A table is looked up without being fetched. Its end holds an index and a
// filter; with these, one block of some ten thousand bytes answers. What is not
// on this machine is never waited for: a lookup fails with *Far, and whoever
// holds no lock fetches what that names and looks up again. So "absent" is only
// said after the blocks that could hold the key were read.
//
// The package refuses bytes that no builder makes, seals nothing, and knows
// neither the store nor what keys mean.
//
// Layout: docs/format.md, "Tables".
package table

import (
	"bytes"
	"context"
	"fmt"
	"sort"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/meta"
)

// Limits of the format.
const (
	MaxKey   = meta.MaxKey   // bytes of a key
	MaxValue = meta.MaxXattr // bytes of a value

	MaxRuns   = 16       // runs of a list
	MaxTables = 4096     // tables of a list
	MaxIndex  = 16 << 20 // bytes from a table's filter to its end
	MaxBlocks = 16 << 10 // blocks of a table

	maxLength  = 128 << 20 // bytes of content; what an envelope can seal is a little less
	maxEntries = MaxBlocks * (blockSize / minEntry)
	maxPlain   = MaxBlocks * (maxEntry + blockSize)
)

// Table is an entry of the list of tables: what signed metadata says of one.
// All of it is checked against the content before that is believed.
type Table struct {
	Name        crypt.Name  // of the object
	Length      int64       // bytes of content; its own Padmé length
	Epoch       crypt.Epoch // of the key that seals it
	Index       uint32      // bytes from the filter to the end of the content
	First, Last []byte      // its lowest and its highest key, exactly
	Entries     uint64      // values and tombstones
	Dead        uint64      // tombstones
	Plain       uint64      // bytes of keys and values
}

// Run is a sorted map in tables: ascending, and no two of them meet.
type Run []Table

// Source brings the content of tables. It is safe for concurrent use. Offsets
// count in the content; what is asked for lies within Length.
type Source interface {
	// Near fills dst with the bytes at off, or answers ErrFar, maybe wrapped,
	// when they are not on this machine. It never waits for the store.
	Near(t Table, off int64, dst []byte) error
	// Fetch brings the n bytes at off, so that Near has them. n is at most
	// MaxIndex.
	Fetch(ctx context.Context, t Table, off, n int64) error
}

// same tells whether both say the same of one object.
func (t *Table) same(u *Table) bool {
	return t == u || t.Name == u.Name && t.Length == u.Length && t.Index == u.Index && t.Entries == u.Entries &&
		t.Dead == u.Dead && t.Plain == u.Plain && bytes.Equal(t.First, u.First) && bytes.Equal(t.Last, u.Last)
}

// damaged is ErrDamaged with the name of the object and what is wrong.
func (t *Table) damaged(what string) error {
	return fmt.Errorf("%w: object %s: %s", ErrDamaged, t.Name, what)
}

// from is the index of the first table whose last key is not below key.
func (r Run) from(key []byte) int {
	return sort.Search(len(r), func(i int) bool { return bytes.Compare(r[i].Last, key) >= 0 })
}

// find returns the one table that may hold the key, or nil.
func (r Run) find(key []byte) *Table {
	if i := r.from(key); i < len(r) && bytes.Compare(r[i].First, key) <= 0 {
		return &r[i]
	}
	return nil
}

// meets tells whether a table of the run may hold a key from first to last.
func (r Run) meets(first, last []byte) bool {
	i := r.from(first)
	return i < len(r) && bytes.Compare(r[i].First, last) <= 0
}

// plain is the number of bytes of keys and values.
func (r Run) plain() (sum uint64) {
	for i := range r {
		sum += r[i].Plain
	}
	return sum
}
