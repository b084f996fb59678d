package crypt

import (
	"bytes"
	"errors"
	"testing"

	"github.com/hushfs/hushfs/crypt/vectortest"
)

func localVectors() (all []vectortest.Vector) {
	const label = "hushfs/test"
	key, context, ad := count(0), []byte("cache 1"), []byte("key of a value")
	nonce := pattern(12)
	aead := gcm(expand(key[:], join([]byte(label), []byte{0}, context), 32))
	sealed := join(nonce, aead.Seal(nil, nonce, []byte("value"), ad))
	add := func(name, expect, comment string, plain, context, ad, sealed []byte) {
		v := vectortest.New(name, expect, comment)
		v.Add("key", key[:])
		v.Add("label", []byte(label))
		v.Add("context", context)
		v.Add("ad", ad)
		if expect == "ok" {
			v.Add("content", plain)
		}
		v.Add("hex", sealed)
		all = append(all, v)
	}
	add("value", "ok", "nonce 12, ciphertext, tag 16", []byte("value"), context, ad, sealed)
	add("empty", "ok", "nothing but a nonce and a tag", nil, context, nil, join(nonce, aead.Seal(nil, nonce, nil, nil)))
	add("no-tag", "forged", "a whole tag is missing", nil, context, ad, sealed[:len(sealed)-16])
	add("too-short", "forged", "shorter than nonce and tag", nil, context, ad, sealed[:27])
	add("nothing", "forged", "no bytes", nil, context, ad, nil)
	add("other-ad", "forged", "the value of another key", nil, context, []byte("key of b value"), sealed)
	add("other-context", "forged", "the value of another cache", nil, []byte("cache 2"), ad, sealed)
	return all
}

func TestLocalVectors(t *testing.T) {
	for _, v := range vectortest.Read(t, "local") {
		l := NewLocal(vectorKey(t, v), string(v.Bytes(t, "label")), v.Bytes(t, "context"))
		got, err := l.Open([]byte("before"), v.Bytes(t, "hex"), v.Bytes(t, "ad"))
		v.Check(t, outcomes, err)
		if err == nil && !bytes.Equal(got, append([]byte("before"), v.Bytes(t, "content")...)) {
			t.Errorf("%s: got %q", v.Name, got)
		}
	}
}

func TestLocal(t *testing.T) {
	l := NewLocal(testKey(0), "hushfs/test", nil)
	ad := []byte("ad")
	for _, n := range []int{0, 1, 15, 16, 17, 4096, 300000} {
		plain := pattern(n)
		dst := append(make([]byte, 0, 64), "before"...)
		sealed := l.Seal(dst, plain, ad)
		if string(sealed[:6]) != "before" || len(sealed) != 6+n+LocalOverhead {
			t.Fatalf("%d bytes: %d sealed", n, len(sealed))
		}
		sealed = sealed[6:]
		if bytes.Equal(sealed[:12], l.Seal(nil, plain, ad)[:12]) {
			t.Errorf("%d bytes: a nonce came twice", n)
		}
		if got, err := l.Open(nil, sealed, ad); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}

	sealed := l.Seal(nil, pattern(40), ad)
	for bit := range 8 * len(sealed) {
		sealed[bit/8] ^= 1 << (bit % 8)
		if got, err := l.Open(nil, sealed, ad); !errors.Is(err, ErrForged) || got != nil {
			t.Fatalf("bit %d flipped: %v", bit, err)
		}
		sealed[bit/8] ^= 1 << (bit % 8)
	}
	for n := range sealed {
		if _, err := l.Open(nil, sealed[:n], ad); !errors.Is(err, ErrForged) {
			t.Fatalf("cut to %d: %v", n, err)
		}
	}
	for name, other := range map[string]*Local{
		"key":     NewLocal(testKey(1), "hushfs/test", nil),
		"label":   NewLocal(testKey(0), "hushfs/test2", nil),
		"context": NewLocal(testKey(0), "hushfs/test", []byte{0}),
	} {
		if _, err := other.Open(nil, sealed, ad); !errors.Is(err, ErrForged) {
			t.Errorf("other %s: %v", name, err)
		}
	}
}

func FuzzLocalOpen(f *testing.F) {
	l := NewLocal(testKey(0), "hushfs/test", []byte("cache 1"))
	for _, v := range vectortest.Read(f, "local") {
		f.Add(v.Bytes(f, "hex"), v.Bytes(f, "ad"))
	}
	f.Fuzz(func(t *testing.T, sealed, ad []byte) {
		plain, err := l.Open(nil, sealed, ad)
		if err != nil {
			return
		}
		// GCM is deterministic once the nonce is given: what opens is canonical.
		aead := gcm(expand(testKey(0).Bytes(), []byte("hushfs/test\x00cache 1"), 32))
		if again := join(sealed[:12], aead.Seal(nil, sealed[:12], plain, ad)); !bytes.Equal(again, sealed) {
			t.Errorf("%x is not canonical", sealed)
		}
	})
}
