package identity

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/hushfs/hushfs/crypt/vectortest"
)

// list writes a list by hand, without the encoder under test. The length of
// each entry is its own.
func list(entries ...[]byte) []byte {
	b := []byte{byte(len(entries))}
	for _, e := range entries {
		n := len(e) - 1
		b = append(b, e[0], byte(n>>8), byte(n))
		b = append(b, e[1:]...)
	}
	return b
}

func alg(n byte, data []byte) []byte { return append([]byte{n}, data...) }

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// lists that are wrong whatever they hold
func badLists(good []byte, key []byte) map[string][]byte {
	return map[string][]byte{
		"empty":            {},
		"no entries":       {0},
		"cut off":          good[:len(good)-1],
		"only a count":     {1},
		"cut in an entry":  {1, 1, 0},
		"one byte more":    append(bytes.Clone(good), 0),
		"twice the same":   list(alg(1, key), alg(1, key)),
		"descending":       list(alg(2, key), alg(1, key)),
		"algorithm zero":   list(alg(0, key), alg(1, key)),
		"empty entry":      list(alg(1, key), alg(2, nil)),
		"too many entries": list(alg(1, key), alg(2, key), alg(3, key), alg(4, key), alg(5, key)),
		"entry too long":   list(alg(1, key), alg(2, make([]byte, MaxEntry+1))),
	}
}

func publicVectors(t *testing.T) (all []vectortest.Vector) {
	p := testIdentity(t, 0).Public()
	sign, receive := p.Sign[0].Key, p.Receive[0].Key
	signing, receiving := list(alg(1, sign)), list(alg(1, receive))

	all = append(all,
		fixed("identity", "ok", "of the seed 00 01 02 ...", vectortest.Hex("seed", count(0, SeedSize)), vectortest.Hex("hex", join(signing, receiving))),
		fixed("more algorithms", "ok", "unknown algorithms beside the known ones",
			vectortest.Hex("hex", join(list(alg(1, sign), alg(2, count(0, 100))), list(alg(1, receive), alg(9, count(0, 7)))))),
		fixed("unknown signing only", "algorithm", "no algorithm of this code", vectortest.Hex("hex", join(list(alg(2, sign)), receiving))),
		fixed("unknown receiving only", "algorithm", "no algorithm of this code", vectortest.Hex("hex", join(signing, list(alg(2, receive))))),
		fixed("one list", "malformed", "the receiving list is missing", vectortest.Hex("hex", signing)),
		fixed("exchanged", "malformed", "the receiving list first", vectortest.Hex("hex", join(receiving, signing))),
		fixed("xwing short", "malformed", "1215 bytes", vectortest.Hex("hex", join(signing, list(alg(1, receive[:XWingSize-1]))))),
		fixed("xwing long", "malformed", "1217 bytes", vectortest.Hex("hex", join(signing, list(alg(1, append(bytes.Clone(receive), 0)))))),
		fixed("xwing zero", "malformed", "Go's parser alone takes it", vectortest.Hex("hex", join(signing, list(alg(1, make([]byte, XWingSize)))))),
	)
	for name, b := range badLists(signing, sign) {
		if name != "one byte more" && name != "cut off" { // there the second list begins
			all = append(all, fixed("signing "+name, "malformed", "", vectortest.Hex("hex", join(b, receiving))))
		}
	}
	for name, b := range badLists(receiving, receive) {
		if len(b) < 3*MaxEntry/2 { // five whole X-Wing keys would make a long file
			all = append(all, fixed("receiving "+name, "malformed", "", vectortest.Hex("hex", join(signing, b))))
		}
	}

	zeroVector := bytes.Clone(receive)
	clear(zeroVector[:1152])
	all = append(all, fixed("mlkem zero vector", "malformed", "the seed and X25519 are good", vectortest.Hex("hex", join(signing, list(alg(1, zeroVector))))))
	beyond := bytes.Clone(receive)
	beyond[0], beyond[1] = 0x01, beyond[1]&0xf0|0x0d // 3329 = 0xd01, the modulus
	all = append(all, fixed("mlkem modulus", "malformed", "a coefficient of 3329", vectortest.Hex("hex", join(signing, list(alg(1, beyond))))))
	for name, u := range badX25519() {
		k := append(bytes.Clone(receive[:1184]), u...)
		all = append(all, fixed("x25519 "+name, "malformed", "", vectortest.Hex("hex", join(signing, list(alg(1, k))))))
	}
	return all
}

func deviceVectors(t *testing.T) (all []vectortest.Vector) {
	key := testDevice(t, 0).Public()[0].Key
	good := list(alg(1, key))
	all = append(all,
		fixed("device", "ok", "of the seed 00 01 02 ...", vectortest.Hex("seed", count(0, DeviceSeedSize)), vectortest.Hex("hex", good)),
		fixed("more algorithms", "ok", "", vectortest.Hex("hex", list(alg(1, key), alg(7, count(1, 1952))))),
		fixed("longest entry", "ok", "", vectortest.Hex("hex", list(alg(1, key), alg(7, make([]byte, MaxEntry))))),
		fixed("unknown only", "algorithm", "", vectortest.Hex("hex", list(alg(2, key)))),
		fixed("ed25519 short", "malformed", "31 bytes; Go's Verify panics on it", vectortest.Hex("hex", list(alg(1, key[:31])))),
		fixed("ed25519 long", "malformed", "33 bytes", vectortest.Hex("hex", list(alg(1, append(bytes.Clone(key), 0))))),
	)
	for name, b := range badLists(good, key) {
		all = append(all, fixed(name, "malformed", "", vectortest.Hex("hex", b)))
	}
	for name, k := range badEd25519() {
		all = append(all, fixed("ed25519 "+name, "malformed", "", vectortest.Hex("hex", list(alg(1, k)))))
	}
	return all
}

