package table

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sort"

	"github.com/hushfs/hushfs/crypt"
)

// The content of a table is blocks, zeros up to the Padmé length, the filters
// of the blocks, the index, the footer. The index has for each block
//
//	shared varint ‖ rest string      its key, as the difference to the one before
//	stored varint ‖ plain varint     bytes as it is stored, and expanded
//	entries varint ‖ heads varint    of which there are that many different
//
// The key of the first block is the table's first; of another the shortest
// prefix of its first key that is above the last key of the block before.
//
// The footer: 48 bytes.
//
//	 0   4  "HTAB"
//	 4   4  version u8: 0, then 00 00 00
//	 8   4  number of blocks u32
//	12   4  bytes of the index u32
//	16   4  bytes of the filters u32
//	20   4  bytes of the blocks, without the zeros, u32
//	24   8  entries u64
//	32   8  tombstones u64
//	40   8  bytes of keys and values u64
const (
	magic      = "HTAB"
	version    = 0
	footerSize = 48
)

type footer struct {
	blocks, index, filter, data uint32
	entries, dead, plain        uint64
}

func (f *footer) append(dst []byte) []byte {
	dst = append(dst, magic...)
	dst = append(dst, version, 0, 0, 0)
	for _, v := range []uint32{f.blocks, f.index, f.filter, f.data} {
		dst = binary.BigEndian.AppendUint32(dst, v)
	}
	for _, v := range []uint64{f.entries, f.dead, f.plain} {
		dst = binary.BigEndian.AppendUint64(dst, v)
	}
	return dst
}

// parseFooter reads 48 bytes. It answers ErrVersion for a higher version and
// ErrDamaged for what no table has.
func parseFooter(b []byte) (f footer, err error) {
	if len(b) != footerSize || string(b[:4]) != magic {
		return f, ErrDamaged
	}
	if b[4] > version {
		return f, ErrVersion
	}
	for i, p := range []*uint32{&f.blocks, &f.index, &f.filter, &f.data} {
		*p = binary.BigEndian.Uint32(b[8+4*i:])
	}
	for i, p := range []*uint64{&f.entries, &f.dead, &f.plain} {
		*p = binary.BigEndian.Uint64(b[24+8*i:])
	}
	switch {
	case b[5]|b[6]|b[7] != 0,
		f.blocks == 0 || f.blocks > MaxBlocks,
		uint64(f.index)+uint64(f.filter)+footerSize > MaxIndex,
		f.data < f.blocks || f.data > maxLength,
		f.entries < uint64(f.blocks) || f.entries > maxEntries,
		f.dead > f.entries,
		f.plain < f.entries || f.plain > maxPlain:
		return footer{}, ErrDamaged
	}
	return f, nil
}

// index is a table's index, checked. It is immutable.
type index struct {
	table  Table // which it was checked against
	footer footer
	blocks []blockAt
	keys   []byte // of the blocks, one behind the other
}

// blockAt says where a block is and what is in it.
type blockAt struct {
	key           uint32 // end of its key in keys
	off           uint32 // in the content
	stored, plain uint32
	entries       uint32
	heads         uint32
	filter        uint32 // offset of its filter among the filters
}

// parseIndex reads the index that the footer speaks of; ErrDamaged if it is not
// one.
func parseIndex(b []byte, f footer) (*index, error) {
	if len(b) != int(f.index) || uint64(f.blocks)*minIndexed > uint64(len(b)) {
		return nil, ErrDamaged
	}
	x := &index{footer: f, blocks: make([]blockAt, 0, f.blocks)}
	d := decoder{b: b}
	var off, filter, entries uint64
	for range f.blocks {
		before := x.key(len(x.blocks) - 1)
		was := len(x.keys)
		x.keys = d.key(x.keys, before)
		key := x.keys[was:]
		d.must(bytes.Compare(key, before) > 0)
		stored := d.between(1, maxEntry)
		plain := d.between(stored, maxEntry)
		n := d.between(1, plain/minEntry)
		heads := d.between(0, n)
		if d.bad || plain > blockSize && n > 1 {
			return nil, ErrDamaged
		}
		x.blocks = append(x.blocks, blockAt{
			key: uint32(len(x.keys)), off: uint32(off), stored: uint32(stored), plain: uint32(plain),
			entries: uint32(n), heads: uint32(heads), filter: uint32(filter),
		})
		off += stored
		filter += uint64(filterSize(int(n + heads)))
		entries += n
	}
	if len(d.b) != 0 || off != uint64(f.data) || filter != uint64(f.filter) || entries != f.entries {
		return nil, ErrDamaged
	}
	return x, nil
}

