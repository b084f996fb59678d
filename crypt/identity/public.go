package identity

import (
	"crypto/sha256"
	"fmt"
)

const (
	labelPrincipal = "hushfs/principal\x00"
	labelWrap      = "hushfs/wrap\x00"
)

// AlgKey is a public key and the algorithm that it is for.
type AlgKey struct {
	Alg Alg
	Key []byte
}

// Public is the public half of an Identity. The zero value is no key: it
// verifies nothing and nothing can be wrapped to it.
type Public struct {
	Sign    []AlgKey // AlgEd25519 is always among them
	Receive []AlgKey // AlgXWing is always among them
}

// DeviceKey is the public half of a Device.
type DeviceKey []AlgKey

// Encode returns the signing list followed by the receiving list. It is
// hashed and signed by others, and equals what DecodePublic read.
func (p Public) Encode() []byte {
	return appendList(appendList(nil, keyEntries(p.Sign)), keyEntries(p.Receive))
}

// DecodePublic reads exactly one Public. Its keys are well-formed: see
// checkEd25519 and checkXWing. Errors are ErrMalformed; a list without any
// algorithm known to this code is ErrAlgorithm.
func DecodePublic(b []byte) (Public, error) {
	sign, rest, err := cutList(b)
	if err != nil {
		return Public{}, fmt.Errorf("signing keys: %w", err)
	}
	receive, rest, err := cutList(rest)
	if err != nil {
		return Public{}, fmt.Errorf("receiving keys: %w", err)
	}
	if len(rest) != 0 {
		return Public{}, fmt.Errorf("%w: %d bytes follow the lists", ErrMalformed, len(rest))
	}
	p := Public{Sign: entryKeys(sign), Receive: entryKeys(receive)}
	if err := p.Check(); err != nil {
		return Public{}, err
	}
	return p, nil
}

// Check says whether the lists would pass DecodePublic.
func (p Public) Check() error {
	if err := checkSigning(p.Sign); err != nil {
		return err
	}
	return checkReceiving(p.Receive)
}

// Principal is the identity's name in ledgers and wraps: SHA-256 of
// "hushfs/principal" 00 ‖ Encode().
func (p Public) Principal() [32]byte {
	return sha256.Sum256(append([]byte(labelPrincipal), p.Encode()...))
}

// Encode returns the list. It equals what DecodeDeviceKey read.
func (d DeviceKey) Encode() []byte {
	return appendList(nil, keyEntries(d))
}

// DecodeDeviceKey reads exactly one DeviceKey, with the errors of DecodePublic.
func DecodeDeviceKey(b []byte) (DeviceKey, error) {
	sign, rest, err := cutList(b)
	if err != nil {
		return nil, fmt.Errorf("device keys: %w", err)
	}
	if len(rest) != 0 {
		return nil, fmt.Errorf("%w: %d bytes follow the list", ErrMalformed, len(rest))
	}
	d := DeviceKey(entryKeys(sign))
	if err := d.Check(); err != nil {
		return nil, err
	}
	return d, nil
}

// Check says whether the list would pass DecodeDeviceKey.
func (d DeviceKey) Check() error { return checkSigning(d) }

func checkSigning(keys []AlgKey) error {
	return checkKeys("signing keys", keys, AlgEd25519, checkEd25519)
}

func checkReceiving(keys []AlgKey) error {
	return checkKeys("receiving keys", keys, AlgXWing, checkXWing)
}

// checkKeys holds a key list to its rules. Entries of algorithms other than
// known are kept unjudged, but they cannot stand alone.
func checkKeys(what string, keys []AlgKey, known Alg, check func([]byte) error) error {
	if err := checkList(keyEntries(keys)); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	found := false
	for _, k := range keys {
		if k.Alg != known {
			continue
		}
		if err := check(k.Key); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		found = true
	}
	if !found {
		return fmt.Errorf("%s: %w", what, ErrAlgorithm)
	}
	return nil
}

func keyEntries(keys []AlgKey) []entry {
	entries := make([]entry, len(keys))
	for i, k := range keys {
		entries[i] = entry{k.Alg, k.Key}
	}
	return entries
}

func entryKeys(entries []entry) []AlgKey {
	keys := make([]AlgKey, len(entries))
	for i, e := range entries {
		keys[i] = AlgKey{e.alg, e.data}
	}
	return keys
}
