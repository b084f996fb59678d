package check

import (
	"bytes"
	"cmp"
	"context"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/audit"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/heaptest"
	"github.com/hushfs/hushfs/store"
)

// crowded is a store in which somebody has put junk into very many slots. It makes the
// junk up when it is asked for.
type crowded struct {
	store.Bucket
	vol   crypt.VolumeID
	first chain.Slot
	n     int
	kinds [][]byte // by turns
	gets  atomic.Int64
}

var _ audit.Place = (*crowded)(nil)

var crowdedOn = time.Unix(1_700_000_000, 0)

func (b *crowded) junk(slot chain.Slot) []byte {
	if slot < b.first || slot >= b.first+chain.Slot(b.n) {
		return nil
	}
	return b.kinds[int(slot)%len(b.kinds)]
}

// Get is that of store.Bucket.
func (b *crowded) Get(ctx context.Context, name string, off, length int64) ([]byte, error) {
	b.gets.Add(1)
	slot, _ := chain.ParseSlotName(b.vol, name)
	o := b.junk(slot)
	if o == nil {
		return b.Bucket.Get(ctx, name, off, length)
	}
	if off < 0 {
		off = max(0, int64(len(o))+off)
	}
	o = o[min(off, int64(len(o))):]
	if length >= 0 {
		o = o[:min(length, int64(len(o)))]
	}
	return bytes.Clone(o), ctx.Err()
}

// List is that of store.Bucket.
func (b *crowded) List(ctx context.Context, prefix, after string, most int) ([]store.Info, error) {
	if most <= 0 {
		most = store.DefaultList
	}
	page, err := b.Bucket.List(ctx, prefix, after, most)
	if err != nil || !strings.HasPrefix(chain.SlotPrefix(b.vol), prefix) {
		return page, err
	}
	// The highest slots have the lowest names.
	slot := b.first + chain.Slot(b.n) - 1
	if s, ok := chain.ParseSlotName(b.vol, after); ok {
		slot = min(slot, s-1)
	} else if after > chain.SlotPrefix(b.vol) {
		return page, nil
	}
	for i := 0; i < most && slot >= b.first; i++ {
		page = append(page, store.Info{Name: chain.SlotName(b.vol, slot), Size: int64(len(b.junk(slot))), Modified: crowdedOn})
		slot--
	}
	slices.SortFunc(page, func(x, y store.Info) int { return cmp.Compare(x.Name, y.Name) })
	return page[:min(most, len(page))], nil
}

// Survey is that of store.Surveyor.
func (b *crowded) Survey(ctx context.Context, fn func(store.Sight) error) error {
	return (&steady{Bucket: b}).each(ctx, "", func(i store.Info) error {
		return fn(store.Sight{Name: i.Name, Size: i.Size, Modified: i.Modified, Object: true})
	})
}

// Look is that of store.Surveyor.
func (b *crowded) Look(ctx context.Context, name string, n int64) ([]byte, []store.Note, error) {
	o, err := b.Get(ctx, name, 0, n)
	return o, nil, err
}

// Versions is that of store.Surveyor.
func (b *crowded) Versions(context.Context) (store.Versions, bool, error) {
	return store.Versions{}, false, nil
}

// deadMemory is how many bytes a look at a store may need, and what it may note of each
// dead slot.
const (
	deadMemory = 16 << 20
	deadNote   = 300
)

// What fsck and audit-bucket need for so many dead slots as HUSHFS_DEAD says: requests,
// time, memory; that they show how far they are; and that they find what else there is.
func TestCrowdOfDeadSlots(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("HUSHFS_DEAD"))
	if n == 0 {
		n = 12_000
	}
	w := newWorld(t)
	w.write("a", pattern(1, 300_000))
	pack := w.pack(w.at("a").Ref)
	w.lock()
	b := &crowded{Bucket: w.objects, vol: w.vol, first: w.load().Next, n: n}
	for _, s := range w.shapes() {
		b.kinds = append(b.kinds, s.of(0))
	}
	b.kinds[0] = pattern(9, 20_000) // so long that it shows where they are kept
	must(t, w.objects.PutIfAbsent(t.Context(), "v0/zz-letter.txt", []byte("Dear Ann, this is no object of hushfs")))
	u := w.drive()
	defer u.Wipe()

	var told atomic.Int64
	tell := func(p Progress) {
		if 0 < p.Done && p.Done < p.Total {
			told.Add(1)
		}
	}
	stage := func(what string, gets float64, fn func()) {
		t.Helper()
		b.gets.Store(0)
		told.Store(0)
		begun := time.Now()
		most := heaptest.Peak(fn)
		g := b.gets.Load()
		t.Logf("%s: %v, heap %d MiB more, %d gets, told %d times how far it is", what, time.Since(begun).Round(time.Millisecond), most>>20, g, told.Load())
		if most > deadMemory+deadNote*uint64(n) {
			t.Errorf("%s: the heap grew by %d MiB", what, most>>20)
		}
		if g > int64(gets*float64(n))+300 {
			t.Errorf("%s: %d objects were got for %d dead slots", what, g, n)
		}
		if told.Load() == 0 {
			t.Errorf("%s: nobody was told how far it is", what)
		}
	}
	check := func() (r *Report) {
		r, err := Run(t.Context(), Options{Bucket: b, Drive: u, Progress: tell})
		must(t, err)
		return r
	}
	stage("fsck, junk above the newest commit", 2.7, func() {
		if f := only(t, check()); f.Slots == nil || f.Slots.Count != n || !f.Slots.Since.Equal(crowdedOn) {
			t.Errorf("%+v", f)
		}
	})
	// A commit goes on over it.
	w.commitAt(b.first + chain.Slot(n))
	stage("fsck, junk between commits", 2.7, func() {
		r := check()
		healthy(t, r)
		if len(r.Findings) != 1 || r.Findings[0].Slots == nil || r.Findings[0].Slots.Count != n {
			t.Errorf("%d findings, the first %+v", len(r.Findings), r.Findings[:min(1, len(r.Findings))])
		}
	})
	explain := func(object string) (count int, last Account) {
		must(t, Explain(t.Context(), Options{Bucket: b, Drive: u, Progress: tell}, object, func(a Account) error {
			count, last = count+1, a
			return nil
		}))
		return count, last
	}
	stage("audit-bucket --explain", 2.7, func() {
		if count, a := explain(pack); count != 1 || a.Used != 300_000 {
			t.Errorf("%d: %+v", count, a)
		}
	})
	stage("audit-bucket --all", 2.7, func() {
		if count, _ := explain(""); count < n+5 {
			t.Errorf("%d objects were accounted for", count)
		}
	})
	stage("audit-bucket", 3, func() {
		r, err := audit.Run(t.Context(), audit.Options{Place: b, Progress: func(audit.Progress) { told.Add(1) }})
		must(t, err)
		if !r.Whole || r.Learned.Objects < n || r.Looked.Objects < n {
			t.Errorf("%+v", r.Looked)
		}
		if !slices.ContainsFunc(r.Findings, func(f audit.Finding) bool { return f.Object == "v0/zz-letter.txt" }) {
			t.Error("what lies there in clear is not found")
		}
		rest := 0
		for _, s := range r.Rest {
			rest += s.Count
			if s.Of != audit.Commit || s.First > s.Last || s.First == "" {
				t.Errorf("%+v", s)
			}
		}
		if r.More == 0 || rest != r.More || len(r.Findings) > 5000 {
			t.Errorf("%d findings and %d more, of which %d are summed", len(r.Findings), r.More, rest)
		}
	})
}
