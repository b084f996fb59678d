package crypt

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
)

const nonceSize = 12

// objectKey derives the key of one object and the commitment to it. Both come from
// one Expand, so who finds two keys with one commitment has a collision of SHA-256.
func objectKey(k *Key, v VolumeID, t Type, salt [SaltSize]byte) (cipher.AEAD, [CommitmentSize]byte) {
	context := make([]byte, 0, 2+len(v)+len(salt))
	context = append(context, suite, byte(t))
	context = append(context, v[:]...)
	context = append(context, salt[:]...)
	out := k.Derive("hushfs/object", context, KeySize+CommitmentSize)
	defer clear(out[:KeySize])
	block, err := aes.NewCipher(out[:KeySize])
	if err != nil {
		panic("crypt: " + err.Error()) // the key has 32 bytes
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("crypt: " + err.Error()) // the block has 16 bytes
	}
	return aead, [CommitmentSize]byte(out[KeySize:])
}

// associated is what every segment of an object is bound to besides its place.
func associated(header []byte, v VolumeID) [32]byte {
	return sha256.Sum256(append(header[:len(header):len(header)], v[:]...))
}

// setNonce writes type ‖ last ‖ 00 00 ‖ index. The flag tells a whole object from
// its beginning even where no tail is looked at.
func setNonce(nonce *[nonceSize]byte, t Type, index, segments int) {
	nonce[0] = byte(t)
	nonce[1] = 0
	if index == segments-1 {
		nonce[1] = 1
	}
	binary.BigEndian.PutUint64(nonce[4:], uint64(index))
}
