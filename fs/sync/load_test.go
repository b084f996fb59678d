package sync_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/hushfs/hushfs/cache"
	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/block"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/table"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
	"github.com/hushfs/hushfs/store/mem"
)

// history is a volume whose chain is written by hand, by device 1.
type history struct {
	t      *testing.T
	store  *mem.Bucket
	owner  *identity.Identity
	device *identity.Device
	*chain.State
}

// newHistory has a hint of slot 0 and no commit.
func newHistory(t *testing.T) *history {
	t.Helper()
	h := &history{t: t, store: mem.New(), owner: identity.New(), device: identity.NewDevice()}
	key := crypt.NewKey()
	l, err := chain.NewLedger(h.owner, key, h.device.Public(), "laptop")
	if err != nil {
		t.Fatal(err)
	}
	if h.State, err = chain.NewState(l.Volume(), key, l); err != nil {
		t.Fatal(err)
	}
	h.hint()
	return h
}

// hint writes one at the head.
func (h *history) hint() {
	h.t.Helper()
	if _, err := sync.WriteHint(h.t.Context(), h.store, h.State, h.device, 1, nil); err != nil {
		h.t.Fatal(err)
	}
}

// commit puts a commit into a slot: the root in the first, nothing in others.
func (h *history) commit(slot chain.Slot) *chain.Sealed {
	h.t.Helper()
	b := &meta.Batch{}
	if h.Slot == 0 {
		b = meta.InitBatch(meta.Time{Sec: 1}, 0, 0)
	}
	last := h.LastOp[1]
	return h.put(slot, chain.Content{First: last + 1, Last: last + 1, Batch: b})
}

// put puts a commit that holds this into a slot.
func (h *history) put(slot chain.Slot, with chain.Content) *chain.Sealed {
	h.t.Helper()
	c, err := h.Build(slot, h.device, 1, time.Unix(1, 0), with)
	if err != nil {
		h.t.Fatal(err)
	}
	j := h.Judge(slot, c.Object, nil)
	if err := errors.Join(h.Advance(j.Commit), h.Fold(j.Commit)); err != nil {
		h.t.Fatal(err)
	}
	if err := h.store.PutIfAbsent(h.t.Context(), chain.SlotName(h.Volume, slot), c.Object); err != nil {
		h.t.Fatal(err)
	}
	return c
}

func (h *history) load(b store.Bucket) (*sync.Loaded, error) {
	return sync.Load(context.Background(), h.options(b))
}

func (h *history) options(b store.Bucket) sync.LoadOptions {
	keys := &sync.Keys{}
	tables := block.New(block.Options{
		Bucket: b, Cache: cache.Off(), Volume: h.Volume, Key: keys.Key,
		Place: func(o block.Object) string { return chain.TableName(h.Volume, o.Name) },
		Bad:   func(string, error) {},
	})
	h.t.Cleanup(tables.Close)
	return sync.LoadOptions{
		Bucket: b, Volume: h.Volume, Identity: h.owner, Tables: tables, Keys: keys,
		Memory: table.NewMemory(1 << 20), Log: slog.New(slog.DiscardHandler),
	}
}

// noSlots puts very many objects where slots lie, under names that are no slots': before
// all that are, and between.
func (h *history) noSlots() {
	h.t.Helper()
	for n := range store.DefaultList + 1 {
		for _, before := range []chain.Slot{math.MaxUint64, 900, 12} {
			h.store.Overwrite(fmt.Sprintf("%s-%04d", chain.SlotName(h.Volume, before), n), []byte("junk"))
		}
	}
}

