package view

import (
	"encoding/binary"
	"strings"

	"github.com/tidwall/btree"

	"github.com/hushfs/hushfs/fs/meta"
)

// layer is a sorted map of what was said last of each key: that it has a value, or that
// it is not there, and by whom. A view may hold a million of them, and for a while twice.
type layer struct {
	tree *btree.BTreeG[record]
}

// record is what a layer says of one key, in one piece of memory: 8 bytes of the number
// of the operation or slot that said it, 2 bytes of the length of the key with the flags,
// the key, with filledBit 8 bytes of another number, the value.
type record string

const (
	recordHead = 8 + 2
	filledLen  = 8

	// No key is so long.
	deletedBit = 1 << 15 // it is not there
	filledBit  = 1 << 14 // of an inode: an operation gave it content
	keyBits    = filledBit - 1
)

func newLayer() layer {
	less := func(a, b record) bool { return a.key() < b.key() }
	return layer{btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})}
}

// put is the record of a value, gone that of its absence.
func put(key, value []byte, no uint64) record { return makeRecord(key, value, no, 0, 0) }
func gone(key []byte, no uint64) record       { return makeRecord(key, nil, no, 0, deletedBit) }

func makeRecord[B []byte | string](key, value B, no, filled uint64, flags uint16) record {
	size := recordHead + len(key) + len(value)
	if filled > 0 {
		flags |= filledBit
		size += filledLen
	}
	var s strings.Builder
	s.Grow(size)
	var head [recordHead]byte
	binary.BigEndian.PutUint64(head[:], no)
	binary.BigEndian.PutUint16(head[8:], uint16(len(key))|flags)
	s.Write(head[:])
	s.WriteString(string(key))
	if filled > 0 {
		binary.BigEndian.PutUint64(head[:], filled)
		s.Write(head[:filledLen])
	}
	s.WriteString(string(value))
	return record(s.String())
}

func (r record) flags() uint16 { return uint16(r[8])<<8 | uint16(r[9]) }
func (r record) deleted() bool { return r.flags()&deletedBit != 0 }

// no is the number of the operation or slot that said it.
func (r record) no() uint64 { return number(r[:8]) }

// filled is the number of the newest operation that gave an inode content; 0: none.
func (r record) filled() uint64 {
	if r.flags()&filledBit == 0 {
		return 0
	}
	return number(r[r.keyEnd():][:filledLen])
}

func number(r record) uint64 { return binary.BigEndian.Uint64([]byte(r)) }

// with is the record with another number of that operation.
func (r record) with(filled uint64) record {
	return makeRecord(r.key(), string(r[r.valueAt():]), r.no(), filled, r.flags()&deletedBit)
}

// keyEnd and valueAt are where the key ends and the value begins.
func (r record) keyEnd() int { return recordHead + int(r.flags()&keyBits) }

func (r record) valueAt() int {
	if r.flags()&filledBit != 0 {
		return r.keyEnd() + filledLen
	}
	return r.keyEnd()
}

// key is a part of the record, which it keeps in memory.
func (r record) key() string { return string(r[recordHead:r.keyEnd()]) }

// value is a copy.
func (r record) value() []byte { return []byte(r[r.valueAt():]) }

// parts are copies of the key and of the value.
func (r record) parts() (key, value []byte) {
	b, n := []byte(r), r.keyEnd()
	return b[recordHead:n:n], b[r.valueAt():]
}

// bytes is the length of key and value.
func (r record) bytes() int { return len(r) - r.valueAt() + r.keyEnd() - recordHead }

// sameAs says that the same is said of the key, which is the same.
func (r record) sameAs(o record) bool {
	return r == o || r.deleted() == o.deleted() && r[r.valueAt():] == o[o.valueAt():]
}

// get returns what is said of a key; false: nothing.
func (l layer) get(key []byte) (record, bool) {
	if l.len() == 0 || len(key) > meta.MaxKey {
		return "", false // mostly nothing waits, and no key is so long
	}
	return l.tree.Get(put(key, nil, 0))
}

// like returns what is said of the key of r.
func (l layer) like(r record) (record, bool) { return l.tree.Get(r) }

func (l layer) set(r record) { l.tree.Set(r) }

// forget says nothing of the key of r any more.
func (l layer) forget(r record) { l.tree.Delete(r) }

func (l layer) len() int { return l.tree.Len() }

// copy returns a layer that can be changed on its own. The two share what neither
// changes. Nobody may read l meanwhile.
func (l layer) copy() layer { return layer{l.tree.Copy()} }

// scan calls fn for each key, ascending, until it returns false.
func (l layer) scan(fn func(r record) bool) { l.tree.Scan(fn) }

// each calls fn for each key in a range, ascending.
func (l layer) each(in meta.Range, fn func(r record)) {
	end := string(in.To)
	l.tree.Ascend(put(in.From, nil, 0), func(r record) bool {
		if r.key() >= end {
			return false
		}
		fn(r)
		return true
	})
}

// in lists what is said of the keys in a range.
func (l layer) in(keys meta.Range) (in []record) {
	l.each(keys, func(r record) { in = append(in, r) })
	return in
}
