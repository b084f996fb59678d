package identity

import (
	"encoding/binary"
	"fmt"
)

// Alg is the number of an algorithm. Signing and receiving keys are numbered
// apart; 0 is never used.
type Alg uint8

const (
	AlgEd25519 Alg = 1 // in signing lists: a key has 32 bytes, a signature 64
	AlgXWing   Alg = 1 // in receiving lists: a key has 1216 bytes
)

// Limits of lists, for entries of known and unknown algorithms alike. ML-DSA-87,
// the longest algorithm in sight, has keys of 2592 bytes and signatures of 4627.
const (
	MaxAlgs  = 4    // entries of a list
	MaxEntry = 8192 // bytes of one entry

	maxList = 1 + MaxAlgs*(3+MaxEntry)

	MaxPublicSize    = 2 * maxList // bytes of an encoded Public
	MaxDeviceKeySize = maxList     // bytes of an encoded DeviceKey
	MaxSignatureSize = maxList     // bytes of an encoded Signature
)

// entry is one element of a list: (algorithm, bytes).
type entry struct {
	alg  Alg
	data []byte
}

// appendList appends count u8, then for each entry alg u8, length u16, bytes.
func appendList(b []byte, entries []entry) []byte {
	b = append(b, byte(len(entries)))
	for _, e := range entries {
		b = append(b, byte(e.alg))
		b = binary.BigEndian.AppendUint16(b, uint16(len(e.data)))
		b = append(b, e.data...)
	}
	return b
}

// cutList reads a list from the front of b and returns what follows it. The
// entries are copies. Algorithms ascend strictly, so that a set has one encoding.
func cutList(b []byte) (entries []entry, rest []byte, err error) {
	if len(b) < 1 {
		return nil, nil, fmt.Errorf("%w: list is cut off", ErrMalformed)
	}
	n := int(b[0])
	b = b[1:]
	entries = make([]entry, 0, min(n, MaxAlgs))
	for range n {
		if len(entries) == MaxAlgs || len(b) < 3 {
			return nil, nil, fmt.Errorf("%w: list is cut off or too long", ErrMalformed)
		}
		alg, size := Alg(b[0]), int(binary.BigEndian.Uint16(b[1:]))
		if size > len(b)-3 {
			return nil, nil, fmt.Errorf("%w: entry is cut off", ErrMalformed)
		}
		entries = append(entries, entry{alg, append([]byte(nil), b[3:3+size]...)})
		b = b[3+size:]
	}
	return entries, b, checkList(entries)
}

// checkList holds a list to the rules that do not depend on the algorithms.
func checkList(entries []entry) error {
	if len(entries) < 1 || len(entries) > MaxAlgs {
		return fmt.Errorf("%w: %d entries", ErrMalformed, len(entries))
	}
	last := Alg(0)
	for _, e := range entries {
		if e.alg <= last {
			return fmt.Errorf("%w: algorithms do not ascend", ErrMalformed)
		}
		if len(e.data) < 1 || len(e.data) > MaxEntry {
			return fmt.Errorf("%w: entry of %d bytes", ErrMalformed, len(e.data))
		}
		last = e.alg
	}
	return nil
}
