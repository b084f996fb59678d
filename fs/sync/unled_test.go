package sync_test

import (
	"slices"
	"testing"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/sync"
)

// A commit that leads further back, and is no such commit any more, is named: what lies
// below may be hidden by it.
func TestWhatLeadsNoFurtherIsNamed(t *testing.T) {
	for _, whole := range []bool{false, true} {
		h := newHistory(t)
		h.commit(1)
		h.commit(2)
		h.announce(3)
		h.commit(4)
		h.announce(5)
		h.hint()
		h.commit(6)
		bad := chain.SlotName(h.Volume, 3)
		h.store.Overwrite(bad, []byte("junk"))
		o := h.options(h.store)
		if o.Whole = whole; whole {
			h.without(1, 1)
		}
		l, err := sync.Load(t.Context(), o)
		if err != nil || l.Trouble != nil || l.Chain.Slot != 6 {
			t.Fatal(err, l)
		}
		if !whole {
			if len(l.Unled) > 0 {
				t.Errorf("%v are named before the way back is asked for", l.Unled)
			}
			if w, err := l.At(t.Context(), 2); err != nil || w.Chain.Slot != 2 {
				t.Errorf("the state after slot 2: %v", err)
			}
		}
		if !slices.Equal(l.Unled, []string{bad}) {
			t.Errorf("whole %v: %v are named, want %s", whole, l.Unled, bad)
		}
	}
}
