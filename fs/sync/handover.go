package sync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
)

var (
	// ErrHandedOver: this machine was the only one to write, and made another that.
	ErrHandedOver = errors.New("the writing was handed on to another device")

	// ErrHeir: nobody, or more than one, is called so, or it is this machine.
	ErrHeir = errors.New("the writing cannot be handed on to that device")
)

// Heir is who is to be the only writer: a device by its number, or by its name, or a
// machine of that key and name, which becomes a device by it.
type Heir struct {
	No   meta.Device
	Name string
	Key  identity.DeviceKey
}

// find returns the number of a device of the ledger; that of an heir who is none yet
// is 0.
func (h Heir) find(l *chain.Ledger, mine meta.Device) (meta.Device, error) {
	var found []chain.Device
	for _, d := range l.Devices() {
		switch {
		case h.Key != nil:
			if bytes.Equal(d.Key.Encode(), h.Key.Encode()) {
				found = append(found, d)
			}
		case h.No != 0:
			if d.No == h.No {
				found = append(found, d)
			}
		case d.Name == h.Name && d.No != mine:
			found = append(found, d)
		}
	}
	switch {
	case len(found) == 0 && h.Key != nil:
		return 0, nil
	case len(found) == 0:
		return 0, fmt.Errorf("%w: there is none", ErrHeir)
	case len(found) > 1:
		return 0, fmt.Errorf("%w: %d devices have that name; their numbers tell them apart", ErrHeir, len(found))
	case found[0].No == mine:
		return 0, fmt.Errorf("%w: it is this machine", ErrHeir)
	}
	return found[0].No, nil
}

// HandOver makes another device the one that alone writes, and returns its number when
// the commit that says so is in the store; this machine publishes nothing from then on.
// What is pending must have been published before. Called again after an error it goes
// on where it was.
func (s *Syncer) HandOver(ctx context.Context, heir Heir) (meta.Device, error) {
	if err := s.turn(ctx); err != nil {
		return 0, err
	}
	defer s.working.Unlock()
	device, from, _ := s.o.State.Device()
	if n := s.o.View.Pending().Len(); n > 0 {
		return 0, fmt.Errorf("%d operations are not in the store yet", n)
	}
	for {
		if err := s.halted(); err != nil {
			return 0, err
		}
		// A commit of an earlier call may be on its way still, or be there.
		if err := s.conclude(ctx); err != nil {
			return 0, err
		}
		if err := s.catchUp(ctx); err != nil {
			return 0, err
		}
		if only, single := s.o.Chain.Ledger.Writer(); single && only != from {
			return only, s.handedOver(ctx, device, from, only)
		}
		to, err := heir.find(s.o.Chain.Ledger, from)
		if err != nil {
			return 0, err
		}
		key := heir.Key
		if to != 0 {
			key = nil // it has a number
		}
		slot, ledger := s.slot(), s.o.Chain.Ledger
		recs, err := ledger.NewWriterRecords(s.o.Identity, slot, from, to, key, FreeName(ledger, heir.Name))
		if err != nil {
			return 0, err
		}
		first := s.o.Chain.LastOp[from] + 1
		c, err := s.o.Chain.Build(slot, device, from, time.Now(), chain.Content{First: first, Last: first - 1, Records: recs})
		if err != nil {
			return 0, fmt.Errorf("build commit: %w", err)
		}
		s.attempt = &attempt{Sealed: c, first: first, last: first - 1}
	}
}

// handedOver ends the writing of this machine: the next one is led to the ledger that
// names it, and nothing is published here any more.
func (s *Syncer) handedOver(ctx context.Context, device *identity.Device, from, to meta.Device) error {
	if err := s.writeHint(ctx, device, from); err != nil {
		// The chain alone says all of it; but a machine without memory begins at a hint.
		return fmt.Errorf("device %d is the writer now, and no hint leads to that yet: %w", to, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped == nil {
		s.stopped = fmt.Errorf("%w, %d", ErrHandedOver, to)
	}
	return nil
}
