package meta

import (
	"bytes"
	"slices"
)

// stacked is a state with one small batch applied to it.
type stacked struct {
	below Reader
	b     *Batch
}

func newStacked(below Reader, b *Batch) Reader { return &stacked{below, b} }

func (s *stacked) put(key []byte) (int, bool) {
	return slices.BinarySearchFunc(s.b.Puts, key, func(kv KV, key []byte) int { return bytes.Compare(kv.Key, key) })
}

// deleted tells whether the batch deletes what is below of a key.
func (s *stacked) deleted(key []byte) bool {
	if _, ok := slices.BinarySearchFunc(s.b.Deletes, key, bytes.Compare); ok {
		return true
	}
	return slices.ContainsFunc(s.b.Ranges, func(r Range) bool { return r.Contains(key) })
}

func (s *stacked) Get(key []byte) ([]byte, error) {
	if i, ok := s.put(key); ok {
		return s.b.Puts[i].Value, nil
	}
	if s.deleted(key) {
		return nil, ErrAbsent
	}
	return s.below.Get(key)
}

func (s *stacked) Scan(from, to []byte, fn func(k, v []byte) bool) error {
	i, _ := s.put(from)
	stopped := false
	// own calls fn for the puts below end.
	own := func(end []byte) bool {
		for ; i < len(s.b.Puts) && bytes.Compare(s.b.Puts[i].Key, end) < 0; i++ {
			if !fn(s.b.Puts[i].Key, s.b.Puts[i].Value) {
				stopped = true
				return false
			}
		}
		return true
	}
	err := s.below.Scan(from, to, func(k, v []byte) bool {
		if !own(k) {
			return false
		}
		if i < len(s.b.Puts) && bytes.Equal(s.b.Puts[i].Key, k) || s.deleted(k) {
			return true // the batch says otherwise
		}
		stopped = !fn(k, v)
		return !stopped
	})
	if err == nil && !stopped {
		own(to)
	}
	return err
}
