package identity

import (
	"testing"

	"github.com/hushfs/hushfs/crypt/vectortest"
)

var outcomes = map[string]error{"ok": nil, "malformed": ErrMalformed, "algorithm": ErrAlgorithm,
	"signature": ErrSignature, "box": ErrBox}

func TestVectorFiles(t *testing.T) {
	for kind, made := range map[string][]vectortest.Vector{
		"public":    publicVectors(t),
		"device":    deviceVectors(t),
		"signature": signatureVectors(t),
		"box":       boxVectors(t),
		"words":     wordsVectors(t),
		"principal": principalVectors(),
		"wrapinfo":  wrapInfoVectors(),
	} {
		vectortest.Keep(t, kind, made)
	}
}

// fixed makes a vector that is the same each time. One without a comment has no
// line for it.
func fixed(name, expect, comment string, fields ...vectortest.Field) vectortest.Vector {
	v := vectortest.New(name, expect, comment, fields...)
	if comment == "" {
		v.Fields = fields
	}
	return v
}

// drawn makes a vector that differs each time, so that its file is only opened.
func drawn(name, expect, comment string, fields ...vectortest.Field) vectortest.Vector {
	for i := range fields {
		fields[i].Drawn = true
	}
	return fixed(name, expect, comment, fields...)
}

// count returns n bytes that count up from first.
func count(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

func testIdentity(tb testing.TB, first byte) *Identity {
	tb.Helper()
	id, err := FromSeed(count(first, SeedSize))
	if err != nil {
		tb.Fatal(err)
	}
	return id
}

func testDevice(tb testing.TB, first byte) *Device {
	tb.Helper()
	d, err := DeviceFromSeed(count(first, DeviceSeedSize))
	if err != nil {
		tb.Fatal(err)
	}
	return d
}
