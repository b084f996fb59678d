package volume

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/pack"
)

// What waits is of an epoch that the store that is accepted has as well, with another key.
func TestAcceptAnotherEpochOfTheNumber(t *testing.T) {
	w, _, old := twoMachines(t)
	m, third := w.laptop, w.machine("third")
	as(m, remove(2), write("waits", big), fsync("waits"))
	m.crash()
	third.bucket, m.bucket = old, old
	as(third, remove(2), lock)
	m.mustAccept()
	as(m, read("waits", big), lock)
	as(m, read("waits", big), lock)
	as(third, read("waits", big))
}

// A pack that went bad does not hold up what else waits.
func TestAcceptWithADamagedPack(t *testing.T) {
	w, _, old := twoMachines(t)
	m := w.laptop
	as(m, remove(2), write("bad", big), fsync("bad"), write("good", "small"), fsync("good"))
	m.crash()
	packs, err := filepath.Glob(filepath.Join(m.state(), "journal-*", "packs", "*"))
	if err != nil || len(packs) == 0 {
		t.Fatalf("packs: %v, %v", packs, err)
	}
	b, err := os.ReadFile(packs[0])
	noError(t, err)
	b[100]++
	noError(t, os.WriteFile(packs[0], b, 0o600))
	m.bucket = old
	m.mustAccept()
	if a := m.v.Acceptance(); a.Left == 0 {
		t.Errorf("%+v", a)
	}
	as(m, read("good", "small"), lock)
	if kept, _ := filepath.Glob(filepath.Join(m.state(), "kept-*", keysFile)); len(kept) != 1 {
		t.Errorf("keys beside the journal that is kept: %v", kept)
	}
}

func TestEpochKeys(t *testing.T) {
	dir, secret, id := t.TempDir(), crypt.NewKey(), [16]byte{1}
	open := func(id [16]byte) (*epochKeys, error) { return openEpochKeys(dir, secret, id) }
	k, err := open(id)
	noError(t, err)
	one, other, two := crypt.NewKey(), crypt.NewKey(), crypt.NewKey()
	for range 2 {
		noError(t, k.keep(1, one))
		noError(t, k.keep(2, two))
		noError(t, k.keep(1, other))
	}
	k, err = open(id)
	noError(t, err)
	if l := k.of(1); len(l) != 2 || !l[0].Equal(one) || !l[1].Equal(other) || len(k.of(2)) != 1 || len(k.of(3)) != 0 {
		t.Error("other keys than were kept")
	}
	k.need([]pack.Info{{Epoch: 2}})
	noError(t, k.keep(3, one))
	k, err = open(id)
	noError(t, err)
	if len(k.of(1)) != 0 || len(k.of(2)) != 1 || len(k.of(3)) != 1 {
		t.Error("what is needed is not what is kept")
	}
	if _, err := open([16]byte{2}); err == nil {
		t.Error("another journal's open")
	}
	path := filepath.Join(dir, keysFile)
	b, err := os.ReadFile(path)
	noError(t, err)
	for i := range b {
		b[i] ^= 1
		noError(t, os.WriteFile(path, b, 0o600))
		if k, err := open(id); err == nil || len(k.kept) > 0 {
			t.Errorf("byte %d is changed, and they open", i)
		}
		b[i] ^= 1
	}
	for i := range keysMost + 1 {
		k.kept = append(k.kept, epochKey{crypt.Epoch(10 + i), one})
	}
	noError(t, k.keep(1, two))
	if k, err = open(id); err != nil || len(k.kept) != keysMost || !k.of(1)[0].Equal(two) {
		t.Errorf("%d are kept: %v", len(k.kept), err)
	}
}

func FuzzDecodeEpochKeys(f *testing.F) {
	f.Add([]byte{})
	f.Add(encodeEpochKeys([]epochKey{{1, crypt.NewKey()}, {1, crypt.NewKey()}, {1 << 31, crypt.NewKey()}}))
	f.Add(make([]byte, keySize-1))
	f.Add(make([]byte, (keysMost+1)*keySize))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := decodeEpochKeys(b)
		if err == nil && !bytes.Equal(encodeEpochKeys(all), b) {
			t.Errorf("%x is not canonical", b)
		}
	})
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
