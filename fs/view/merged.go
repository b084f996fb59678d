package view

import "github.com/hushfs/hushfs/fs/meta"

// merged reads pending over confirmed; neither changes meanwhile.
type merged struct {
	pending   layer
	confirmed *Confirmed
}

var _ meta.Reader = merged{}

func (m merged) Get(key []byte) ([]byte, error) {
	if r, ok := m.pending.get(key); ok {
		if r.deleted() {
			return nil, meta.ErrAbsent
		}
		return r.value(), nil
	}
	return m.confirmed.Get(key)
}

func (m merged) Scan(from, to []byte, fn func(k, v []byte) bool) error {
	return m.pending.over(m.confirmed.Scan, from, to, fn)
}

// over calls fn for each key in [from, to) of this layer above a lower one, which below
// scans, ascending, until fn returns false.
func (l layer) over(below func(from, to []byte, fn func(k, v []byte) bool) error, from, to []byte, fn func(k, v []byte) bool) error {
	it := l.tree.Iter()
	more := it.Seek(put(from, nil, 0))
	stopped := false
	// own calls fn with what the upper layer says of its next key.
	own := func() bool {
		if r := it.Item(); !r.deleted() && !fn(r.parts()) {
			stopped = true
			return false
		}
		more = it.Next()
		return true
	}
	err := below(from, to, func(k, v []byte) bool {
		for more && it.Item().key() < string(k) {
			if !own() {
				return false
			}
		}
		if more && it.Item().key() == string(k) {
			return own()
		}
		stopped = !fn(k, v)
		return !stopped
	})
	if err != nil || stopped {
		return err
	}
	for end := string(to); more && it.Item().key() < end; {
		if !own() {
			break
		}
	}
	return nil
}