// minIndexed is the length of the shortest entry of an index.
const minIndexed = 7

func appendIndexed(dst, before, key []byte, at blockAt) []byte {
	dst = appendKey(dst, before, key)
	for _, v := range []uint32{at.stored, at.plain, at.entries, at.heads} {
		dst = binary.AppendUvarint(dst, uint64(v))
	}
	return dst
}

// matches tells whether the list of tables says of the table what its content
// does.
func (x *index) matches(t *Table) bool {
	f := &x.footer
	end := int64(f.filter) + int64(f.index) + footerSize
	return int64(t.Index) == end && t.Length == crypt.Padme(int64(f.data)+end) &&
		t.Entries == f.entries && t.Dead == f.dead && t.Plain == f.plain && bytes.Equal(t.First, x.key(0))
}

// readIndex reads footer and index of a table by near.
func readIndex(t *Table, near func(off int64, dst []byte) error) (*index, error) {
	if t.Length < int64(t.Index) || t.Index < footerSize || t.Index > MaxIndex {
		return nil, t.damaged("its lengths cannot be")
	}
	// Most indexes are short: one read brings footer and index.
	end := make([]byte, min(int64(t.Index), 16<<10))
	if err := near(t.Length-int64(len(end)), end); err != nil {
		return nil, err
	}
	f, err := parseFooter(end[len(end)-footerSize:])
	if errors.Is(err, ErrVersion) {
		return nil, fmt.Errorf("%w: object %s", err, t.Name)
	}
	if err != nil {
		return nil, t.damaged("its footer")
	}
	if int64(f.index)+int64(f.filter)+footerSize != int64(t.Index) {
		return nil, t.damaged("its footer is of another length")
	}
	b := end[:len(end)-footerSize]
	if int(f.index) > len(b) {
		b = make([]byte, f.index)
		if err := near(t.Length-footerSize-int64(f.index), b); err != nil {
			return nil, err
		}
	}
	x, err := parseIndex(b[len(b)-int(f.index):], f)
	if err != nil {
		return nil, t.damaged("its index")
	}
	if !x.matches(t) {
		return nil, t.damaged("it is not what the list of tables says")
	}
	x.table = *t
	return x, nil
}

// key is the key of a block, nil before the first and after the last.
func (x *index) key(i int) []byte {
	if i < 0 || i >= len(x.blocks) {
		return nil
	}
	from := uint32(0)
	if i > 0 {
		from = x.blocks[i-1].key
	}
	return x.keys[from:x.blocks[i].key:x.blocks[i].key]
}

// find is the last block whose key is not above key, or 0: the only one that
// may hold it.
func (x *index) find(key []byte) int {
	i := sort.Search(len(x.blocks), func(i int) bool { return bytes.Compare(x.key(i), key) > 0 })
	return max(i-1, 0)
}

// below is the last block that may hold keys below the key, or 0.
func (x *index) below(key []byte) int {
	i := sort.Search(len(x.blocks), func(i int) bool { return bytes.Compare(x.key(i), key) >= 0 })
	return max(i-1, 0)
}

// span is where the blocks from i to j lie in the content.
func (x *index) span(i, j int) (off, n int64) {
	from, to := &x.blocks[i], &x.blocks[j]
	return int64(from.off), int64(to.off) + int64(to.stored) - int64(from.off)
}

// filters is where the filters of the blocks from i to below j lie in the
// content.
func (x *index) filters(i, j int) (off, n int64) {
	end := int64(x.footer.filter)
	if j < len(x.blocks) {
		end = int64(x.blocks[j].filter)
	}
	start := x.table.Length - int64(x.table.Index)
	return start + int64(x.blocks[i].filter), end - int64(x.blocks[i].filter)
}

// open makes block i of what is stored of it.
func (x *index) open(i int, plain []byte) (*block, error) {
	high := x.key(i + 1)
	b, ok := decodeBlock(plain, int(x.blocks[i].entries), x.key(i), high)
	if ok && i == 0 {
		ok = bytes.Equal(b.whole(0), x.table.First)
	}
	if ok && high == nil {
		ok = bytes.Equal(b.last(), x.table.Last)
	}
	if !ok {
		return nil, x.table.damaged(fmt.Sprintf("block %d", i))
	}
	return b, nil
}

// size is what the index takes in memory, in bytes.
func (x *index) size() int64 {
	return int64(len(x.table.First) + len(x.table.Last) + cap(x.keys) + 28*cap(x.blocks) + 256)
}
