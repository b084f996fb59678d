package keyslot

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hushfs/hushfs/crypt/vectortest"
	"golang.org/x/crypto/argon2"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
)

const freeRAM = 1 << 30 // of the machine that the tests pretend

var (
	fast     = Params{MemoryKiB: 19 << 10, Passes: 2, Lanes: 1} // the least that Check lets through
	testPass = []byte("correct horse")
	testTime = time.Unix(1_750_000_000, 0)
)

func testKeyring(tb testing.TB) *Keyring {
	words := testWords(tb, 0x70).Public()
	id := testIdentity(tb, 0x10)
	return &Keyring{
		Identity: id,
		Volumes: []VolumeEntry{
			{ID: array(0x90), Kind: KindMain, MinSlot: 17, MinCommit: array(1), MinLedger: array(2)},
			{ID: array(0x20), Kind: 2},
		},
		Words:     &words,
		Previous:  []*crypt.Key{testKey(tb, 0xa0), testKey(tb, 0xb0)},
		DriveName: "home",
		Settings:  []KV{{"b", NewValue([]byte("2"))}, {"a", Value{}}},
	}
}

func testDrive(tb testing.TB) [32]byte {
	return DriveID(testIdentity(tb, 0x10).Public(), crypt.VolumeID(array(0x90)))
}

