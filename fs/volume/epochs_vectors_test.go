package volume

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/vectortest"
)

// epochKeyVectors are files of keys beside a journal. Their nonces are random.
func epochKeyVectors(t *testing.T) (all []vectortest.Vector) {
	secret, err := crypt.KeyFromBytes(bytes.Repeat([]byte{7}, 32))
	noError(t, err)
	keyOf := func(b byte) *crypt.Key {
		k, err := crypt.KeyFromBytes(bytes.Repeat([]byte{b}, 32))
		noError(t, err)
		return k
	}
	id := [16]byte{1, 2, 3}
	sealed := func(plain []byte) []byte {
		return crypt.NewLocal(secret, "hushfs/epoch-keys", id[:]).Seal([]byte(keysMagic), plain, []byte(keysMagic))
	}
	add := func(name, expect, comment string, id [16]byte, b []byte) {
		file := vectortest.Line("hex", b)
		file.Drawn = true
		all = append(all, vectortest.New(name, expect, comment,
			vectortest.Line("secret", bytes.Repeat([]byte{7}, 32)), vectortest.Line("journal", id[:]), file))
	}
	two := encodeEpochKeys([]epochKey{{1, keyOf(5)}, {2, keyOf(6)}})
	whole := sealed(two)
	flipped := func(at int) []byte {
		b := slices.Clone(whole)
		b[at] ^= 1
		return b
	}
	add("keys", "ok", "05.. of epoch 1, 06.. of epoch 2", id, whole)
	add("none", "ok", "of no epoch", id, sealed(nil))
	add("journal", "none", "of another journal", [16]byte{}, whole)
	add("magic", "none", "first byte changed", id, flipped(0))
	add("sealed", "none", "last byte changed", id, flipped(len(whole)-1))
	add("short", "none", "a key without its last byte", id, sealed(two[:len(two)-1]))
	add("long", "none", "a byte behind the last key", id, sealed(append(slices.Clone(two), 0)))
	add("empty", "none", "", id, nil)
	return all
}

func TestVectorFiles(t *testing.T) { vectortest.Keep(t, "keys", epochKeyVectors(t)) }

func TestEpochKeyVectors(t *testing.T) {
	for _, v := range vectortest.Read(t, "keys") {
		secret, err := crypt.KeyFromBytes(v.Bytes(t, "secret"))
		noError(t, err)
		dir := t.TempDir()
		noError(t, os.WriteFile(filepath.Join(dir, keysFile), v.Bytes(t, "hex"), 0o600))
		k, err := openEpochKeys(dir, secret, [16]byte(v.Bytes(t, "journal")))
		v.Check(t, map[string]error{"ok": nil, "none": errKeys}, err)
		var got []string
		for _, e := range k.kept {
			got = append(got, hex.EncodeToString(encodeEpochKeys([]epochKey{e})[:5]))
		}
		if want := map[string]string{"keys": "0000000105 0000000206"}[v.Name]; strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %q", v.Name, got, want)
		}
	}
}
