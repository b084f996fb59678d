package sync

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hushfs/hushfs/fs/chain"
)

const (
	// sightEvery is how long a mount on which nothing happens takes the newest slot that
	// it knows to be there still. One look is one request for 64 bytes.
	sightEvery = 10 * time.Minute

	// holesEvery is the same for the older slots that a new machine needs. One look is one
	// listing.
	holesEvery = time.Hour
)

// sight is when the store was last seen to have what it had. The store may be set back,
// or keep to itself what it showed, while nobody writes, and who only asks for the next
// slot is told that all is quiet.
type sight struct {
	at    time.Time     // of the newest slot
	up    time.Duration // the same by the uptime, which counts sleep
	holes time.Time     // of the older ones
	hints time.Time     // when those that were passed over were looked at again
	hole  chain.Slot    // that is not there although newer ones are; 0: none
}

// sighted notes that the store showed the newest slot; working is held.
func (s *Syncer) sighted() {
	s.sight.at, s.sight.up = time.Now(), s.o.Uptime()
}

// sightDue says whether the newest slot is to be looked at, without anything to put;
// working is held. A store that is without it is asked more often whether it is back.
func (s *Syncer) sightDue() bool {
	every := sightEvery
	s.mu.Lock()
	if s.missing != nil {
		every = backoffMax
	}
	s.mu.Unlock()
	return time.Since(s.sight.at) >= every || s.o.Uptime()-s.sight.up >= every || s.polling.doubt.Swap(false)
}

// lookBack looks whether the store has what it had, now and then, and after each time
// that it was away or this machine slept. That it has not is no error of the follower's:
// it is said, and nothing is put until it has. working is held.
func (s *Syncer) lookBack(ctx context.Context) error {
	if s.halted() != nil {
		return nil
	}
	if err := s.lookAtPassed(ctx); err != nil || !s.sightDue() {
		return err
	}
	err := s.lookAgain(ctx)
	if errors.Is(err, ErrRollback) {
		s.sighted() // or rather not, but it was looked for
		return nil
	}
	if err != nil {
		s.polling.doubt.Store(true)
		return err
	}
	s.sighted()
	if time.Since(s.sight.holes) < holesEvery {
		return nil
	}
	if err := s.lookForHoles(ctx); err != nil {
		return err
	}
	s.sight.holes = time.Now()
	return nil
}

// lookForHoles looks whether all slots above the newest checkpoint are there. Of those
// below it nobody needs any to begin with. This machine has seen what lay in one that is
// gone, and writes on; one that comes anew would end before it. So what lies above is
// folded soon, and then nobody needs it. working is held.
func (s *Syncer) lookForHoles(ctx context.Context) error {
	vol, folded := s.volume, s.o.Chain.Folded().Slot
	next := s.o.Chain.Slot // the newest come first
	for after, most := chain.SlotName(vol, next+1), holesPage; next > folded; most = listedMost {
		page, err := s.o.Bucket.List(ctx, chain.SlotPrefix(vol), after, most)
		s.reached(err)
		if err != nil {
			return fmt.Errorf("list the slots up to %d: %w", next, err)
		}
		before := next
		for _, i := range page {
			if slot, ok := chain.ParseSlotName(vol, i.Name); ok && slot == next && next > folded {
				next--
			}
		}
		if next == before || len(page) < most {
			break
		}
		after = page[len(page)-1].Name
	}
	if next > folded {
		s.tellHole(next)
	} else {
		s.tellHole(0)
	}
	return nil
}

// holesPage is how many names are asked for at first.
const holesPage = 1000

// tellHole notes that a slot is gone, 0: none is.
func (s *Syncer) tellHole(hole chain.Slot) {
	was := s.sight.hole
	s.sight.hole = hole
	switch {
	case s.o.Holed == nil || was == hole:
	case hole == 0:
		s.o.Holed(0, nil)
	default:
		s.o.Holed(hole, fmt.Errorf("slot %d is gone from the store, and newer ones are there. This machine knows what lay in it and goes on; one that mounts anew does not get further until what came after is folded, which this machine does now if it may write", hole))
	}
}

// mendHole forgets a slot that is gone when a checkpoint lies above it; working is held.
func (s *Syncer) mendHole() {
	if s.sight.hole != 0 && s.sight.hole <= s.o.Chain.Folded().Slot {
		s.tellHole(0)
	}
}
