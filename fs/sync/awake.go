package sync

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/store"
)

// sleepMax is for how long this machine takes the slot of its head to be there still,
// without a look.
const sleepMax = time.Hour

// uptime counts on while the machine sleeps, and does not jump as a clock does.
func uptime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return 0 // every Linux that has FUSE has this clock
	}
	return time.Duration(t.Nano())
}

// awake is asked before a commit is put. Commits under a checkpoint are deleted some
// day, the oldest first, and a slot that was deleted can be taken a second time: what a
// machine that slept puts there nobody reads. So after sleepMax the
// slot of its head must still be there; working is held.
func (s *Syncer) awake(ctx context.Context) error {
	if s.o.Uptime()-s.heard < sleepMax {
		return nil
	}
	head := s.o.Chain.Slot
	object, err := s.get(ctx, chain.SlotName(s.o.Chain.Volume, head), chain.MaxCommit)
	if errors.Is(err, store.ErrNotExist) || err == nil && !s.o.Chain.Is(head, s.o.Chain.Head, object) {
		// Where nobody went on the store was set back, which headThere tells, and which
		// may pass.
		on, err := s.wentOn(ctx, head)
		if err == nil && on {
			err = s.stop(fmt.Errorf("%w: slot %d, the last that this machine knows, is gone", ErrAsleep, head))
		}
		return err
	}
	if err != nil {
		return fmt.Errorf("look whether slot %d is still there: %w", head, err)
	}
	s.heard = s.o.Uptime()
	return nil
}

// wentOn says whether there is a hint of a slot above head.
func (s *Syncer) wentOn(ctx context.Context, head chain.Slot) (bool, error) {
	page, err := s.o.Bucket.List(ctx, chain.HintPrefix(s.o.Chain.Volume), "", 1)
	s.reached(err)
	if err != nil {
		return false, fmt.Errorf("look for newer hints: %w", err)
	}
	for _, i := range page {
		if slot, ok := chain.ParseHintName(s.o.Chain.Volume, i.Name); ok && slot > head {
			return true, nil
		}
	}
	return false, nil
}

// Resumed tells that the machine was asleep: what waits for its next try is tried now.
// Each commit looks for the head before it is put, so nothing else is to be done.
func (s *Syncer) Resumed() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
