package keyslot

import (
	"bytes"
	"testing"
)

// Every bit of a passphrase slot counts. Those of salt and parameters change
// what Argon2id yields, so only some of them are tried, at its price.
func TestPassphraseSlotBits(t *testing.T) {
	s := passphraseSlot(t, testPass)
	drive, encoded := testDrive(t), s.encode()
	secret := stretch(testPass, s.Body[:saltSize], fast)
	if s.open(secret, drive) == nil {
		t.Fatal("the slot does not open")
	}
	for i := range len(encoded) * 8 {
		b := bytes.Clone(encoded)
		b[i/8] ^= 1 << (i % 8)
		changed, err := decodeSlot(b)
		if err == nil && changed.Type == TypePassphrase && len(changed.Body) == len(s.Body) && changed.open(secret, drive) != nil {
			t.Fatalf("bit %d does not count", i)
		}
	}
	for _, at := range []int{0, saltSize - 1, saltSize + 3, saltSize + 5, saltSize + 7} {
		changed := s
		changed.Body = bytes.Clone(s.Body)
		changed.Body[at] ^= 2
		p, _ := changed.Params()
		if p.Check(freeRAM) == nil && changed.openPassphrase(testPass, drive, p) != nil {
			t.Errorf("body byte %d does not count", at)
		}
	}
	other := drive
	other[31] ^= 1
	if s.open(secret, other) != nil {
		t.Error("opens for another drive")
	}
}
