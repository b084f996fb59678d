package keyslot

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/hushfs/hushfs/crypt"
)

const (
	magic     = "HUSHDRV"
	labelMAC  = "hushfs/header-mac"
	formatMAC = "v0"
)

// Limits of a header.
const (
	MaxSlots           = 16
	MaxPassphraseSlots = 4       // as many as Unlock is willing to try
	MaxKeyring         = 1 << 18 // bytes, sealed

	MaxSize = headSize + 1 + MaxSlots*(2+maxSlot) + 4 + MaxKeyring + sha256.Size // bytes of a header

	headSize = 8 + 32 + 8
)

// Header is a drive header, decoded but not yet believed: only UnlockPassphrase
// and UnlockWords check the MAC.
type Header struct {
	Drive   [32]byte // DriveID
	Counter uint64
	Slots   []Slot
	Keyring []byte // from SealKeyring
	MAC     [32]byte
}

// New makes a header of slots that wrap root, and of a keyring that SealKeyring
// sealed for the same root, drive and counter. It keeps slots and keyring.
func New(root *crypt.Key, drive [32]byte, counter uint64, slots []Slot, keyring []byte) (*Header, error) {
	k, err := OpenKeyring(root, drive, counter, keyring)
	if err != nil {
		return nil, err
	}
	k.Wipe()
	h := &Header{Drive: drive, Counter: counter, Slots: slots, Keyring: keyring}
	for _, s := range slots {
		if err := s.check(); err != nil {
			return nil, err
		}
	}
	h.MAC = h.mac(root)
	if _, err := Decode(h.Encode()); err != nil {
		return nil, err
	}
	return h, nil
}

// Encode returns the object's bytes. It equals what Decode read.
func (h *Header) Encode() []byte { return append(h.body(), h.MAC[:]...) }

// body is everything before the MAC.
func (h *Header) body() []byte {
	b := append([]byte(magic+"0"), h.Drive[:]...)
	b = binary.BigEndian.AppendUint64(b, h.Counter)
	b = append(b, byte(len(h.Slots)))
	for _, s := range h.Slots {
		encoded := s.encode()
		b = binary.BigEndian.AppendUint16(b, uint16(len(encoded)))
		b = append(b, encoded...)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(h.Keyring)))
	return append(b, h.Keyring...)
}

// mac is HMAC-SHA256 under a key derived from root, of "v0" ‖ object name ‖
// body. The name is in it, or the store could offer an old header as a new one.
func (h *Header) mac(root *crypt.Key) [32]byte {
	key := root.Derive(labelMAC, nil, 32)
	defer clear(key)
	m := hmac.New(sha256.New, key)
	m.Write([]byte(formatMAC + ObjectName(h.Counter)))
	m.Write(h.body())
	return [32]byte(m.Sum(nil))
}

func (h *Header) checkMAC(root *crypt.Key) error {
	if mac := h.mac(root); !hmac.Equal(mac[:], h.MAC[:]) {
		return fmt.Errorf("%w: MAC", ErrHeader)
	}
	return nil
}

// Decode reads the bytes of a header object. Everything is bounded and
// canonical, and nothing is authentic yet. Errors are ErrHeader and ErrNewer.
func Decode(b []byte) (*Header, error) {
	if len(b) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes", ErrHeader, len(b))
	}
	r := reader{b: b}
	if err := r.magic(magic); err != nil {
		return nil, err
	}
	h := &Header{Drive: r.array32(), Counter: r.u64()}
	slots := int(r.u8())
	if r.failed || slots < 1 || slots > MaxSlots {
		return nil, fmt.Errorf("%w: %d slots", ErrHeader, slots)
	}
	passphrases := 0
	for i := range slots {
		s, err := decodeSlot(r.cut(int(r.u16())))
		if err != nil {
			return nil, fmt.Errorf("slot %d: %w", i, err)
		}
		if s.Type == TypePassphrase {
			passphrases++
		}
		h.Slots = append(h.Slots, s)
	}
	if passphrases > MaxPassphraseSlots {
		return nil, fmt.Errorf("%w: %d passphrase slots", ErrHeader, passphrases)
	}
	size := r.u32()
	if size > MaxKeyring {
		return nil, fmt.Errorf("%w: keyring of %d bytes", ErrHeader, size)
	}
	h.Keyring = r.bytes(int(size))
	h.MAC = r.array32()
	if !r.done() {
		return nil, fmt.Errorf("%w: length", ErrHeader)
	}
	return h, nil
}

// DecodeObject is Decode for the object of that name: the counter in the bytes
// must be the one in the name. Else ErrHeader.
func DecodeObject(name string, b []byte) (*Header, error) {
	counter, err := ParseObjectName(name)
	if err != nil {
		return nil, err
	}
	h, err := Decode(b)
	if err != nil {
		return nil, err
	}
	if h.Counter != counter {
		return nil, fmt.Errorf("%w: counter is not the name's", ErrHeader)
	}
	return h, nil
}
