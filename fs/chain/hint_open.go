package chain

import (
	"encoding/binary"
	"fmt"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
)

// SealedHint is a hint object before anything in it was believed.
type SealedHint struct {
	Epoch crypt.Epoch
	Check [32]byte // of the epoch's key, as the hint says

	boxes    [][]byte
	envelope []byte
}

// ParseHint takes a hint object of at most MaxHint bytes apart, or answers
// ErrMalformed: magic 8, epoch u32, kcv 32, number of boxes u16, boxes, envelope to
// the end. The last character of the magic is the version: another is ErrVersion, however
// long the object is. The result aliases b.
func ParseHint(b []byte) (*SealedHint, error) {
	d := decoder{b: b}
	magic := string(d.take(len(hintMagic)))
	h := &SealedHint{Epoch: crypt.Epoch(d.u32()), Check: d.hash()}
	n := int(d.u16())
	switch {
	case d.bad || magic[:len(hintMagic)-1] != hintMagic[:len(hintMagic)-1]:
		return nil, fmt.Errorf("%w: no hint", ErrMalformed)
	case magic != hintMagic:
		return nil, fmt.Errorf("%w: hint", ErrVersion)
	case len(b) > MaxHint:
		return nil, fmt.Errorf("%w: hint of %d bytes", ErrMalformed, len(b))
	case h.Epoch == 0 || n == 0 || n%BoxStep != 0 || n > MaxBoxes || len(d.b) <= n*identity.BoxSize:
		return nil, fmt.Errorf("%w: hint with %d boxes", ErrMalformed, n)
	}
	h.boxes = make([][]byte, n)
	for i := range h.boxes {
		h.boxes[i] = d.take(identity.BoxSize)
	}
	h.envelope = d.rest()
	return h, nil
}

// Encode returns what ParseHint read.
func (h *SealedHint) Encode() []byte {
	b := append(make([]byte, 0, hintHead+len(h.boxes)*identity.BoxSize+len(h.envelope)), hintMagic...)
	b = binary.BigEndian.AppendUint32(b, uint32(h.Epoch))
	b = append(b, h.Check[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(h.boxes)))
	for _, box := range h.boxes {
		b = append(b, box...)
	}
	return append(b, h.envelope...)
}

// Boxes is the number of boxes.
func (h *SealedHint) Boxes() int { return len(h.boxes) }

// Unbox tries all boxes for one that holds the epoch's key for id, else ErrNoBox.
// Anybody can make a box: the key is not to be used before OpenLedger found its check
// value in the verified ledger. At most MaxBoxes times 0.1 ms.
func (h *SealedHint) Unbox(v crypt.VolumeID, id *identity.Identity) (*crypt.Key, error) {
	info := identity.WrapInfo(v, h.Epoch, id.Public().Principal(), h.Check)
	for _, box := range h.boxes {
		k, err := id.Unwrap(info, box)
		if err != nil {
			continue
		}
		if k.Check(v, h.Epoch) == h.Check {
			return k, nil
		}
		k.Wipe()
	}
	return nil, ErrNoBox
}

// Open opens the sealed part with the epoch's key. The hint is not believed yet: see
// VerifySignature. Errors are those of crypt.Open, ErrMalformed, and ErrVersion.
func (h *SealedHint) Open(v crypt.VolumeID, ek *crypt.Key) (*Hint, error) {
	content, tail, err := crypt.Open(ek, v, crypt.TypeHint, h.envelope)
	if err != nil {
		return nil, fmt.Errorf("hint: %w", err)
	}
	if tail.Epoch() != h.Epoch {
		return nil, fmt.Errorf("%w: hint of two epochs", ErrMalformed)
	}
	hint, err := decodeHint(content)
	if err != nil {
		return nil, err
	}
	hint.Epoch = h.Epoch
	return hint, nil
}

// OpenLedger opens the ledger object that a hint names and verifies it from record 0.
// ek is the key of the hint's epoch; it may be used once this returned nil, since its
// check value then stands in a ledger that the owner signed. Besides the errors of
// crypt.Open and DecodeLedger, ErrForged when it is not the object or the ledger that
// the hint names, and ErrKey when the ledger names another key. With ErrVersion comes what
// DecodeLedger returns.
func OpenLedger(v crypt.VolumeID, ek *crypt.Key, h *Hint, object []byte) (*Ledger, error) {
	if int64(len(object)) != h.Ledger.Size {
		return nil, fmt.Errorf("%w: ledger of another size", ErrForged)
	}
	content, tail, err := crypt.Open(ek, v, crypt.TypeLedger, object)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	if tail.Name() != h.Ledger.Name || tail.Epoch() != h.Epoch {
		return nil, fmt.Errorf("%w: another ledger object", ErrForged)
	}
	return h.ledger(v, ek, content)
}

// InlineLedger returns the ledger that stands in the hint itself, as OpenLedger does;
// nil and nil when the hint has none.
func (h *Hint) InlineLedger(v crypt.VolumeID, ek *crypt.Key) (*Ledger, error) {
	if h.Ledger.Inline == nil {
		return nil, nil
	}
	return h.ledger(v, ek, h.Ledger.Inline)
}

// ledger verifies the content of a ledger object against the hint.
func (h *Hint) ledger(v crypt.VolumeID, ek *crypt.Key, content []byte) (*Ledger, error) {
	l, err := DecodeLedger(v, content)
	if err != nil {
		return l, err
	}
	if l.Head() != h.Ledger.Head || l.Slot() > h.Slot {
		return nil, fmt.Errorf("%w: the ledger is not the hint's", ErrForged)
	}
	if e, kcv := l.Epoch(); e != h.Epoch || ek.Check(v, e) != kcv {
		return nil, ErrKey
	}
	return l, nil
}

// VerifySignature returns nil when a device of the ledger, which OpenLedger verified,
// signed the hint for volume v; else ErrForged.
func (h *Hint) VerifySignature(v crypt.VolumeID, l *Ledger) error {
	d, ok := l.Device(h.Device)
	if !ok || l.Volume() != v {
		return fmt.Errorf("%w: hint by unknown device %d", ErrForged, h.Device)
	}
	if err := d.Key.Verify(h.signed(v), h.signature); err != nil {
		return fmt.Errorf("%w: hint: %w", ErrForged, err)
	}
	return nil
}
