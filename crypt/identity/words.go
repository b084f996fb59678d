package identity

import (
	"crypto/hpke"

	"github.com/hushfs/hushfs/crypt"
)

const labelWords = "hushfs/words" // crypt.Key.Derive adds the 00

// WordsKey is the X-Wing key pair of recovery words. It is safe for concurrent
// use until Wipe.
type WordsKey struct {
	hidden
	s **wordsSecret
}

type wordsSecret struct{ receive hpke.PrivateKey }

// WordsPublic is the public half of a WordsKey. It is not secret, but it is
// kept among secrets: whoever replaces it receives later root keys.
type WordsPublic [XWingSize]byte

// NewWordsKey derives the pair from the 32 bytes that the words stand for:
// DeriveKeyPair of RFC 9180 over 32 bytes of HKDF-Expand(entropy, "hushfs/words" 00).
// The expansion is of exactly 32 bytes, as DeriveKeyPair would take any number.
func NewWordsKey(entropy *crypt.Key) (*WordsKey, error) {
	ikm := entropy.Derive(labelWords, nil, 32)
	defer clear(ikm)
	receive, err := hpke.MLKEM768X25519().DeriveKeyPair(ikm)
	if err != nil {
		return nil, ErrMalformed
	}
	s := &wordsSecret{receive}
	return &WordsKey{s: &s}, nil
}

// Public returns the public half.
func (w *WordsKey) Public() WordsPublic {
	return WordsPublic(w.secret().receive.PublicKey().Bytes())
}

// Unwrap is as Identity.Unwrap, for boxes of WrapWords.
func (w *WordsKey) Unwrap(info, box []byte) (*crypt.Key, error) {
	return unwrap(w.secret().receive, info, box)
}

// Wipe forgets the pair; the standard library's expanded keys are left to the
// garbage collector. The key must not be in use, and is of no use after.
func (w *WordsKey) Wipe() {
	if w.s != nil {
		*w.s = nil
	}
}

func (w *WordsKey) secret() *wordsSecret {
	if w.s == nil || *w.s == nil {
		panic("identity: words used after Wipe")
	}
	return *w.s
}

// DecodeWordsPublic takes XWingSize bytes of a well-formed key. Errors are
// ErrMalformed.
func DecodeWordsPublic(b []byte) (WordsPublic, error) {
	if err := checkXWing(b); err != nil {
		return WordsPublic{}, err
	}
	return WordsPublic(b), nil
}

// WrapWords is as Wrap, to recovery words.
func WrapWords(to WordsPublic, info []byte, k *crypt.Key) (box []byte, err error) {
	if err := checkXWing(to[:]); err != nil {
		return nil, err
	}
	return wrap(to[:], info, k)
}
