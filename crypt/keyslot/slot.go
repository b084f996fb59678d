package keyslot

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hushfs/hushfs/crypt"
)

// Types of slots. 3 is kept for age recipients.
const (
	TypePassphrase = 1
	TypeWords      = 2
)

const (
	MaxLabel = 64 // bytes of a label

	maxSlot  = 8192 // bytes of a slot without its length
	maxBody  = maxSlot - slotHead - MaxLabel
	slotHead = 1 + 8 + 1

	commitmentSize = 32
	wrappedSize    = crypt.KeySize + 16
	tailSize       = commitmentSize + wrappedSize // end of the body of both types

	labelSlot = "hushfs/slot"
)

// Slot wraps the root key for one secret. Type, Created and Label stand in
// clear for everyone with access to the bucket.
type Slot struct {
	Type    uint8
	Created int64  // seconds since 1970, UTC
	Label   string // UTF-8 without control characters, at most MaxLabel bytes
	Body    []byte // layout by type; of an unknown type kept as it is
}

// encode is type u8, created i64, label length u8, label, body.
func (s Slot) encode() []byte { return append(s.head(), s.Body...) }

func (s Slot) head() []byte {
	b := []byte{s.Type}
	b = binary.BigEndian.AppendUint64(b, uint64(s.Created))
	b = append(b, byte(len(s.Label)))
	return append(b, s.Label...)
}

func decodeSlot(b []byte) (Slot, error) {
	r := reader{b: b}
	s := Slot{Type: r.u8(), Created: int64(r.u64())}
	s.Label = string(r.cut(int(r.u8())))
	if r.failed {
		return Slot{}, fmt.Errorf("%w: slot is cut off", ErrHeader)
	}
	s.Body = r.bytes(len(r.b))
	return s, s.check()
}

func (s Slot) check() error {
	if err := checkText(s.Label); err != nil {
		return fmt.Errorf("label: %w", err)
	}
	if len(s.Body) > maxBody {
		return fmt.Errorf("%w: slot is too long", ErrHeader)
	}
	switch {
	case s.Type == 0,
		s.Type == TypePassphrase && len(s.Body) != passphraseSize+tailSize,
		s.Type == TypeWords && len(s.Body) != wordsSize+tailSize:
		return fmt.Errorf("%w: slot of type %d has %d bytes", ErrHeader, s.Type, len(s.Body))
	}
	return nil
}

// checkText accepts what is shown to people: short UTF-8, no control
// characters, which would reach a terminal.
func checkText(s string) error {
	if len(s) > MaxLabel || !utf8.ValidString(s) {
		return fmt.Errorf("%w: text is too long or not UTF-8", ErrHeader)
	}
	for _, r := range s {
		if unicode.IsControl(r) {
			return fmt.Errorf("%w: control character in a text", ErrHeader)
		}
	}
	return nil
}

// newSlot is a slot with its body up to the commitment still to come.
func newSlot(kind uint8, label string, now time.Time) (Slot, error) {
	s := Slot{Type: kind, Created: now.Unix(), Label: label}
	if err := checkText(label); err != nil {
		return Slot{}, fmt.Errorf("label: %w", err)
	}
	return s, nil
}

// finish appends commitment 32 and wrapped root 48 to a body whose fields
// before them are complete.
func (s *Slot) finish(secret, root *crypt.Key, drive [32]byte) {
	aead, commitment := s.key(secret, drive, s.Body)
	plain := root.Bytes()
	defer clear(plain)
	s.Body = append(s.Body, commitment...)
	s.Body = aead.Seal(s.Body, make([]byte, aead.NonceSize()), plain, nil)
}

// open returns the root, or nil when secret is not the slot's. The commitment
// is compared first: GCM alone would open under keys that the maker of a slot
// prepared, and so tell him which of many passphrases was typed.
func (s Slot) open(secret *crypt.Key, drive [32]byte) *crypt.Key {
	fields, tail := s.Body[:len(s.Body)-tailSize], s.Body[len(s.Body)-tailSize:]
	aead, commitment := s.key(secret, drive, fields)
	if subtle.ConstantTimeCompare(commitment, tail[:commitmentSize]) != 1 {
		return nil
	}
	plain, err := aead.Open(nil, make([]byte, aead.NonceSize()), tail[commitmentSize:], nil)
	if err != nil {
		return nil
	}
	defer clear(plain)
	root, err := crypt.KeyFromBytes(plain)
	if err != nil {
		return nil
	}
	return root
}

// key derives key ‖ commitment, 32 bytes each, bound to the drive and to all
// fields of the slot before the commitment. These contain fresh randomness, so
// the key seals once, and its nonce is zero.
func (s Slot) key(secret *crypt.Key, drive [32]byte, fields []byte) (cipher.AEAD, []byte) {
	both := secret.Derive(labelSlot, s.context(drive, fields), crypt.KeySize+commitmentSize)
	defer clear(both[:crypt.KeySize])
	block, err := aes.NewCipher(both[:crypt.KeySize])
	if err != nil {
		panic("keyslot: " + err.Error()) // the key has 32 bytes
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("keyslot: " + err.Error()) // the block has 16 bytes
	}
	return aead, both[crypt.KeySize:]
}

// context is drive 32 ‖ SHA-256(slot from its type to the end of fields).
func (s Slot) context(drive [32]byte, fields []byte) []byte {
	sum := sha256.Sum256(append(s.head(), fields...))
	return append(drive[:], sum[:]...)
}
