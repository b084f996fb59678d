package keyslot

import (
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/crypt/vectortest"
)

var outcomes = map[string]error{"ok": nil, "header": ErrHeader, "newer": ErrNewer, "passphrase": ErrPassphrase,
	"words": ErrWords, "kdf": ErrKDF, "drive": ErrDrive}

func TestVectorFiles(t *testing.T) {
	for kind, made := range map[string][]vectortest.Vector{
		"header":   headerVectors(t),
		"keyring":  keyringVectors(t),
		"words":    wordsVectors(),
		"recovery": recoveryVectors(),
		"drive":    driveVectors(),
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

func array(first byte) [32]byte { return [32]byte(count(first, 32)) }

func testKey(tb testing.TB, first byte) *crypt.Key {
	tb.Helper()
	k, err := crypt.KeyFromBytes(count(first, 32))
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func testIdentity(tb testing.TB, first byte) *identity.Identity {
	tb.Helper()
	id, err := identity.FromSeed(count(first, identity.SeedSize))
	if err != nil {
		tb.Fatal(err)
	}
	return id
}

func testWords(tb testing.TB, first byte) *identity.WordsKey {
	tb.Helper()
	w, err := identity.NewWordsKey(testKey(tb, first))
	if err != nil {
		tb.Fatal(err)
	}
	return w
}
