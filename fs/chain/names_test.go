package chain

import (
	"math"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/crypt"
)

func TestNames(t *testing.T) {
	v := crypt.VolumeID{0: 0xab, 31: 1}
	n := crypt.Name{0: 0xcd, 31: 2}
	volume, name := "v0/s/ab"+strings.Repeat("0", 60)+"01/", "cd"+strings.Repeat("0", 60)+"02"
	for _, c := range []struct{ got, want string }{
		{SlotName(v, 0), volume + "l/ffffffffffffffff"},
		{SlotName(v, 1), volume + "l/fffffffffffffffe"},
		{SlotName(v, math.MaxUint64), volume + "l/0000000000000000"},
		{HintName(v, 255), volume + "k/ffffffffffffff00"},
		{LedgerName(v, n), volume + "a/" + name},
		{PackName(v, n), volume + "p/cd/" + name},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
	for _, s := range []Slot{0, 1, 2, 1 << 32, math.MaxUint64} {
		if got, ok := ParseSlotName(v, SlotName(v, s)); !ok || got != s {
			t.Errorf("slot %d came back as %d, %v", s, got, ok)
		}
		if got, ok := ParseHintName(v, HintName(v, s)); !ok || got != s {
			t.Errorf("hint %d came back as %d, %v", s, got, ok)
		}
	}
	if SlotName(v, 8) >= SlotName(v, 7) {
		t.Error("a newer slot does not sort first")
	}
	if got, ok := ParsePackName(v, PackName(v, n)); !ok || got != n {
		t.Error("pack name does not come back")
	}
	if got, ok := ParseLedgerName(v, LedgerName(v, n)); !ok || got != n {
		t.Error("ledger name does not come back")
	}
}

func TestNamesThatAreNone(t *testing.T) {
	v := crypt.VolumeID{1}
	slot := SlotName(v, 0x1234)
	for _, name := range []string{
		"", SlotPrefix(v), slot + "0", slot[:len(slot)-1], "/" + slot, strings.ToUpper(slot),
		slot[:len(slot)-1] + "G", slot[:len(slot)-1] + "F", slot[:len(slot)-2] + "+f", slot[:len(slot)-2] + "_f",
		HintName(v, 0x1234), SlotName(crypt.VolumeID{2}, 0x1234),
	} {
		if s, ok := ParseSlotName(v, name); ok {
			t.Errorf("%q is slot %d", name, s)
		}
	}
	n := crypt.Name{0xcd}
	pack := PackName(v, n)
	for _, name := range []string{
		"", PackPrefix(v), pack + "0", strings.Replace(pack, "/cd/", "/ce/", 1), strings.Replace(pack, "/cd/", "/cd", 1),
		strings.Replace(pack, "/cd/cd", "/CD/CD", 1), LedgerName(v, n), PackPrefix(v) + "cd/",
	} {
		if _, ok := ParsePackName(v, name); ok {
			t.Errorf("%q is a pack", name)
		}
	}
	for _, name := range []string{"", LedgerPrefix(v), LedgerName(v, n) + "0", pack} {
		if _, ok := ParseLedgerName(v, name); ok {
			t.Errorf("%q is a ledger", name)
		}
	}
}
