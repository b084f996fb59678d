package crashwork

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// blockSize is that of a page: what the kernel hands over is never part of one.
const blockSize = 4096

// Val is what a block holds: the first Len bytes of a version of a block of some
// file, then zeros. The zero Val is a block of zeros.
type Val struct {
	File  uint64 `json:"f,omitempty"`
	Block int    `json:"b,omitempty"`
	Ver   uint32 `json:"v,omitempty"`
	Len   int    `json:"l,omitempty"`
	Raw   []byte `json:"r,omitempty"` // of a page that a crash left half written, instead of the above
}

const header = 32 // magic, file, block, version, checksum of all but itself

// block is the one content that there can be for these numbers.
func block(file uint64, index int, ver uint32) []byte {
	b := make([]byte, blockSize)
	copy(b, "CRSHWRK0")
	binary.LittleEndian.PutUint64(b[8:], file)
	binary.LittleEndian.PutUint32(b[16:], uint32(index))
	binary.LittleEndian.PutUint32(b[20:], ver)
	x := (file*0x9e3779b97f4a7c15 ^ uint64(index)*0xc2b2ae3d27d4eb4f ^ uint64(ver)*0x165667b19e3779f9) | 1
	for i := header; i < blockSize; i += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		binary.LittleEndian.PutUint64(b[i:], x)
	}
	binary.LittleEndian.PutUint32(b[24:], crc32.ChecksumIEEE(b[:24]))
	binary.LittleEndian.PutUint32(b[28:], crc32.ChecksumIEEE(b[header:]))
	return b
}

// bytes are those of the whole block.
func (v Val) bytes() []byte {
	b := make([]byte, blockSize)
	if v.Raw != nil {
		copy(b, v.Raw)
	} else if v.Len > 0 {
		copy(b, block(v.File, v.Block, v.Ver)[:v.Len])
	}
	return b
}

// cut is the block once everything from byte n on is gone.
func (v Val) cut(n int) Val {
	switch {
	case n <= 0:
		return Val{}
	case v.Raw != nil:
		v.Raw = v.bytes()[:n]
	default:
		v.Len = min(v.Len, n)
	}
	if v.Len == 0 && v.Raw == nil {
		return Val{}
	}
	return v
}

// is says whether a block that was read, perhaps up to the end of the file, is v.
func (v Val) is(b []byte) bool {
	// Most are told apart by their first bytes.
	if v.Raw == nil && v.Len >= header && len(b) >= header && binary.LittleEndian.Uint32(b[20:]) != v.Ver {
		return false
	}
	return bytes.Equal(v.bytes()[:len(b)], b)
}

// describe tells what a block says that it is.
func describe(b []byte) string {
	switch {
	case len(bytes.TrimLeft(b, "\x00")) == 0:
		return fmt.Sprintf("%d zeros", len(b))
	case len(b) < header || string(b[:8]) != "CRSHWRK0" || binary.LittleEndian.Uint32(b[24:]) != crc32.ChecksumIEEE(b[:24]):
		return fmt.Sprintf("%d bytes that begin no block: %.16x", len(b), b)
	}
	s := fmt.Sprintf("file %d block %d version %d", binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint32(b[16:]), binary.LittleEndian.Uint32(b[20:]))
	if binary.LittleEndian.Uint32(b[28:]) != crc32.ChecksumIEEE(b[header:]) {
		s += ", not whole"
	}
	return s
}

func (v Val) String() string {
	switch {
	case v.Raw != nil:
		return "a torn page"
	case v.Len == 0:
		return "zeros"
	}
	return fmt.Sprintf("%d bytes of file %d block %d version %d", v.Len, v.File, v.Block, v.Ver)
}
