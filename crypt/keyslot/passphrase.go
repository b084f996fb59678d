package keyslot

import (
	"crypto/rand"
	"fmt"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/hushfs/hushfs/crypt"
)

const (
	saltSize       = 16
	passphraseSize = saltSize + paramsSize // body of a passphrase slot before the commitment
)

// NewPassphrase wraps root for a passphrase, whose bytes are taken as they are:
// who reads it from a person decides on a Unicode form. The zero Params mean
// DefaultParams. Errors are ErrKDF, ErrPassphrase (it is empty) and ErrHeader
// (the label).
func NewPassphrase(root *crypt.Key, drive [32]byte, pass []byte, p Params, label string, now time.Time) (Slot, error) {
	if p == (Params{}) {
		p = DefaultParams
	}
	if err := p.Check(unknownSpace); err != nil {
		return Slot{}, err
	}
	if len(pass) == 0 {
		return Slot{}, fmt.Errorf("%w: it is empty", ErrPassphrase)
	}
	s, err := newSlot(TypePassphrase, label, now)
	if err != nil {
		return Slot{}, err
	}
	salt := make([]byte, saltSize)
	rand.Read(salt) // never fails: see crypto/rand
	s.Body = p.append(salt)
	secret := stretch(pass, salt, p)
	defer secret.Wipe()
	s.finish(secret, root, drive)
	return s, nil
}

// Params returns the parameters of a passphrase slot, unchecked.
func (s Slot) Params() (p Params, ok bool) {
	if s.Type != TypePassphrase || len(s.Body) != passphraseSize+tailSize {
		return Params{}, false
	}
	r := reader{b: s.Body[saltSize:]}
	return Params{MemoryKiB: r.u32(), Passes: r.u16(), Lanes: r.u16()}, true
}

// openPassphrase runs Argon2id. The caller has checked the parameters.
func (s Slot) openPassphrase(pass []byte, drive [32]byte, p Params) *crypt.Key {
	secret := stretch(pass, s.Body[:saltSize], p)
	defer secret.Wipe()
	return s.open(secret, drive)
}

func stretch(pass, salt []byte, p Params) *crypt.Key {
	b := argon2.IDKey(pass, salt, uint32(p.Passes), p.MemoryKiB, uint8(p.Lanes), crypt.KeySize)
	defer clear(b)
	k, err := crypt.KeyFromBytes(b)
	if err != nil {
		panic("keyslot: " + err.Error()) // Argon2id gave the bytes it was asked for
	}
	return k
}