func TestLoad(t *testing.T) {
	const far = 1<<63 + 5
	cases := []struct {
		name    string
		have    func(h *history)
		slot    chain.Slot // newest valid
		next    chain.Slot
		damaged int
		skipped int
		trouble error
	}{
		{"no commit", func(*history) {}, 0, 1, 0, 0, nil},
		{"one", func(h *history) { h.commit(1) }, 1, 2, 0, 0, nil},
		{"more than are fetched at a time", func(h *history) {
			for s := range chain.Slot(40) {
				h.commit(s + 1)
			}
		}, 40, 41, 0, 0, nil},
		{"junk between", func(h *history) {
			h.commit(1)
			h.store.Overwrite(chain.SlotName(h.Volume, 2), []byte("junk"))
			h.commit(3)
		}, 3, 4, 0, 1, nil},
		{"junk at the end", func(h *history) {
			h.commit(1)
			h.store.Overwrite(chain.SlotName(h.Volume, 2), make([]byte, 4<<20))
		}, 1, 3, 1, 0, nil},
		{"a hole", func(h *history) {
			h.commit(1)
			h.commit(2)
			h.commit(3)
			_ = h.store.Delete(context.Background(), chain.SlotName(h.Volume, 2))
		}, 1, 2, 1, 0, sync.ErrRollback},
		{"junk above a hole", func(h *history) {
			h.commit(1)
			h.store.Overwrite(chain.SlotName(h.Volume, 5), []byte("junk"))
			h.store.Overwrite(chain.SlotName(h.Volume, far), []byte("junk"))
			h.store.Overwrite(chain.SlotName(h.Volume, math.MaxUint64), []byte("junk"))
		}, 1, 2, 0, 0, nil},
		{"a commit of another slot", func(h *history) {
			h.commit(1)
			h.store.Overwrite(chain.SlotName(h.Volume, 2), h.commit(3).Object)
		}, 3, 4, 0, 1, nil},
		{"two histories", func(h *history) {
			h.commit(1)
			fork := *h
			fork.State, fork.store = h.Clone(), h.store.Clone()
			fork.commit(2)
			h.commit(2)
			h.store.Overwrite(chain.SlotName(h.Volume, 3), fork.commit(3).Object)
		}, 2, 3, 0, 0, sync.ErrFork},
		{"a hint of slots that are not shown", func(h *history) {
			h.commit(1)
			h.commit(2)
			h.hint()
			_ = h.store.Delete(context.Background(), chain.SlotName(h.Volume, 2))
		}, 1, 2, 0, 0, sync.ErrRollback},
		{"an old hint under a newer name", func(h *history) {
			h.commit(1)
			h.commit(2)
			h.hint()
			old, _ := h.store.Get(context.Background(), chain.HintName(h.Volume, 0), 0, -1)
			h.store.Overwrite(chain.HintName(h.Volume, 9), old)
		}, 2, 3, 0, 0, nil},
		{"more names that are no slots' than are listed at a time", func(h *history) {
			for slot := chain.Slot(1); slot <= 20; slot++ {
				h.commit(slot)
			}
			h.noSlots()
		}, 20, 21, 0, 0, nil},
		{"more junk hints than are listed at a time", func(h *history) {
			h.commit(1)
			for i := range chain.Slot(200) {
				h.store.Overwrite(chain.HintName(h.Volume, far+i), []byte("junk"))
			}
		}, 1, 2, 0, 0, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := newHistory(t)
			c.have(h)
			l, err := h.load(h.store)
			if err != nil {
				t.Fatal(err)
			}
			if l.Chain.Slot != c.slot || l.Confirmed.Slot() != uint64(c.slot) || l.Next != c.next || len(l.Damaged) != c.damaged || len(l.Skipped) != c.skipped || l.Dead != c.skipped {
				t.Errorf("slot %d, confirmed %d, next %d, damaged %v, skipped %v (%d)", l.Chain.Slot, l.Confirmed.Slot(), l.Next, l.Damaged, l.Skipped, l.Dead)
			}
			if !errors.Is(l.Trouble, c.trouble) || (c.trouble == nil) != (l.Trouble == nil) {
				t.Errorf("trouble: %v, want %v", l.Trouble, c.trouble)
			}
		})
	}
}

// An answer that a bad line changed is no junk, and no damage.
func TestLoadOverBadLine(t *testing.T) {
	h := newHistory(t)
	h.commit(1)
	h.commit(2)
	for name, rule := range map[string]fault.Rule{
		"bit":         fault.On(fault.Get, 1, fault.FlipBit(77)).Prefix(chain.SlotPrefix(h.Volume)),
		"cut":         fault.On(fault.Get, 2, fault.Truncate(100)).Prefix(chain.SlotPrefix(h.Volume)),
		"unavailable": fault.On(fault.Get, 1, fault.Fail(store.ErrUnavailable)).Prefix(chain.SlotPrefix(h.Volume)),
		"hint":        fault.On(fault.Get, 1, fault.Fail(store.ErrUnavailable)).Prefix(chain.HintPrefix(h.Volume)),
		"list":        fault.On(fault.List, 1, fault.Fail(store.ErrUnavailable)).Prefix(chain.SlotPrefix(h.Volume)),
	} {
		b := fault.Wrap(h.store, rule)
		if _, err := h.load(b); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
		if l, err := h.load(b); err != nil || l.Chain.Slot != 2 || len(l.Damaged) != 0 {
			t.Errorf("%s, once more: %v", name, err)
		}
	}
}

func TestLoadWithoutKey(t *testing.T) {
	h := newHistory(t)
	h.commit(1)
	h.owner = identity.New()
	if _, err := h.load(h.store); !errors.Is(err, sync.ErrNoKey) {
		t.Errorf("a stranger: %v", err)
	}
	if _, err := h.load(mem.New()); !errors.Is(err, sync.ErrElsewhere) {
		t.Errorf("an empty store: %v", err)
	}
	hints, err := h.store.List(t.Context(), chain.HintPrefix(h.Volume), "", 0)
	if err != nil || len(hints) == 0 {
		t.Fatal(hints, err)
	}
	for _, i := range hints {
		if err := h.store.Delete(t.Context(), i.Name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.load(h.store); !errors.Is(err, sync.ErrNoKey) {
		t.Errorf("commits without a hint: %v", err)
	}
}
