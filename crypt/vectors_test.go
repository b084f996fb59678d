package crypt

import (
	"slices"
	"testing"

	"github.com/hushfs/hushfs/crypt/vectortest"
)

var outcomes = map[string]error{"ok": nil, "forged": ErrForged, "newer": ErrVersion}

func TestVectorFiles(t *testing.T) {
	for kind, made := range map[string][]vectortest.Vector{
		"envelope": envelopeVectors(),
		"large":    largeVectors(),
		"tail":     tailVectors(),
		"frame":    frameVectors(),
		"derive":   deriveVectors(),
		"check":    checkVectors(),
		"local":    localVectors(),
	} {
		vectortest.Keep(t, kind, made)
		if !slices.ContainsFunc(made, func(v vectortest.Vector) bool { return v.Expect == "ok" }) {
			t.Errorf("%s: no good vector", kind)
		}
	}
}

func vectorArray(tb testing.TB, v vectortest.Vector, key string) [32]byte {
	tb.Helper()
	b := v.Bytes(tb, key)
	if len(b) != 32 {
		tb.Fatalf("%s: %s has %d bytes", v.Name, key, len(b))
	}
	return [32]byte(b)
}

func vectorKey(tb testing.TB, v vectortest.Vector) *Key {
	tb.Helper()
	k, err := KeyFromBytes(v.Bytes(tb, "key"))
	if err != nil {
		tb.Fatalf("%s: %v", v.Name, err)
	}
	return k
}

// pattern returns n bytes without a short period.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8*13 + i>>16*29)
	}
	return b
}

// count returns 32 bytes that count up from first.
func count(first byte) (b [32]byte) {
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

func testKey(first byte) *Key {
	b := count(first)
	k, err := KeyFromBytes(b[:])
	if err != nil {
		panic(err)
	}
	return k
}
