package sync

import (
	"context"
	"fmt"
	"time"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
)

// Enroll makes this machine a device of the volume: it takes the next number by
// an ordinary commit, tried again while other machines are faster. It returns
// when the number is durable in the state. A crash in between wastes a number,
// never uses one twice: the device's key is new each time.
func (s *Syncer) Enroll(ctx context.Context) (meta.Device, error) {
	s.working.Lock()
	defer s.working.Unlock()
	s.mu.Lock()
	stopped := s.stopped
	s.mu.Unlock()
	if stopped != nil {
		return 0, stopped
	}
	device, _, name := s.o.State.Device()
	for {
		if err := s.catchUp(ctx); err != nil {
			return 0, err
		}
		slot, ledger := s.slot(), s.o.Chain.Ledger
		number := ledger.HighestDevice() + 1
		rec, err := ledger.NewDeviceRecord(s.o.Identity, slot, number, device.Public(), name)
		if err != nil {
			return 0, err
		}
		c, err := s.o.Chain.Build(slot, device, number, time.Now(), 1, 0, &meta.Batch{}, []chain.Record{rec})
		if err != nil {
			return 0, fmt.Errorf("build commit: %w", err)
		}
		won, err := s.take(ctx, c)
		if err != nil {
			return 0, err
		}
		if won == nil {
			continue
		}
		// The batch is empty: confirmed only learns the slot.
		if err := s.o.View.Settle(uint64(c.Slot), 0, &meta.Batch{}); err != nil {
			return 0, s.stop(err)
		}
		if err := s.o.State.Enrolled(number); err != nil {
			return 0, err
		}
		if err := s.o.State.Remember(s.o.Chain.Remember(), 0); err != nil {
			return 0, err
		}
		if err := s.hint(ctx); err != nil {
			// The chain alone says all of it; a hint only makes mounting quicker.
			s.log.Warn("hint not written", "slot", uint64(c.Slot), "err", err)
		}
		return number, nil
	}
}

// hint writes the ledger as it is now, and a hint that names it.
func (s *Syncer) hint(ctx context.Context) error {
	device, number, _ := s.o.State.Device()
	return WriteHint(ctx, s.o.Bucket, s.o.Chain, device, number)
}

