package keyslot

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/crypt/identity"
)

func TestUnlock(t *testing.T) {
	a, b := passphraseSlot(t, []byte("a")), passphraseSlot(t, []byte("b"))
	h := testHeader(t, 1, a, wordsSlot(t), b)
	for _, pass := range []string{"a", "b"} {
		root, err := h.UnlockPassphrase([]byte(pass), freeRAM)
		if err != nil || !root.Equal(testKey(t, 0x50)) {
			t.Errorf("passphrase: %v", err)
		}
	}
	for _, pass := range []string{"", "c", "a ", "A"} {
		if _, err := h.UnlockPassphrase([]byte(pass), freeRAM); !errors.Is(err, ErrPassphrase) {
			t.Errorf("%q: %v", pass, err)
		}
	}
	if _, err := h.UnlockWords(testWords(t, 0x71)); !errors.Is(err, ErrWords) {
		t.Errorf("other words: %v", err)
	}
	if _, err := testHeader(t, 1, wordsSlot(t)).UnlockPassphrase([]byte("a"), freeRAM); !errors.Is(err, ErrPassphrase) {
		t.Errorf("no passphrase slot: %v", err)
	}
	if _, err := testHeader(t, 1, a).UnlockWords(testWords(t, 0x70)); !errors.Is(err, ErrWords) {
		t.Errorf("no words slot: %v", err)
	}
	if _, err := h.UnlockPassphrase([]byte("a"), 30<<20); !errors.Is(err, ErrKDF) || errors.Is(err, ErrPassphrase) {
		t.Errorf("too little memory: %v", err)
	}
	big := b
	big.Body = bytes.Clone(b.Body)
	big.Body[saltSize] = 0xff
	if _, err := testHeader(t, 1, a, big).UnlockPassphrase([]byte("c"), freeRAM); !errors.Is(err, ErrKDF) || !errors.Is(err, ErrPassphrase) {
		t.Errorf("one slot beyond the bounds: %v", err)
	}
}

// Somebody squats on the newest names with headers of his own.
func TestUnlockPastSquatters(t *testing.T) {
	good := testHeader(t, 5, passphraseSlot(t, testPass))
	other := testKey(t, 0x60)
	slot, err := NewPassphrase(other, testDrive(t), []byte("squatter"), fast, "", testTime)
	if err != nil {
		t.Fatal(err)
	}
	keyring, err := SealKeyring(other, testDrive(t), 9, testKeyring(t))
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := New(other, testDrive(t), 9, []Slot{slot}, keyring)
	if err != nil {
		t.Fatal(err)
	}
	altered := *good
	altered.Counter = 8
	moved := *good
	moved.Keyring = foreign.Keyring

	root, h, err := Unlock([]*Header{foreign, &altered, &moved, good}, testPass, freeRAM)
	if err != nil || h != good || !root.Equal(testKey(t, 0x50)) {
		t.Errorf("past squatters: %v", err)
	}
	if _, _, err := Unlock([]*Header{&altered, &moved}, testPass, freeRAM); !errors.Is(err, ErrHeader) {
		t.Errorf("only altered ones: %v", err)
	}
	if _, _, err := Unlock(nil, testPass, freeRAM); !errors.Is(err, ErrPassphrase) {
		t.Errorf("no header: %v", err)
	}
}

// The runs of Argon2id are counted over all headers, and a slot that stands in
// many of them costs one.
func TestUnlockBudget(t *testing.T) {
	good := testHeader(t, 1, passphraseSlot(t, testPass))
	var squat []*Header
	for i := range MaxPassphraseSlots {
		s := good.Slots[0]
		s.Label = fmt.Sprint("squat ", i)
		squat = append(squat, &Header{Drive: good.Drive, Counter: 100, Slots: []Slot{s}})
	}
	if _, _, err := Unlock(append(squat[:3:3], good), testPass, freeRAM); err != nil {
		t.Errorf("the fourth slot: %v", err)
	}
	if _, _, err := Unlock(append(squat, good), testPass, freeRAM); !errors.Is(err, ErrPassphrase) {
		t.Errorf("the fifth slot: %v", err)
	}
	var same []*Header
	for range 100 {
		same = append(same, squat[0])
	}
	if _, _, err := Unlock(append(same, good), testPass, freeRAM); err != nil {
		t.Errorf("one slot in a hundred headers: %v", err)
	}
}

