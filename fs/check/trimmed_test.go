package check

import (
	"fmt"
	"slices"
	"testing"

	"github.com/hushfs/hushfs/fs/chain"
)

// Commits that were trimmed are no damage: the oldest are gone, but for those that
// announce a checkpoint. One that is missing above another is.
func TestTrimmed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.folds = 2
	for i := range 9 {
		w.write(fmt.Sprint("f", i), pattern(byte(i), 100))
		w.lock()
	}
	l := w.load()
	var gone, left []chain.Slot
	for _, n := range slices.Backward(w.names("l")) {
		s, ok := chain.ParseSlotName(w.vol, n)
		if !ok {
			t.Fatal(n)
		}
		c, err := l.Chain.Open(s, w.get(n))
		must(t, err)
		switch {
		case s > 9 || c.Checkpoint != nil:
			left = append(left, s)
		default:
			gone = append(gone, s)
			w.delete(n)
		}
	}
	if len(gone) < 5 || left[0] > 9 || left[1] > 9 {
		t.Fatalf("gone are %v, left %v", gone, left)
	}
	r := w.check(0)
	healthy(t, r)
	if len(r.Findings) != 1 || r.Findings[0].Severity != Note || r.Findings[0].Slot != uint64(gone[len(gone)-1]) {
		t.Errorf("%+v", r.Findings)
	}
	// One more is gone, and one below it is there.
	last := l.Chain.Folded().Slot
	var ordinary []chain.Slot
	for _, s := range left {
		c, err := l.Chain.Open(s, w.get(chain.SlotName(w.vol, s)))
		must(t, err)
		if c.Checkpoint == nil && s < last {
			ordinary = append(ordinary, s)
		}
	}
	if len(ordinary) < 2 {
		t.Fatalf("ordinary commits under the checkpoint: %v", ordinary)
	}
	w.delete(chain.SlotName(w.vol, ordinary[1]))
	found := false
	for _, f := range w.check(0).Findings {
		found = found || f.Severity == Damaged && f.Slot == uint64(ordinary[1])
	}
	if !found {
		t.Errorf("slot %d is missing, and nobody says so", ordinary[1])
	}
}
