package view

import (
	"bytes"

	"github.com/tidwall/btree"

	"github.com/hushfs/hushfs/fs/meta"
)

// Confirmed is the state after one slot of the chain. Nothing pending is ever
// written to it, so it can be dropped and built again at any time. Its reads may
// be called at the same time as one another, and not while Apply runs.
type Confirmed interface {
	meta.Reader

	// Slot is the newest slot whose batch was applied.
	Slot() uint64

	// Apply makes the batch of slot part of the state, all of it or nothing. It
	// keeps no slice of b.
	Apply(slot uint64, b *meta.Batch) error
}

// Memory is a confirmed state kept in memory, built again from the chain at
// every mount. Apply is not safe for concurrent use by itself; View guards it.
type Memory struct {
	slot uint64
	m    btree.Map[string, []byte]
}

var _ Confirmed = (*Memory)(nil)

// NewMemory returns the empty state before slot 1.
func NewMemory() *Memory { return &Memory{} }

// Slot is the newest slot whose batch was applied.
func (m *Memory) Slot() uint64 { return m.slot }

// Get returns the value of key, or meta.ErrAbsent. The value must not be changed.
func (m *Memory) Get(key []byte) ([]byte, error) {
	if v, ok := m.m.Get(string(key)); ok {
		return v, nil
	}
	return nil, meta.ErrAbsent
}

// Scan calls fn for each key in [from, to), ascending, until fn returns false.
func (m *Memory) Scan(from, to []byte, fn func(k, v []byte) bool) error {
	end := string(to)
	m.m.Ascend(string(from), func(k string, v []byte) bool {
		return k < end && fn([]byte(k), v)
	})
	return nil
}

// Apply makes the batch of slot part of the state. It cannot fail. Values are
// copied: those of a decoded batch alias the commit, of which one small value
// that stays would keep the whole 1 MiB.
func (m *Memory) Apply(slot uint64, b *meta.Batch) error {
	for _, r := range b.Ranges {
		var gone []string
		m.m.Ascend(string(r.From), func(k string, _ []byte) bool {
			if k >= string(r.To) {
				return false
			}
			gone = append(gone, k)
			return true
		})
		for _, k := range gone {
			m.m.Delete(k)
		}
	}
	for _, k := range b.Deletes {
		m.m.Delete(string(k))
	}
	for _, kv := range b.Puts {
		m.m.Set(string(kv.Key), bytes.Clone(kv.Value))
	}
	m.slot = slot
	return nil
}
