package keyslot

import (
	"bytes"
	"encoding/binary"
)

// reader cuts fields off the front of b. After the first field that is not
// there it yields zeros and remembers that it failed.
type reader struct {
	b      []byte
	failed bool
}

// bytes returns a copy, so that what was decoded does not hold the object.
func (r *reader) bytes(n int) []byte { return bytes.Clone(r.cut(n)) }

func (r *reader) cut(n int) []byte {
	if r.failed || n > len(r.b) {
		r.failed = true
		return nil
	}
	field := r.b[:n:n]
	r.b = r.b[n:]
	return field
}

func (r *reader) u8() uint8 {
	if f := r.cut(1); f != nil {
		return f[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if f := r.cut(2); f != nil {
		return binary.BigEndian.Uint16(f)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if f := r.cut(4); f != nil {
		return binary.BigEndian.Uint32(f)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if f := r.cut(8); f != nil {
		return binary.BigEndian.Uint64(f)
	}
	return 0
}

func (r *reader) array32() (a [32]byte) {
	copy(a[:], r.cut(32))
	return a
}

// magic cuts word and the version digit 0. A later digit is ErrNewer.
func (r *reader) magic(word string) error {
	f := r.cut(len(word) + 1)
	if f == nil || string(f[:len(word)]) != word {
		return ErrHeader
	}
	switch digit := f[len(word)]; {
	case digit == '0':
		return nil
	case digit >= '1' && digit <= '9':
		return ErrNewer
	}
	return ErrHeader
}

// done says whether every field was there and none is left over.
func (r *reader) done() bool { return !r.failed && len(r.b) == 0 }
