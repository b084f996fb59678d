package check

import (
	"context"
	"fmt"
	"time"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/store"
)

// Whoever may write to the store can put junk into slots, a million of them for little
// money. So what is said of junk is one finding, however much there is, and what is
// known to be junk is not fetched.

// Slots is what a finding is about that concerns many slots.
type Slots struct {
	Count int       `json:"count"`
	From  uint64    `json:"from"`  // the lowest
	To    uint64    `json:"to"`    // the highest
	Since time.Time `json:"since"` // the store's date of the oldest object in them; zero: it tells none
}

// listed is a slot in which the store has something.
type listed struct {
	slot chain.Slot
	at   int64 // the store's date, nanoseconds since 1970; 0: none
}

func listedOf(s chain.Slot, i store.Info) listed {
	if i.Modified.IsZero() {
		return listed{slot: s}
	}
	return listed{s, i.Modified.UnixNano()}
}

// add counts a slot.
func (s *Slots) add(l listed) {
	if s.Count == 0 || uint64(l.slot) < s.From {
		s.From = uint64(l.slot)
	}
	s.To = max(s.To, uint64(l.slot))
	s.Count++
	s.date(l)
}

func (s *Slots) has(slot chain.Slot) bool {
	return s.Count > 0 && s.From <= uint64(slot) && uint64(slot) <= s.To
}

// date takes over the date of a slot, when it is the oldest.
func (s *Slots) date(l listed) {
	if at := time.Unix(0, l.at).UTC(); l.at != 0 && (s.Since.IsZero() || at.Before(s.Since)) {
		s.Since = at
	}
}

// String is as "3 slots, from 12 to 40".
func (s *Slots) String() string {
	text := fmt.Sprintf("slot %d", s.From)
	if s.Count > 1 {
		text = fmt.Sprintf("%d slots, from %d to %d,", s.Count, s.From, s.To)
	}
	return text
}

// since is the date in words, empty when there is none.
func (s *Slots) since() string {
	if s.Since.IsZero() {
		return ""
	}
	return fmt.Sprintf(" (since %s by the store's clock)", s.Since.Format(time.DateTime))
}

// junk is what is said of the slots.
func (c *checker) junk(s *Slots, severity Severity, cause Cause, detail string) Finding {
	return Finding{
		Kind: KindCommit, Severity: severity, Cause: cause, Slot: s.From, Object: chain.SlotName(c.vol, chain.Slot(s.From)),
		Slots: s, Detail: s.String() + " " + detail,
	}
}

// tellDead tells of the slots that hold nobody's commit, and over which commits went on.
func (c *checker) tellDead(s *Slots) {
	if s.Count == 0 {
		return
	}
	holds, what := "hold", "them"
	if s.Count == 1 {
		holds, what = "holds", "it"
	}
	c.find(c.junk(s, Note, Forged, fmt.Sprintf("%s nobody's commit%s; everybody skips %s, and nothing is lost", holds, s.since(), what)))
}

// tellAbove tells of what lies above the newest commit and is none. There a commit may
// have been, which was damaged since; but not where all of it is as a device signed it
// for its place.
func (c *checker) tellAbove(ctx context.Context, s *Slots) error {
	if s.Count == 0 {
		return nil
	}
	for slot, sound := chain.Slot(s.From), true; slot <= chain.Slot(s.To); slot += atOnce {
		var run []chain.Slot
		for one := slot; one <= chain.Slot(s.To) && one < slot+atOnce; one++ {
			run = append(run, one)
		}
		objects, err := c.commits(ctx, run)
		if err != nil {
			return err
		}
		for i, one := range run {
			sound = sound && c.signed(one, objects[i])
		}
		if sound {
			continue
		}
		c.find(c.junk(s, Damaged, Altered, fmt.Sprintf("above the newest commit, without one%s. If there was one, what it said is not shown any more: bring the objects back from a copy of the store, before anybody writes. If somebody put junk there, nothing is to be done: the next commit goes on over it", s.since())))
		return nil
	}
	c.find(c.junk(s, Note, Forged, fmt.Sprintf("above the newest commit: what a device signed for its place, and may not%s. Everybody skips it, and nothing is lost", s.since())))
	return nil
}

// signed says whether an object is as a device signed it for that slot, be it one that
// was removed.
func (c *checker) signed(slot chain.Slot, object []byte) bool {
	commit, err := c.state.Open(slot, object)
	if err != nil {
		return false
	}
	then, key := c.state.Ledger, c.state.Key
	if d, removed := then.Removed(commit.Device); removed {
		if then, err = then.Until(d.Removed - 1); err != nil {
			return false
		}
		epoch, _ := then.Epoch()
		key, _ = c.state.EpochKey(epoch)
	}
	_, err = chain.OpenSigned(c.vol, key, then, chain.Link{Slot: slot, ID: commit.ID}, object)
	return err == nil
}
