package chain

import (
	"bytes"
	"errors"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
)

// hinted is a volume's newest hint and the ledger that it names.
func (w *world) hinted() (hint, ledger []byte) {
	w.tb.Helper()
	name, ledger, err := w.SealLedger()
	if err != nil {
		w.tb.Fatal(err)
	}
	if hint, err = w.SealHint(w.laptop, 1, name, int64(len(ledger))); err != nil {
		w.tb.Fatal(err)
	}
	return hint, ledger
}

// enter is what a machine does that has nothing but the member's identity.
func enter(v crypt.VolumeID, id *identity.Identity, hint, ledger []byte) (*Hint, *Ledger, *crypt.Key, error) {
	sealed, err := ParseHint(hint)
	if err != nil {
		return nil, nil, nil, err
	}
	ek, err := sealed.Unbox(v, id)
	if err != nil {
		return nil, nil, nil, err
	}
	h, err := sealed.Open(v, ek)
	if err != nil {
		return nil, nil, nil, err
	}
	l, err := OpenLedger(v, ek, h, ledger)
	if err != nil {
		return nil, nil, nil, err
	}
	return h, l, ek, h.VerifySignature(v, l)
}

func TestANewMachineEnters(t *testing.T) {
	w := newWorld(t)
	for _, slot := range []Slot{0, 1} {
		if slot == 1 {
			w.first()
		}
		hint, ledger := w.hinted()
		h, l, ek, err := enter(w.Volume, w.owner, hint, ledger)
		if err != nil {
			t.Fatal(err)
		}
		if h.Slot != slot || h.Commit != w.Head || h.Device != 1 || h.Epoch != 1 || h.Ledger.Head != w.Ledger.Head() {
			t.Errorf("hint %+v", h)
		}
		if l.Head() != w.Ledger.Head() || !ek.Equal(w.Key) {
			t.Error("another ledger or key")
		}
	}
}

func TestBoxesTellNothing(t *testing.T) {
	w := newWorld(t)
	hint, _ := w.hinted()
	h, err := ParseHint(hint)
	if err != nil {
		t.Fatal(err)
	}
	if h.Boxes() != BoxStep {
		t.Errorf("%d boxes", h.Boxes())
	}
	for i := 1; i < len(h.boxes); i++ {
		if bytes.Compare(h.boxes[i-1], h.boxes[i]) >= 0 {
			t.Errorf("boxes are not sorted at %d", i)
		}
	}
	if _, err := h.Unbox(w.Volume, identity.New()); !errors.Is(err, ErrNoBox) {
		t.Errorf("a stranger opened a box: %v", err)
	}
	if _, err := h.Unbox(crypt.VolumeID{1}, w.owner); !errors.Is(err, ErrNoBox) {
		t.Errorf("a box of another volume: %v", err)
	}
}

