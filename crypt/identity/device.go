package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
)

// Device is the secret of one machine. It signs commits and receives nothing.
// It is safe for concurrent use until Wipe.
type Device struct {
	hidden
	s **deviceSecret
}

type deviceSecret struct{ sign ed25519.PrivateKey }

// NewDevice draws a device key.
func NewDevice() *Device {
	seed := make([]byte, DeviceSeedSize)
	defer clear(seed)
	rand.Read(seed) // never fails: see crypto/rand
	return newDevice(seed)
}

// DeviceFromSeed makes the device of a seed of DeviceSeedSize bytes, which is
// not kept.
func DeviceFromSeed(seed []byte) (*Device, error) {
	if len(seed) != DeviceSeedSize {
		return nil, fmt.Errorf("%w: device seed of %d bytes", ErrMalformed, len(seed))
	}
	return newDevice(seed), nil
}

func newDevice(seed []byte) *Device {
	s := &deviceSecret{ed25519.NewKeyFromSeed(seed)}
	return &Device{s: &s}
}

// Seed returns a copy of the seed; the caller wipes it.
func (d *Device) Seed() []byte { return d.secret().sign.Seed() }

// Public returns the public half.
func (d *Device) Public() DeviceKey {
	return DeviceKey{{AlgEd25519, ed25519Public(d.secret().sign)}}
}

// Sign signs msg, which begins with a label of its purpose that ends in 00.
func (d *Device) Sign(msg []byte) Signature {
	return Signature{{AlgEd25519, ed25519.Sign(d.secret().sign, msg)}}
}

// Wipe overwrites the secret. The device must not be in use, and is of no use
// after.
func (d *Device) Wipe() {
	if d.s == nil || *d.s == nil {
		return
	}
	clear((*d.s).sign)
	*d.s = nil
}

func (d *Device) secret() *deviceSecret {
	if d.s == nil || *d.s == nil {
		panic("identity: device used after Wipe")
	}
	return *d.s
}
