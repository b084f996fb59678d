package sync

import (
	"context"
	"fmt"
	"time"

	"github.com/hushfs/hushfs/fs/chain"
)

// Accept writes into the chain that a person took what the store has, up to had, for the
// right history, although seen was known. This machine must be a device. Called again
// after an error it may say so twice, which does no harm.
func (s *Syncer) Accept(ctx context.Context, seen, had chain.Link) error {
	if err := s.turn(ctx); err != nil {
		return err
	}
	defer s.working.Unlock()
	if err := s.halted(); err != nil {
		return err
	}
	device, number, _ := s.o.State.Device()
	for {
		if err := s.conclude(ctx); err != nil {
			return err
		}
		if err := s.catchUp(ctx); err != nil {
			return err
		}
		for _, a := range s.o.Chain.Ledger.Accepted() {
			if a.Device == number && a.Seen == seen && a.Had == had {
				return s.o.State.Remember(s.o.Chain.Remember(), 0)
			}
		}
		slot, now := s.slot(), time.Now()
		rec, err := s.o.Chain.Ledger.NewAcceptedRecord(s.o.Identity, slot, chain.Accepted{Seen: seen, Had: had, Device: number, Time: now})
		if err != nil {
			return err
		}
		first := s.o.Chain.LastOp[number] + 1
		c, err := s.o.Chain.Build(slot, device, number, now, chain.Content{First: first, Last: first - 1, Records: []chain.Record{rec}})
		if err != nil {
			return fmt.Errorf("build commit: %w", err)
		}
		s.attempt = &attempt{Sealed: c, enrols: true}
	}
}