func principalVectors() []vectortest.Vector {
	return []vectortest.Vector{fixed("identity", "ok", "SHA-256 of label and encoding, of the seed 00 01 02 ...",
		vectortest.Hex("seed", count(0, SeedSize)),
		vectortest.Hex("hex", func() []byte {
			id, err := FromSeed(count(0, SeedSize))
			if err != nil {
				panic(err)
			}
			sum := sha256.Sum256(join([]byte("hushfs/principal\x00"), id.Public().Encode()))
			return sum[:]
		}()))}
}

func TestPublicVectors(t *testing.T) {
	for _, v := range vectortest.Read(t, "public") {
		b := v.Bytes(t, "hex")
		p, err := DecodePublic(b)
		v.Check(t, outcomes, err)
		if err == nil && !bytes.Equal(p.Encode(), b) {
			t.Errorf("%s: another encoding", v.Name)
		}
		if v.Name == "identity" {
			id, err := FromSeed(v.Bytes(t, "seed"))
			if err != nil || !bytes.Equal(id.Public().Encode(), b) {
				t.Errorf("%s: not of the seed", v.Name)
			}
		}
	}
}

func TestDeviceVectors(t *testing.T) {
	for _, v := range vectortest.Read(t, "device") {
		b := v.Bytes(t, "hex")
		d, err := DecodeDeviceKey(b)
		v.Check(t, outcomes, err)
		if err == nil && !bytes.Equal(d.Encode(), b) {
			t.Errorf("%s: another encoding", v.Name)
		}
		if v.Name == "device" {
			dev, err := DeviceFromSeed(v.Bytes(t, "seed"))
			if err != nil || !bytes.Equal(dev.Public().Encode(), b) {
				t.Errorf("%s: not of the seed", v.Name)
			}
		}
	}
}

func TestPrincipalVectors(t *testing.T) {
	for _, v := range vectortest.Read(t, "principal") {
		id, err := FromSeed(v.Bytes(t, "seed"))
		if err != nil {
			t.Fatal(err)
		}
		if p := id.Public().Principal(); !bytes.Equal(p[:], v.Bytes(t, "hex")) {
			t.Errorf("%s: %x", v.Name, p)
		}
	}
}

func TestPublicCutAnywhere(t *testing.T) {
	b := testIdentity(t, 0).Public().Encode()
	for n := range len(b) {
		if _, err := DecodePublic(b[:n]); !errors.Is(err, ErrMalformed) {
			t.Fatalf("first %d bytes: %v", n, err)
		}
	}
}

// Every bit of a public key counts for the principal, or else is refused.
func TestPublicBits(t *testing.T) {
	p := testIdentity(t, 0).Public()
	b := p.Encode()
	for i := range len(b) * 8 {
		b[i/8] ^= 1 << (i % 8)
		other, err := DecodePublic(b)
		switch {
		case err == nil && other.Principal() == p.Principal():
			t.Fatalf("bit %d does not count", i)
		case err != nil && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrAlgorithm):
			t.Fatalf("bit %d: %v", i, err)
		}
		b[i/8] ^= 1 << (i % 8)
	}
}

// What was made by hand is held to the decoder's rules, too.
func TestKeysMadeByHand(t *testing.T) {
	good := testIdentity(t, 0).Public()
	for name, p := range map[string]Public{
		"zero value":      {},
		"short Ed25519":   {Sign: []AlgKey{{AlgEd25519, make([]byte, 31)}}, Receive: good.Receive},
		"identity point":  {Sign: []AlgKey{{AlgEd25519, append([]byte{1}, make([]byte, 31)...)}}, Receive: good.Receive},
		"no receiving":    {Sign: good.Sign},
		"zero X-Wing":     {Sign: good.Sign, Receive: []AlgKey{{AlgXWing, make([]byte, XWingSize)}}},
		"twice the same":  {Sign: append(good.Sign[:1:1], good.Sign[0]), Receive: good.Receive},
		"short X-Wing":    {Sign: good.Sign, Receive: []AlgKey{{AlgXWing, make([]byte, 32)}}},
		"algorithm twice": {Sign: good.Sign, Receive: append(good.Receive[:1:1], good.Receive[0])},
	} {
		if err := p.Check(); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	if err := testDevice(t, 0).Public().Check(); err != nil {
		t.Error(err)
	}
}

func FuzzDecodePublic(f *testing.F) {
	for _, v := range vectortest.Read(f, "public") {
		f.Add(v.Bytes(f, "hex"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := DecodePublic(b); err == nil && !bytes.Equal(p.Encode(), b) {
			t.Errorf("%x is not canonical", b)
		}
	})
}

func FuzzDecodeDeviceKey(f *testing.F) {
	for _, v := range vectortest.Read(f, "device") {
		f.Add(v.Bytes(f, "hex"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := DecodeDeviceKey(b)
		if err == nil && !bytes.Equal(d.Encode(), b) {
			t.Errorf("%x is not canonical", b)
		}
		if err == nil && d.Verify(b, Signature{{AlgEd25519, make([]byte, 64)}}) == nil {
			t.Errorf("%x takes zeros for a signature", b)
		}
	})
}
