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

// Uptime is that of the machine, its sleep included: what was known some time ago by a
// clock that stands still meanwhile may be much older.
func (s *Syncer) Uptime() time.Duration { return s.o.Uptime() }

// awake is asked before a commit is put, and where the chain seems to end. Commits under
// a checkpoint are deleted some day, and a slot that was deleted can be taken a second
// time: what a machine that slept puts there nobody reads. So after sleepMax it looks for
// a hint of a later slot. Is there one, and no commit in the next slot, then others went
// on, and this machine goes where they are: that is errReturned, and whatever was begun
// on the old state begins anew. Where it is for sure a newer program's alone, this machine
// cannot go there, and stops. Is there none, nothing may lie above the next slot, and the
// slot of its head must still be there; working is held.
//
// That something lies in the slot of the head, or in the next, proves nothing: commits
// that announce a checkpoint are never trimmed.
func (s *Syncer) awake(ctx context.Context) error {
	if s.o.Uptime()-s.heard < sleepMax {
		return nil
	}
	later, hint, sure, err := s.newerHint(ctx)
	if err != nil {
		return fmt.Errorf("look for newer hints: %w", err)
	}
	if later || sure {
		object, err := s.get(ctx, chain.SlotName(s.volume, s.slot()), 0)
		if err == nil && len(object) > 0 {
			return nil // it is followed first, or lost against
		}
		if err != nil && !errors.Is(err, store.ErrNotExist) {
			return fmt.Errorf("look at slot %d: %w", s.slot(), err)
		}
		if !later {
			return s.stop(newer{fmt.Errorf("a newer version of hushfs wrote %s, and went on from after slot %d. This version cannot go there; what waits stays in the journal of this machine until a newer one is installed", hint, s.o.Chain.Slot)})
		}
		if err := s.jump(ctx); err != nil {
			return err
		}
		return errReturned
	}
	if ends, err := s.ends(ctx, hint); err != nil || !ends {
		return err
	}
	head := s.o.Chain.Slot
	object, err := s.get(ctx, chain.SlotName(s.volume, head), chain.MaxCommit)
	switch {
	case head == 0:
	case errors.Is(err, store.ErrNotExist) || err == nil && !s.o.Chain.Is(head, s.o.Chain.Head, object):
		return nil // the store was set back, which headThere tells, and which may pass
	case err != nil:
		return fmt.Errorf("look whether slot %d is still there: %w", head, err)
	}
	s.heard = s.o.Uptime()
	return nil
}

// ends says whether the chain ends before the next slot; if not, something lies there, to be
// followed or lost against first. It is an error when nothing does and others above it are
// there: a commit, as at a mount, or anything at all where hint, unless it is empty, seems
// to be a newer program's. Then the next slot may be one that was trimmed. Nothing is given
// up: it passes with what shows it. working is held.
func (s *Syncer) ends(ctx context.Context, hint string) (bool, error) {
	next := s.slot()
	slots, newest, err := someSlots(ctx, s.o.Bucket, s.volume, next)
	s.reached(err)
	if err != nil {
		return false, err
	}
	look := edges(slots, newest)
	if len(look) == 0 || look[0] == next {
		return len(look) == 0, nil
	}
	if hint != "" {
		err := wentNewer(hint, next, nil)
		s.setMissing(err)
		return false, err
	}
	for _, slot := range look {
		object, err := s.get(ctx, chain.SlotName(s.volume, slot), chain.MaxCommit)
		if errors.Is(err, store.ErrNotExist) {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("look at slot %d: %w", slot, err)
		}
		j, err := judge(ctx, s.o.Chain, slot, object, s.confirmed())
		if err != nil {
			return false, fmt.Errorf("judge slot %d: %w", slot, err)
		}
		if j.Verdict != chain.Junk {
			err := fmt.Errorf("%w: slot %d is not there, and slot %d is; what waits stays in the journal until the store is what it was", ErrRollback, next, slot)
			s.setMissing(err)
			return false, err
		}
	}
	return true, nil
}

// comeBack is awake for who has begun nothing yet; working is held.
func (s *Syncer) comeBack(ctx context.Context) error {
	if err := s.awake(ctx); !errors.Is(err, errReturned) {
		return err
	}
	return nil
}

// newerHint says whether there is a good hint of a slot above the head; if not, hint names
// one that a newer program seems to have made, if there is such, and sure says that who
// has the right signed what shows that.
func (s *Syncer) newerHint(ctx context.Context) (later bool, hint string, sure bool, err error) {
	page, err := s.o.Bucket.List(ctx, chain.HintPrefix(s.volume), "", 1)
	s.reached(err)
	if err != nil {
		return false, "", false, err
	}
	if len(page) == 0 {
		return false, "", false, nil
	}
	if slot, ok := chain.ParseHintName(s.volume, page[0].Name); ok && slot <= s.o.Chain.Slot {
		return false, "", false, nil
	}
	f, err := findLedger(ctx, s.o.Bucket, s.volume, s.o.Identity, s.hints)
	switch {
	case err == nil && f.hint.Slot > s.o.Chain.Slot && s.knownHint(f):
		return true, "", false, nil
	case err != nil && !errors.Is(err, ErrNoKey) && !errors.Is(err, ErrElsewhere):
		return false, "", false, err // else what there is of them tells nothing
	}
	h, sure := newerOf(f.over, s.o.Chain.Slot, s.o.Chain.Ledger)
	return false, h.name, sure, nil
}

// knownHint says whether a hint is of a ledger that goes on from this machine's, or is
// part of it. Another history's proves nothing here.
func (s *Syncer) knownHint(f found) bool {
	mine := s.o.Chain.Ledger
	return f.ledger.Head() == mine.Head() || extends(f.ledger, mine) || extends(mine, f.ledger)
}

// Resumed tells that the machine was asleep: what waits for its next try is tried now.
// Each commit looks for the head before it is put, and the follower looks at once.
func (s *Syncer) Resumed() {
	s.polling.doubt.Store(true)
	s.lookNow()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
