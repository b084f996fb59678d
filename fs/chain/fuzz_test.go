package chain

import (
	"bytes"
	"testing"
)

func FuzzDecodeRecord(f *testing.F) {
	for _, v := range vectors(f, "record") {
		f.Add(v.hex)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := DecodeRecord(b); err == nil && !bytes.Equal(r.Encode(), b) {
			t.Errorf("%x is not canonical", b)
		}
	})
}

// FuzzDecodeRecordBody looks into the bodies, of all kinds.
func FuzzDecodeRecordBody(f *testing.F) {
	for _, v := range vectors(f, "record") {
		if r, err := DecodeRecord(v.hex); err == nil {
			f.Add(byte(r.Kind), r.Body)
		}
	}
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		var again []byte
		switch Kind(kind) {
		case KindVolume:
			v, err := decodeVolume(b)
			if err != nil {
				return
			}
			again = v.encode()
		case KindDevice:
			v, err := decodeDevice(b)
			if err != nil {
				return
			}
			again = v.encode()
		case KindEpoch:
			v, err := decodeEpoch(b)
			if err != nil {
				return
			}
			again = v.encode()
		case KindAccepted:
			v, err := decodeAccepted(b)
			if err != nil {
				return
			}
			again = v.encode()
		case KindRemove:
			v, err := decodeRemove(b)
			if err != nil {
				return
			}
			again = v.encode()
		case KindRename:
			v, err := decodeRename(b)
			if err != nil {
				return
			}
			again = v.encode()
		case KindWriter:
			v, err := decodeWriter(b)
			if err != nil {
				return
			}
			again = v.encode()
		default:
			return
		}
		if !bytes.Equal(again, b) {
			t.Errorf("%x of kind %d is not canonical", b, kind)
		}
	})
}

func FuzzDecodeLedger(f *testing.F) {
	volume := storedWorld(f).Volume
	for _, v := range vectors(f, "ledger") {
		f.Add(v.hex)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := DecodeLedger(volume, b); err == nil && !bytes.Equal(l.Encode(), b) {
			t.Errorf("%x is not canonical", b)
		}
	})
}

func FuzzDecodeCommit(f *testing.F) {
	volume := storedWorld(f).Volume
	for _, v := range vectors(f, "body") {
		f.Add(v.hex)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decodeCommit(volume, 1, [32]byte{}, b)
		if err != nil {
			return
		}
		if again := encodeContent(c.Prev, c.encodeBody(c.Batch.Encode()), c.signature); !bytes.Equal(again, b) {
			t.Errorf("%x is not canonical", b)
		}
	})
}

// FuzzJudge: whatever the store shows in a slot, what is valid can be advanced over.
func FuzzJudge(f *testing.F) {
	w := storedWorld(f)
	for _, v := range vectors(f, "commit") {
		f.Add(uint64(v.slot), v.hex)
	}
	f.Fuzz(func(t *testing.T, slot uint64, b []byte) {
		j := w.Judge(Slot(slot), b, nil)
		if j.Verdict == Valid {
			if err := w.Clone().Advance(j.Commit); err != nil {
				t.Error(err)
			}
		} else if j.Reason == "" {
			t.Errorf("%v without a reason", j.Verdict)
		}
	})
}

func FuzzParseHint(f *testing.F) {
	for _, v := range vectors(f, "hint") {
		f.Add(v.hex)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := ParseHint(b); err == nil && !bytes.Equal(h.Encode(), b) {
			t.Errorf("%x is not canonical", b)
		}
	})
}

// FuzzDecodeHint decodes the sealed part.
func FuzzDecodeHint(f *testing.F) {
	for _, v := range vectors(f, "inhint") {
		f.Add(v.hex)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := decodeHint(b); err == nil && !bytes.Equal(append(h.encode(), h.signature.Encode()...), b) {
			t.Errorf("%x is not canonical", b)
		}
	})
}

func FuzzParseNames(f *testing.F) {
	volume := storedWorld(f).Volume
	f.Add(SlotName(volume, 1))
	f.Add(HintName(volume, 1))
	f.Add(PackName(volume, [32]byte{1}))
	f.Add(LedgerName(volume, [32]byte{1}))
	f.Fuzz(func(t *testing.T, name string) {
		if s, ok := ParseSlotName(volume, name); ok && SlotName(volume, s) != name {
			t.Errorf("%q is no slot", name)
		}
		if s, ok := ParseHintName(volume, name); ok && HintName(volume, s) != name {
			t.Errorf("%q is no hint", name)
		}
		if n, ok := ParsePackName(volume, name); ok && PackName(volume, n) != name {
			t.Errorf("%q is no pack", name)
		}
		if n, ok := ParseLedgerName(volume, name); ok && LedgerName(volume, n) != name {
			t.Errorf("%q is no ledger", name)
		}
	})
}
