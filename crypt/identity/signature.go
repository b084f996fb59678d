package identity

import (
	"crypto/ed25519"
	"fmt"
)

// AlgSig is a signature and the algorithm that made it.
type AlgSig struct {
	Alg Alg
	Sig []byte
}

// Signature has one entry for each algorithm of the key list that made it, in
// the same order.
type Signature []AlgSig

// Encode returns the list: count u8, then alg u8, length u16, bytes for each.
func (s Signature) Encode() []byte {
	return appendList(nil, sigEntries(s))
}

// DecodeSignature reads exactly one Signature. It judges the form only;
// entries of unknown algorithms are kept. Errors are ErrMalformed.
func DecodeSignature(b []byte) (Signature, error) {
	entries, rest, err := cutList(b)
	if err != nil {
		return nil, fmt.Errorf("signatures: %w", err)
	}
	if len(rest) != 0 {
		return nil, fmt.Errorf("%w: %d bytes follow the signatures", ErrMalformed, len(rest))
	}
	s := make(Signature, len(entries))
	for i, e := range entries {
		if e.alg == AlgEd25519 && len(e.data) != ed25519.SignatureSize {
			return nil, fmt.Errorf("%w: Ed25519 signature of %d bytes", ErrMalformed, len(e.data))
		}
		s[i] = AlgSig{e.alg, e.data}
	}
	return s, nil
}

// Verify returns nil when s is a signature of msg by every algorithm of p, and
// by no other. Else ErrSignature; ErrAlgorithm when p holds an algorithm that
// this code cannot judge; ErrMalformed when p would not decode.
func (p Public) Verify(msg []byte, s Signature) error { return verify(p.Sign, msg, s) }

// Verify is as Public.Verify.
func (d DeviceKey) Verify(msg []byte, s Signature) error { return verify(d, msg, s) }

func verify(keys []AlgKey, msg []byte, s Signature) error {
	// Keys made by hand have met no decoder, and ed25519.Verify panics on some.
	if err := checkSigning(keys); err != nil {
		return err
	}
	for _, k := range keys {
		if k.Alg != AlgEd25519 {
			return ErrAlgorithm
		}
	}
	if len(s) != len(keys) {
		return ErrSignature
	}
	for i, k := range keys {
		if s[i].Alg != k.Alg || len(s[i].Sig) != ed25519.SignatureSize || !ed25519.Verify(k.Key, msg, s[i].Sig) {
			return ErrSignature
		}
	}
	return nil
}

func sigEntries(s Signature) []entry {
	entries := make([]entry, len(s))
	for i, a := range s {
		entries[i] = entry{a.Alg, a.Sig}
	}
	return entries
}
