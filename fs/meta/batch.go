package meta

import "bytes"

const (
	// MaxBatch is the length of the longest batch that DecodeBatch accepts, in
	// bytes.
	MaxBatch = 1 << 20
	// MaxOpBatch is what the batch of a single operation never exceeds.
	MaxOpBatch = 256 << 10
)

// KV is a key and its value.
type KV struct{ Key, Value []byte }

// Batch is a change of the map. Ranges apply first, then Deletes, then Puts.
//
// Puts and Deletes are sorted by key, and no key is in both or twice. Ranges
// are sorted and disjoint, and none contains a key of Deletes. A range covers
// extents of one inode, or all attributes of one inode; nothing else.
// Deleting what is not there is no error.
type Batch struct {
	Puts    []KV
	Deletes [][]byte
	Ranges  []Range
}

// Empty tells whether the batch changes nothing.
func (b *Batch) Empty() bool { return len(b.Puts)+len(b.Deletes)+len(b.Ranges) == 0 }

// Encode returns the encoding of a good batch: the number of ranges and both
// ends of each, the number of deletes and the key of each, the number of puts
// and key and value of each. Numbers are varints and strings byte strings.
func (b *Batch) Encode() []byte {
	dst := make([]byte, 0, b.Size())
	dst = appendUvarint(dst, uint64(len(b.Ranges)))
	for _, r := range b.Ranges {
		dst = appendBytes(appendBytes(dst, r.From), r.To)
	}
	dst = appendUvarint(dst, uint64(len(b.Deletes)))
	for _, k := range b.Deletes {
		dst = appendBytes(dst, k)
	}
	dst = appendUvarint(dst, uint64(len(b.Puts)))
	for _, kv := range b.Puts {
		dst = appendBytes(appendBytes(dst, kv.Key), kv.Value)
	}
	return dst
}

// Size is the length of the encoding, in bytes.
func (b *Batch) Size() int {
	n := uvarintLen(uint64(len(b.Ranges))) + uvarintLen(uint64(len(b.Deletes))) + uvarintLen(uint64(len(b.Puts)))
	for _, r := range b.Ranges {
		n += rangeSize(r)
	}
	for _, k := range b.Deletes {
		n += stringSize(len(k))
	}
	for _, kv := range b.Puts {
		n += stringSize(len(kv.Key)) + stringSize(len(kv.Value))
	}
	return n
}

func stringSize(n int) int { return uvarintLen(uint64(n)) + n }

func rangeSize(r Range) int { return stringSize(len(r.From)) + stringSize(len(r.To)) }

// DecodeBatch reads what Encode wrote and Validate accepts, or answers
// ErrMalformed. The batch aliases b.
func DecodeBatch(b []byte) (*Batch, error) {
	if len(b) > MaxBatch {
		return nil, ErrMalformed
	}
	d := decoder{b: b}
	var out Batch
	if n := d.count(2 * (1 + twoFieldLen)); n > 0 {
		out.Ranges = make([]Range, n)
		for i := range out.Ranges {
			out.Ranges[i] = Range{d.bytes(MaxKey), d.bytes(MaxKey)}
		}
	}
	if n := d.count(1 + 2); n > 0 {
		out.Deletes = make([][]byte, n)
		for i := range out.Deletes {
			out.Deletes[i] = d.bytes(MaxKey)
		}
	}
	if n := d.count(1 + 2 + 1); n > 0 {
		out.Puts = make([]KV, n)
		for i := range out.Puts {
			out.Puts[i] = KV{d.bytes(MaxKey), d.bytes(MaxXattr)}
		}
	}
	if err := d.done(); err != nil {
		return nil, err
	}
	if err := out.Validate(); err != nil {
		return nil, err
	}
	return &out, nil
}

// count is a number of things that take at least size bytes each, so a lie
// about it allocates no more than a few times the input.
func (d *decoder) count(size int) int { return int(d.upTo(uint64(len(d.b) / size))) }

// Extents calls fn for every extent that the batch puts, inside inodes and
// under keys of their own, until fn returns false. The batch is a good one.
func (b *Batch) Extents(fn func(Extent) bool) {
	var n Inode
	var inline [MaxInline]Extent
	for _, kv := range b.Puts {
		switch kv.Key[0] {
		case prefixInode:
			n.Extents = inline[:0]
			if decodeInode(kv.Value, &n) != nil {
				continue
			}
			for _, e := range n.Extents {
				if !fn(e) {
					return
				}
			}
		case prefixExtent:
			_, end, err := ParseExtentKey(kv.Key)
			if err != nil {
				continue
			}
			if e, err := DecodeExtent(end, kv.Value); err == nil && !fn(e) {
				return
			}
		}
	}
}

// Packs calls fn for every pack record that the batch puts, until fn returns
// false. The batch is a good one.
func (b *Batch) Packs(fn func(PackNo, PackRecord) bool) {
	for _, kv := range b.Puts {
		if kv.Key[0] != prefixPack {
			continue
		}
		no, err := ParsePackKey(kv.Key)
		if err != nil {
			continue
		}
		if p, err := DecodePackRecord(kv.Value); err == nil && !fn(no, p) {
			return
		}
	}
}

// InitBatch makes the root directory. It is the batch of slot 1.
func InitBatch(t Time, uid, gid uint32) *Batch {
	root := Inode{
		Kind: Dir, Perm: 0o755, UID: uid, GID: gid, Nlink: 2, Parent: RootRef,
		Atime: t, Mtime: t, Ctime: t, Btime: t,
	}
	return &Batch{Puts: []KV{{InodeKey(RootRef), AppendInode(nil, &root)}}}
}

func compareKV(a, b KV) int { return bytes.Compare(a.Key, b.Key) }

func compareRange(a, b Range) int { return bytes.Compare(a.From, b.From) }
