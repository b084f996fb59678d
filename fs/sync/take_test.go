package sync

import (
	"testing"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/view"
)

// What stands for an operation after a conflict is several steps of one number, which
// name as many packs as the file has, and may be longer than any operation. It is taken
// as it is; but with others only what a commit has room for.
func TestTakeSteps(t *testing.T) {
	first := meta.InitBatch(meta.Time{Sec: 1}, 0, 0)
	c := view.NewConfirmed(0, nil, meta.Usage{})
	c.Apply(1, first, meta.Delta{Inodes: 1})
	v := view.New(c)
	at := func(no int) meta.Stamp {
		return meta.Stamp{Device: 1, No: meta.OpNo(no), Time: meta.Time{Sec: int64(no) + 1}}
	}
	file := meta.Ref{Home: meta.Root, Ino: meta.MakeIno(1, 1)}
	if _, err := v.Execute(&meta.Make{Parent: meta.RootRef, Name: []byte("f"), Ref: file, Kind: meta.File, Perm: 0o600}, at(1)); err != nil {
		t.Fatal(err)
	}
	write := func(from, extents int, pack func(i int) uint64) *meta.Write {
		o := &meta.Write{Ref: file}
		for i := range extents {
			o.Extents = append(o.Extents, meta.Extent{Off: uint64(from+i) << 40 >> 10, Len: 1, Pack: meta.MakePack(1, pack(i)), PackOff: uint32(from+i) << 4})
		}
		return o
	}
	many := func(i int) uint64 { return uint64(i + 1) }
	if _, err := v.Resume([]meta.Change{write(0, 40, many), write(40, packsMax+1, many)}, 0, at(2)); err != nil {
		t.Fatal(err)
	}
	s := &Syncer{o: Options{View: v}}
	take := func(last, packs int) view.Taken {
		t.Helper()
		done := make(chan view.Taken, 1)
		go func() { done <- s.take(meta.OpNo(last), packs) }()
		select {
		case got := <-done:
			return got
		case <-time.After(time.Minute):
			t.Fatal("it never ends")
			return view.Taken{}
		}
	}
	one := take(2, packsMax)
	if n := one.Ops.Len(); n != 1 || one.Ops.First().No != 1 {
		t.Fatalf("%d operations", n)
	}
	v.Settle(2, 1, one.Batch, one.Usage)
	if n := take(2, packsSoon).Ops.Len(); n != 2 {
		t.Fatalf("%d steps, want 2", n)
	}

	// Short ones first, then steps of a commit's length.
	same := func(int) uint64 { return 1 }
	no := 3
	for ; no < 20; no++ {
		if _, err := v.Execute(write(1000*no, meta.MaxExtents, same), at(no)); err != nil {
			t.Fatal(err)
		}
	}
	var long []meta.Change
	for i := range 20 {
		long = append(long, write(100_000+1024*i, meta.MaxExtents, same))
	}
	if _, err := v.Resume(long, 0, at(no)); err != nil {
		t.Fatal(err)
	}
	taken := meta.OpNo(1)
	for slot := uint64(3); v.Pending().Len() > 0; slot++ {
		got := take(no, packsMax)
		first, last := got.Ops.First().No, got.Ops.Last().No
		if n := len(got.Batch.Encode()); first != last && n > batchMost {
			t.Fatalf("operations %d to %d in %d bytes", first, last, n)
		}
		if first <= taken {
			t.Fatalf("operation %d again", first)
		}
		taken = last
		v.Settle(slot, last, got.Batch, got.Usage)
	}
}
