package chain

import (
	"fmt"

	"github.com/hushfs/hushfs/crypt"
)

// OpenSigned opens the commit of a link and finds that a device signed it, as of the
// records up to its slot. key opens the ledger's newest epoch. It says nothing of the
// commits around it. Errors are those of crypt.Open, ErrMalformed, ErrForged and ErrKey.
func OpenSigned(v crypt.VolumeID, key *crypt.Key, l *Ledger, at Link, object []byte) (*Commit, error) {
	c, _, err := openSigned(v, key, l, at, object)
	return c, err
}

// OpenAnnouncing is OpenSigned for the commit that a hint names as the one that
// announces a checkpoint. It finds as well that its author might write then, and that
// it names the ledger and the epoch of its slot.
func OpenAnnouncing(v crypt.VolumeID, key *crypt.Key, l *Ledger, at Link, object []byte) (*Commit, error) {
	c, then, err := openSigned(v, key, l, at, object)
	if err != nil {
		return nil, err
	}
	if only, single := then.Writer(); single && c.Device != only {
		return nil, fmt.Errorf("%w: commit of slot %d by device %d, and device %d alone writes", ErrForged, at.Slot, c.Device, only)
	}
	epoch, _ := then.Epoch()
	switch {
	case c.Checkpoint == nil:
		return nil, fmt.Errorf("%w: slot %d announces nothing", ErrForged, at.Slot)
	case c.Ledger != then.Head():
		return nil, fmt.Errorf("%w: slot %d names another ledger", ErrForged, at.Slot)
	case c.Epoch != epoch:
		return nil, fmt.Errorf("%w: slot %d is of another epoch", ErrForged, at.Slot)
	}
	return c, nil
}

// openSigned returns the ledger up to the slot of the link as well.
func openSigned(v crypt.VolumeID, key *crypt.Key, l *Ledger, at Link, object []byte) (*Commit, *Ledger, error) {
	keys, err := l.keys(key)
	if err != nil {
		return nil, nil, err
	}
	then, err := l.Until(at.Slot)
	if err != nil {
		return nil, nil, err
	}
	epoch, _ := then.Epoch()
	s := &State{Volume: v, Epoch: epoch, keys: keys}
	c, err := s.open(at.Slot, object)
	if err != nil {
		return nil, nil, err
	}
	author, ok := then.Device(c.Device)
	if !ok {
		return nil, nil, fmt.Errorf("%w: commit of slot %d by unknown device %d", ErrForged, at.Slot, c.Device)
	}
	if err := author.Key.Verify(c.signed(v), c.signature); err != nil {
		return nil, nil, fmt.Errorf("%w: commit of slot %d: %w", ErrForged, at.Slot, err)
	}
	if c.ID != at.ID {
		return nil, nil, fmt.Errorf("%w: slot %d holds another commit", ErrForged, at.Slot)
	}
	return c, then, nil
}
