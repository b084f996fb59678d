package identity

import (
	"bytes"
	"errors"
	"testing"

	"github.com/hushfs/hushfs/crypt/vectortest"
)

func signatureVectors(t *testing.T) (all []vectortest.Vector) {
	dev, other := testDevice(t, 0), testDevice(t, 1)
	key, msg := dev.Public(), []byte("hushfs/test\x00message")
	sig := dev.Sign(msg)[0].Sig
	add := func(name, expect, comment string, key DeviceKey, msg, sig []byte) {
		all = append(all, fixed(name, expect, comment, vectortest.Hex("key", key.Encode()), vectortest.Hex("message", msg), vectortest.Hex("hex", sig)))
	}
	add("good", "ok", "RFC 8032, of the seed 00 01 02 ...", key, msg, list(alg(1, sig)))
	add("good of nothing", "ok", "an empty message", key, nil, list(alg(1, dev.Sign(nil)[0].Sig)))
	add("other key", "signature", "", other.Public(), msg, list(alg(1, sig)))
	add("other message", "signature", "", key, []byte("hushfs/test\x00massage"), list(alg(1, sig)))
	add("zero", "signature", "", key, msg, list(alg(1, make([]byte, 64))))
	add("one more algorithm", "signature", "the key list has one", key, msg, list(alg(1, sig), alg(2, sig)))
	add("other algorithm", "signature", "", key, msg, list(alg(2, sig)))
	more := append(key[:1:1], AlgKey{2, count(0, 32)})
	add("key list with an unknown one", "algorithm", "nothing is judged by it", more, msg, list(alg(1, sig), alg(2, sig)))
	add("unknown one left out", "algorithm", "", more, msg, list(alg(1, sig)))
	add("ed25519 short", "malformed", "63 bytes", key, msg, list(alg(1, sig[:63])))
	add("ed25519 long", "malformed", "65 bytes", key, msg, list(alg(1, append(bytes.Clone(sig), 0))))
	for name, b := range badLists(list(alg(1, sig)), sig) {
		add(name, "malformed", "", key, msg, b)
	}
	// S + L, with L the order of the base point, satisfies the same equation.
	add("S plus the order", "signature", "RFC 8032 demands S < L", key, msg, list(alg(1, addOrder(sig))))
	return all
}

// addOrder adds the order of Ed25519's base point to S.
func addOrder(sig []byte) []byte {
	order := []byte{0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10}
	out, carry := bytes.Clone(sig), 0
	for i, b := range order {
		carry += int(out[32+i]) + int(b)
		out[32+i] = byte(carry)
		carry >>= 8
	}
	return out
}

func TestSignatureVectors(t *testing.T) {
	for _, v := range vectortest.Read(t, "signature") {
		key, err := DecodeDeviceKey(v.Bytes(t, "key"))
		if err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
		b := v.Bytes(t, "hex")
		s, err := DecodeSignature(b)
		if err == nil {
			if !bytes.Equal(s.Encode(), b) {
				t.Errorf("%s: another encoding", v.Name)
			}
			err = key.Verify(v.Bytes(t, "message"), s)
		}
		v.Check(t, outcomes, err)
	}
}

func TestSignAndVerify(t *testing.T) {
	id, dev, msg := New(), NewDevice(), []byte("message")
	if err := id.Public().Verify(msg, id.Sign(msg)); err != nil {
		t.Error(err)
	}
	if err := dev.Public().Verify(msg, dev.Sign(msg)); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"the device's by the identity": id.Public().Verify(msg, dev.Sign(msg)),
		"the identity's by the device": dev.Public().Verify(msg, id.Sign(msg)),
		"no signature":                 id.Public().Verify(msg, nil),
		"an empty entry":               id.Public().Verify(msg, Signature{{}}),
		"twice":                        id.Public().Verify(msg, append(id.Sign(msg), id.Sign(msg)...)),
	} {
		if !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (DeviceKey{}).Verify(msg, nil); !errors.Is(err, ErrMalformed) {
		t.Errorf("no key: %v", err)
	}
}

func TestSignatureBits(t *testing.T) {
	dev, msg := testDevice(t, 5), []byte("message")
	key, b := dev.Public(), dev.Sign(msg).Encode()
	for i := range len(b) * 8 {
		b[i/8] ^= 1 << (i % 8)
		if s, err := DecodeSignature(b); err == nil && key.Verify(msg, s) == nil {
			t.Fatalf("bit %d does not count", i)
		}
		b[i/8] ^= 1 << (i % 8)
	}
	for n := range len(b) {
		if _, err := DecodeSignature(b[:n]); !errors.Is(err, ErrMalformed) {
			t.Fatalf("first %d bytes: %v", n, err)
		}
	}
}

func FuzzDecodeSignature(f *testing.F) {
	for _, v := range vectortest.Read(f, "signature") {
		f.Add(v.Bytes(f, "hex"))
	}
	key := testDevice(f, 9).Public()
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := DecodeSignature(b)
		if err != nil {
			return
		}
		if !bytes.Equal(s.Encode(), b) {
			t.Errorf("%x is not canonical", b)
		}
		if key.Verify([]byte("never signed"), s) == nil {
			t.Errorf("%x is a forgery", b)
		}
	})
}