// Anybody who knows a public key can make a box for it, also with a false key under a
// true check value.
func TestABoxWithAnotherKey(t *testing.T) {
	w := newWorld(t)
	hint, _ := w.hinted()
	h, err := ParseHint(hint)
	if err != nil {
		t.Fatal(err)
	}
	p := w.owner.Public()
	box, err := identity.Wrap(p, identity.WrapInfo(w.Volume, 1, p.Principal(), h.Check), crypt.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	good := h.boxes
	h.boxes = append([][]byte{box}, good...)
	if k, err := h.Unbox(w.Volume, w.owner); err != nil || !k.Equal(w.Key) {
		t.Errorf("the true box was not found behind the false one: %v", err)
	}
	h.boxes = [][]byte{box}
	if _, err := h.Unbox(w.Volume, w.owner); !errors.Is(err, ErrNoBox) {
		t.Errorf("the false box opened: %v", err)
	}
}

func TestForgedHints(t *testing.T) {
	thief := device(t, 0x70)
	for _, c := range []struct {
		name string
		make func(w *world) (hint, ledger []byte)
		want error
	}{
		{"empty", func(*world) ([]byte, []byte) { return nil, nil }, ErrMalformed},
		{"of tomorrow", func(w *world) ([]byte, []byte) {
			h, l := w.hinted()
			h[7]++
			return h, l
		}, ErrVersion},
		{"another check value", func(w *world) ([]byte, []byte) {
			h, l := w.hinted()
			h[20]++
			return h, l
		}, ErrNoBox},
		{"another epoch", func(w *world) ([]byte, []byte) {
			h, l := w.hinted()
			h[11]++
			return h, l
		}, ErrNoBox},
		{"a key of the store's own, boxed to the member", func(w *world) ([]byte, []byte) {
			// All in the store's hands: it knows the member's public key, the ledger's
			// form and how to seal. It cannot put its key into the owner's ledger.
			fake := w.Clone()
			fake.Key = crypt.NewKey()
			return (&world{tb: w.tb, laptop: w.laptop, State: fake}).hinted()
		}, ErrKey},
		{"a ledger of the store's own", func(w *world) ([]byte, []byte) {
			fake, err := NewLedger(identity.New(), w.ek, w.laptop.Public(), "laptop")
			if err != nil {
				w.tb.Fatal(err)
			}
			s := w.Clone()
			s.Ledger = fake
			name, ledger, err := s.SealLedger()
			if err != nil {
				w.tb.Fatal(err)
			}
			return w.forgeHint(w.laptop, &Hint{Slot: 1, Commit: w.Head, Device: 1, Ledger: LedgerRef{Name: name, Size: int64(len(ledger)), Head: fake.Head()}}), ledger
		}, ErrForged},
		{"signed by a device that is none", func(w *world) ([]byte, []byte) {
			name, ledger, err := w.SealLedger()
			if err != nil {
				w.tb.Fatal(err)
			}
			return w.forgeHint(thief, &Hint{Slot: 1, Commit: w.Head, Device: 1, Ledger: LedgerRef{Name: name, Size: int64(len(ledger)), Head: w.Ledger.Head()}}), ledger
		}, ErrForged},
		{"signed by an unknown number", func(w *world) ([]byte, []byte) {
			name, ledger, err := w.SealLedger()
			if err != nil {
				w.tb.Fatal(err)
			}
			return w.forgeHint(thief, &Hint{Slot: 1, Commit: w.Head, Device: 2, Ledger: LedgerRef{Name: name, Size: int64(len(ledger)), Head: w.Ledger.Head()}}), ledger
		}, ErrForged},
		{"another head than the ledger has", func(w *world) ([]byte, []byte) {
			name, ledger, err := w.SealLedger()
			if err != nil {
				w.tb.Fatal(err)
			}
			return w.forgeHint(w.laptop, &Hint{Slot: 1, Commit: w.Head, Device: 1, Ledger: LedgerRef{Name: name, Size: int64(len(ledger)), Head: ID{1}}}), ledger
		}, ErrForged},
		{"older than its ledger", func(w *world) ([]byte, []byte) {
			w.enrol(device(w.tb, 0x60), "desktop")
			w.Slot = 1
			return w.hinted()
		}, ErrForged},
		{"another ledger object of the same ledger", func(w *world) ([]byte, []byte) {
			h, _ := w.hinted()
			_, l := w.hinted()
			return h, l
		}, ErrForged},
		{"an older ledger", func(w *world) ([]byte, []byte) {
			_, old := w.hinted()
			w.enrol(device(w.tb, 0x60), "desktop")
			h, _ := w.hinted()
			return h, old
		}, ErrForged},
		{"a ledger that is not there", func(w *world) ([]byte, []byte) {
			h, _ := w.hinted()
			return h, nil
		}, ErrForged},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.first()
			hint, ledger := c.make(w)
			if _, _, _, err := enter(w.Volume, w.owner, hint, ledger); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

// forgeHint seals a hint with a signature by anybody.
func (w *world) forgeHint(by *identity.Device, h *Hint) []byte {
	w.tb.Helper()
	boxes, err := w.boxes()
	if err != nil {
		w.tb.Fatal(err)
	}
	object, err := w.sealHint(crypt.NewSealer(w.Key, w.Volume, crypt.TypeHint, w.Epoch), boxes, by, h)
	if err != nil {
		w.tb.Fatal(err)
	}
	return object
}

// The sealed part of a hint stands for every bit of itself; the boxes are only ways in.
func TestTamperedHint(t *testing.T) {
	w := newWorld(t)
	hint, ledger := w.hinted()
	h, err := ParseHint(hint)
	if err != nil {
		t.Fatal(err)
	}
	for i := range h.envelope {
		b := bytes.Clone(h.envelope)
		b[i] ^= 1 << (i % 8)
		if _, err := (&SealedHint{Epoch: h.Epoch, Check: h.Check, boxes: h.boxes, envelope: b}).Open(w.Volume, w.Key); err == nil {
			t.Fatalf("byte %d of the envelope changed and nobody cares", i)
		}
	}
	opened, err := h.Open(w.Volume, w.Key)
	if err != nil {
		t.Fatal(err)
	}
	for i := range ledger {
		b := bytes.Clone(ledger)
		b[i] ^= 1 << (i % 8)
		if _, err := OpenLedger(w.Volume, w.Key, opened, b); err == nil {
			t.Fatalf("byte %d of the ledger changed and nobody cares", i)
		}
	}
}

func TestSealHintOnlyAsOneself(t *testing.T) {
	w := newWorld(t)
	if _, err := w.SealHint(device(t, 0x70), 1, crypt.Name{}, 1); !errors.Is(err, ErrRefused) {
		t.Errorf("with another key: %v", err)
	}
	if _, err := w.SealHint(w.laptop, 2, crypt.Name{}, 1); !errors.Is(err, ErrRefused) {
		t.Errorf("with another number: %v", err)
	}
}
