package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/rand"
	"fmt"

	"github.com/hushfs/hushfs/crypt"
)

// Lengths of seeds, in bytes. An identity's seed is the Ed25519 seed of RFC
// 8032 followed by the X-Wing seed of draft-ietf-hpke-pq.
const (
	SeedSize       = ed25519.SeedSize + 32
	DeviceSeedSize = ed25519.SeedSize
)

// Identity is the secret of a member. It is safe for concurrent use until Wipe.
type Identity struct {
	hidden
	s **identitySecret
}

type identitySecret struct {
	sign    ed25519.PrivateKey
	seed    []byte // X-Wing
	receive hpke.PrivateKey
}

// New draws an identity.
func New() *Identity {
	seed := make([]byte, SeedSize)
	defer clear(seed)
	rand.Read(seed) // never fails: see crypto/rand
	id, err := FromSeed(seed)
	if err != nil {
		panic("identity: a fresh seed is refused: " + err.Error())
	}
	return id
}

// FromSeed makes the identity of a seed of SeedSize bytes, which is not kept.
func FromSeed(seed []byte) (*Identity, error) {
	if len(seed) != SeedSize {
		return nil, fmt.Errorf("%w: seed of %d bytes", ErrMalformed, len(seed))
	}
	xwing := bytes.Clone(seed[ed25519.SeedSize:])
	receive, err := hpke.MLKEM768X25519().NewPrivateKey(xwing)
	if err != nil {
		return nil, fmt.Errorf("%w: X-Wing seed", ErrMalformed)
	}
	sign := ed25519.NewKeyFromSeed(seed[:ed25519.SeedSize])
	s := &identitySecret{sign: sign, seed: xwing, receive: receive}
	return &Identity{s: &s}, nil
}

// Seed returns a copy of the seed; the caller wipes it.
func (id *Identity) Seed() []byte {
	s := id.secret()
	return append(append(make([]byte, 0, SeedSize), s.sign.Seed()...), s.seed...)
}

// Public returns the public half.
func (id *Identity) Public() Public {
	s := id.secret()
	return Public{
		Sign:    []AlgKey{{AlgEd25519, ed25519Public(s.sign)}},
		Receive: []AlgKey{{AlgXWing, s.receive.PublicKey().Bytes()}},
	}
}

// Sign signs msg, which begins with a label of its purpose that ends in 00.
func (id *Identity) Sign(msg []byte) Signature {
	return Signature{{AlgEd25519, ed25519.Sign(id.secret().sign, msg)}}
}

// Unwrap opens a box made by Wrap for this identity and the same info. The
// error is ErrBox whatever was wrong. Any box that opens was made by someone
// who knows the public key, which is everyone: see the package comment.
func (id *Identity) Unwrap(info, box []byte) (*crypt.Key, error) {
	return unwrap(id.secret().receive, info, box)
}

// Wipe overwrites what of the secret this package holds itself; the standard
// library's expanded keys are left to the garbage collector. The identity must
// not be in use, and is of no use after.
func (id *Identity) Wipe() {
	if id.s == nil || *id.s == nil {
		return
	}
	clear((*id.s).sign)
	clear((*id.s).seed)
	*id.s = nil
}

func (id *Identity) secret() *identitySecret {
	if id.s == nil || *id.s == nil {
		panic("identity: used after Wipe")
	}
	return *id.s
}

func ed25519Public(k ed25519.PrivateKey) []byte {
	return bytes.Clone(k[ed25519.SeedSize:])
}
