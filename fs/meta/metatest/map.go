// Package metatest has a small sorted map that stands for a volume's metadata
// in tests.
package metatest

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/tidwall/btree"

	"github.com/hushfs/hushfs/fs/meta"
)

// Map is a state of the metadata in memory, all of it known. The zero value is
// empty and usable. Reads are safe for concurrent use, Apply is not.
type Map struct {
	m       btree.Map[string, []byte]
	unknown []meta.Range
}

var _ meta.Reader = (*Map)(nil)

// Forget makes the map answer meta.ErrUnknown for the keys of a range, as long
// as Forget(meta.Range{}) does not end that.
func (m *Map) Forget(r meta.Range) {
	if r.From == nil && r.To == nil {
		m.unknown = nil
		return
	}
	m.unknown = append(m.unknown, r)
}

// Get returns the value of a key or meta.ErrAbsent.
func (m *Map) Get(key []byte) ([]byte, error) {
	if m.forgotten(key) {
		return nil, meta.ErrUnknown
	}
	v, ok := m.m.Get(string(key))
	if !ok {
		return nil, meta.ErrAbsent
	}
	return v, nil
}

// Scan calls fn for the keys in [from, to) in ascending order.
func (m *Map) Scan(from, to []byte, fn func(k, v []byte) bool) error {
	stopped := false
	m.m.Ascend(string(from), func(k string, v []byte) bool {
		if k >= string(to) {
			return false
		}
		if m.hides(from, append([]byte(k), 0)) {
			return false
		}
		stopped = !fn([]byte(k), v)
		return !stopped
	})
	if !stopped && m.hides(from, to) {
		return meta.ErrUnknown
	}
	return nil
}

// hides tells whether a part of [from, to) was forgotten.
func (m *Map) hides(from, to []byte) bool {
	for _, r := range m.unknown {
		if bytes.Compare(r.From, to) < 0 && bytes.Compare(from, r.To) < 0 {
			return true
		}
	}
	return false
}

func (m *Map) forgotten(key []byte) bool {
	for _, r := range m.unknown {
		if r.Contains(key) {
			return true
		}
	}
	return false
}

// Apply applies a batch.
func (m *Map) Apply(b *meta.Batch) {
	for _, r := range b.Ranges {
		var inside []string
		m.m.Ascend(string(r.From), func(k string, _ []byte) bool {
			if k >= string(r.To) {
				return false
			}
			inside = append(inside, k)
			return true
		})
		for _, k := range inside {
			m.m.Delete(k)
		}
	}
	for _, k := range b.Deletes {
		m.m.Delete(string(k))
	}
	for _, kv := range b.Puts {
		m.m.Set(string(kv.Key), bytes.Clone(kv.Value))
	}
}

// Clone returns a copy that changes on its own.
func (m *Map) Clone() *Map { return &Map{m: *m.m.Copy(), unknown: m.unknown} }

// Len is the number of keys.
func (m *Map) Len() int { return m.m.Len() }

// Dump returns a line for each key, sorted: prefix, rest and value in hex.
func (m *Map) Dump() string {
	var out strings.Builder
	m.m.Scan(func(k string, v []byte) bool {
		fmt.Fprintf(&out, "%c %x = %x\n", k[0], k[1:], v)
		return true
	})
	return out.String()
}
