package volume

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/dir"
	"github.com/hushfs/hushfs/store/fault"
)

// hasty puts files into the folder of a store without waiting for the disk.
type hasty struct {
	store.Bucket
	path string
}

func (h hasty) PutIfAbsent(_ context.Context, name string, data []byte) error {
	return os.WriteFile(filepath.Join(h.path, name), data, 0o600)
}

// squat puts junk into the next n slots: noise, what looks like a commit under another
// key, and now and then what one who has the key sealed.
func (w *world) squat(b store.Bucket, n int) (first chain.Slot) {
	w.t.Helper()
	l := seen(w, b, w.laptop)
	other, noise := crypt.NewKey(), make([]byte, 300)
	for i := range n {
		object := noise
		switch {
		case i%1000 == 3:
			object, _, _ = crypt.NewSealer(l.Chain.Key, w.vol, crypt.TypeCommit, l.Chain.Epoch).Seal(nil, []byte("no commit"))
		case i%2 == 0:
			object, _, _ = crypt.NewSealer(other, w.vol, crypt.TypeCommit, l.Chain.Epoch).Seal(nil, noise)
		}
		if err := b.PutIfAbsent(w.t.Context(), chain.SlotName(w.vol, l.Next+chain.Slot(i)), object); err != nil {
			w.t.Fatal(err)
		}
	}
	return l.Next
}

// Thousands of slots that hold nobody's commit are passed over by everybody: who is
// there, who comes back, and who is new; and all write above them.
func TestManyDeadSlots(t *testing.T) {
	w := newWorld(t)
	m := w.machine("desktop")
	as(w.laptop, write("a", "1"), drained)
	as(m, write("b", "1"), drained)
	as(w.laptop, upToDate)
	first := w.squat(w.objects, 12000)
	as(w.laptop, write("c", "1"), drained)
	if at := w.laptop.v.view.Slot(); at != uint64(first)+12000 {
		t.Errorf("the commit lies in slot %d, want %d", at, first+12000)
	}
	as(m, upToDate, read("c", "1"), write("d", "1"), drained)
	as(m, lock, read("c", "1"), lock)
	w.gets()
	third := w.machine("third")
	as(third, read("d", "1"), write("e", "1"), drained)
	if n := w.gets()["l/"]; n > 2*12000+2000 {
		t.Errorf("%d requests for 12000 dead slots", n)
	}
	as(w.laptop, upToDate, read("e", "1"))
	if w.laptop.tree() != third.tree() {
		t.Error("they see different trees")
	}
	// Over a fold they are gone from everybody's way.
	as(w.laptop, folded)
	w.gets()
	as(w.machine("fourth"), read("e", "1"))
	if n := w.gets()["l/"]; n > 4 {
		t.Errorf("%d requests above the fold", n)
	}
	w.checkOps(2)
}

// A commit above a hole in many slots shows that the store is missing one.
func TestHoleAmongManySlots(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("a", "1"), drained)
	first := w.squat(w.objects, 3000)
	as(w.laptop, write("b", "1"), drained)
	if err := w.objects.Delete(t.Context(), chain.SlotName(w.vol, first+1500)); err != nil {
		t.Fatal(err)
	}
	m := w.machine("desktop")
	m.mustOpen()
	if s := m.v.Status(); s.Stopped == "" {
		t.Error("the hole was not noticed")
	}
}

// A store that answers differently each time is failing: nothing is passed over by that.
func TestDeadSlotsThatChange(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("a", "1"), drained)
	w.squat(w.objects, 100)
	var n atomic.Uint32
	w.faults.Add(fault.On(fault.Get, 1, func(ctx context.Context, r fault.Request) fault.Answer {
		a := r.Do(ctx)
		if len(a.Data) > 0 {
			a.Data[0] ^= byte(n.Add(1))
		}
		return a
	}).Prefix(w.prefix("l")).Onwards())
	m := w.machine("desktop")
	if err := m.open(); err == nil && m.v.Status().Stopped == "" {
		t.Error("it was mounted")
	}
}

// TestHundredThousandDeadSlots tells what a store full of junk costs, for so many slots as
// HUSHFS_DEAD says, on the local disk.
func TestHundredThousandDeadSlots(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("HUSHFS_DEAD"))
	if n == 0 {
		n = 300
	}
	path := t.TempDir()
	b, err := dir.Open(path, dir.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t}
	w.faults = fault.Wrap(b)
	w.laptop = w.machine("laptop")
	w.unlock, w.vol = makeDrive(t, b, w.laptop.state())
	w.laptop.unlock = w.unlock
	as(w.laptop, write("a", "1"), drained)
	w.squat(hasty{b, path}, n)
	took := func(what string, acts ...act) {
		t.Helper()
		began := time.Now()
		m := w.laptop
		if what != "the machine that was there" {
			m = w.machine(what)
		}
		as(m, acts...)
		var mem runtime.MemStats
		runtime.ReadMemStats(&mem)
		t.Logf("%s: %v for %d dead slots, heap %d MiB", what, time.Since(began).Round(time.Millisecond), n, mem.HeapSys>>20)
	}
	took("a new machine reads", read("a", "1"))
	took("the machine that was there", write("b", "1"), drained)
	took("another new machine", read("b", "1"), write("c", "1"), drained, folded)
	took("the next", read("c", "1"))
}
