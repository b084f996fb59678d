package view

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
)

// A journal of half a million operations, each file made and written, waits in little
// memory, also while it is executed again over another machine's slot. HUSHFS_MANY is
// the number of operations.
func TestManyPendingTakeLittleMemory(t *testing.T) {
	n := 50_000
	if s := os.Getenv("HUSHFS_MANY"); s != "" {
		var err error
		n, err = strconv.Atoi(s)
		must(t, err)
	}
	const (
		most       = 230 // bytes of an operation that waits
		mostFollow = 230 // and while it is executed again
	)
	v, theirs := many(t, n)
	report := func(what string, bytes uint64, limit int, took time.Duration) {
		each := int(bytes) / n
		t.Logf("%d operations, %s: %d MiB, %d bytes each, %v", n, what, bytes>>20, each, took)
		if each > limit {
			t.Errorf("%s: %d bytes an operation, at most %d are allowed", what, each, limit)
		}
	}
	empty := heap()
	start := time.Now()
	fill(t, v, n)
	took := time.Since(start)
	full := heap() - empty
	report("waiting", full, most, took)

	// What Follow holds at most is looked at where both layers are whole.
	var peak uint64
	o := meta.RebaseOptions{
		Device: "desk", NewIno: func() (meta.Ino, error) { return 0, fmt.Errorf("no inode is needed") },
		Tentative: func(meta.OpNo) bool { return false },
	}
	start = time.Now()
	must(t, v.Ahead([]Slot{theirs}, o))
	took = time.Since(start)
	start = time.Now()
	f, err := v.Follow([]Slot{theirs}, o, func(f Followed) error {
		peak = heap() - empty
		t.Logf("locked for %v", time.Since(start))
		return nil
	})
	must(t, err)
	if f.Replaced.Len() != 1 || v.Pending().Len() != n+1 {
		t.Errorf("%d replaced, %d pending", f.Replaced.Len(), v.Pending().Len())
	}
	report("followed", peak, mostFollow, took)
	report("after it", heap()-empty, most, 0)

	start = time.Now()
	slot := theirs.No
	for v.Pending().Len() > 0 {
		took := v.Take(meta.MaxOpNo, 900<<10)
		slot++
		v.Settle(slot, took.Ops.Last().No, took.Batch, took.Usage)
	}
	t.Logf("settled in %d slots, %v", slot-theirs.No, time.Since(start))
	if v.pending.len() > 0 || v.filled != 0 || v.usage != (meta.Delta{}) {
		t.Errorf("%d keys are pending, %d files, %+v", v.pending.len(), v.filled, v.usage)
	}
}

// heap is what is alive in memory, in bytes.
func heap() uint64 {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// many returns a view with a folder for every thousand files, and a slot in which
// another machine gives a file the name of the first that is made.
func many(t *testing.T, n int) (*View, Slot) {
	w := newWorld(t, 1, 1)
	for dir := range n/2/1000 + 1 {
		ref := folder(dir)
		b, err := (&meta.Make{Parent: meta.RootRef, Name: fmt.Appendf(nil, "folder %d", dir), Kind: meta.Dir, Ref: ref, Perm: 0o755}).Apply(w.view.confirmed, meta.Stamp{Device: 2, No: meta.OpNo(dir + 1)})
		must(t, err)
		w.view.confirmed.Apply(2, b, meta.Delta{Inodes: 1})
	}
	ref := meta.Ref{Home: folder(0).Ino, Ino: meta.MakeIno(2, 1<<30)}
	b, err := (&meta.Make{Parent: folder(0), Name: named(0), Kind: meta.File, Ref: ref, Perm: 0o644}).Apply(w.view.confirmed, meta.Stamp{Device: 2, No: 1 << 20, Time: meta.Time{Sec: 7}})
	must(t, err)
	return w.view, Slot{3, b, meta.Delta{Inodes: 1}}
}

func folder(dir int) meta.Ref {
	return meta.Ref{Home: meta.Root, Ino: meta.MakeIno(2, uint64(dir+2))}
}

func named(i int) []byte { return fmt.Appendf(nil, "IMG_%08d.jpeg", i*31) }

func fill(t *testing.T, v *View, n int) {
	now := meta.Time{Sec: 1_700_000_000}
	for i := range n / 2 {
		now.Nsec = uint32(i*7919) % 1e9
		now.Sec += int64(i % 2)
		dir := folder(i / 1000)
		ref := meta.Ref{Home: dir.Ino, Ino: meta.MakeIno(1, uint64(i+1))}
		at := meta.Stamp{Device: 1, No: meta.OpNo(2*i + 1), Time: now}
		_, err := v.Execute(&meta.Make{Parent: dir, Name: named(i), Kind: meta.File, Ref: ref, Perm: 0o644, UID: 1000, GID: 1000}, at)
		must(t, err)
		at.No++
		at.Time.Nsec += 1000
		size := uint64(3000 + i*31%9000)
		x := meta.Extent{Off: 0, Len: size, Pack: meta.MakePack(1, uint64(i/1000+1)), PackOff: uint32(i % 1000 * 12000)}
		_, err = v.Execute(&meta.Write{Ref: ref, Extents: []meta.Extent{x}, Size: size, Mtime: &at.Time}, at)
		must(t, err)
	}
}
