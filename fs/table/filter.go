package table

import (
	"crypto/sha256"
	"encoding/binary"
)

// Each block has a Bloom filter of its own over its keys and over their heads:
// the first 9 bytes of a key that is longer, which all names of a directory,
// all inodes made in it and all extents of a file have in common. So a scan of
// one of those passes by the blocks between whose keys it would fall.
//
// With n keys and heads the filter has ⌈10n / 8⌉ bytes; m is the number of its
// bits. Of the SHA-256 of a key the first seven u32 h give the positions
// ⌊h × m / 2^32⌋; bit p is the bit 1 << (p mod 8) of byte p div 8.
const (
	filterBits = 10
	filterRows = 7
	headSize   = 9
)

// hash is what of a key's SHA-256 goes into filters.
type hash [filterRows]uint32

func hashOf(key []byte) (h hash) {
	sum := sha256.Sum256(key)
	for i := range h {
		h[i] = binary.BigEndian.Uint32(sum[4*i:])
	}
	return h
}

// filterSize is the length of the filter of n keys and heads, in bytes.
func filterSize(n int) int { return (filterBits*n + 7) / 8 }

// appendFilter appends the filter of the hashes.
func appendFilter(dst []byte, hashes []hash) []byte {
	was := len(dst)
	dst = append(dst, make([]byte, filterSize(len(hashes)))...)
	f := dst[was:]
	m := uint64(len(f)) * 8
	for i := range hashes {
		for _, h := range hashes[i] {
			p := uint64(h) * m >> 32
			f[p/8] |= 1 << (p % 8)
		}
	}
	return dst
}

// mayHold tells whether the key may be one of the filter's.
func (h *hash) mayHold(f []byte) bool {
	m := uint64(len(f)) * 8
	for _, h := range h {
		p := uint64(h) * m >> 32
		if f[p/8]&(1<<(p%8)) == 0 {
			return false
		}
	}
	return true
}

// headOf returns the head that all keys in [from, to) have in common, or nil.
func headOf(from, to []byte) []byte {
	if len(from) < headSize || len(to) < headSize {
		return nil
	}
	head, end := from[:headSize], to[:headSize]
	switch n := binary.BigEndian.Uint64(head[1:]) + 1; {
	case string(head) == string(end):
		return head
	case len(to) == headSize && head[0] == end[0] && n != 0 && n == binary.BigEndian.Uint64(end[1:]):
		return head // to is the next head, and not in the range
	}
	return nil
}
