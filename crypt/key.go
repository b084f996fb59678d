package crypt

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// KeySize is the length of every key in bytes.
const KeySize = 32

// Key is 32 secret bytes: a root key, an epoch key, or one derived from them.
//
// It cannot be printed, marshalled or compared with == by accident, and its zero
// value is of no use. A copy shares the bytes, so wiping one wipes both. Its
// methods may be called concurrently, but Wipe only after all other uses ended.
type Key struct {
	secret hidden[*secret] // a func, which also makes == a compile error
}

type secret struct {
	bytes [KeySize]byte
	wiped bool
}

// hidden keeps a secret from fmt. In an unexported field fmt cannot call Format, and
// it follows even pointers there when the verb does not fit; of a func it only ever
// shows the address.
type hidden[T any] func() T

func hide[T any](v T) hidden[T] { return func() T { return v } }

// NewKey draws a key.
func NewKey() *Key {
	s := new(secret)
	rand.Read(s.bytes[:]) // never fails since Go 1.24: it ends the program instead
	return &Key{secret: hide(s)}
}

// KeyFromBytes copies b, which must be KeySize bytes long, else ErrMalformed. The
// caller still owns b, and clears it.
func KeyFromBytes(b []byte) (*Key, error) {
	if len(b) != KeySize {
		return nil, ErrMalformed
	}
	return &Key{secret: hide(&secret{bytes: [KeySize]byte(b)})}, nil
}

// Bytes returns a copy of the key, to be sealed and then cleared.
func (k *Key) Bytes() []byte {
	b := *k.use()
	return b[:]
}

// Equal compares in constant time.
func (k *Key) Equal(other *Key) bool {
	return subtle.ConstantTimeCompare(k.use()[:], other.use()[:]) == 1
}

// Wipe overwrites the key. Any later use but Wipe panics, since the alternative is
// to go on with a key of zeros.
func (k *Key) Wipe() {
	s := k.secret()
	clear(s.bytes[:])
	s.wiped = true
}

func (k *Key) use() *[KeySize]byte {
	s := k.secret()
	if s.wiped {
		panic("crypt: key used after Wipe")
	}
	return &s.bytes
}

// Derive returns n bytes that only a holder of k can compute: HKDF-Expand-SHA256
// with k as the pseudorandom key and label ‖ 00 ‖ context as info (RFC 5869,
// section 2.3). Keys are uniform already, so there is no Extract.
//
// A label is a constant "hushfs/<purpose>" with one layout of context, all of
// whose fields have fixed lengths; the 00 keeps a label from being the beginning of
// another. It panics when the label is empty or contains 00, or when n is not
// between 1 and 8160.
func (k *Key) Derive(label string, context []byte, n int) []byte {
	if label == "" || strings.IndexByte(label, 0) >= 0 || n < 1 {
		panic("crypt: impossible label or length")
	}
	out, err := hkdf.Expand(sha256.New, k.use()[:], label+"\x00"+string(context), n)
	if err != nil {
		panic("crypt: " + err.Error()) // n is more than HKDF gives
	}
	return out
}

// Check returns the check value (kcv) of an epoch key, which stands in the ledger.
// It tells nothing about the key, and no other key has it: nothing may be written
// under an epoch key whose check value was not found there.
func (k *Key) Check(v VolumeID, e Epoch) [32]byte {
	context := binary.BigEndian.AppendUint32(v[:], uint32(e))
	return [32]byte(k.Derive("hushfs/epoch-id", context, 32))
}

// String returns "key", as do GoString, Format for every verb, and LogValue.
func (Key) String() string { return "key" }

// GoString returns "key".
func (Key) GoString() string { return "key" }

// Format writes "key" whatever the verb.
func (Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "key") }

// LogValue returns "key".
func (Key) LogValue() slog.Value { return slog.StringValue("key") }

// MarshalText refuses with ErrSecret, and encoding/json with it.
func (Key) MarshalText() ([]byte, error) { return nil, ErrSecret }

// MarshalBinary refuses with ErrSecret, and encoding/gob with it.
func (Key) MarshalBinary() ([]byte, error) { return nil, ErrSecret }
