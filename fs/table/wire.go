package table

import (
	"bytes"
	"encoding/binary"
)

// Numbers are LEB128 varints in their one shortest form where nothing else is
// said. A key stands as the number of bytes that it shares with the key before,
// the most possible, and the rest as a string: length and bytes.

// decoder takes fields off the front of b. The first field that is not there
// or not canonical sets bad; from then on every field is zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) fail() { d.b, d.bad = nil, true }

// must sets bad unless ok.
func (d *decoder) must(ok bool) {
	if !ok {
		d.fail()
	}
}

// take returns the next n bytes, which alias the input.
func (d *decoder) take(n uint64) []byte {
	if d.bad || n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	p := d.b[:n:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) uvarint() uint64 {
	if len(d.b) > 0 && d.b[0] < 0x80 {
		v := d.b[0]
		d.b = d.b[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(d.b)
	if n <= 0 || n > 1 && d.b[n-1] == 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

// between is a number from low to high.
func (d *decoder) between(low, high uint64) uint64 {
	v := d.uvarint()
	if v < low || v > high {
		d.fail()
		return 0
	}
	return v
}

// key appends the next key to dst, which does not overlap before.
func (d *decoder) key(dst, before []byte) []byte {
	shared := d.between(0, uint64(len(before)))
	rest := d.take(d.between(0, MaxKey-min(shared, MaxKey)))
	if d.bad || shared < uint64(len(before)) && len(rest) > 0 && rest[0] == before[shared] {
		d.fail()
		return dst
	}
	return append(append(dst, before[:shared]...), rest...)
}

func appendKey(dst, before, key []byte) []byte {
	shared := common(before, key)
	dst = binary.AppendUvarint(dst, uint64(shared))
	return appendString(dst, key[shared:])
}

func appendString(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// common is the number of bytes with which both begin.
func common(a, b []byte) int {
	n := min(len(a), len(b))
	i := 0
	for ; i+8 <= n && bytes.Equal(a[i:i+8], b[i:i+8]); i += 8 {
	}
	for ; i < n && a[i] == b[i]; i++ {
	}
	return i
}
