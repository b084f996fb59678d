package identity

import (
	"bytes"
	"errors"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/vectortest"
)

func testKey(tb testing.TB, first byte) *crypt.Key {
	tb.Helper()
	k, err := crypt.KeyFromBytes(count(first, 32))
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func testInfo() []byte {
	return WrapInfo(crypt.VolumeID(count(0x10, 32)), 7, [32]byte(count(0x30, 32)), [32]byte(count(0x50, 32)))
}

func boxVectors(t *testing.T) (all []vectortest.Vector) {
	key, seed, info := testKey(t, 0x80), count(0, SeedSize), testInfo()
	id := testIdentity(t, 0)
	box, err := Wrap(id.Public(), info, key)
	if err != nil {
		t.Fatal(err)
	}
	filler, err := RandomBox(info)
	if err != nil {
		t.Fatal(err)
	}
	add := func(name, expect, comment string, seed, info, box []byte) {
		all = append(all, drawn(name, expect, comment, vectortest.Hex("seed", seed),
			vectortest.Hex("info", info), vectortest.Hex("key", key.Bytes()), vectortest.Hex("hex", box)))
	}
	flipped := func(i int) []byte { b := bytes.Clone(box); b[i] ^= 1; return b }
	otherInfo := bytes.Clone(info)
	otherInfo[len(otherInfo)-1] ^= 1
	add("good", "ok", "HPKE base, X-Wing, HKDF-SHA256, AES-256-GCM", seed, info, box)
	add("other recipient", "box", "", count(1, SeedSize), info, box)
	add("other check value", "box", "the last byte of info differs", seed, otherInfo, box)
	add("no info", "box", "", seed, nil, box)
	add("mlkem ciphertext", "box", "first byte changed", seed, info, flipped(0))
	add("x25519 share", "box", "changed", seed, info, flipped(1088))
	add("sealed key", "box", "changed", seed, info, flipped(1120))
	add("tag", "box", "last byte changed", seed, info, flipped(BoxSize-1))
	add("short", "box", "", seed, info, box[:BoxSize-1])
	add("long", "box", "", seed, info, append(bytes.Clone(box), 0))
	add("empty", "box", "", seed, info, nil)
	add("zero share", "box", "X25519 part of zeros", seed, info, join(box[:1088], make([]byte, 32), box[1120:]))
	add("random box", "box", "a filler, for nobody", seed, info, filler)
	return all
}

func wrapInfoVectors() []vectortest.Vector {
	return []vectortest.Vector{fixed("epoch 7", "ok", "label, volume, epoch, principal, kcv",
		vectortest.Hex("volume", count(0x10, 32)), vectortest.Hex("principal", count(0x30, 32)), vectortest.Hex("kcv", count(0x50, 32)),
		vectortest.Hex("hex", join([]byte("hushfs/wrap\x00"), count(0x10, 32), []byte{0, 0, 0, 7}, count(0x30, 32), count(0x50, 32))))}
}

func TestWrapInfoVectors(t *testing.T) {
	for _, v := range vectortest.Read(t, "wrapinfo") {
		got := WrapInfo(crypt.VolumeID(v.Bytes(t, "volume")), 7, [32]byte(v.Bytes(t, "principal")), [32]byte(v.Bytes(t, "kcv")))
		if !bytes.Equal(got, v.Bytes(t, "hex")) {
			t.Errorf("%s: %x", v.Name, got)
		}
	}
}

func TestBoxVectors(t *testing.T) {
	for _, v := range vectortest.Read(t, "box") {
		id, err := FromSeed(v.Bytes(t, "seed"))
		if err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
		k, err := id.Unwrap(v.Bytes(t, "info"), v.Bytes(t, "hex"))
		v.Check(t, outcomes, err)
		if err == nil && !bytes.Equal(k.Bytes(), v.Bytes(t, "key")) {
			t.Errorf("%s: another key", v.Name)
		}
	}
}

func TestWrap(t *testing.T) {
	id, info, key := New(), testInfo(), crypt.NewKey()
	var boxes [][]byte
	for range 2 {
		box, err := Wrap(id.Public(), info, key)
		if err != nil {
			t.Fatal(err)
		}
		if len(box) != BoxSize {
			t.Errorf("%d bytes", len(box))
		}
		if k, err := id.Unwrap(info, box); err != nil || !k.Equal(key) {
			t.Errorf("does not open: %v", err)
		}
		boxes = append(boxes, box)
	}
	if bytes.Equal(boxes[0], boxes[1]) {
		t.Error("two boxes of one key are the same")
	}
	filler, err := RandomBox(info)
	if err != nil || len(filler) != BoxSize {
		t.Errorf("filler of %d bytes: %v", len(filler), err)
	}
	if _, err := id.Unwrap(info, filler); !errors.Is(err, ErrBox) {
		t.Errorf("filler: %v", err)
	}
	if _, err := Wrap(Public{}, info, key); !errors.Is(err, ErrMalformed) {
		t.Errorf("no recipient: %v", err)
	}
	// A receiving algorithm of the future does not keep us from wrapping.
	p := id.Public()
	p.Receive = append(p.Receive, AlgKey{2, []byte("later")})
	box, err := Wrap(p, info, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := id.Unwrap(info, box); err != nil {
		t.Error(err)
	}
}

func TestBoxBits(t *testing.T) {
	id, info := testIdentity(t, 0), testInfo()
	box, err := Wrap(id.Public(), info, testKey(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(box) * 8 {
		// The high bit of the X25519 share is not used by X25519, and yet it
		// must count: X-Wing hashes the share.
		box[i/8] ^= 1 << (i % 8)
		if _, err := id.Unwrap(info, box); !errors.Is(err, ErrBox) {
			t.Fatalf("bit %d: %v", i, err)
		}
		box[i/8] ^= 1 << (i % 8)
	}
	for n := range len(box) {
		if _, err := id.Unwrap(info, box[:n]); !errors.Is(err, ErrBox) {
			t.Fatalf("first %d bytes: %v", n, err)
		}
	}
	for i := range len(info) * 8 {
		info[i/8] ^= 1 << (i % 8)
		if _, err := id.Unwrap(info, box); !errors.Is(err, ErrBox) {
			t.Fatalf("bit %d of info: %v", i, err)
		}
		info[i/8] ^= 1 << (i % 8)
	}
}

func FuzzUnwrap(f *testing.F) {
	for _, v := range vectortest.Read(f, "box") {
		f.Add(v.Bytes(f, "info"), v.Bytes(f, "hex"))
	}
	id := testIdentity(f, 0)
	good := map[string]bool{}
	for _, v := range vectortest.Read(f, "box") {
		if v.Expect == "ok" {
			good[string(v.Bytes(f, "info"))+string(v.Bytes(f, "hex"))] = true
		}
	}
	f.Fuzz(func(t *testing.T, info, box []byte) {
		// Base mode lets anybody make boxes, but no fuzzer stumbles over one.
		if _, err := id.Unwrap(info, box); err == nil && !good[string(info)+string(box)] {
			t.Errorf("%x opens", box)
		}
	})
}

func BenchmarkWrap(b *testing.B) {
	p, info, key := New().Public(), testInfo(), crypt.NewKey()
	for b.Loop() {
		if _, err := Wrap(p, info, key); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnwrap(b *testing.B) {
	id, info := New(), testInfo()
	box, err := Wrap(id.Public(), info, crypt.NewKey())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := id.Unwrap(info, box); err != nil {
			b.Fatal(err)
		}
	}
}
