package chain

import (
	"slices"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
)

// Remembered is what a machine keeps of a commit whose object it may never be shown
// again: enough to say what is missing where a store was set back.
type Remembered struct {
	Link
	Device meta.Device
	Name   string    // of the device, as it was called then
	Time   time.Time // by the author's clock, which nobody checks
}

// RememberedMax is how many of the newest commits are remembered one by one.
const RememberedMax = 64

// Remembered returns the newest commits that the state moved over, ascending, at most
// RememberedMax of them.
func (s *State) Remembered() []Remembered { return slices.Clone(s.recent) }

// recall keeps what is remembered of a commit that the state moved over.
func (s *State) recall(c *Commit) {
	r := Remembered{Link: Link{c.Slot, c.ID}, Device: c.Device, Time: c.Time}
	if d, ok := s.Ledger.Device(c.Device); ok {
		r.Name = d.Name
	}
	// A new slice: clones of the state share the old one.
	s.recent = append(slices.Clone(s.recent[max(0, len(s.recent)+1-RememberedMax):]), r)
}
