package sync

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/view"
)

// jumpEvery is the least time from a jump that led nowhere, since the store is without what
// is on the way, to the next: each reads the chain anew.
const jumpEvery = time.Minute

// astray is why the last jump led nowhere, nil where it did not or there was none, and the
// uptime then.
type astray struct {
	err error
	up  time.Duration
}

// jump brings a machine that slept while others folded and trimmed to where they are. The
// slots between are gone, but the checkpoint's steps show that its head is an ancestor of
// what is there now. Chain and view go on from there, and what is pending is executed
// again over the difference; nothing is put into a slot that was trimmed. Where the
// store's history is another, or cannot be shown to be the same, this machine stops.
// working is held.
func (s *Syncer) jump(ctx context.Context) error {
	if err := s.show(ctx); err != nil {
		return err
	}
	if s.astray.err != nil && s.o.Uptime()-s.astray.up < jumpEvery {
		return s.astray.err
	}
	s.astray = astray{}
	l, err := Load(ctx, s.loadOptions())
	if err != nil {
		return fmt.Errorf("come back after a sleep: %w", err)
	}
	if l.Evidence != nil {
		s.o.Evidence(l.EvidenceSlot, l.Evidence)
		return s.stop(l.Trouble)
	}
	// What a newer program did is met again, above where this machine goes on, and ends its
	// way there.
	if l.Trouble != nil && (!errors.Is(l.Trouble, chain.ErrVersion) || l.Chain.Slot < s.o.Chain.Slot) {
		s.astray = astray{fmt.Errorf("come back after a sleep: %w", l.Trouble), s.o.Uptime()} // it may pass
		s.setMissing(s.astray.err)
		return s.astray.err
	}
	if err := s.descends(ctx, l); err != nil {
		return err
	}
	return s.landAt(ctx, l)
}

// loadOptions are those by which this machine reads the chain anew.
func (s *Syncer) loadOptions() LoadOptions {
	o := LoadOptions{
		Bucket: s.o.Bucket, Volume: s.volume, Identity: s.o.Identity,
		Tables: s.o.Tables, Keys: s.o.Keys, Memory: s.o.Memory, Log: s.log, Keep: s.o.Keep, Slots: s.o.Slots, Wrong: s.wrong,
	}
	for id := range s.forks.settled {
		o.Settled = append(o.Settled, chain.Link{ID: id})
	}
	return o
}

// descends says whether what the store has now goes on from this machine's head; if not,
// nothing is written any more.
func (s *Syncer) descends(ctx context.Context, l *Loaded) error {
	mine := s.o.Chain.Remember()
	id, ok, err := l.ID(ctx, mine.Slot)
	switch {
	case err != nil:
		return fmt.Errorf("look for slot %d under the checkpoints: %w", mine.Slot, err)
	case ok && id != mine.ID:
		return s.stop(fmt.Errorf("%w: slot %d holds another commit than the one that this machine saw", ErrFork, mine.Slot))
	case !ok:
		return s.stop(fmt.Errorf("%w: the store does not show that slot %d, the last that this machine knows, came before", ErrAsleep, mine.Slot))
	case l.Chain.Ledger.Head() != mine.Ledger && !extends(l.Chain.Ledger, s.o.Chain.Ledger):
		return s.stop(fmt.Errorf("%w: the ledger is another than this machine knows", ErrFork))
	}
	return nil
}

// landAt goes on from what was loaded, which descends from the head.
func (s *Syncer) landAt(ctx context.Context, l *Loaded) error {
	_, number, _ := s.o.State.Device()
	a, ours := s.attempt, false
	if a != nil {
		id, ok, err := l.ID(ctx, a.Slot)
		if err != nil {
			return fmt.Errorf("look for slot %d under the checkpoints: %w", a.Slot, err)
		}
		ours = ok && id == a.ID
	}
	settled := s.o.Chain.LastOp[number]
	if ours {
		settled = a.last
	}
	if number != 0 && l.Chain.LastOp[number] != settled {
		return s.stop(errTwin)
	}
	if err := s.o.Gather(); err != nil {
		return err
	}
	err := Retry(ctx, func() error {
		return s.o.Switch(nil, func() (view.Followed, error) {
			return s.o.View.Jump(l.Confirmed, settled, s.o.Rebase(), s.o.Replace)
		})
	})
	if err != nil {
		return fmt.Errorf("go on at slot %d: %w", l.Chain.Slot, err)
	}
	was := s.o.Chain.Slot
	*s.o.Chain = *l.Chain
	s.noticeSelf()
	s.tables, s.bytes, s.hint, s.end = l.tables, l.bytes, l.hint, end{}
	s.o.Slots.Drop(l.Chain.Folded().Slot + 1)
	s.moved, s.heard = time.Now(), s.o.Uptime()
	if l.Trouble != nil {
		s.heard -= sleepMax // the slots above may be trimmed
	}
	s.setNext(l.Next)
	s.mu.Lock()
	s.settled = max(s.settled, settled)
	s.mu.Unlock()
	s.log.Info("this machine slept, and went on from where others are", "slot", uint64(was), "now", uint64(l.Chain.Slot))
	// Whatever fails now, the commit is sent no more: its slot lies behind.
	s.behind, s.attempt = true, nil
	if ours {
		s.tookSlot(a)
	}
	if err := s.writeBehind(); err != nil {
		return err
	}
	if a != nil && !ours {
		return s.lost(a)
	}
	return s.tell()
}
