package sync

import (
	"math/bits"
	"time"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/state"
)

// A store that freezes shows nothing false: it keeps to itself what others write from now
// on. No machine can tell that from others that write nothing; but where something came on
// most days, and then nothing does, a person may know which it is.
//
// What counts is days on which this machine asked and was answered, no clock's days: one
// that was away, or whose clock jumps, has not asked meanwhile.
const (
	// dailyDays of the last state.SilenceDays with news: others write daily. Five of seven
	// are those of a working week, on whichever day it is looked at.
	dailyDays = 5

	// quietDays without news are remarkable: one more than the longest weekends have.
	quietDays = 5

	// askedLeast is how long a machine asks on a day that counts. A clock that jumps to
	// another date begins no day before; one of a laptop that is used in the evenings does.
	askedLeast = 4 * time.Hour

	// silenceSaved is how often the day that goes on is saved.
	silenceSaved = time.Hour
)

// quiet counts how long nothing of others came; working guards it.
type quiet struct {
	answered time.Time     // when the store was asked last, and answered; zero: not since the mount
	saved    time.Duration // of the day that goes on
	told     uint16        // days of silence that Options.Quiet was told of; 0: none
}

// Quiet is for how long nothing of other devices came to a machine that asked.
type Quiet struct {
	Days   int        // on which it asked; 0: nothing is remarkable
	Newest chain.Seen // the newest commit of another device; and its time by that device's clock
}

// nothingMore notes that the store was asked for more than the chain has, and answered;
// working is held.
func (s *Syncer) nothingMore() {
	now, q := time.Now(), &s.quiet
	elapsed := now.Sub(q.answered)
	if q.answered.IsZero() {
		elapsed = 0
	}
	q.answered = now
	s.mu.Lock()
	missing := s.missing != nil
	s.mu.Unlock()
	if missing {
		return // worse is said of it already
	}
	newest := s.newestOther()
	was := s.o.State.Silence()
	l := s.o.Chain.Ledger
	is := listened(was, heard{
		// Who did not ask for long, since the store or this machine was away, counts little of it.
		elapsed: min(elapsed, 2*max(pollIdle, s.o.Poll)),
		date:    int32(s.o.Clock().Unix() / (24 * 60 * 60)),
		newest:  newest.Slot,
		removed: uint16(len(l.AllDevices()) - len(l.Devices())),
	})
	// A day that goes on may be lost in part by a kill.
	save := is.Newest != was.Newest || is.Date != was.Date || is.Asked < was.Asked || is.Asked-q.saved >= silenceSaved
	if save {
		q.saved = is.Asked
	}
	if err := s.o.State.SetSilence(is, save); err != nil {
		s.log.Debug("days without news not saved", "err", err)
	}
	days := quietFor(is)
	if s.o.Quiet != nil && days != q.told {
		s.o.Quiet(Quiet{int(days), newest})
	}
	q.told = days
}

// newestOther is the newest commit of a device that is not this machine; slot 0: there is
// none, or others may write no more. working is held.
func (s *Syncer) newestOther() (newest chain.Seen) {
	_, self, _ := s.o.State.Device()
	if only, single := s.o.Chain.Ledger.Writer(); single && only == self {
		return newest
	}
	for no, at := range s.o.Chain.Seen() {
		if no != self && at.Slot > newest.Slot {
			newest = at
		}
	}
	return newest
}

// heard is what a machine knows when the store has answered.
type heard struct {
	elapsed time.Duration // since it did the last time
	date    int32         // by this machine's clock
	newest  chain.Slot    // of another device
	removed uint16        // devices that were removed so far
}

// listened is q after an answer.
func listened(q state.Silence, h heard) state.Silence {
	if h.removed != q.Removed || h.newest < q.Newest {
		// Whoever wrote daily may be gone for good; or what they wrote was given up.
		return state.Silence{Newest: h.newest, Removed: h.removed, Date: h.date}
	}
	if q.Asked >= askedLeast && h.date != q.Date {
		switch {
		case q.Came:
			// Where there were more days of silence than bits, shifting leaves none.
			q.Days = uint8((uint64(q.Days)<<(q.Silent+1) | 1) & (1<<state.SilenceDays - 1))
			q.Silent = 0
		case q.Days != 0 && q.Silent < 1<<15:
			q.Silent++
		}
		q.Asked, q.Date, q.Came = 0, h.date, false
	}
	if h.newest > q.Newest {
		q.Newest, q.Came = h.newest, true
	}
	q.Asked += h.elapsed
	return q
}

// quietFor is for how many days a machine asked in vain where that is remarkable, else 0.
func quietFor(q state.Silence) uint16 {
	if q.Came || q.Silent < quietDays || bits.OnesCount8(q.Days) < dailyDays {
		return 0
	}
	return q.Silent
}
