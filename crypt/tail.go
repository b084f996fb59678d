package crypt

import (
	"crypto/sha256"
	"encoding/binary"
)

const (
	magic   = "HUSH"
	version = 0
	suite   = 1 // AES-256-GCM, HKDF-SHA256, SHA-256

	labelName = "hushfs/name\x00"
)

// header is the last part of a tail, and so of an object.
type header struct {
	typ        Type
	epoch      Epoch
	salt       [SaltSize]byte
	commitment [CommitmentSize]byte
}

func (h *header) append(b []byte) []byte {
	b = append(b, magic...)
	b = append(b, version, suite, byte(h.typ), 0)
	b = binary.BigEndian.AppendUint32(b, uint32(h.epoch))
	b = append(b, h.salt[:]...)
	return append(b, h.commitment[:]...)
}

// parseHeader reads the last HeaderSize bytes of b.
func parseHeader(b []byte) (h header, err error) {
	if len(b) < HeaderSize {
		return h, ErrForged
	}
	b = b[len(b)-HeaderSize:]
	switch {
	case string(b[:4]) != magic:
		return h, ErrForged
	case b[4] > version, b[5] > suite:
		return h, ErrVersion // before all else: a newer layout may differ in the rest
	case b[5] != suite, !Type(b[6]).known(), b[7] != 0:
		return h, ErrForged
	}
	h.typ = Type(b[6])
	h.epoch = Epoch(binary.BigEndian.Uint32(b[8:]))
	copy(h.salt[:], b[12:])
	copy(h.commitment[:], b[12+SaltSize:])
	return h, nil
}

// Tail is the end of an object: the hash of each sealed segment, their count, and
// the header. It is public information; only Unlock needs a key. A Tail is
// immutable.
//
// Nothing in it is true yet when it was parsed. Name anchors it, if the name comes
// from signed metadata; a commit that opened vouches for its own.
type Tail struct {
	header
	raw []byte // canonical encoding; the hashes come first
}

// TailLen tells how many bytes ParseTail needs, from the last HeaderSize+4 bytes
// of an object or more. It helps where the content's length is not known before;
// else TailSize does without a look. Errors are those of ParseTail.
func TailLen(end []byte) (int, error) {
	if _, err := parseHeader(end); err != nil {
		return 0, err
	}
	if len(end) < countSize+HeaderSize {
		return 0, ErrForged
	}
	n := binary.BigEndian.Uint32(end[len(end)-HeaderSize-countSize:])
	if n < 1 || n > MaxSegments {
		return 0, ErrForged
	}
	return tailSize(int(n)), nil
}

// ParseTail reads the tail from b, which ends where the object ends and may begin
// earlier. b is not kept.
//
// It returns ErrVersion when the magic is right and version or suite are above
// those of this code, and ErrForged when anything else is wrong or b begins too
// late.
func ParseTail(b []byte) (*Tail, error) {
	size, err := TailLen(b)
	if err != nil {
		return nil, err
	}
	if len(b) < size {
		return nil, ErrForged
	}
	h, err := parseHeader(b)
	if err != nil {
		return nil, err
	}
	return &Tail{header: h, raw: append([]byte(nil), b[len(b)-size:]...)}, nil
}

// Name returns the name of the object that ends in this tail.
func (t *Tail) Name() Name { return nameOf(t.raw) }

// Type returns what the object says it is.
func (t *Tail) Type() Type { return t.typ }

// Epoch returns the epoch under whose key the object says it was sealed.
func (t *Tail) Epoch() Epoch { return t.epoch }

// HeaderHash returns SHA-256 of the header, which a commit's signature covers so
// that nobody can seal its body once more.
func (t *Tail) HeaderHash() [32]byte { return sha256.Sum256(t.raw[len(t.raw)-HeaderSize:]) }

// Segments returns how many segments the object has, at least 1.
func (t *Tail) Segments() int { return (len(t.raw) - countSize - HeaderSize) / hashSize }

// Size returns the bytes of the tail.
func (t *Tail) Size() int { return len(t.raw) }

// Verify checks a sealed segment, tag included, against its hash without a key:
// for bytes that are kept sealed. ErrForged when the hash or the length is wrong or
// there is no such segment.
func (t *Tail) Verify(index int, sealed []byte) error {
	n := t.Segments()
	if index < 0 || index >= n || len(sealed) <= Overhead || len(sealed) > sealedSize ||
		index < n-1 && len(sealed) != sealedSize {
		return ErrForged
	}
	if sha256.Sum256(sealed) != [hashSize]byte(t.raw[index*hashSize:]) {
		return ErrForged
	}
	return nil
}

func nameOf(tail []byte) (n Name) {
	h := sha256.New()
	h.Write([]byte(labelName))
	h.Write(tail)
	h.Sum(n[:0])
	return n
}
