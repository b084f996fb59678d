package keyslot

import (
	"errors"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/crypt"
)

func TestNewRefusesMistakes(t *testing.T) {
	root, drive, slot := testKey(t, 0x50), testDrive(t), wordsSlot(t)
	keyring, err := SealKeyring(root, drive, 5, testKeyring(t))
	if err != nil {
		t.Fatal(err)
	}
	pass := Slot{Type: TypePassphrase, Body: make([]byte, passphraseSize+tailSize)}
	for name, c := range map[string]struct {
		root    *crypt.Key
		drive   [32]byte
		counter uint64
		slots   []Slot
	}{
		"no slots":         {root, drive, 5, nil},
		"17 slots":         {root, drive, 5, bytesOf(17, slot)},
		"256 slots":        {root, drive, 5, bytesOf(256, slot)},
		"five passphrases": {root, drive, 5, bytesOf(5, pass)},
		"other root":       {testKey(t, 0x51), drive, 5, bytesOf(1, slot)},
		"other drive":      {root, array(1), 5, bytesOf(1, slot)},
		"other counter":    {root, drive, 6, bytesOf(1, slot)},
		"long label":       {root, drive, 5, []Slot{{Type: 9, Label: strings.Repeat("a", 300)}}},
		"label of 65":      {root, drive, 5, []Slot{{Type: 9, Label: strings.Repeat("a", 65)}}},
		"short slot":       {root, drive, 5, []Slot{{Type: TypeWords}}},
		"very long slot":   {root, drive, 5, []Slot{{Type: 9, Body: make([]byte, 1<<16+20)}}},
	} {
		if _, err := New(c.root, c.drive, c.counter, c.slots, keyring); !errors.Is(err, ErrHeader) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New(root, drive, 5, bytesOf(16, slot), keyring); err != nil {
		t.Errorf("16 slots: %v", err)
	}
	longest := Slot{Type: 9, Label: strings.Repeat("a", MaxLabel), Body: make([]byte, maxBody)}
	h, err := New(root, drive, 5, bytesOf(16, longest), keyring)
	if err != nil {
		t.Fatalf("longest slots: %v", err)
	}
	if n := len(h.Encode()) - len(keyring) + MaxKeyring; n != MaxSize {
		t.Errorf("the longest header has %d bytes, not MaxSize %d", n, MaxSize)
	}
	if _, err := Decode(make([]byte, MaxSize+1)); !errors.Is(err, ErrHeader) {
		t.Errorf("too long: %v", err)
	}
}

func bytesOf(n int, s Slot) (all []Slot) {
	for range n {
		all = append(all, s)
	}
	return all
}

func TestObjectNames(t *testing.T) {
	for counter, name := range map[uint64]string{
		0:         "v0/h/ffffffffffffffff",
		1:         "v0/h/fffffffffffffffe",
		1 << 63:   "v0/h/7fffffffffffffff",
		1<<64 - 1: "v0/h/0000000000000000",
	} {
		if got := ObjectName(counter); got != name {
			t.Errorf("%d: %s", counter, got)
		}
		if got, err := ParseObjectName(name); err != nil || got != counter {
			t.Errorf("%s: %d %v", name, got, err)
		}
	}
	for _, name := range []string{"", "v0/h/", "v0/h/fffffffffffffff", "v0/h/fffffffffffffffff", "v0/h/FFFFFFFFFFFFFFFF",
		"v0/h/fffffffffffffffg", "v0/h/+fffffffffffffff", "v0/m/ffffffffffffffff", "/v0/h/ffffffffffffffff", "v0/h/ffffffff_fffffff"} {
		if _, err := ParseObjectName(name); !errors.Is(err, ErrHeader) {
			t.Errorf("%q: %v", name, err)
		}
	}
	b := testHeader(t, 7, wordsSlot(t)).Encode()
	if _, err := DecodeObject(ObjectName(7), b); err != nil {
		t.Error(err)
	}
	for _, name := range []string{ObjectName(8), "v0/h/x"} {
		if _, err := DecodeObject(name, b); !errors.Is(err, ErrHeader) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
