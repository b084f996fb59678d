package view

import "github.com/hushfs/hushfs/fs/meta"

// merged reads pending over confirmed; the view is locked.
type merged struct{ v *View }

var _ meta.Reader = merged{}

func (m merged) Get(key []byte) ([]byte, error) {
	if e, ok := m.v.pending.Get(string(key)); ok {
		if e.deleted {
			return nil, meta.ErrAbsent
		}
		return e.value, nil
	}
	return m.v.confirmed.Get(key)
}

func (m merged) Scan(from, to []byte, fn func(k, v []byte) bool) error {
	it, end := m.v.pending.Iter(), string(to)
	more := it.Seek(string(from))
	stopped := false
	emit := func(k []byte, v []byte) bool {
		stopped = !fn(k, v)
		return !stopped
	}
	// above calls fn for what pending has in front of limit.
	above := func(limit string) bool {
		for more && it.Key() < limit {
			if e := it.Value(); !e.deleted && !emit([]byte(it.Key()), e.value) {
				return false
			}
			more = it.Next()
		}
		return true
	}
	err := m.v.confirmed.Scan(from, to, func(k, v []byte) bool {
		if !above(string(k)) {
			return false
		}
		if more && it.Key() == string(k) {
			e := it.Value()
			more = it.Next()
			return e.deleted || emit(k, e.value)
		}
		return emit(k, v)
	})
	if err != nil || stopped {
		return err
	}
	above(end)
	return nil
}
