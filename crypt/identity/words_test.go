package identity

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/hushfs/hushfs/crypt"
)

func wordsVectors(t *testing.T) (all []made) {
	entropy, info, key := count(0x40, 32), []byte("hushfs/test\x00"), testKey(t, 0x80)
	// The derivation, with the standard library alone.
	ikm, err := hkdf.Expand(sha256.New, entropy, "hushfs/words\x00", 32)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := hpke.MLKEM768X25519().DeriveKeyPair(ikm)
	if err != nil {
		t.Fatal(err)
	}
	box, err := hpke.Seal(pair.PublicKey(), hpke.HKDFSHA256(), hpke.AES256GCM(), info, key.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	bad := bytes.Clone(box)
	bad[200] ^= 4
	pub := in("public", pair.PublicKey().Bytes())
	return []made{
		drawn("good", "ok", "a box for words", in("entropy", entropy), pub, in("info", info), in("key", key.Bytes()), in("hex", box)),
		drawn("changed", "box", "one bit of the box", in("entropy", entropy), pub, in("info", info), in("key", key.Bytes()), in("hex", bad)),
	}
}

func TestWordsVectors(t *testing.T) {
	for _, v := range vectors(t, "words") {
		entropy, err := crypt.KeyFromBytes(v.bytes(t, "entropy"))
		if err != nil {
			t.Fatal(err)
		}
		w, err := NewWordsKey(entropy)
		if err != nil {
			t.Fatal(err)
		}
		if pub := w.Public(); !bytes.Equal(pub[:], v.bytes(t, "public")) {
			t.Errorf("%s: another public key", v.name)
		}
		k, err := w.Unwrap(v.bytes(t, "info"), v.bytes(t, "hex"))
		v.check(t, err)
		if err == nil && !bytes.Equal(k.Bytes(), v.bytes(t, "key")) {
			t.Errorf("%s: another key", v.name)
		}
	}
}

func TestWords(t *testing.T) {
	w, err := NewWordsKey(crypt.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	pub := w.Public()
	if got, err := DecodeWordsPublic(pub[:]); err != nil || got != pub {
		t.Errorf("public half: %v", err)
	}
	key, info := crypt.NewKey(), []byte("info")
	box, err := WrapWords(pub, info, key)
	if err != nil {
		t.Fatal(err)
	}
	if k, err := w.Unwrap(info, box); err != nil || !k.Equal(key) {
		t.Errorf("does not open: %v", err)
	}
	if _, err := w.Unwrap([]byte("other"), box); !errors.Is(err, ErrBox) {
		t.Errorf("other info: %v", err)
	}
	other, err := NewWordsKey(crypt.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Unwrap(info, box); !errors.Is(err, ErrBox) {
		t.Errorf("other words: %v", err)
	}
	if _, err := WrapWords(WordsPublic{}, info, key); !errors.Is(err, ErrMalformed) {
		t.Errorf("zero key: %v", err)
	}
	if _, err := DecodeWordsPublic(pub[1:]); !errors.Is(err, ErrMalformed) {
		t.Errorf("short key: %v", err)
	}
}
