package crypt

import (
	"crypto/cipher"
	"crypto/subtle"
)

// Open opens a whole object of a framed type and returns its content, which shares
// no memory with object, and its tail. Every byte of object is checked, and that it
// is what Seal makes of the content.
//
// ErrVersion as for ParseTail, and ErrForged for everything else. Whether the object
// is the one that was asked for is the caller's to check, against tail.Name or
// tail.Epoch; between members, who share the key, only that check counts. It panics
// for TypePack and TypeTable, which do not carry their length.
func Open(k *Key, v VolumeID, t Type, object []byte) (content []byte, tail *Tail, err error) {
	if !t.known() || !t.framed() {
		panic("crypt: Open needs a type that carries its length")
	}
	plain, tail, err := openAll(k, v, t, object)
	if err != nil {
		return nil, nil, err
	}
	if content, err = unframe(plain); err != nil {
		return nil, nil, err
	}
	return content, tail, nil
}

// OpenPack opens a whole pack whose true length in bytes is known from signed
// metadata. Results and errors are those of Open; a wrong length is ErrForged.
func OpenPack(k *Key, v VolumeID, object []byte, length int64) ([]byte, *Tail, error) {
	if length < 1 || length > MaxContent || int64(len(object)) != ObjectSize(length) {
		// A version or suite of tomorrow may have other sizes, and is to be named.
		if _, err := parseHeader(object); err != nil {
			return nil, nil, err
		}
		return nil, nil, ErrForged
	}
	plain, tail, err := openAll(k, v, TypePack, object)
	if err != nil {
		return nil, nil, err
	}
	content, err := unpad(plain, 0, length)
	if err != nil {
		return nil, nil, err
	}
	return content, tail, nil
}

// openAll returns the padded plaintext of an object.
func openAll(k *Key, v VolumeID, t Type, object []byte) ([]byte, *Tail, error) {
	tail, err := ParseTail(object)
	if err != nil {
		return nil, nil, err
	}
	sealed := object[:len(object)-tail.Size()]
	n := tail.Segments()
	if len(sealed) <= (n-1)*sealedSize+Overhead || len(sealed) > n*sealedSize {
		return nil, nil, ErrForged
	}
	o, err := tail.Unlock(k, v, t)
	if err != nil {
		return nil, nil, err
	}
	var nonce [nonceSize]byte
	plain := make([]byte, 0, len(sealed)-n*Overhead)
	for i := range n {
		segment := sealed[:min(sealedSize, len(sealed))]
		sealed = sealed[len(segment):]
		if plain, err = o.open(plain, &nonce, i, segment); err != nil {
			return nil, nil, err
		}
	}
	return plain, tail, nil
}

// Opener opens the segments of one object. It may be used concurrently.
type Opener struct {
	tail *Tail
	aead hidden[cipher.AEAD]
	ad   [32]byte
}

// Unlock derives the object's key from the epoch key k and compares the commitment
// in constant time, so that no ciphertext is tried under a key that it was not made
// for. ErrForged when that fails or when the object is not of the type wanted.
func (t *Tail) Unlock(k *Key, v VolumeID, want Type) (*Opener, error) {
	if t.typ != want {
		return nil, ErrForged
	}
	aead, commitment := objectKey(k, v, t.typ, t.salt)
	if subtle.ConstantTimeCompare(commitment[:], t.commitment[:]) != 1 {
		return nil, ErrForged
	}
	return &Opener{tail: t, aead: hide(aead), ad: associated(t.raw[len(t.raw)-HeaderSize:], v)}, nil
}

// Segment opens one sealed segment, tag included, after it checked its hash. The
// plaintext, padding included, is appended to dst, whose spare capacity must not
// overlap sealed; sealed is only read and not kept.
//
// ErrForged when the segment is not the one with this index. dst is then as it was,
// but its spare capacity may have been cleared.
func (o *Opener) Segment(dst []byte, index int, sealed []byte) ([]byte, error) {
	var nonce [nonceSize]byte
	return o.open(dst, &nonce, index, sealed)
}

func (o *Opener) open(dst []byte, nonce *[nonceSize]byte, index int, sealed []byte) ([]byte, error) {
	if err := o.tail.Verify(index, sealed); err != nil {
		return nil, err
	}
	setNonce(nonce, o.tail.typ, index, o.tail.Segments())
	plain, err := o.aead().Open(dst, nonce[:], sealed, o.ad[:])
	if err != nil {
		return nil, ErrForged
	}
	return plain, nil
}
