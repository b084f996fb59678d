package meta

import (
	"bytes"
	"encoding/binary"
)

// Validate tells whether the batch is a good one: what Batch says of its order
// holds, keys and values decode, numbers are in their limits, the root
// directory stays what it is. It answers nil or ErrMalformed.
//
// Whether the batch makes sense on a state is not its question.
func (b *Batch) Validate() error {
	if b.Size() > MaxBatch || !b.validRanges() || !b.validDeletes() || !b.validPuts() {
		return ErrMalformed
	}
	return nil
}

func (b *Batch) validRanges() bool {
	for i, r := range b.Ranges {
		if !validRange(r) || i > 0 && bytes.Compare(b.Ranges[i-1].To, r.From) > 0 {
			return false
		}
	}
	return true
}

// validRange accepts the ranges that some operation needs, and no other: with
// a range over other keys one writer could drop a directory in a few bytes.
func validRange(r Range) bool {
	if len(r.From) != twoFieldLen || len(r.To) != twoFieldLen || !bytes.Equal(r.From[:fieldLen], r.To[:fieldLen]) {
		return false
	}
	first := binary.BigEndian.Uint64(r.From[1:])
	from, to := binary.BigEndian.Uint64(r.From[fieldLen:]), binary.BigEndian.Uint64(r.To[fieldLen:])
	switch r.From[0] {
	case prefixExtent:
		return validNumber(first) && 0 < from && from < to && to <= extentKeysEnd
	case prefixXattr:
		return Ref{Home: Ino(first), Ino: Ino(from)}.valid() && to == from+1
	}
	return false
}

func (b *Batch) validDeletes() bool {
	ranges := b.Ranges
	for i, k := range b.Deletes {
		if checkKey(k) != nil || i > 0 && bytes.Compare(b.Deletes[i-1], k) >= 0 || isRootKey(k) {
			return false
		}
		for len(ranges) > 0 && bytes.Compare(ranges[0].To, k) <= 0 {
			ranges = ranges[1:]
		}
		if len(ranges) > 0 && ranges[0].Contains(k) {
			return false
		}
	}
	return true
}

func (b *Batch) validPuts() bool {
	deletes := b.Deletes
	for i, kv := range b.Puts {
		if i > 0 && bytes.Compare(b.Puts[i-1].Key, kv.Key) >= 0 {
			return false
		}
		for len(deletes) > 0 && bytes.Compare(deletes[0], kv.Key) < 0 {
			deletes = deletes[1:]
		}
		if len(deletes) > 0 && bytes.Equal(deletes[0], kv.Key) || !validPut(kv) {
			return false
		}
	}
	return true
}

func validPut(kv KV) bool {
	if checkKey(kv.Key) != nil {
		return false
	}
	var err error
	switch kv.Key[0] {
	case prefixDirent:
		_, err = DecodeDirent(kv.Value)
	case prefixInode:
		return validInodePut(kv)
	case prefixExtent:
		_, err = DecodeExtent(binary.BigEndian.Uint64(kv.Key[fieldLen:]), kv.Value)
	case prefixXattr:
		return len(kv.Value) <= MaxXattr
	case prefixPack:
		_, err = DecodePackRecord(kv.Value)
	case prefixRetired:
		_, err = DecodeRetired(kv.Value)
	case prefixSnapshot:
		_, err = DecodeSnapshot(kv.Value)
	case prefixConflict:
		_, err = DecodeConflict(kv.Value)
	case prefixProgram:
		_, err = DecodeProgram(kv.Value)
	case prefixLease:
		_, err = DecodeLeaseEntry(kv.Value)
	case prefixLock:
		_, err = DecodeLock(kv.Value)
	}
	return err == nil
}

func validInodePut(kv KV) bool {
	var inline [MaxInline]Extent
	n := Inode{Extents: inline[:0]}
	if decodeInode(kv.Value, &n) != nil || n.Nlink == 0 {
		return false
	}
	if isRootKey(kv.Key) {
		return n.Kind == Dir && n.Parent == RootRef
	}
	return n.Kind != Dir || n.Parent.Ino != Ino(binary.BigEndian.Uint64(kv.Key[fieldLen:]))
}

// isRootKey tells the root directory's inode key from other good keys.
func isRootKey(k []byte) bool {
	return k[0] == prefixInode && binary.BigEndian.Uint64(k[fieldLen:]) == uint64(Root)
}
