package keyslot

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
)

const keyringMagic = "HUSHRNG"

// Limits of a keyring. Together with MaxKeyring they bound what is allocated.
const (
	MaxVolumes  = 1024
	MaxPrevious = 255
	MaxSettings = 255
	maxValue    = 16 << 10

	volumeSize = 32 + 1 + 8 + 32 + 32
)

// Encode returns the keyring's canonical bytes, which the caller wipes: volumes
// and settings are sorted. ErrHeader when it is outside the limits.
func (k *Keyring) Encode() ([]byte, error) {
	if err := k.check(); err != nil {
		return nil, err
	}
	// The right capacity from the start, or append leaves copies of secrets.
	b := make([]byte, 0, k.size())
	b = append(b, keyringMagic+"0"...)
	seed := k.Identity.Seed()
	defer clear(seed)
	b = append(b, seed...)
	b = append(b, byte(len(k.DriveName)))
	b = append(b, k.DriveName...)
	if k.Words == nil {
		b = append(b, 0)
	} else {
		b = append(append(b, 1), k.Words[:]...)
	}
	b = append(b, byte(len(k.Previous)))
	for _, p := range k.Previous {
		root := p.Bytes()
		b = append(b, root...)
		clear(root)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(k.Volumes)))
	for _, v := range sortedVolumes(k.Volumes) {
		b = append(append(b, v.ID[:]...), v.Kind)
		b = binary.BigEndian.AppendUint64(b, v.MinSlot)
		b = append(append(b, v.MinCommit[:]...), v.MinLedger[:]...)
	}
	b = append(b, byte(len(k.Settings)))
	for _, s := range sortedSettings(k.Settings) {
		b = append(append(b, byte(len(s.Key))), s.Key...)
		value := s.Value.use()
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(value))), value...)
	}
	return b, nil
}

// size is the length of the encoding.
func (k *Keyring) size() int {
	n := len(keyringMagic) + 1 + identity.SeedSize + 1 + len(k.DriveName) + 1 +
		1 + len(k.Previous)*crypt.KeySize + 2 + len(k.Volumes)*volumeSize + 1
	if k.Words != nil {
		n += len(k.Words)
	}
	for _, s := range k.Settings {
		n += 1 + len(s.Key) + 2 + len(s.Value.use())
	}
	return n
}

// DecodeKeyring reads exactly one keyring. Errors are ErrHeader and ErrNewer.
func DecodeKeyring(b []byte) (*Keyring, error) {
	r := reader{b: b}
	if err := r.magic(keyringMagic); err != nil {
		return nil, err
	}
	id, err := identity.FromSeed(r.cut(identity.SeedSize))
	if err != nil {
		return nil, fmt.Errorf("%w: keyring is cut off", ErrHeader)
	}
	k := &Keyring{Identity: id}
	if err := k.decode(&r); err != nil {
		k.Wipe()
		return nil, err
	}
	return k, nil
}

// decode reads what follows the seed.
func (k *Keyring) decode(r *reader) error {
	k.DriveName = string(r.cut(int(r.u8())))
	switch r.u8() {
	case 0:
	case 1:
		words, err := identity.DecodeWordsPublic(r.cut(identity.XWingSize))
		if err != nil {
			return fmt.Errorf("%w: public key of the words", ErrHeader)
		}
		k.Words = &words
	default:
		return fmt.Errorf("%w: keyring", ErrHeader)
	}
	for range int(r.u8()) {
		root, err := crypt.KeyFromBytes(r.cut(crypt.KeySize))
		if err != nil {
			return fmt.Errorf("%w: keyring is cut off", ErrHeader)
		}
		k.Previous = append(k.Previous, root)
	}
	for n := int(r.u16()); n > 0 && !r.failed; n-- {
		k.Volumes = append(k.Volumes, VolumeEntry{ID: r.array32(), Kind: r.u8(),
			MinSlot: r.u64(), MinCommit: r.array32(), MinLedger: r.array32()})
	}
	for n := int(r.u8()); n > 0 && !r.failed; n-- {
		k.Settings = append(k.Settings, KV{Key: string(r.cut(int(r.u8()))), Value: NewValue(r.cut(int(r.u16())))})
	}
	if !r.done() {
		return fmt.Errorf("%w: keyring's length", ErrHeader)
	}
	if !slices.IsSortedFunc(k.Volumes, byID) || !slices.IsSortedFunc(k.Settings, byKey) {
		return fmt.Errorf("%w: keyring's order", ErrHeader)
	}
	return k.check()
}

// check holds the keyring to its limits, whatever the order of its lists.
func (k *Keyring) check() error {
	if k.Identity == nil || len(k.Volumes) > MaxVolumes || len(k.Previous) > MaxPrevious || len(k.Settings) > MaxSettings {
		return fmt.Errorf("%w: keyring holds too much or nothing", ErrHeader)
	}
	if err := checkText(k.DriveName); err != nil {
		return fmt.Errorf("name of the drive: %w", err)
	}
	for i, v := range k.Volumes {
		if v.Kind == 0 {
			return fmt.Errorf("%w: kind of volume %d", ErrHeader, i)
		}
	}
	for i, s := range k.Settings {
		if len(s.Key) == 0 || checkText(s.Key) != nil || len(s.Value.use()) > maxValue {
			return fmt.Errorf("%w: setting %d", ErrHeader, i)
		}
	}
	volumes, settings := sortedVolumes(k.Volumes), sortedSettings(k.Settings)
	if len(slices.CompactFunc(volumes, func(a, b VolumeEntry) bool { return a.ID == b.ID })) != len(k.Volumes) ||
		len(slices.CompactFunc(settings, func(a, b KV) bool { return a.Key == b.Key })) != len(k.Settings) {
		return fmt.Errorf("%w: keyring holds something twice", ErrHeader)
	}
	if k.size()+crypt.LocalOverhead > MaxKeyring {
		return fmt.Errorf("%w: keyring of %d bytes", ErrHeader, k.size())
	}
	return nil
}

func byID(a, b VolumeEntry) int { return bytes.Compare(a.ID[:], b.ID[:]) }
func byKey(a, b KV) int         { return cmp.Compare(a.Key, b.Key) }

func sortedVolumes(v []VolumeEntry) []VolumeEntry { return slices.SortedFunc(slices.Values(v), byID) }
func sortedSettings(s []KV) []KV                  { return slices.SortedFunc(slices.Values(s), byKey) }
