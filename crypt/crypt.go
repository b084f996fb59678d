// Package crypt seals and opens one object of a volume.
//
// An object is a row of sealed segments followed by a tail. The tail names the
// object, for it holds the hash of every segment: whoever knows the name from
// signed metadata can check any byte that a store returns, and so can tell the
// work of a writer from that of a reader who merely holds the same key. AES-GCM
// alone could not, nor does it commit to its key; the tail's commitment does.
//
// Every object has a key of its own, derived from the epoch key and a salt that
// NewSealer draws. Nonces are counters under that key, so nothing may ever be
// sealed twice under one salt, and a Sealer works once. There is no way to choose
// a salt, to append to an object or to change it.
//
// All failures to open are the one error ErrForged: what exactly was wrong would
// help only him who tries. The package knows nothing of slots, files or stores,
// keeps no state, and invents no primitive: AES-256-GCM (NIST SP 800-38D),
// HKDF-Expand with SHA-256 (RFC 5869), Padmé (PETS 2019, "Reducing Metadata
// Leakage from Encrypted Files and Communication with PURBs").
//
// Layout: docs/format.md, "Envelope".
package crypt

import (
	"encoding/hex"
	"fmt"
)

// Type says what an object is. It is derived into the object's key and stands in
// every nonce, so that no object can pass for one of another type.
type Type uint8

// The types of objects. The numbers are part of the format.
const (
	TypePack     Type = 1 // file bytes; raw
	TypeCommit   Type = 2 // one slot of the chain
	TypeLedger   Type = 3 // who may do what
	TypeHint     Type = 4 // sealed part of a hint
	TypeManifest Type = 5 // list of tables
	TypeTable    Type = 6 // sorted metadata; raw
	TypeBundle   Type = 7 // hashes of trimmed commits
)

var typeNames = [...]string{
	TypePack: "pack", TypeCommit: "commit", TypeLedger: "ledger", TypeHint: "hint",
	TypeManifest: "manifest", TypeTable: "table", TypeBundle: "bundle",
}

func (t Type) known() bool { return t >= TypePack && t <= TypeBundle }

// framed tells whether the content carries its own length. Packs and tables do
// not: their length stands in signed metadata, and bytes in them are addressed by
// offset, which a prefix would shift across segments.
func (t Type) framed() bool { return t != TypePack && t != TypeTable }

// String returns the word of docs/format.md for the type.
func (t Type) String() string {
	if t.known() {
		return typeNames[t]
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// Epoch numbers the generations of a volume's key, from 1.
type Epoch uint32

// VolumeID is the hash of what made a volume: docs/format.md, "Ledger".
type VolumeID [32]byte

// String returns 64 lower-case hexadecimal digits.
func (v VolumeID) String() string { return hex.EncodeToString(v[:]) }

// ParseVolumeID is the inverse of String; anything else is ErrMalformed.
func ParseVolumeID(s string) (VolumeID, error) { return parseHex(s) }

// Name is SHA-256 over the label "hushfs/name" 00 and an object's tail. It stands
// in signed metadata and in the object's place in the bucket.
type Name [32]byte

// String returns 64 lower-case hexadecimal digits.
func (n Name) String() string { return hex.EncodeToString(n[:]) }

// ParseName is the inverse of String; anything else is ErrMalformed.
func ParseName(s string) (Name, error) { return parseHex(s) }

// parseHex accepts lower case only: two spellings of a name would be two objects.
func parseHex(s string) (b [32]byte, err error) {
	if len(s) != 2*len(b) {
		return b, ErrMalformed
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return b, ErrMalformed
		}
	}
	if _, err := hex.Decode(b[:], []byte(s)); err != nil {
		return [32]byte{}, ErrMalformed
	}
	return b, nil
}
