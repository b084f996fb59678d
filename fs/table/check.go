package table

import (
	"bytes"
	"context"
	"sync"

	"github.com/hushfs/hushfs/crypt"
)

// Check reads the whole content of a table and answers ErrDamaged, or
// ErrVersion, unless it is what a builder made of entries, and t says so of it.
// Lookups check less: not the padding, nor that the filters say what they must.
func Check(t Table, content []byte) error {
	if int64(len(content)) != t.Length || crypt.Padme(t.Length) != t.Length {
		return t.damaged("its length")
	}
	var wg sync.WaitGroup // nothing is fetched
	s := stream{ctx: context.Background(), src: whole(content), table: &t, expander: newExpander(), wg: &wg}
	if err := s.begin(); err != nil {
		return err
	}
	start := t.Length - int64(t.Index)
	for _, c := range content[s.x.footer.data:start] {
		if c != 0 {
			return t.damaged("its padding")
		}
	}
	filters := content[start : start+int64(s.x.footer.filter)]
	b := builder{key: nil}
	var low []byte // what the key of the block must be
	for s.it.ok {
		if b.entries == 0 {
			low = append(low[:0], s.it.key...)
			if s.block > 1 {
				low = low[:common(b.key, s.it.key)+1]
			}
		}
		b.addHashes(s.it.key)
		b.key = append(b.key[:0], s.it.key...)
		if b.entries++; s.it.n == int(s.x.blocks[s.block-1].entries) {
			f := appendFilter(nil, b.hashes)
			if at := s.x.blocks[s.block-1]; int(at.heads) != b.heads || !bytes.HasPrefix(filters, f) {
				return t.damaged("its filters")
			}
			if !bytes.Equal(low, s.x.key(s.block-1)) {
				return t.damaged("its index is not the shortest")
			}
			filters = filters[len(f):]
			b.hashes, b.entries, b.heads = b.hashes[:0], 0, 0
		}
		if err := s.next(); err != nil {
			return err
		}
	}
	return nil
}

// whole is a source that has one table.
type whole []byte

func (w whole) Near(_ Table, off int64, dst []byte) error {
	copy(dst, w[off:])
	return nil
}

func (w whole) Fetch(context.Context, Table, int64, int64) error { return nil }
