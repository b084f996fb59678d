package meta

import "encoding/binary"

// The encodings are made of fixed big-endian integers, and of LEB128 varints
// where small numbers are common. A varint has one form only: no zero byte at
// its end. Signed numbers are zigzag coded first. A byte string is its length
// as a varint, then its bytes.

// decoder takes fields off the front of b. The first field that is not there
// or not canonical sets bad; from then on every field is zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) fail() {
	d.b, d.bad = nil, true
}

// must sets bad unless ok.
func (d *decoder) must(ok bool) {
	if !ok {
		d.fail()
	}
}

// done answers ErrMalformed unless all fields were good and nothing is left.
func (d *decoder) done() error {
	if d.bad || len(d.b) != 0 {
		return ErrMalformed
	}
	return nil
}

// take returns the next n bytes. They alias the input.
func (d *decoder) take(n int) []byte {
	if d.bad || n > len(d.b) {
		d.fail()
		return nil
	}
	p := d.b[:n:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) u8() uint8 {
	if p := d.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (d *decoder) u16() uint16 {
	if p := d.take(2); p != nil {
		return binary.BigEndian.Uint16(p)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if p := d.take(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || n > 1 && d.b[n-1] == 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

// upTo is a uvarint of at most limit.
func (d *decoder) upTo(limit uint64) uint64 {
	v := d.uvarint()
	if v > limit {
		d.fail()
		return 0
	}
	return v
}

func (d *decoder) u32varint() uint32 { return uint32(d.upTo(1<<32 - 1)) }

func (d *decoder) varint() int64 {
	u := d.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// bytes is a byte string of at most limit bytes; it aliases the input.
func (d *decoder) bytes(limit int) []byte { return d.take(int(d.upTo(uint64(limit)))) }

func (d *decoder) ref() Ref { return Ref{Home: Ino(d.uvarint()), Ino: Ino(d.uvarint())} }

func (d *decoder) time() Time { return Time{Sec: d.varint(), Nsec: uint32(d.upTo(1e9 - 1))} }

// flag is a byte that is 0 or 1.
func (d *decoder) flag() bool {
	v := d.u8()
	d.must(v <= 1)
	return v == 1
}

// optionalTime is a flag, then a time if the flag is set.
func (d *decoder) optionalTime() *Time {
	if !d.flag() {
		return nil
	}
	t := d.time()
	return &t
}

func appendUvarint(dst []byte, v uint64) []byte { return binary.AppendUvarint(dst, v) }

func appendVarint(dst []byte, v int64) []byte {
	return binary.AppendUvarint(dst, uint64(v)<<1^uint64(v>>63))
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

func appendRef(dst []byte, r Ref) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(dst, uint64(r.Home)), uint64(r.Ino))
}

func appendTime(dst []byte, t Time) []byte {
	return binary.AppendUvarint(appendVarint(dst, t.Sec), uint64(t.Nsec))
}

func appendOptionalTime(dst []byte, t *Time) []byte {
	if t == nil {
		return append(dst, 0)
	}
	return appendTime(append(dst, 1), *t)
}

func uvarintLen(v uint64) int {
	n := 1
	for v >= 0x80 {
		v >>= 7
		n++
	}
	return n
}
