package block

import (
	lru "github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/hushfs/hushfs/crypt"
)

// opener opens segments of one object whose tail was checked.
type opener struct {
	o Object
	*crypt.Opener
}

// unlock checks a tail, which ends where b ends, against what metadata says.
func (r *Reader) unlock(o Object, b []byte) (*opener, error) {
	tail, err := crypt.ParseTail(b)
	if err != nil {
		return nil, err
	}
	if tail.Name() != o.Name || tail.Epoch() != o.Epoch || tail.Segments() != o.segments() {
		return nil, crypt.ErrForged
	}
	err = ErrKey
	for _, k := range r.keys(o.Epoch) {
		var op *crypt.Opener
		if op, err = tail.Unlock(k, r.o.Volume, o.Type); err == nil {
			return &opener{o, op}, nil
		}
	}
	return nil, err
}

// keys are those that an object of an epoch may be sealed under, the likeliest first.
func (r *Reader) keys(e crypt.Epoch) []*crypt.Key {
	if k, ok := r.o.Key(e); ok {
		return append([]*crypt.Key{k}, r.o.Lost(e)...)
	}
	return r.o.Lost(e)
}

// open appends the plaintext of one segment to dst. What lies behind the
// object's true length must be zeros.
func (op *opener) open(dst []byte, index int, sealed []byte) ([]byte, error) {
	if _, n := crypt.SegmentRange(op.o.Length, index); int64(len(sealed)) != n {
		return nil, crypt.ErrForged
	}
	plain, err := op.Segment(dst, index, sealed)
	if err != nil {
		return nil, err
	}
	for _, c := range plain[min(len(plain), len(dst)+max(0, op.o.plain(index))):] {
		if c != 0 {
			return nil, crypt.ErrForged
		}
	}
	return plain, nil
}

// openers keeps those that were used last.
type openers struct {
	limit int64 // bytes
	sum   int64
	lru   *lru.LRU[Object, *opener]
}

// openerSize is about what an opener takes besides its hashes.
const openerSize = 2 << 10

func newOpeners(limit int64) openers {
	// Its own limit is in pieces and never reached; it fails for sizes below 1 only.
	l, _ := lru.NewLRU[Object, *opener](int(limit/openerSize)+2, nil)
	return openers{limit: limit, lru: l}
}

func (op *opener) size() int64 { return openerSize + crypt.TailSize(op.o.Length) }

// add keeps op, and at least this one.
func (s *openers) add(op *opener) {
	if old, ok := s.lru.Peek(op.o); ok {
		s.sum -= old.size()
	}
	s.lru.Add(op.o, op)
	s.sum += op.size()
	for s.sum > s.limit && s.lru.Len() > 1 {
		_, old, _ := s.lru.RemoveOldest()
		s.sum -= old.size()
	}
}

// opener returns that of o, if it is in memory.
func (r *Reader) opener(o Object) *opener {
	r.mu.Lock()
	defer r.mu.Unlock()
	op, _ := r.openers.lru.Get(o)
	return op
}

func (r *Reader) keepOpener(op *opener) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.openers.add(op)
}

// forget drops the opener of o. What is fetched in the place of bytes that were
// bad comes with its tail then, which may have gone with them.
func (r *Reader) forget(o Object) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if op, ok := r.openers.lru.Peek(o); ok {
		r.openers.lru.Remove(o)
		r.openers.sum -= op.size()
	}
}
