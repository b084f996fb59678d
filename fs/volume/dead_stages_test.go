package volume

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hushfs/hushfs/fs/audit"
	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/heaptest"
	past "github.com/hushfs/hushfs/fs/history"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/dir"
)

// tallied counts requests, and remembers none of them.
type tallied struct {
	store.Bucket
	gets, lists, deletes atomic.Int64
}

func (b *tallied) Get(ctx context.Context, name string, off, length int64) ([]byte, error) {
	b.gets.Add(1)
	return b.Bucket.Get(ctx, name, off, length)
}

func (b *tallied) List(ctx context.Context, prefix, after string, most int) ([]store.Info, error) {
	b.lists.Add(1)
	return b.Bucket.List(ctx, prefix, after, most)
}

func (b *tallied) Delete(ctx context.Context, name string) error {
	b.deletes.Add(1)
	return b.Bucket.Delete(ctx, name)
}

// resident is the peak of the memory that the process has from the system, since it was
// asked for last.
func resident() (kilobytes int) {
	b, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	kilobytes, _ = strconv.Atoi(strings.Fields(rest + " 0")[0])
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0o600)
	return kilobytes
}

const (
	// deadMemory is what no stage may need more of, however many dead slots there are. Of
	// as few as the short form has everything could be kept and it would not show: the
	// limit is for so many as deadMany and more, of which 2 KiB each would be too much, or
	// 200 bytes of a million. What the short form holds are requests, and
	// TestLargeDeadSlots the memory of what is got whole.
	deadMemory = 200 << 20
	deadMany   = 100_000
)

// slotFiller is a store in which slots are filled soon.
type slotFiller struct {
	store.Bucket
	filler
}

// TestHundredThousandDeadSlots tells what a store full of junk costs, for so many slots as
// HUSHFS_DEAD says: time, memory, requests. Neither memory, from deadMany slots on, nor,
// for each slot, requests grow with the number. With HUSHFS_DEAD_FOLDER the slots are files on the local disk,
// which are audited as well.
func TestHundredThousandDeadSlots(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("HUSHFS_DEAD"))
	if n == 0 {
		n = 1500
	}
	path := t.TempDir()
	files, err := dir.Open(path, dir.Options{})
	if err != nil {
		t.Fatal(err)
	}
	inFolder := os.Getenv("HUSHFS_DEAD_FOLDER") != ""
	b := &shelf{Bucket: files}
	counted := &tallied{Bucket: b}
	if inFolder {
		counted.Bucket = files
	}
	w := &world{t: t}
	machine := func(name string) *machine {
		m := w.machine(name)
		m.bucket = counted
		m.trim = publish.TrimOptions{Age: 1, Keep: 1}
		return m
	}
	w.laptop = machine("laptop")
	w.unlock, w.vol = makeDrive(t, counted, w.laptop.state())
	if !inFolder {
		if err := b.takeOver(w.vol); err != nil {
			t.Fatal(err)
		}
	}
	w.laptop.unlock = w.unlock
	desk := machine("desk")
	var fill filler = b
	if inFolder {
		fill = hasty{path, w.vol}
	}
	as(w.laptop, write("a", "1"), drained)
	as(desk, write("z", "1"), drained, lock)
	as(w.laptop, upToDate)
	first := w.squat(slotFiller{counted, fill}, n)
	t.Logf("%d dead slots from %d on", n, first)
	resident()

	// stage does something with so many requests for each dead slot, of which one in a
	// thousand is sealed with the right key, and some more.
	stage := func(what string, gets float64, fn func()) {
		t.Helper()
		g, l, d, began := counted.gets.Load(), counted.lists.Load(), counted.deletes.Load(), time.Now()
		grown := heaptest.Peak(fn)
		g, l, d = counted.gets.Load()-g, counted.lists.Load()-l, counted.deletes.Load()-d
		t.Logf("%s: %v, heap %d MiB more, resident %d MiB, %d gets, %d listings, %d deletions",
			what, time.Since(began).Round(time.Millisecond), grown>>20, resident()>>10, g, l, d)
		if n >= deadMany && grown > deadMemory {
			t.Errorf("%s: the heap grew by %d MiB", what, grown>>20)
		}
		if most := int64(gets*float64(n)*1.005) + 300; g > most {
			t.Errorf("%s: %d objects were got for %d dead slots, want at most %d", what, g, n, most)
		}
		if most := int64(2*n/store.DefaultList) + 100; l > most {
			t.Errorf("%s: %d listings for %d dead slots, want at most %d", what, l, n, most)
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	stage("a new machine reads", 2, func() {
		m := machine("new")
		as(m, read("a", "1"), stateOf(0, n, t), lock)
	})
	stage("a machine that was there writes over them", 2, func() {
		as(w.laptop, write("b", "1"), patiently(drained, n))
	})
	stage("one that was away comes back", 2, func() { as(desk, read("b", "1"), stateOf(n, 0, t)) })
	next := machine("next")
	stage("another new machine writes, and folds", 2, func() {
		as(next, read("b", "1"), stateOf(n, 0, t), write("c", "1"), drained, folded)
	})
	stage("a new machine after the fold", 0, func() { as(machine("after"), read("c", "1"), stateOf(0, 0, t), lock) })
	stage("the first follows", 0, func() { as(w.laptop, upToDate, read("c", "1")) })
	stage("the log is verified", 2.1, func() {
		u, err := drive.FromHandover(w.unlock)
		if err != nil {
			t.Fatal(err)
		}
		defer u.Wipe()
		h, err := past.Open(t.Context(), past.Options{Bucket: counted, Drive: u})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		v, err := h.Verify(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if v.Dead != n || len(v.Findings) > 0 {
			t.Errorf("%d dead slots were found, and %d findings: %v", v.Dead, len(v.Findings), v.Findings[:min(3, len(v.Findings))])
		}
	})
	if inFolder {
		stage("the bucket is audited", 0, func() {
			r, err := audit.Run(t.Context(), audit.Options{Place: files})
			if err != nil || !r.Whole || r.Learned.Objects < n {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
	stage("they are trimmed", 1.1, func() {
		as(next, write("d", "1"), drained, folded)
		gone := 0
		for more := true; more; {
			did, err := next.v.sync.Trim(t.Context(), 64)
			if err != nil {
				t.Fatal(err)
			}
			gone, more = gone+did.Deleted, did.More
		}
		if gone < n {
			t.Errorf("%d of %d were deleted", gone, n)
		}
	})
	stage("a new machine after the trimming", 0, func() { as(machine("last"), read("d", "1"), lock) })
	stage("nothing is left to trim", 0, func() { as(next, lock, trimmed(0)) })
}

// stateOf says how many dead slots Status tells of: such over which commits went on, and
// others, of which the first are called damaged.
func stateOf(skipped, doubtful int, t *testing.T) act {
	return func(m *machine) error {
		s := m.v.Status()
		if s.DeadSlots != uint64(skipped) || len(s.Damaged) != min(doubtful, 100) {
			t.Errorf("%s: %d slots are skipped and %d damaged, want %d and %d", m.name, s.DeadSlots, len(s.Damaged), skipped, min(doubtful, 100))
		}
		return nil
	}
}

// patiently does something again as often as so many dead slots may need, which are not
// all passed over in one go.
func patiently(a act, n int) act {
	return func(m *machine) (err error) {
		for range n>>18 + 2 {
			if err = a(m); !errors.Is(err, store.ErrUnavailable) {
				break
			}
		}
		return err
	}
}
