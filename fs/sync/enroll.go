package sync

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
)

// Enroll makes this machine a device of the volume: it takes the next number by
// an ordinary commit, tried again while other machines are faster. It returns
// when the number is durable in the state. Called again after an error it goes on
// where it was. A crash in between wastes a number, never uses one twice: the
// ledger has a number once, and gives it to one key.
func (s *Syncer) Enroll(ctx context.Context) (meta.Device, error) {
	if err := s.turn(ctx); err != nil {
		return 0, err
	}
	defer s.working.Unlock()
	if err := s.halted(); err != nil {
		return 0, err
	}
	device, _, name := s.o.State.Device()
	number, err := s.enlist(ctx, device, name)
	if err != nil {
		return 0, err
	}
	if err := s.o.State.Enrolled(number); err != nil {
		return 0, err
	}
	s.noticeSelf() // it may be called otherwise than it wanted
	if err := s.o.State.Remember(s.o.Chain.Remember(), 0); err != nil {
		return 0, err
	}
	if err := s.writeHint(ctx, device, number); err != nil {
		// The chain alone says all of it; a hint only makes mounting quicker.
		s.log.Warn("hint not written", "slot", uint64(s.o.Chain.Slot), "err", err)
	}
	return number, nil
}

// enlist returns the number of device in the ledger, which it enters when it is
// not there.
func (s *Syncer) enlist(ctx context.Context, device *identity.Device, name string) (meta.Device, error) {
	for {
		// A commit from an earlier call may be on its way still, or be there.
		if err := s.conclude(ctx); err != nil {
			return 0, err
		}
		if err := s.catchUp(ctx); err != nil {
			return 0, err
		}
		slot, ledger := s.slot(), s.o.Chain.Ledger
		if number, ok := find(ledger, device); ok {
			return number, nil
		}
		number := ledger.HighestDevice() + 1
		rec, err := ledger.NewDeviceRecord(s.o.Identity, slot, number, device.Public(), FreeName(ledger, name))
		if err != nil {
			return 0, err
		}
		c, err := s.o.Chain.Build(slot, device, number, time.Now(), chain.Content{First: 1, Records: []chain.Record{rec}})
		if err != nil {
			return 0, fmt.Errorf("build commit: %w", err)
		}
		s.attempt = &attempt{Sealed: c, enrols: true}
	}
}

// find looks for a device by its key.
func find(l *chain.Ledger, device *identity.Device) (meta.Device, bool) {
	key := device.Public().Encode()
	for _, d := range l.Devices() {
		if bytes.Equal(d.Key.Encode(), key) {
			return d.No, true
		}
	}
	return 0, false
}
