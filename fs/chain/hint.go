package chain

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/meta"
)

// Hint says where a volume stood at a slot. It shortens the way of a machine without
// memory and proves nothing about what came later.
type Hint struct {
	Epoch  crypt.Epoch // from the envelope
	Slot   Slot
	Commit ID   // of the slot
	Fold   Link // the commit that announces the newest checkpoint; slot 0: there is none
	Ledger LedgerRef
	Device meta.Device // who signed

	signature identity.Signature
}

// LedgerRef names a ledger object.
type LedgerRef struct {
	Name crypt.Name
	Size int64 // bytes of the object
	Head ID

	// Inline is the ledger itself, when it has at most InlineLedger bytes: it saves
	// who begins here a request. Nil when it has more.
	Inline []byte
}

const (
	hintMagic = "HUSHHNT0"
	// magic, epoch, kcv, number of boxes
	hintHead = len(hintMagic) + 4 + 32 + 2
)

// encode returns the signed body: slot u64, commit id 32, fold (slot u64, id 32; zeros:
// none), ledger name 32, size u64, head 32, ledger (length u32, 0: not here), device
// u16.
func (h *Hint) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(h.Slot))
	b = append(b, h.Commit[:]...)
	b = appendLink(b, h.Fold)
	b = append(b, h.Ledger.Name[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Ledger.Size))
	b = append(b, h.Ledger.Head[:]...)
	b = appendBytes(b, h.Ledger.Inline)
	return binary.BigEndian.AppendUint16(b, uint16(h.Device))
}

// decodeHint reads the sealed content: body, then the signature list to the end.
func decodeHint(b []byte) (*Hint, error) {
	d := decoder{b: b}
	h := &Hint{Slot: Slot(d.u64()), Commit: d.hash(), Fold: d.link()}
	d.must(h.Fold.Slot <= h.Slot && (h.Fold.Slot > 0 || h.Fold == Link{}))
	h.Ledger = LedgerRef{Name: d.hash(), Size: int64(d.u64()), Head: d.hash()}
	if inline := d.bytes(InlineLedger); len(inline) > 0 {
		h.Ledger.Inline = inline
	}
	h.Device = meta.Device(d.u16())
	list := d.rest()
	if err := d.done(); err != nil {
		return nil, fmt.Errorf("%w: hint", ErrMalformed)
	}
	if h.Ledger.Size < 1 || h.Ledger.Size > MaxLedger {
		return nil, fmt.Errorf("%w: hint: ledger of %d bytes", ErrMalformed, h.Ledger.Size)
	}
	var err error
	if h.signature, err = identity.DecodeSignature(list); err != nil {
		return nil, fmt.Errorf("%w: hint: %w", ErrMalformed, err)
	}
	return h, nil
}

// signed is "hushfs/hint" 00 ‖ volume id ‖ SHA-256(body).
func (h *Hint) signed(v crypt.VolumeID) []byte {
	body := sha256.Sum256(h.encode())
	return append(append([]byte(labelHint), v[:]...), body[:]...)
}

// SealLedger seals the ledger as it is now, under the current epoch's key, and
// returns the object and its name. Each call makes another object.
func (s *State) SealLedger() (crypt.Name, []byte, error) {
	object, name, err := crypt.NewSealer(s.Key, s.Volume, crypt.TypeLedger, s.Epoch).Seal(nil, s.Ledger.Encode())
	if err != nil {
		return crypt.Name{}, nil, fmt.Errorf("seal ledger: %w", err)
	}
	if len(object) > MaxLedger {
		return crypt.Name{}, nil, fmt.Errorf("%w: ledger", ErrTooLarge)
	}
	return name, object, nil
}

// SealHint makes the hint of the state's slot, signed by dev as device no, which names
// the ledger object that SealLedger returned, of size bytes. In clear it has a box of
// the epoch's key for each principal and boxes for nobody up to a multiple of BoxStep,
// sorted by their bytes: the order of ciphertexts tells nothing of whose they are.
func (s *State) SealHint(dev *identity.Device, no meta.Device, ledger crypt.Name, size int64) ([]byte, error) {
	d, ok := s.Ledger.Device(no)
	if !ok || !bytes.Equal(d.Key.Encode(), dev.Public().Encode()) {
		return nil, fmt.Errorf("%w: device %d has another key, or none", ErrRefused, no)
	}
	boxes, err := s.boxes()
	if err != nil {
		return nil, err
	}
	sealer := crypt.NewSealer(s.Key, s.Volume, crypt.TypeHint, s.Epoch)
	h := &Hint{
		Epoch: s.Epoch, Slot: s.Slot, Commit: s.Head, Fold: s.announced, Device: no,
		Ledger: LedgerRef{Name: ledger, Size: size, Head: s.Ledger.Head()},
	}
	if b := s.Ledger.Encode(); len(b) <= InlineLedger {
		h.Ledger.Inline = b
	}
	return s.sealHint(sealer, boxes, dev, h)
}

func (s *State) sealHint(sealer *crypt.Sealer, boxes [][]byte, dev *identity.Device, h *Hint) ([]byte, error) {
	content := append(h.encode(), dev.Sign(h.signed(s.Volume)).Encode()...)
	envelope, _, err := sealer.Seal(nil, content)
	if err != nil {
		return nil, fmt.Errorf("seal hint: %w", err)
	}
	sealed := SealedHint{Epoch: s.Epoch, Check: s.Key.Check(s.Volume, s.Epoch), boxes: boxes, envelope: envelope}
	object := sealed.Encode()
	if len(object) > MaxHint {
		return nil, fmt.Errorf("%w: hint", ErrTooLarge)
	}
	return object, nil
}

func (s *State) boxes() ([][]byte, error) {
	kcv := s.Key.Check(s.Volume, s.Epoch)
	var boxes [][]byte
	for _, p := range s.Ledger.principals() {
		box, err := identity.Wrap(p, identity.WrapInfo(s.Volume, s.Epoch, p.Principal(), kcv), s.Key)
		if err != nil {
			return nil, fmt.Errorf("wrap epoch key: %w", err)
		}
		boxes = append(boxes, box)
	}
	for len(boxes)%BoxStep != 0 {
		box, err := identity.RandomBox(identity.WrapInfo(s.Volume, s.Epoch, [32]byte{}, kcv))
		if err != nil {
			return nil, fmt.Errorf("fill up boxes: %w", err)
		}
		boxes = append(boxes, box)
	}
	if len(boxes) > MaxBoxes {
		return nil, fmt.Errorf("%w: %d boxes", ErrTooLarge, len(boxes))
	}
	slices.SortFunc(boxes, bytes.Compare)
	return boxes, nil
}
