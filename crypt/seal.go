package crypt

import (
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync/atomic"
)

// Sealer seals one object, once. It keeps no epoch key, only the object's.
//
// Its header is fixed when it is made, so that a signature inside the sealed
// content can cover the header's hash.
type Sealer struct {
	volume VolumeID
	header header
	aead   hidden[cipher.AEAD]
	spent  atomic.Bool
}

// NewSealer draws the salt now. k is the key of epoch e of volume v, and is not
// kept. It panics when t is none of the types above.
func NewSealer(k *Key, v VolumeID, t Type, e Epoch) *Sealer {
	var salt [SaltSize]byte
	rand.Read(salt[:]) // never fails since Go 1.24: it ends the program instead
	return newSealer(k, v, t, e, salt)
}

func newSealer(k *Key, v VolumeID, t Type, e Epoch, salt [SaltSize]byte) *Sealer {
	if !t.known() {
		panic("crypt: no such type of object")
	}
	s := &Sealer{volume: v, header: header{typ: t, epoch: e, salt: salt}}
	aead, commitment := objectKey(k, v, t, salt)
	s.aead, s.header.commitment = hide(aead), commitment
	return s
}

// HeaderHash returns SHA-256 of the header of the tail that Seal will write.
func (s *Sealer) HeaderHash() [32]byte {
	return sha256.Sum256(s.header.append(make([]byte, 0, HeaderSize)))
}

// Seal appends the object to dst, whose spare capacity it uses and which content
// must not overlap, and returns the whole with the object's name. content is only
// read.
//
// What is sealed is content as it is for TypePack and TypeTable, u64 length ‖
// content for all other types, then zeros up to Padmé. It returns ErrSpent from the
// second success on, ErrTooLarge above MaxContent, ErrEmpty for a pack or a table
// without a byte; dst is then as it was.
func (s *Sealer) Seal(dst, content []byte) (object []byte, name Name, err error) {
	if len(content) > MaxContent {
		return nil, Name{}, ErrTooLarge
	}
	p := plaintext{typ: s.header.typ, content: content}
	if p.size() == 0 {
		return nil, Name{}, ErrEmpty
	}
	if s.spent.Swap(true) {
		return nil, Name{}, ErrSpent
	}

	var (
		padded   = int(Padme(int64(p.size())))
		segments = Segments(int64(padded))
		start    = len(dst)
		size     = int(ObjectSize(int64(p.size())))
		nonce    [nonceSize]byte
		aead     = s.aead()
	)
	dst = slices.Grow(dst, size)[:start+size]
	out := dst[start:]
	tail := out[padded+segments*Overhead:]
	binary.BigEndian.PutUint32(tail[segments*hashSize:], uint32(segments))
	head := tail[segments*hashSize+countSize:]
	s.header.append(head[:0])
	ad := associated(head, s.volume)

	// One segment after the other, each padded, sealed and hashed while it is in the
	// processor's cache.
	for i := range segments {
		from := i * SegmentSize
		at := out[i*sealedSize:]
		plain := p.cut(at[:min(SegmentSize, padded-from)], from)
		setNonce(&nonce, s.header.typ, i, segments)
		sealed := aead.Seal(at[:0], nonce[:], plain, ad[:])
		hash := sha256.Sum256(sealed)
		copy(tail[i*hashSize:], hash[:])
	}
	return dst, nameOf(tail), nil
}
