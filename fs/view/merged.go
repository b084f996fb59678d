package view

import (
	"github.com/tidwall/btree"

	"github.com/hushfs/hushfs/fs/meta"
)

// merged reads pending over confirmed; neither changes meanwhile.
type merged struct {
	pending   *btree.Map[string, entry]
	confirmed *Confirmed
}

var _ meta.Reader = merged{}

func (m merged) Get(key []byte) ([]byte, error) {
	if e, ok := m.pending.Get(string(key)); ok {
		if e.deleted() {
			return nil, meta.ErrAbsent
		}
		return e.value, nil
	}
	return m.confirmed.Get(key)
}

func (m merged) Scan(from, to []byte, fn func(k, v []byte) bool) error {
	over := overlay[entry]{
		it:  m.pending.Iter(),
		say: func(e entry) (value []byte, deleted bool) { return e.value, e.deleted() },
	}
	return over.scan(m.confirmed.Scan, from, to, fn)
}

// overlay is one layer of a map above another.
type overlay[V any] struct {
	it  btree.MapIter[string, V]
	say func(V) (value []byte, deleted bool)
}

// scan calls fn for each key in [from, to) of the two layers, of which below scans the
// lower, ascending, until fn returns false.
func (o *overlay[V]) scan(below func(from, to []byte, fn func(k, v []byte) bool) error, from, to []byte, fn func(k, v []byte) bool) error {
	more := o.it.Seek(string(from))
	stopped := false
	// own calls fn with what the upper layer says of its next key.
	own := func() bool {
		value, deleted := o.say(o.it.Value())
		if !deleted && !fn([]byte(o.it.Key()), value) {
			stopped = true
			return false
		}
		more = o.it.Next()
		return true
	}
	err := below(from, to, func(k, v []byte) bool {
		for more && o.it.Key() < string(k) {
			if !own() {
				return false
			}
		}
		if more && o.it.Key() == string(k) {
			return own()
		}
		stopped = !fn(k, v)
		return !stopped
	})
	if err != nil || stopped {
		return err
	}
	for end := string(to); more && o.it.Key() < end; {
		if !own() {
			break
		}
	}
	return nil
}