// testHeader is a header of the test keyring with these slots.
func testHeader(tb testing.TB, counter uint64, slots ...Slot) *Header {
	tb.Helper()
	root, drive := testKey(tb, 0x50), testDrive(tb)
	keyring, err := SealKeyring(root, drive, counter, testKeyring(tb))
	if err != nil {
		tb.Fatal(err)
	}
	h, err := New(root, drive, counter, slots, keyring)
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

func passphraseSlot(tb testing.TB, pass []byte) Slot {
	tb.Helper()
	s, err := NewPassphrase(testKey(tb, 0x50), testDrive(tb), pass, fast, "passphrase", testTime)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func wordsSlot(tb testing.TB) Slot {
	tb.Helper()
	s, err := NewWords(testKey(tb, 0x50), testDrive(tb), testWords(tb, 0x70).Public(), "words", testTime)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// Offsets in a header: docs/format.md, "Drive header".
const (
	atDrive     = 8
	atCounter   = 40
	atSlotCount = 48
	atSlots     = 49
)

func headerVectors(t *testing.T) (all []vectortest.Vector) {
	root, pass, words := testKey(t, 0x50), passphraseSlot(t, testPass), wordsSlot(t)
	other := Slot{Type: 3, Created: -1, Label: "later", Body: []byte("not for this version")}
	add := func(name, expect, comment string, b []byte) {
		all = append(all, drawn(name, expect, comment, vectortest.Hex("passphrase", testPass), vectortest.Hex("entropy", count(0x70, 32)),
			vectortest.Hex("root", root.Bytes()), vectortest.Hex("hex", b)))
	}
	both := testHeader(t, 3, pass, words, other)
	b := both.Encode()
	add("passphrase", "ok", "one slot", testHeader(t, 0, pass).Encode())
	add("words", "ok", "one slot", testHeader(t, 1, words).Encode())
	add("both", "ok", "and a slot of an unknown type, which is kept and skipped", b)
	add("label of 64 bytes", "ok", "", func() []byte {
		s, err := NewWords(root, testDrive(t), testWords(t, 0x70).Public(), strings.Repeat("ä", 32), testTime)
		if err != nil {
			t.Fatal(err)
		}
		return testHeader(t, 1, s).Encode()
	}())

	// Each of these is the good header with one thing changed. change is a
	// copy of b to edit; bytes after the change move.
	change := func(at int, with ...byte) []byte {
		c := bytes.Clone(b)
		copy(c[at:], with)
		return c
	}
	add("empty", "header", "", nil)
	add("magic", "header", "", change(0, 'h'))
	add("version 1", "newer", "", change(7, '1'))
	add("version 9", "newer", "", change(7, '9'))
	add("version letter", "header", "no digit", change(7, 'a'))
	add("no slots", "header", "", change(atSlotCount, 0))
	add("17 slots", "header", "", change(atSlotCount, 17))
	add("one slot fewer", "header", "than stand there", change(atSlotCount, 2))
	add("one slot more", "header", "than stand there", change(atSlotCount, 4))
	add("slot length", "header", "65535", change(atSlots, 0xff, 0xff))
	add("slot type 0", "header", "", change(atSlots+2, 0))
	add("passphrase as words", "header", "the body has another length", change(atSlots+2, TypeWords))
	add("label length", "header", "longer than the slot", change(atSlots+2+9, 255))
	add("label control character", "header", "", change(atSlots+2+10, 0x1b))
	add("label not UTF-8", "header", "", change(atSlots+2+10, 0xff))
	add("cut off", "header", "", b[:len(b)-1])
	add("one byte more", "header", "", append(bytes.Clone(b), 0))
	add("MAC", "header", "last bit", change(len(b)-1, b[len(b)-1]^1))
	add("other drive", "passphrase", "the slots are bound to it", change(atDrive, b[atDrive]^1))
	add("other counter", "header", "MAC", change(atCounter+7, b[atCounter+7]^1))
	add("created", "passphrase", "one second later", change(atSlots+2+8, b[atSlots+2+8]^1))
	at := atSlots + 2 + slotHead + len(pass.Label)
	add("salt", "passphrase", "", change(at, b[at]^1))
	add("memory below", "kdf", "19 MiB - 1 KiB", change(at+saltSize, 0, 0, 0x4b, 0xff))
	add("memory above", "kdf", "4 TiB", change(at+saltSize, 0xff, 0xff, 0xff, 0xff))
	add("passes zero", "kdf", "", change(at+saltSize+4, 0, 0))
	add("passes one", "kdf", "too few for 19 MiB", change(at+saltSize+4, 0, 1))
	add("passes 17", "kdf", "", change(at+saltSize+4, 0, 17))
	add("lanes zero", "kdf", "", change(at+saltSize+6, 0, 0))
	add("lanes 9", "kdf", "", change(at+saltSize+6, 0, 9))
	add("lanes 256", "kdf", "0 for a program that cuts it to a byte", change(at+saltSize+6, 1, 0))
	add("commitment", "passphrase", "", change(at+passphraseSize, b[at+passphraseSize]^1))
	add("wrapped root", "passphrase", "", change(at+passphraseSize+commitmentSize, b[at+passphraseSize+commitmentSize]^1))
	keyring := len(b) - 32 - len(both.Keyring)
	add("keyring", "header", "MAC", change(keyring, b[keyring]^1))
	add("keyring length", "header", "4 GiB - 1", change(keyring-4, 0xff, 0xff, 0xff, 0xff))

	five := &Header{Drive: both.Drive, Slots: []Slot{pass, pass, pass, pass, pass}, Keyring: both.Keyring}
	add("five passphrases", "header", "nobody would try the fifth", five.Encode())
	swapped := &Header{Drive: both.Drive, Counter: 3, Slots: []Slot{words, pass, other}, Keyring: both.Keyring, MAC: both.MAC}
	add("slots swapped", "header", "MAC", swapped.Encode())
	left := &Header{Drive: both.Drive, Counter: 3, Slots: []Slot{pass, other}, Keyring: both.Keyring, MAC: both.MAC}
	add("slot left out", "header", "MAC", left.Encode())
	long := &Header{Drive: both.Drive, Slots: []Slot{{Type: 3, Body: make([]byte, maxBody+1)}}, Keyring: both.Keyring}
	add("slot too long", "header", "", long.Encode())
	return all
}

func TestHeaderVectors(t *testing.T) {
	for _, v := range vectortest.Read(t, "header") {
		b, root := v.Bytes(t, "hex"), v.Bytes(t, "root")
		h, err := Decode(b)
		if err != nil {
			v.Check(t, outcomes, err)
			continue
		}
		if !bytes.Equal(h.Encode(), b) {
			t.Errorf("%s: another encoding", v.Name)
		}
		entropy, err := crypt.KeyFromBytes(v.Bytes(t, "entropy"))
		if err != nil {
			t.Fatal(err)
		}
		if v.Name != "words" && v.Name != "label-of-64-bytes" {
			got, err := h.UnlockPassphrase(v.Bytes(t, "passphrase"), freeRAM)
			v.Check(t, outcomes, err)
			if err == nil && !bytes.Equal(got.Bytes(), root) {
				t.Errorf("%s: another root", v.Name)
			}
		}
		if v.Expect != "ok" || v.Name == "passphrase" {
			continue
		}
		w, err := identity.NewWordsKey(entropy)
		if err != nil {
			t.Fatal(err)
		}
		got, err := h.UnlockWords(w)
		if err != nil || !bytes.Equal(got.Bytes(), root) {
			t.Errorf("%s: words: %v", v.Name, err)
			continue
		}
		k, err := h.OpenKeyring(got)
		if err != nil {
			t.Errorf("%s: keyring: %v", v.Name, err)
		} else if err := k.Check(h.Drive); err != nil {
			t.Errorf("%s: %v", v.Name, err)
		}
	}
}

// The format from docs/format.md with the standard library and Argon2 alone.
func TestHeaderByHand(t *testing.T) {
	for _, v := range vectortest.Read(t, "header") {
		if v.Name != "passphrase" {
			continue
		}
		b := v.Bytes(t, "hex")
		drive, slotLen := b[8:40], int(binary.BigEndian.Uint16(b[49:]))
		slot := b[51 : 51+slotLen]
		label := int(slot[9])
		f := slot[10+label:]
		salt, memory := f[:16], binary.BigEndian.Uint32(f[16:])
		passes, lanes := binary.BigEndian.Uint16(f[20:]), binary.BigEndian.Uint16(f[22:])
		commitment, wrapped := f[24:56], f[56:104]

		sum := sha256.Sum256(slot[:10+label+24])
		secret := argon2.IDKey(v.Bytes(t, "passphrase"), salt, uint32(passes), memory, uint8(lanes), 32)
		info := "hushfs/slot\x00" + string(drive) + string(sum[:])
		both, err := hkdf.Expand(sha256.New, secret, info, 64)
		if err != nil || !bytes.Equal(both[32:], commitment) {
			t.Fatalf("commitment: %v", err)
		}
		root, err := gcm(t, both[:32]).Open(nil, make([]byte, 12), wrapped, nil)
		if err != nil || !bytes.Equal(root, v.Bytes(t, "root")) {
			t.Fatalf("root: %v", err)
		}
		counter := binary.BigEndian.Uint64(b[40:])
		if counter != 0 {
			t.Fatalf("counter %d", counter)
		}
		macKey, err := hkdf.Expand(sha256.New, root, "hushfs/header-mac\x00", 32)
		if err != nil {
			t.Fatal(err)
		}
		m := hmac.New(sha256.New, macKey)
		m.Write([]byte("v0" + "v0/h/ffffffffffffffff"))
		m.Write(b[:len(b)-32])
		if !hmac.Equal(m.Sum(nil), b[len(b)-32:]) {
			t.Error("MAC")
		}
		keyring := b[51+slotLen+4 : len(b)-32]
		ringKey, err := hkdf.Expand(sha256.New, root, "hushfs/keyring\x00"+string(drive), 32)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := gcm(t, ringKey).Open(nil, keyring[:12], keyring[12:], b[40:48])
		if err != nil || string(plain[:8]) != "HUSHRNG0" {
			t.Errorf("keyring: %v", err)
		}
		return
	}
	t.Fatal("no vector")
}

func gcm(tb testing.TB, key []byte) cipher.AEAD {
	tb.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		tb.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		tb.Fatal(err)
	}
	return aead
}

// Every bit of a header counts: it is malformed, or no slot opens, or the MAC
// differs.
func TestHeaderBits(t *testing.T) {
	b, w := testHeader(t, 2, wordsSlot(t)).Encode(), testWords(t, 0x70)
	for i := range len(b) * 8 {
		b[i/8] ^= 1 << (i % 8)
		h, err := Decode(b)
		if err == nil {
			_, err = h.UnlockWords(w)
		}
		if !errors.Is(err, ErrHeader) && !errors.Is(err, ErrNewer) && !errors.Is(err, ErrWords) {
			t.Fatalf("bit %d: %v", i, err)
		}
		b[i/8] ^= 1 << (i % 8)
	}
	for n := range len(b) {
		if _, err := Decode(b[:n]); !errors.Is(err, ErrHeader) {
			t.Fatalf("first %d bytes: %v", n, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, v := range vectortest.Read(f, "header") {
		f.Add(v.Bytes(f, "hex"))
	}
	w := testWords(f, 0x71)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := Decode(b)
		if err != nil {
			return
		}
		if !bytes.Equal(h.Encode(), b) {
			t.Errorf("%x is not canonical", b)
		}
		if _, err := h.UnlockWords(w); err == nil {
			t.Errorf("%x opens with words that it never saw", b)
		}
		for _, s := range h.Slots {
			if p, ok := s.Params(); ok {
				_ = p.Check(freeRAM)
			}
		}
	})
}
