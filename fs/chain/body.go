package chain

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/meta"
)

// volumeBody makes a volume: 32 random bytes, minimum suite u8, owner (length u32,
// identity.Public), grant key (length u32; none so far), principals (count u16, 32
// bytes each).
type volumeBody struct {
	random [32]byte
	owner  identity.Public
}

func (v volumeBody) encode() []byte {
	b := append(v.random[:], minSuite)
	b = appendBytes(b, v.owner.Encode())
	b = appendBytes(b, nil)
	b = binary.BigEndian.AppendUint16(b, 1)
	p := v.owner.Principal()
	return append(b, p[:]...)
}

func decodeVolume(b []byte) (v volumeBody, err error) {
	d := decoder{b: b}
	v.random = d.hash()
	suite := d.u8()
	owner := d.bytes(identity.MaxPublicSize)
	grant := d.bytes(identity.MaxPublicSize)
	first := d.take(32 * int(d.u16()))
	if err := d.done(); err != nil || suite == 0 {
		return v, fmt.Errorf("%w: volume record", ErrMalformed)
	}
	if suite > minSuite {
		return v, fmt.Errorf("%w: the volume demands suite %d", ErrVersion, suite)
	}
	if v.owner, err = identity.DecodePublic(owner); err != nil {
		return v, fmt.Errorf("%w: volume record: owner: %w", ErrMalformed, err)
	}
	if !knownAlgs(v.owner.Sign) {
		return v, fmt.Errorf("%w: the owner signs with other algorithms", ErrVersion)
	}
	if p := v.owner.Principal(); len(grant) != 0 || !bytes.Equal(first, p[:]) {
		return v, fmt.Errorf("%w: the volume has principals besides its owner", ErrVersion)
	}
	return v, nil
}

// deviceBody gives a machine a number: number u16, name (length u8), and its key
// list to the end.
type deviceBody struct {
	no   meta.Device
	name string
	key  identity.DeviceKey
}

func (v deviceBody) encode() []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(v.no))
	b = append(append(b, byte(len(v.name))), v.name...)
	return append(b, v.key.Encode()...)
}

func decodeDevice(b []byte) (v deviceBody, err error) {
	d := decoder{b: b}
	v.no = meta.Device(d.u16())
	v.name = string(d.take(int(d.u8())))
	key := d.rest()
	if err := d.done(); err != nil || v.no == 0 {
		return v, fmt.Errorf("%w: device record", ErrMalformed)
	}
	if err := CheckDeviceName(v.name); err != nil {
		return v, fmt.Errorf("%w: device record: %w", ErrMalformed, err)
	}
	if v.key, err = identity.DecodeDeviceKey(key); err != nil {
		return v, fmt.Errorf("%w: device record: %w", ErrMalformed, err)
	}
	if !knownAlgs(v.key) {
		return v, fmt.Errorf("%w: device %d signs with other algorithms", ErrVersion, v.no)
	}
	return v, nil
}

// CheckDeviceName answers nil for at most MaxDeviceName bytes of UTF-8 that a
// terminal prints and a file name may contain, else ErrDeviceName.
func CheckDeviceName(name string) error {
	if len(name) > MaxDeviceName || !utf8.ValidString(name) ||
		strings.ContainsFunc(name, func(r rune) bool { return r == '/' || unicode.IsControl(r) }) {
		return ErrDeviceName
	}
	return nil
}

// knownAlgs tells whether signatures by a key list can be judged here.
func knownAlgs(keys []identity.AlgKey) bool {
	for _, k := range keys {
		if k.Alg != identity.AlgEd25519 {
			return false
		}
	}
	return true
}

// epochBody opens an epoch: epoch u32, check value 32, the key before it sealed
// under the new one (length u32; none for epoch 1), wraps (count u16, principal 32
// ‖ box each, ascending by principal).
type epochBody struct {
	epoch    crypt.Epoch
	kcv      [32]byte
	previous []byte
	wraps    []wrap
}

type wrap struct {
	principal [32]byte
	box       []byte // identity.BoxSize
}

const (
	wrapSize     = 32 + identity.BoxSize
	previousSize = 12 + crypt.KeySize + crypt.Overhead // crypt.Local: nonce, key, tag
)

func (v epochBody) encode() []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(v.epoch))
	b = append(b, v.kcv[:]...)
	b = appendBytes(b, v.previous)
	b = binary.BigEndian.AppendUint16(b, uint16(len(v.wraps)))
	for _, w := range v.wraps {
		b = append(append(b, w.principal[:]...), w.box...)
	}
	return b
}

func decodeEpoch(b []byte) (v epochBody, err error) {
	d := decoder{b: b}
	v.epoch = crypt.Epoch(d.u32())
	v.kcv = d.hash()
	v.previous = d.bytes(previousSize)
	want := previousSize
	if v.epoch == 1 {
		want = 0
	}
	d.must(v.epoch > 0 && len(v.previous) == want)
	n := int(d.u16())
	d.must(n <= MaxWraps && len(d.b) == n*wrapSize)
	for i := 0; i < n && !d.bad; i++ {
		w := wrap{principal: d.hash(), box: d.take(identity.BoxSize)}
		d.must(i == 0 || bytes.Compare(v.wraps[i-1].principal[:], w.principal[:]) < 0)
		v.wraps = append(v.wraps, w)
	}
	if err := d.done(); err != nil {
		return epochBody{}, fmt.Errorf("%w: epoch record", err)
	}
	return v, nil
}
