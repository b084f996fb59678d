package sync

import (
	"context"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
)

// Resolve settles a commit of this device that was on its way when the machine
// stopped. Where its slot was followed already, the chain says whether it was
// ours; else the same bytes are sent again, and what lies in the slot decides.
// stored are the closed packs that the chain names.
func (s *Syncer) Resolve(ctx context.Context, c *chain.Sealed, last meta.OpNo, stored func() []pack.Info) error {
	s.working.Lock()
	defer s.working.Unlock()
	if c.Slot < s.slot() {
		_, number, _ := s.o.State.Device()
		if s.o.Chain.LastOp[number] < last {
			return s.lost(c.Slot, c.ID)
		}
		return s.tick(c.Slot, c.ID, last, stored())
	}
	won, err := s.take(ctx, c)
	if err != nil || won == nil {
		return err
	}
	if err := s.o.View.Settle(uint64(won.Slot), won.Last, won.Batch); err != nil {
		return s.stop(err)
	}
	return s.tick(won.Slot, won.ID, won.Last, stored())
}

// Settled is the newest operation of this device that is in the chain.
func (s *Syncer) Settled() meta.OpNo {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settled
}
