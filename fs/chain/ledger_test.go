package chain

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
)

func TestNewLedger(t *testing.T) {
	w := newWorld(t)
	l := w.start
	if l.Len() != 3 || l.HighestDevice() != 1 || l.Slot() != 0 {
		t.Errorf("%d records, device %d, slot %d", l.Len(), l.HighestDevice(), l.Slot())
	}
	if e, kcv := l.Epoch(); e != 1 || kcv != w.ek.Check(l.Volume(), 1) {
		t.Errorf("epoch %d", e)
	}
	if d, ok := l.Device(1); !ok || d.Name != "laptop" || !bytes.Equal(d.Key.Encode(), w.laptop.Public().Encode()) {
		t.Errorf("device 1 is %+v, %v", d, ok)
	}
	if _, ok := l.Device(2); ok {
		t.Error("there is a device 2")
	}
	if l.Owner().Principal() != w.owner.Public().Principal() {
		t.Error("another owner")
	}
	records := l.Suffix(0)
	if l.Head() != records[2].Hash() || records[2].Prev != records[1].Hash() || records[0].Prev != (ID{}) {
		t.Error("the records are not linked")
	}
	// The documented strings, put together by other means.
	sig := len(records[0].Signature.Encode())
	enc := records[0].Encode()
	if l.Volume() != sha256.Sum256([]byte("hushfs/volume\x00"+string(enc[:len(enc)-sig]))) {
		t.Error("the volume id is not the hash of record 0 without its signature")
	}
	if l.Head() != sha256.Sum256([]byte("hushfs/record\x00"+string(records[2].Encode()))) {
		t.Error("the head is not the hash of the last record")
	}
	again, err := NewLedger(w.owner, w.ek, w.laptop.Public(), "laptop")
	if err != nil || again.Volume() == l.Volume() {
		t.Errorf("two volumes have one id, or %v", err)
	}
}

