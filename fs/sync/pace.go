package sync

import (
	"context"
	"time"
)

const (
	// rivalry is for how long others are taken to write too after a commit of theirs.
	rivalry = 5 * time.Second

	// restMax is the longest that a machine rests after a commit.
	restMax = pace

	// rowMax is how many commits a machine makes in a row, without a pause that lets
	// others in, and rowTime for how long, where it does not know whether others want to.
	rowMax  = 6
	rowTime = 10 * time.Second
)

// pacing is what is known of the commits that this machine makes one after the other.
type pacing struct {
	rested time.Time     // until when others are let go first
	took   time.Duration // what a commit takes when nobody is in its way
	last   time.Time     // when the newest came to be
	row    int           // how many came to be since there was a pause
	began  time.Time     // when the first was begun since there was a long one
}

// met notes a commit of another machine.
func (s *Syncer) met() { s.rival.Store(max(int64(s.o.Uptime()), 1)) }

// rivals says whether other machines write at the same time.
func (s *Syncer) rivals() bool {
	at := s.rival.Load()
	return at != 0 && s.o.Uptime()-time.Duration(at) < rivalry
}

// paced notes a commit that was begun at a moment and came to be, and says for how long
// others are let go first. Who lost a slot has more to do before the next try than who
// won it, and would lose again, and again. So a machine that just had a slot rests when
// others want some too; who lost tries at once. Of those who always lose nothing is
// seen, so it also rests now and then when it makes many in a row. shared: the drive has
// other machines that write.
func (p *pacing) paced(began, now time.Time, rivals, shared bool) {
	// What a commit takes when nobody is in its way is about what one takes whose slot
	// was lost, from then on.
	if took := now.Sub(began); p.took == 0 || took < p.took {
		p.took = took
	} else {
		p.took += (took - p.took) / 16
	}
	pause := began.Sub(p.last)
	if pause >= p.took {
		p.row = 0
	}
	if pause >= restMax || p.began.IsZero() {
		p.began = began
	}
	p.row++
	p.last = now
	short := min(p.took, restMax)
	rest := time.Duration(0)
	switch {
	case now.Sub(p.began) >= rowTime && shared:
		rest = restMax // for those with a slow line
	case now.Sub(p.began) >= rowTime: // for one that is none of the drive's yet
		rest = min(2*short, restMax)
		p.began = now
	case rivals:
		rest = short
	case shared && p.row >= rowMax:
		rest = min(2*short, restMax) // they may be farther from the store
	}
	p.rested = now.Add(rest)
}

// shared says whether other machines than this one may write; working is held.
func (s *Syncer) shared() bool { return len(s.o.Chain.Ledger.Devices()) > 1 }

// rest waits until the time is over that others are given; publishing is held, and
// working is not.
func (s *Syncer) rest(ctx context.Context) error {
	d := time.Until(s.pacing.rested)
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
