package identity

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/vectortest"
)

func wordsVectors(t *testing.T) (all []vectortest.Vector) {
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
	made := func(name, expect, comment string, box []byte) vectortest.Vector {
		return drawn(name, expect, comment, vectortest.Hex("entropy", entropy), vectortest.Hex("public", pair.PublicKey().Bytes()),
			vectortest.Hex("info", info), vectortest.Hex("key", key.Bytes()), vectortest.Hex("hex", box))
	}
	return []vectortest.Vector{
		made("good", "ok", "a box for words", box),
		made("changed", "box", "one bit of the box", bad),
	}
}

func TestWordsVectors(t *testing.T) {
	for _, v := range vectortest.Read(t, "words") {
		entropy, err := crypt.KeyFromBytes(v.Bytes(t, "entropy"))
		if err != nil {
			t.Fatal(err)
		}
		w, err := NewWordsKey(entropy)
		if err != nil {
			t.Fatal(err)
		}
		if pub := w.Public(); !bytes.Equal(pub[:], v.Bytes(t, "public")) {
			t.Errorf("%s: another public key", v.Name)
		}
		k, err := w.Unwrap(v.Bytes(t, "info"), v.Bytes(t, "hex"))
		v.Check(t, outcomes, err)
		if err == nil && !bytes.Equal(k.Bytes(), v.Bytes(t, "key")) {
			t.Errorf("%s: another key", v.Name)
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