func TestNewSlots(t *testing.T) {
	root, drive := testKey(t, 0x50), testDrive(t)
	for name, c := range map[string]struct {
		pass  string
		p     Params
		label string
		want  error
	}{
		"empty passphrase": {"", fast, "", ErrPassphrase},
		"little memory":    {"a", Params{19<<10 - 1, 2, 1}, "", ErrKDF},
		"no lanes":         {"a", Params{19 << 10, 2, 0}, "", ErrKDF},
		"label of 65":      {"a", fast, strings.Repeat("a", 65), ErrHeader},
		"label of lines":   {"a", fast, "a\nb", ErrHeader},
	} {
		if _, err := NewPassphrase(root, drive, []byte(c.pass), c.p, c.label, testTime); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewWords(root, drive, identity.WordsPublic{}, "", testTime); !errors.Is(err, identity.ErrMalformed) {
		t.Errorf("zero public key: %v", err)
	}
	if _, err := NewWords(root, drive, testWords(t, 1).Public(), "\x00", testTime); !errors.Is(err, ErrHeader) {
		t.Errorf("label: %v", err)
	}
	s, err := NewPassphrase(root, drive, []byte("a"), fast, "", testTime)
	if err != nil {
		t.Fatal(err)
	}
	if p, ok := s.Params(); !ok || p != fast || s.Created != testTime.Unix() {
		t.Errorf("%+v %d", p, s.Created)
	}
	again, err := NewPassphrase(root, drive, []byte("a"), fast, "", testTime)
	if err != nil || bytes.Equal(s.Body, again.Body) {
		t.Errorf("two slots are the same: %v", err)
	}
}

func TestParams(t *testing.T) {
	const MiB = 1 << 20
	for name, c := range map[string]struct {
		p    Params
		free uint64
		ok   bool
	}{
		"default":                  {DefaultParams, 512 * MiB, true},
		"default, a byte less":     {DefaultParams, 512*MiB - 1, false},
		"free not known, zero":     {DefaultParams, 0, false},
		"least":                    {fast, 38 * MiB, true},
		"1 KiB less":               {Params{19<<10 - 1, 2, 1}, freeRAM, false},
		"one pass below 46 MiB":    {Params{46<<10 - 1, 1, 1}, freeRAM, false},
		"one pass from 46 MiB":     {Params{46 << 10, 1, 1}, freeRAM, true},
		"2 GiB":                    {Params{2 << 20, 1, 4}, 4 << 30, true},
		"2 GiB and 1 KiB":          {Params{2<<20 + 1, 1, 4}, 1 << 40, false},
		"largest memory":           {Params{1<<32 - 1, 1, 4}, 1 << 63, false},
		"no pass":                  {Params{64 << 10, 0, 1}, freeRAM, false},
		"16 passes":                {Params{64 << 10, 16, 1}, freeRAM, true},
		"17 passes":                {Params{64 << 10, 17, 1}, freeRAM, false},
		"65535 passes":             {Params{64 << 10, 1<<16 - 1, 1}, freeRAM, false},
		"no lane":                  {Params{64 << 10, 3, 0}, freeRAM, false},
		"8 lanes":                  {Params{64 << 10, 3, 8}, freeRAM, true},
		"9 lanes":                  {Params{64 << 10, 3, 9}, freeRAM, false},
		"256 lanes, 0 in one byte": {Params{64 << 10, 3, 256}, freeRAM, false},
		"zero value":               {Params{}, freeRAM, false},
	} {
		if err := c.p.Check(c.free); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrKDF) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkUnlockPassphrase(b *testing.B) {
	h := testHeader(b, 1, passphraseSlot(b, testPass))
	for b.Loop() {
		if _, err := h.UnlockPassphrase(testPass, freeRAM); err != nil {
			b.Fatal(err)
		}
	}
}