func TestLedgerComesBack(t *testing.T) {
	w := newWorld(t)
	w.first()
	w.enrol(device(t, 0x60), "")
	w.enrol(device(t, 0x61), strings.Repeat("é", MaxDeviceName/2))
	b := w.Ledger.Encode()
	l, err := DecodeLedger(w.Volume, b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(l.Encode(), b) || l.Head() != w.Ledger.Head() || l.HighestDevice() != 3 || len(l.Devices()) != 3 || l.Slot() != 3 {
		t.Error("the ledger came back changed")
	}
	if len(b) != l.size {
		t.Errorf("size %d, encoded %d", l.size, len(b))
	}
	if n := len(l.Suffix(3)); n != 2 {
		t.Errorf("%d records from number 3 on", n)
	}
	if len(l.Suffix(9)) != 0 || len(l.Suffix(-1)) != 5 {
		t.Error("a suffix that is out of range")
	}
	for slot, want := range map[Slot]int{0: 3, 1: 3, 2: 4, 3: 5, 9: 5} {
		u, err := l.Until(slot)
		if err != nil || u.Len() != want {
			t.Errorf("%d records until slot %d, %v", u.Len(), slot, err)
		}
	}
	// A state begins at slot 0, however new the ledger is.
	s, err := NewState(w.Volume, w.ek, l)
	if err != nil || s.Ledger.Len() != 3 || s.Ledger.Head() != w.start.Head() {
		t.Errorf("a state with a later ledger: %v", err)
	}
}

func TestForgedLedger(t *testing.T) {
	w := newWorld(t)
	w.first()
	w.enrol(device(t, 0x60), "desktop")
	good := w.Ledger.Encode()
	if _, err := DecodeLedger(crypt.VolumeID{1}, good); !errors.Is(err, ErrForged) {
		t.Errorf("the ledger of another volume: %v", err)
	}
	for i := 4; i < len(good); i++ {
		b := bytes.Clone(good)
		b[i] ^= 1 << (i % 8)
		if _, err := DecodeLedger(w.Volume, b); err == nil {
			t.Fatalf("byte %d changed and nobody cares", i)
		}
	}
	for n := range good {
		if _, err := DecodeLedger(w.Volume, good[:n]); !errors.Is(err, ErrMalformed) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	// A prefix is a ledger of the past: who remembers a head will notice.
	past := bytes.Clone(good)
	past[3] = 3
	if _, err := DecodeLedger(w.Volume, past); !errors.Is(err, ErrMalformed) {
		t.Errorf("a record too many: %v", err)
	}
}

// Whoever knows a volume's id can sign records of his own for it; only one record has
// that id.
func TestALedgerOfAThief(t *testing.T) {
	w := newWorld(t)
	thief := identity.New()
	r := Record{Kind: KindVolume, Body: volumeBody{owner: thief.Public()}.encode(), Signer: thief.Public().Principal()}.sign(w.Volume, thief)
	b := appendRecords([]byte{0, 0, 0, 1}, []Record{r})
	if _, err := DecodeLedger(w.Volume, b); !errors.Is(err, ErrForged) {
		t.Errorf("got %v", err)
	}
}

func TestAppendLeavesTheLedgerAlone(t *testing.T) {
	w := newWorld(t)
	phone := device(t, 0x70)
	thief := identity.New()
	head, encoded := w.start.Head(), w.start.Encode()
	good := w.device(1, 2, phone, "phone")
	late := good
	late.N = 7
	for name, c := range map[string]struct {
		r    Record
		want error
	}{
		"out of place":        {late, ErrForged},
		"signed by nobody":    {func() Record { r := good; r.Signature = nil; return r }(), ErrForged},
		"signed by a thief":   {w.record(thief, 1, KindDevice, good.Body), ErrForged},
		"number left out":     {w.record(w.owner, 1, KindDevice, deviceBody{3, "", phone.Public()}.encode()), ErrRefused},
		"number twice":        {w.record(w.owner, 1, KindDevice, deviceBody{1, "", phone.Public()}.encode()), ErrRefused},
		"no device body":      {w.record(w.owner, 1, KindDevice, nil), ErrMalformed},
		"epoch left out":      {w.record(w.owner, 1, KindEpoch, epochBody{epoch: 3, previous: make([]byte, previousSize)}.encode()), ErrRefused},
		"epoch twice":         {w.record(w.owner, 1, KindEpoch, epochBody{epoch: 1}.encode()), ErrRefused},
		"second volume":       {w.record(w.owner, 1, KindVolume, w.start.Suffix(0)[0].Body), ErrRefused},
		"kind of tomorrow":    {w.record(w.owner, 1, 200, nil), ErrVersion},
		"larger than allowed": {w.record(w.owner, 1, 200, make([]byte, MaxRecord)), ErrRefused},
	} {
		if err := w.start.Append(c.r); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if w.start.Head() != head || !bytes.Equal(w.start.Encode(), encoded) || w.start.HighestDevice() != 1 {
		t.Error("the ledger changed")
	}
	clone := w.start.Clone()
	if err := clone.Append(good); err != nil {
		t.Fatal(err)
	}
	if w.start.Len() != 3 || w.start.HighestDevice() != 1 || clone.HighestDevice() != 2 {
		t.Error("a clone is not on its own")
	}
}

func TestSlotsOfRecordsDoNotFall(t *testing.T) {
	w := newWorld(t)
	l := w.start.Clone()
	w.Ledger = l
	if err := l.Append(w.device(5, 2, device(t, 1), "")); err != nil {
		t.Fatal(err)
	}
	r := w.record(w.owner, 4, KindDevice, deviceBody{3, "", device(t, 2).Public()}.encode())
	if err := l.Append(r); !errors.Is(err, ErrForged) {
		t.Errorf("slot 4 after slot 5: %v", err)
	}
}

func TestDeviceNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"": true, "laptop": true, "Küche 2": true, strings.Repeat("x", 64): true,
		strings.Repeat("x", 65): false, "a/b": false, "a\x00": false, "\n": false, "\x1b[m": false, "\u0085": false, "\xff": false,
	} {
		if err := CheckDeviceName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
	w := newWorld(t)
	if _, err := w.Ledger.NewDeviceRecord(w.owner, 1, 2, w.laptop.Public(), "a/b"); !errors.Is(err, ErrDeviceName) {
		t.Errorf("got %v", err)
	}
	if _, err := w.Ledger.NewDeviceRecord(w.owner, 1, 0, w.laptop.Public(), ""); !errors.Is(err, ErrRefused) {
		t.Errorf("a number after the last: %v", err)
	}
}
