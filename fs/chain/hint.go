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
	Commit ID // of the slot
	Ledger LedgerRef
	Device meta.Device // who signed

	signature identity.Signature
}

// LedgerRef names a ledger object.
type LedgerRef struct {
	Name crypt.Name
	Size int64 // bytes of the object
	Head ID
}

const (
	hintMagic = "HUSHHNT0"
	// magic, epoch, kcv, number of boxes
	hintHead = len(hintMagic) + 4 + 32 + 2
)

// encode returns the signed body: slot u64, commit id 32, manifest u8 (0: none),
// ledger name 32, size u64, head 32, bundles u16 (0), device u16.
func (h *Hint) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(h.Slot))
	b = append(b, h.Commit[:]...)
	b = append(b, 0)
	b = append(b, h.Ledger.Name[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Ledger.Size))
	b = append(b, h.Ledger.Head[:]...)
	b = binary.BigEndian.AppendUint16(b, 0)
	return binary.BigEndian.AppendUint16(b, uint16(h.Device))
}

const hintBody = 8 + 32 + 1 + 32 + 8 + 32 + 2 + 2

// decodeHint reads the sealed content: body, then the signature list to the end. A
// manifest or a bundle is ErrVersion.
func decodeHint(b []byte) (*Hint, error) {
	d := decoder{b: b}
	h := &Hint{Slot: Slot(d.u64()), Commit: d.hash()}
	manifest := d.u8()
	h.Ledger = LedgerRef{Name: d.hash(), Size: int64(d.u64()), Head: d.hash()}
	bundles := d.u16()
	h.Device = meta.Device(d.u16())
	list := d.rest()
	if err := d.done(); err != nil || manifest > 1 {
		return nil, fmt.Errorf("%w: hint", ErrMalformed)
	}
	if manifest != 0 || bundles != 0 {
		return nil, fmt.Errorf("%w: the hint names tables or bundles", ErrVersion)
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
	return s.sealHint(sealer, boxes, dev, &Hint{
		Epoch: s.Epoch, Slot: s.Slot, Commit: s.Head, Device: no,
		Ledger: LedgerRef{Name: ledger, Size: size, Head: s.Ledger.Head()},
	})
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
