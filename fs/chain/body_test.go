package chain

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/hushfs/hushfs/crypt/identity"
)

func TestWrongBodies(t *testing.T) {
	w := emptyWorld(t)
	volume := volumeBody{owner: w.owner.Public()}.encode()
	owner := w.owner.Public().Encode()
	grant := 32 + 1 + 4 + len(owner) // where the grant key's length stands
	hybrid := w.owner.Public()
	hybrid.Sign = append(hybrid.Sign, identity.AlgKey{Alg: 2, Key: []byte("lattice")})
	withGrant := slices.Insert(bytes.Clone(volume), grant+4, 1, 2, 3)
	withGrant[grant+3] = 3
	twoPrincipals := append(changed(volume, grant+5), make([]byte, 32)...)

	wraps := func(principals ...byte) []byte {
		b := epochBody{epoch: 1}
		for _, p := range principals {
			b.wraps = append(b.wraps, wrap{[32]byte{p}, make([]byte, identity.BoxSize)})
		}
		return b.encode()
	}
	dev := deviceBody{7, "laptop", w.laptop.Public()}.encode()

	for _, c := range []struct {
		name   string
		decode func(b []byte) error
		b      []byte
		want   error
	}{
		{"a volume", volumeError, volume, nil},
		{"a volume of no suite", volumeError, slices.Replace(bytes.Clone(volume), 32, 33, 0), ErrMalformed},
		{"a volume of suite 2", volumeError, changed(volume, 32), ErrVersion},
		{"a volume with a grant key", volumeError, withGrant, ErrVersion},
		{"a volume with two principals", volumeError, twoPrincipals, ErrVersion},
		{"a volume with another principal", volumeError, changed(volume, -1), ErrVersion},
		{"an owner with a key of tomorrow", volumeError, volumeBody{owner: hybrid}.encode(), ErrVersion},
		{"an owner with keys of zeros", volumeError, append(append(make([]byte, 37), make([]byte, len(owner))...), volume[grant:]...), ErrMalformed},
		{"a device", deviceError, dev, nil},
		{"device 0", deviceError, deviceBody{0, "", w.laptop.Public()}.encode(), ErrMalformed},
		{"a device without a key", deviceError, dev[:9], ErrMalformed},
		{"an epoch", epochError, wraps(), nil},
		{"an epoch with two wraps", epochError, wraps(1, 2), nil},
		{"wraps out of order", epochError, wraps(2, 1), ErrMalformed},
		{"two wraps for one", epochError, wraps(1, 1), ErrMalformed},
		{"epoch 0", epochError, epochBody{}.encode(), ErrMalformed},
		{"epoch 1 after another", epochError, epochBody{epoch: 1, previous: make([]byte, previousSize)}.encode(), ErrMalformed},
		{"epoch 2 after none", epochError, epochBody{epoch: 2}.encode(), ErrMalformed},
		{"more wraps than fit", epochError, append(epochBody{epoch: 1}.encode()[:40], 0xff, 0xff), ErrMalformed},
	} {
		if err := c.decode(c.b); !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func volumeError(b []byte) error { _, err := decodeVolume(b); return err }
func deviceError(b []byte) error { _, err := decodeDevice(b); return err }
func epochError(b []byte) error  { _, err := decodeEpoch(b); return err }

// MaxWraps boxes fit into a record, and that into a commit.
func TestTheLargestEpoch(t *testing.T) {
	b := epochBody{epoch: 2, previous: make([]byte, previousSize)}
	for i := range MaxWraps {
		b.wraps = append(b.wraps, wrap{[32]byte{byte(i >> 8), byte(i)}, make([]byte, identity.BoxSize)})
	}
	body := b.encode()
	if err := epochError(body); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	r := w.record(w.owner, 1, KindEpoch, body)
	if _, err := DecodeRecord(r.Encode()); err != nil {
		t.Errorf("%d bytes: %v", len(r.Encode()), err)
	}
	w.first()
	r = w.record(w.owner, 2, KindEpoch, body)
	if object := w.forge(forgery{slot: 2, recs: []Record{r}}); len(object) > MaxCommit {
		t.Errorf("a commit of %d bytes", len(object))
	}
}
