package sync_test

import (
	"errors"
	"testing"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
)

// Dead slots that are looked at anew, since the store has them and does not list them, are
// counted once.
func TestDeadSlotsAreCountedOnce(t *testing.T) {
	const dead = 30
	h := newHistory(t)
	h.commit(1)
	f := h.follower()
	for slot := chain.Slot(2); slot < 2+dead; slot++ {
		h.store.Overwrite(chain.SlotName(h.Volume, slot), []byte("junk"))
	}
	f.store.Add(fault.On(fault.List, 0, fault.Missing).Prefix(chain.SlotPrefix(h.Volume)))
	for range 3 {
		if err := f.FollowNow(t.Context()); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("%v, want that the store does not list what it has", err)
		}
	}
	f.store.Clear()
	if err := f.FollowNow(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := f.Dead(); n != dead {
		t.Errorf("%d dead slots, want %d", n, dead)
	}
}
