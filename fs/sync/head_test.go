package sync_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/sync"
)

// What is missing is counted right, whatever else lies among the commits of a store that
// was set back.
func TestWhatIsMissing(t *testing.T) {
	junk := func(names ...string) func(h *history) {
		return func(h *history) {
			for _, name := range names {
				h.store.Overwrite(name, []byte("junk"))
			}
		}
	}
	for _, c := range []struct {
		name string
		have func(h *history) // besides slots 1 and 2, before the setback
		junk func(h *history) // after it
		want string
	}{
		{"nothing else", func(h *history) {
			h.commit(3)
			h.commit(4)
		}, junk(), ". Below it the store has slot 2. Missing: 2 changes, made at "},
		{"slots that held no commit", func(h *history) {
			junk(chain.SlotName(h.Volume, 3), chain.SlotName(h.Volume, 4), chain.SlotName(h.Volume, 6))(h)
			h.commit(5)
			h.commit(7)
		}, junk(), ". Below it the store has slot 2. Missing: 2 changes, made at "},
		{"names that are no slot's", func(h *history) {
			h.commit(3)
			h.commit(4)
		}, func(h *history) {
			below := chain.SlotName(h.Volume, 4)
			junk(below+".tmp", below+"0", chain.SlotPrefix(h.Volume)+"x", chain.SlotPrefix(h.Volume)+"0")(h)
		}, ". Below it the store has slot 2. Missing: 2 changes, made at "},
		{"very many of them", func(h *history) {
			h.commit(3)
			h.commit(4)
		}, func(h *history) {
			for i := range 1100 {
				junk(fmt.Sprintf("%s.%d", chain.SlotName(h.Volume, 4), i))(h)
			}
		}, ". Below it the store has slot 2. Missing: 2 changes, made at "},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHistory(t)
			h.commit(1)
			h.commit(2)
			c.have(h)
			f := h.follower()
			for slot := h.Slot; slot > 2; slot-- {
				if err := h.store.Delete(context.Background(), chain.SlotName(h.Volume, slot)); err != nil {
					t.Fatal(err)
				}
			}
			c.junk(h)
			err := f.FollowNow(t.Context())
			if !errors.Is(err, sync.ErrRollback) || !strings.Contains(fmt.Sprint(err), c.want) {
				t.Errorf("it says %v\nwant %q", err, c.want)
			}
		})
	}
}
