package table

import (
	"bytes"
	"encoding/binary"
	"sort"
)

// A block is a row of entries, in plain:
//
//	shared varint ‖ rest varint ‖ mark varint ‖ rest of the key ‖ value
//
// shared is the number of bytes that the key has in common with the key before;
// in the first of every 16 entries it is 0, so that a search can begin there.
// mark is 0 for a tombstone, else the length of the value and 1.
const (
	blockSize = 32 << 10 // bytes in plain of a block, unless it has one entry only
	restart   = 16       // entries from one whole key to the next
	minEntry  = 4        // bytes of the shortest entry
	maxEntry  = 1 + 2 + 3 + MaxKey + MaxValue
)

// block is a block that was checked, so that reading it again cannot fail.
type block struct {
	plain  []byte
	starts []uint32 // where every 16th entry begins
}

// appendEntry appends the entry number i of a block to dst. A tombstone has no
// value.
func appendEntry(dst, before []byte, i int, e Entry) []byte {
	shared := 0
	if i%restart != 0 {
		shared = common(before, e.Key)
	}
	mark := uint64(0)
	if !e.Dead {
		mark = uint64(len(e.Value)) + 1
	}
	dst = binary.AppendUvarint(dst, uint64(shared))
	dst = binary.AppendUvarint(dst, uint64(len(e.Key)-shared))
	dst = binary.AppendUvarint(dst, mark)
	dst = append(dst, e.Key[shared:]...)
	return append(dst, e.Value...)
}

// decodeBlock checks that plain is a block of that many entries, with keys that
// begin at low, a prefix of the first, and end below high; a high of nil is none.
// It answers false for anything else. The block aliases plain.
func decodeBlock(plain []byte, entries int, low, high []byte) (*block, bool) {
	if entries < 1 || len(plain) < entries*minEntry || len(plain) > maxEntry || len(plain) > blockSize && entries > 1 {
		return nil, false
	}
	b := &block{plain: plain, starts: make([]uint32, 0, (entries+restart-1)/restart)}
	var array [MaxKey]byte
	d, key := decoder{b: plain}, array[:0]
	for i := range entries {
		if i%restart == 0 {
			b.starts = append(b.starts, uint32(len(plain)-len(d.b)))
		}
		shared := d.uvarint()
		rest := d.uvarint()
		mark := d.between(0, MaxValue+1)
		if d.bad || shared > uint64(len(key)) || rest == 0 || rest > MaxKey-shared || i%restart == 0 && shared != 0 {
			return nil, false
		}
		suffix := d.take(rest)
		if mark > 0 {
			d.take(mark - 1)
		}
		if d.bad {
			return nil, false
		}
		switch {
		case i == 0:
			if !bytes.HasPrefix(suffix, low) {
				return nil, false
			}
		case i%restart == 0:
			if bytes.Compare(suffix, key) <= 0 {
				return nil, false
			}
		case shared < uint64(len(key)) && suffix[0] <= key[shared]:
			return nil, false // not above the key before, or shares more with it than it says
		}
		key = append(key[:shared], suffix...)
	}
	if d.bad || len(d.b) != 0 || high != nil && bytes.Compare(key, high) >= 0 {
		return nil, false
	}
	return b, true
}

// size is what the block takes in memory, in bytes.
func (b *block) size() int64 { return int64(cap(b.plain) + 4*cap(b.starts) + 96) }

// get looks a key up. The value aliases the block.
func (b *block) get(key []byte) (value []byte, dead, ok bool) {
	it := blockIter{b: b, off: int(b.starts[b.startOf(key)])}
	for matched := 0; it.off < len(b.plain); { // the entry before is below key, and has its first matched bytes
		shared := it.number()
		rest := it.number()
		mark := it.number()
		suffix := b.plain[it.off : it.off+rest]
		it.off += rest
		switch {
		case shared < matched:
			return nil, false, false // differs from key where the one before did not: above it
		case shared == matched:
			n := common(suffix, key[matched:])
			matched += n
			switch {
			case n == len(suffix) && matched == len(key):
				if mark == 0 {
					return nil, true, true
				}
				return b.plain[it.off : it.off+mark-1 : it.off+mark-1], false, true
			case matched == len(key) || n < len(suffix) && suffix[n] > key[matched]:
				return nil, false, false
			}
		}
		it.off += max(mark-1, 0)
	}
	return nil, false, false
}

// startOf is the number of the last start whose key is not above key, or 0.
func (b *block) startOf(key []byte) int {
	i := sort.Search(len(b.starts), func(i int) bool { return bytes.Compare(b.whole(i), key) > 0 })
	return max(i-1, 0)
}

// blockIter goes through a block. While ok it stands on an entry.
type blockIter struct {
	b     *block
	off   int // of the next entry
	n     int // its number
	key   []byte
	value []byte // aliases the block
	dead  bool
	ok    bool
}

// first goes to the first entry of b. The buffer of the key is used again.
func (it *blockIter) first(b *block) {
	it.b, it.off, it.n = b, 0, 0
	it.next()
}

// next goes to the next entry, if there is one.
func (it *blockIter) next() {
	plain := it.b.plain
	if it.off >= len(plain) {
		it.ok, it.value = false, nil
		return
	}
	shared := it.number()
	rest := it.number()
	mark := it.number()
	it.key = append(it.key[:shared], plain[it.off:it.off+rest]...)
	it.off += rest
	it.value, it.dead = nil, mark == 0
	if mark > 0 {
		it.value = plain[it.off : it.off+mark-1 : it.off+mark-1]
		it.off += mark - 1
	}
	it.n++
	it.ok = true
}

// number reads a varint of a block that was checked.
func (it *blockIter) number() int {
	if c := it.b.plain[it.off]; c < 0x80 {
		it.off++
		return int(c)
	}
	v, n := binary.Uvarint(it.b.plain[it.off:])
	it.off += n
	return int(v)
}

// seek goes to the first entry that is not below key.
func (it *blockIter) seek(key []byte) {
	at := it.b.startOf(key)
	it.off, it.n = int(it.b.starts[at]), at*restart
	for it.next(); it.ok && bytes.Compare(it.key, key) < 0; it.next() {
	}
}

// whole is the key of the entry at the start number i.
func (b *block) whole(i int) []byte {
	it := blockIter{b: b, off: int(b.starts[i])}
	it.number()
	n := it.number()
	it.number()
	return b.plain[it.off : it.off+n]
}

// last is the highest key of the block.
func (b *block) last() []byte {
	it := blockIter{b: b, off: int(b.starts[len(b.starts)-1])}
	for it.next(); it.off < len(b.plain); it.next() {
	}
	return it.key
}
