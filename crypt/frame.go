package crypt

import "encoding/binary"

// plaintext is what an object seals, before it is cut: for framed types a length,
// then the content, then zeros without end.
type plaintext struct {
	typ     Type
	content []byte
}

func (p plaintext) prefix() int {
	if p.typ.framed() {
		return frameSize
	}
	return 0
}

// size is the number of bytes before padding.
func (p plaintext) size() int { return p.prefix() + len(p.content) }

// cut returns the len(buf) bytes at from. Most segments are a part of the content
// and need no copy; only one with the length or with padding is put together in buf.
// from is 0 or at least frameSize, and buf holds at least frameSize bytes if the
// type is framed and from is 0.
func (p plaintext) cut(buf []byte, from int) []byte {
	start, rest := from-p.prefix(), buf
	if start >= 0 && start+len(buf) <= len(p.content) {
		return p.content[start : start+len(buf)]
	}
	if start < 0 {
		binary.BigEndian.PutUint64(rest, uint64(len(p.content)))
		rest, start = rest[frameSize:], 0
	}
	n := copy(rest, p.content[min(start, len(p.content)):])
	clear(rest[n:])
	return buf
}

// unframe returns the content of a framed plaintext, as a part of b. Length and
// padding must be what Seal makes of that content: one content has one plaintext.
func unframe(b []byte) ([]byte, error) {
	if len(b) < frameSize {
		return nil, ErrForged
	}
	return unpad(b, frameSize, int64(binary.BigEndian.Uint64(b))) // negative from 1<<63 on
}

// unpad returns the length bytes of b behind a prefix, after a look at the rest.
func unpad(b []byte, prefix int, length int64) ([]byte, error) {
	if length < 0 || length > MaxContent {
		return nil, ErrForged
	}
	end := int64(prefix) + length
	if Padme(end) != int64(len(b)) {
		return nil, ErrForged
	}
	var padding byte
	for _, c := range b[end:] {
		padding |= c
	}
	if padding != 0 {
		return nil, ErrForged
	}
	return b[prefix:end:end], nil
}
