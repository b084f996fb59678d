package crypt

import (
	"crypto/aes"
	"crypto/cipher"
)

// LocalOverhead is what Local.Seal adds, in bytes: nonce 12, tag 16.
const LocalOverhead = 12 + 16

// Local seals small things that stay on this machine or inside a header: journal
// records, the state file, cached values. It may be used concurrently.
//
// Nonces are random, so that no counter has to survive a crash; a context must be
// changed (a new journal file, a new cache build) long before it sealed 2^32 things
// (NIST SP 800-38D, section 8.3). It does not commit to its key: it is for secrets
// that nobody else chooses.
type Local struct {
	aead hidden[cipher.AEAD]
}

// NewLocal derives the key from a secret, which is not kept. label and context are
// those of Key.Derive.
func NewLocal(secret *Key, label string, context []byte) *Local {
	key := secret.Derive(label, context, KeySize)
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("crypt: " + err.Error()) // the key has 32 bytes
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic("crypt: " + err.Error()) // the block has 16 bytes
	}
	return &Local{aead: hide(aead)}
}

// Seal appends nonce ‖ ciphertext ‖ tag to dst, whose spare capacity plain must not
// overlap. ad is bound, not stored: what tells this thing from others of the same key.
func (l *Local) Seal(dst, plain, ad []byte) []byte {
	return l.aead().Seal(dst, nil, plain, ad)
}

// Open appends the plaintext to dst, whose spare capacity sealed must not overlap.
// ErrForged when sealed or ad is not what was sealed under this key.
func (l *Local) Open(dst, sealed, ad []byte) ([]byte, error) {
	plain, err := l.aead().Open(dst, nil, sealed, ad)
	if err != nil {
		return nil, ErrForged
	}
	return plain, nil
}
