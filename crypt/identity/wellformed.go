package identity

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/mlkem"
	"fmt"
)

// XWingSize is the length of an X-Wing public key: ML-KEM-768, then X25519.
const XWingSize = mlkem.EncapsulationKeySize768 + 32

// smallOrderY are the y coordinates of the eight points of Ed25519 whose order
// divides 8, as 32 bytes little endian, the sign of x cleared. Under such a
// key one constant signature is valid for many or all messages.
var smallOrderY = [5][32]byte{
	{0: 0x01}, // order 1
	{0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, // order 2
	{}, // order 4, x and -x
	{0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
		0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a}, // order 8, x and -x
	{0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
		0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05}, // order 8, x and -x
}

// checkEd25519 accepts 32 bytes that encode a y below 2^255-19 which is not of
// small order. Bytes of no point at all pass: they verify nothing.
func checkEd25519(key []byte) error {
	if len(key) != ed25519.PublicKeySize {
		return fmt.Errorf("%w: Ed25519 key of %d bytes", ErrMalformed, len(key))
	}
	y := [32]byte(key)
	y[31] &= 0x7f
	if !belowP(y) {
		return fmt.Errorf("%w: Ed25519 key is not canonical", ErrMalformed)
	}
	for _, s := range smallOrderY {
		if y == s {
			return fmt.Errorf("%w: Ed25519 key of small order", ErrMalformed)
		}
	}
	return nil
}

// checkXWing accepts a canonical ML-KEM-768 key whose vector is not zero,
// followed by a canonical X25519 key that is not of small order. Go's parser
// alone takes 1216 zero bytes, whose secrets everyone can compute.
func checkXWing(key []byte) error {
	if len(key) != XWingSize {
		return fmt.Errorf("%w: X-Wing key of %d bytes", ErrMalformed, len(key))
	}
	if _, err := hpke.MLKEM768X25519().NewPublicKey(key); err != nil {
		return fmt.Errorf("%w: X-Wing key does not parse", ErrMalformed)
	}
	// FIPS 203: the encoded vector, then the 32-byte seed of the matrix.
	const vector = mlkem.EncapsulationKeySize768 - 32
	if bytes.Equal(key[:vector], make([]byte, vector)) {
		return fmt.Errorf("%w: X-Wing key is zero", ErrMalformed)
	}
	u := [32]byte(key[mlkem.EncapsulationKeySize768:])
	if !belowP(u) {
		return fmt.Errorf("%w: X25519 key is not canonical", ErrMalformed)
	}
	return checkX25519(u[:])
}

// checkX25519 finds points of small order with the standard library's own
// test: RFC 7748 scalars are multiples of 8, so any of them takes exactly
// these points to zero, which ECDH refuses.
func checkX25519(u []byte) error {
	pub, err := ecdh.X25519().NewPublicKey(u)
	if err != nil {
		return fmt.Errorf("%w: X25519 key does not parse", ErrMalformed)
	}
	scalar, err := ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{0x55}, 32))
	if err != nil {
		panic("identity: X25519 refuses a constant scalar: " + err.Error())
	}
	if _, err := scalar.ECDH(pub); err != nil {
		return fmt.Errorf("%w: X25519 key of small order", ErrMalformed)
	}
	return nil
}

// belowP says whether v, little endian, is less than 2^255-19.
func belowP(v [32]byte) bool {
	if v[31] != 0x7f {
		return v[31] < 0x7f
	}
	for _, b := range v[1:31] {
		if b != 0xff {
			return true
		}
	}
	return v[0] < 0xed
}
