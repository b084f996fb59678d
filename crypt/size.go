package crypt

import "math/bits"

// Sizes of the envelope in bytes. They are the format's, not parameters.
const (
	SegmentSize = 65536                                             // plaintext of every segment but the last, which has 1 to SegmentSize
	Overhead    = 16                                                // GCM tag at the end of each sealed segment
	HeaderSize  = 4 + 1 + 1 + 1 + 1 + 4 + SaltSize + CommitmentSize // tail header
	SaltSize    = 32
	// CommitmentSize binds 256 bits of a key: finding two keys for one object is
	// finding a collision of HKDF-SHA256.
	CommitmentSize = 32

	// MaxSegments bounds what a tail may claim: 128 MiB of padded content, twice
	// the largest table, and a tail of at most 64 KiB and a little.
	MaxSegments = 2048
	// MaxContent is the longest content that can be sealed, in bytes.
	MaxContent = MaxSegments*SegmentSize - frameSize

	sealedSize = SegmentSize + Overhead
	hashSize   = 32
	countSize  = 4
	frameSize  = 8
)

// Padme returns the length to which n bytes are padded: 0 for n <= 0, else the next
// number whose binary mantissa is no longer than its exponent. The price is at most
// 12 percent for few bytes, 3.1 percent from 64 KiB on; what remains visible of a
// length is O(log log n) bits. n must not exceed 1<<62.
func Padme(n int64) int64 {
	if n <= 0 {
		return 0
	}
	e := bits.Len64(uint64(n)) - 1 // floor(log2 n)
	s := bits.Len(uint(e))         // bits it takes to write e
	mask := int64(1)<<(e-s) - 1
	return (n + mask) &^ mask
}

// Segments returns into how many segments that many padded bytes are cut.
func Segments(padded int64) int {
	return int((padded + SegmentSize - 1) / SegmentSize)
}

// ObjectSize returns the bytes of a whole object. content counts the bytes before
// padding: the content of a pack or table, 8 bytes more than the content of all
// other types. There is no object for content <= 0.
func ObjectSize(content int64) int64 {
	padded := Padme(content)
	return padded + int64(Segments(padded))*Overhead + TailSize(content)
}

// TailSize returns the bytes of the tail of an object. content is as for ObjectSize.
func TailSize(content int64) int64 {
	return int64(tailSize(Segments(Padme(content))))
}

// SegmentRange returns where in an object the sealed segment with the given index
// lies, in bytes. content is as for ObjectSize; both results are 0 when there is no
// such segment.
func SegmentRange(content int64, index int) (off, length int64) {
	padded := Padme(content)
	from := int64(index) * SegmentSize
	if index < 0 || from >= padded {
		return 0, 0
	}
	return int64(index) * sealedSize, min(SegmentSize, padded-from) + Overhead
}

func tailSize(segments int) int { return segments*hashSize + countSize + HeaderSize }
