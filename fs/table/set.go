package table

import (
	"errors"
	"fmt"

	"github.com/hushfs/hushfs/fs/meta"
)

// Set is the map that runs make together: of a key that stands in several, the
// newest run counts. It is immutable, safe for concurrent use, and never waits
// for the store.
type Set struct {
	runs []Run
	src  Source
	mem  *Memory
}

var _ meta.Reader = (*Set)(nil)

// NewSet returns the map of runs, newest first, which are good and not changed
// any more.
func NewSet(runs []Run, src Source, mem *Memory) *Set {
	return &Set{runs: runs, src: src, mem: mem}
}

// Runs returns the runs, newest first. They are not to be changed.
func (s *Set) Runs() []Run { return s.runs }

// Tables is how many there are.
func (s *Set) Tables() (n int) {
	for _, r := range s.runs {
		n += len(r)
	}
	return n
}

// Bytes is the length of the content of all tables.
func (s *Set) Bytes() (n int64) {
	s.each(func(t *Table) { n += t.Length })
	return n
}

// Entries is how many entries stand in the tables; a key may have several, and
// tombstones count.
func (s *Set) Entries() (n uint64) {
	s.each(func(t *Table) { n += t.Entries })
	return n
}

// Dead is how many of the entries are tombstones.
func (s *Set) Dead() (n uint64) {
	s.each(func(t *Table) { n += t.Dead })
	return n
}

// Plain is how many bytes of keys and values stand in the tables.
func (s *Set) Plain() (n uint64) {
	s.each(func(t *Table) { n += t.Plain })
	return n
}

func (s *Set) each(fn func(t *Table)) {
	for _, r := range s.runs {
		for i := range r {
			fn(&r[i])
		}
	}
}

// Get returns the value of a key, which is not to be changed by the caller and
// does not change. It answers meta.ErrAbsent when the key has none, *Far when
// that cannot be told without the store, ErrDamaged or ErrVersion when a table
// cannot be read, and what the source answered.
func (s *Set) Get(key []byte) ([]byte, error) { return s.lookup(key, true) }

// lookup is Get, which believes the filters or reads blocks whatever they say.
func (s *Set) lookup(key []byte, filters bool) ([]byte, error) {
	var h hash
	hashed := false
	for i, run := range s.runs {
		t := run.find(key)
		if t == nil {
			continue
		}
		x, err := s.index(t)
		if errors.Is(err, ErrFar) {
			return nil, s.farIndexes(key, i)
		}
		if err != nil {
			return nil, err
		}
		at := x.find(key)
		if filters {
			if !hashed {
				h, hashed = hashOf(key), true
			}
			if s.excludes(x, at, &h) {
				continue
			}
		}
		b, err := s.block(x, at)
		if errors.Is(err, ErrFar) {
			return nil, &Far{s.src, []part{x.bringable(at, at)}}
		}
		if err != nil {
			return nil, err
		}
		if value, dead, ok := b.get(key); dead {
			break
		} else if ok {
			return value, nil
		}
	}
	return nil, meta.ErrAbsent
}

// farIndexes is a Far for the indexes that a lookup of the key needs, of the
// runs from i on, the first of which is missing.
func (s *Set) farIndexes(key []byte, i int) *Far {
	far := &Far{src: s.src}
	for j, run := range s.runs[i:] {
		t := run.find(key)
		if t == nil {
			continue
		}
		if _, err := s.index(t); j == 0 || errors.Is(err, ErrFar) {
			far.parts = append(far.parts, endOf(t))
		}
	}
	return far
}

// index returns the index of a table, checked against what t says.
func (s *Set) index(t *Table) (*index, error) {
	at := place{t.Name, partIndex}
	if x, ok := s.mem.get(at).(*index); ok && x.table.same(t) {
		return x, nil
	}
	x, err := readIndex(t, s.near(t))
	if err != nil {
		return nil, err
	}
	s.mem.put(at, x, x.size())
	return x, nil
}

// near is the source's Near for one table; errors say where.
func (s *Set) near(t *Table) func(off int64, dst []byte) error {
	return func(off int64, dst []byte) error { return nearOf(s.src, t, off, dst) }
}

func nearOf(src Source, t *Table, off int64, dst []byte) error {
	if err := src.Near(*t, off, dst); err != nil {
		return fmt.Errorf("read %d bytes at %d of table %s: %w", len(dst), off, t.Name, err)
	}
	return nil
}

// block returns the block number i.
func (s *Set) block(x *index, i int) (*block, error) {
	at := place{x.table.Name, uint32(i)}
	if b, ok := s.mem.get(at).(*block); ok {
		return b, nil
	}
	off, n := x.span(i, i)
	stored := make([]byte, n)
	if err := nearOf(s.src, &x.table, off, stored); err != nil {
		return nil, err
	}
	plain, ok := expand(s.mem.expander, nil, stored, int(x.blocks[i].plain))
	if !ok {
		return nil, x.table.damaged(fmt.Sprintf("block %d does not expand", i))
	}
	b, err := x.open(i, plain)
	if err != nil {
		return nil, err
	}
	s.mem.put(at, b, b.size())
	return b, nil
}

// filterGroup is the number of blocks whose filters are read together: some
// 40 KiB.
const filterGroup = 64

// excludes tells whether the filter of block i says that nothing with that hash
// is in it. A filter that cannot be read says nothing: the block is then looked
// at, which brings the same answer.
func (s *Set) excludes(x *index, i int, h *hash) bool {
	first := i / filterGroup * filterGroup
	at := place{x.table.Name, partFilters + uint32(i/filterGroup)}
	off, n := x.filters(first, first+filterGroup)
	f, ok := s.mem.get(at).([]byte)
	if !ok || int64(len(f)) != n {
		f = make([]byte, n)
		if err := s.src.Near(x.table, off, f); err != nil {
			return false
		}
		s.mem.put(at, f, n)
	}
	from, size := x.filters(i, i+1)
	return !h.mayHold(f[from-off : from-off+size])
}
