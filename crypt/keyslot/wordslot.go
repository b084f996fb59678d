package keyslot

import (
	"time"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
)

const (
	wordsSize      = identity.BoxSize // body of a words slot before the commitment
	labelWordsSlot = "hushfs/words-slot\x00"
)

// NewWords wraps root for recovery words, of which only the public half is
// needed, so that a later root can be wrapped without the paper. Errors are
// ErrHeader (the label) and identity.ErrMalformed.
func NewWords(root *crypt.Key, drive [32]byte, pub identity.WordsPublic, label string, now time.Time) (Slot, error) {
	s, err := newSlot(TypeWords, label, now)
	if err != nil {
		return Slot{}, err
	}
	secret := crypt.NewKey()
	defer secret.Wipe()
	if s.Body, err = identity.WrapWords(pub, s.wordsInfo(drive), secret); err != nil {
		return Slot{}, err
	}
	s.finish(secret, root, drive)
	return s, nil
}

func (s Slot) openWords(w *identity.WordsKey, drive [32]byte) *crypt.Key {
	secret, err := w.Unwrap(s.wordsInfo(drive), s.Body[:wordsSize])
	if err != nil {
		return nil
	}
	defer secret.Wipe()
	return s.open(secret, drive)
}

// wordsInfo binds the box to the drive and to the fields before it.
func (s Slot) wordsInfo(drive [32]byte) []byte {
	return append([]byte(labelWordsSlot), s.context(drive, nil)...)
}
