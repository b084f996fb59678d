package chain

import (
	"fmt"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/meta"
)

// Said is what a record says, as far as it is told to people. What its kind does not
// have is zero.
type Said struct {
	Device meta.Device
	Name   string // of the device
	Epoch  crypt.Epoch
}

// Said returns what the record says. It verifies nothing.
func (r Record) Said() (s Said) {
	switch r.Kind {
	case KindDevice:
		if v, err := decodeDevice(r.Body); err == nil {
			s.Device, s.Name = v.no, v.name
		}
	case KindEpoch:
		if v, err := decodeEpoch(r.Body); err == nil {
			s.Epoch = v.epoch
		}
	case KindRemove:
		if v, err := decodeRemove(r.Body); err == nil {
			s.Device = v.no
		}
	case KindRename:
		if v, err := decodeRename(r.Body); err == nil {
			s.Device, s.Name = v.no, v.name
		}
	case KindWriter:
		if v, err := decodeWriter(r.Body); err == nil {
			s.Device = v.to
		}
	case KindAccepted:
		if v, err := decodeAccepted(r.Body); err == nil {
			s.Device = v.Device
		}
	}
	return s
}

// OpenSigned opens the commit of a link and finds that a device signed it, as of the
// records up to its slot. key opens the ledger's newest epoch. It says nothing of the
// commits around it. Errors are those of crypt.Open, ErrMalformed, ErrForged and ErrKey.
func OpenSigned(v crypt.VolumeID, key *crypt.Key, l *Ledger, at Link, object []byte) (*Commit, error) {
	keys, err := l.keys(key)
	if err != nil {
		return nil, err
	}
	then, err := l.Until(at.Slot)
	if err != nil {
		return nil, err
	}
	epoch, _ := then.Epoch()
	s := &State{Volume: v, Epoch: epoch, keys: keys}
	c, err := s.open(at.Slot, object)
	if err != nil {
		return nil, err
	}
	author, ok := then.Device(c.Device)
	if !ok {
		return nil, fmt.Errorf("%w: commit of slot %d by unknown device %d", ErrForged, at.Slot, c.Device)
	}
	if err := author.Key.Verify(c.signed(v), c.signature); err != nil {
		return nil, fmt.Errorf("%w: commit of slot %d: %w", ErrForged, at.Slot, err)
	}
	if c.ID != at.ID {
		return nil, fmt.Errorf("%w: slot %d holds another commit", ErrForged, at.Slot)
	}
	return c, nil
}
