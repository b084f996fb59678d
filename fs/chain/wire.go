package chain

import "encoding/binary"

// decoder takes fields off the front of b. The first field that is not there sets
// bad; from then on every field is zero. All integers are big endian and of fixed
// size, so what decodes has one encoding.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) must(ok bool) {
	if !ok {
		d.b, d.bad = nil, true
	}
}

// take returns the next n bytes, which alias the input.
func (d *decoder) take(n int) []byte {
	if d.bad || n < 0 || n > len(d.b) {
		d.must(false)
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

func (d *decoder) u32() uint32 {
	if p := d.take(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if p := d.take(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

func (d *decoder) hash() (h [32]byte) {
	copy(h[:], d.take(32))
	return h
}

// bytes is a u32 length of at most limit, then so many bytes, which alias the input.
func (d *decoder) bytes(limit int) []byte {
	n := d.u32()
	d.must(uint64(n) <= uint64(limit))
	return d.take(int(n))
}

// rest is all that is left.
func (d *decoder) rest() []byte { return d.take(len(d.b)) }

// done answers ErrMalformed unless all fields were there and nothing is left.
func (d *decoder) done() error {
	if d.bad || len(d.b) != 0 {
		return ErrMalformed
	}
	return nil
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(b))), b...)
}
