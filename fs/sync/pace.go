package sync

import (
	"context"
	"time"
)

const (
	// rivalry is for how long others are taken to write too after a commit of theirs.
	rivalry = 5 * time.Second

	// restMax is the longest that a machine rests after a commit while others write too.
	restMax = pace
)

// met notes a commit of another machine.
func (s *Syncer) met() { s.rival.Store(max(int64(s.o.Uptime()), 1)) }

// rivals says whether other machines write at the same time.
func (s *Syncer) rivals() bool {
	at := s.rival.Load()
	return at != 0 && s.o.Uptime()-time.Duration(at) < rivalry
}

// publishInTurn is Publish, and lets others go first when this machine just had a slot
// and they want some too: who lost one has more to do before the next try than who won
// it, and would lose again, and again. Who lost tries at once.
func (s *Syncer) publishInTurn(ctx context.Context) error {
	if err := s.rest(ctx); err != nil {
		return err
	}
	before, began := s.Settled(), time.Now()
	err := s.Publish(ctx)
	s.rested = time.Time{}
	if s.Settled() == before {
		return err
	}
	// What a commit takes when nobody is in its way is about what one takes whose slot
	// was lost, from then on.
	now := time.Now()
	if took := now.Sub(began); s.took == 0 || took < s.took {
		s.took = took
	} else {
		s.took += (took - s.took) / 16
	}
	if s.rivals() {
		s.rested = now.Add(min(s.took, restMax))
	}
	return err
}

// rest waits until the time is over that others are given.
func (s *Syncer) rest(ctx context.Context) error {
	d := time.Until(s.rested)
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
