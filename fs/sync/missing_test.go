package sync

import (
	"testing"

	"github.com/hushfs/hushfs/fs/chain"
)

// What is missing is another commit than the one that this machine knows to come after
// its newest below.
func TestMissingBesideWhatIsKnown(t *testing.T) {
	var known []Known
	for slot := chain.Slot(5); slot <= 7; slot++ {
		link := chain.Link{Slot: slot, ID: chain.ID{byte(slot)}}
		known = append(known, Known{Remembered: chain.Remembered{Link: link, Device: 1}, Next: true})
	}
	for _, c := range []struct{ parted, seen, slots, unknown chain.Slot }{
		{8, 8, 1, 1},
		{7, 8, 2, 1},
		{7, 7, 1, 0},
		{6, 10, 5, 3},
	} {
		m := MissingOf(known, known[c.parted-6], c.parted, c.seen)
		if m.Slots != uint64(c.slots) || m.Most != m.Slots || m.Unknown != uint64(c.unknown) {
			t.Errorf("from %d to %d: %+v", c.parted, c.seen, m)
		}
	}
}
