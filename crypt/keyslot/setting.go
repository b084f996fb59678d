package keyslot

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
)

// KV is a setting of the drive. The value may be a secret, such as the
// bucket's.
type KV struct {
	Key   string // 1 to 64 bytes, as a slot's label
	Value Value  // at most 16 KiB
}

// Value is the value of a setting. It cannot be printed, marshalled or compared
// with ==. The zero value is empty; copies share the bytes, so wiping one wipes
// all.
type Value struct {
	_ [0]func()
	// A closure, since fmt and reflection see no bytes in one. A pointer would
	// be followed where fmt cannot call Format: in an unexported field, for %s.
	get func() []byte
}

// NewValue copies b.
func NewValue(b []byte) Value {
	b = bytes.Clone(b)
	return Value{get: func() []byte { return b }}
}

// Bytes returns a copy.
func (v Value) Bytes() []byte { return bytes.Clone(v.use()) }

// Wipe overwrites the bytes with zeros.
func (v Value) Wipe() { clear(v.use()) }

func (v Value) use() []byte {
	if v.get == nil {
		return nil
	}
	return v.get()
}

// String returns "setting", as do GoString, Format for every verb, and LogValue.
func (Value) String() string { return "setting" }

// GoString returns "setting".
func (Value) GoString() string { return "setting" }

// Format writes "setting" whatever the verb.
func (Value) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "setting") }

// LogValue returns "setting".
func (Value) LogValue() slog.Value { return slog.StringValue("setting") }

// MarshalText refuses with ErrSecret, and encoding/json with it.
func (Value) MarshalText() ([]byte, error) { return nil, ErrSecret }

// MarshalBinary refuses with ErrSecret, and encoding/gob with it.
func (Value) MarshalBinary() ([]byte, error) { return nil, ErrSecret }
