package view

import (
	"bytes"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// What is executed again and means the same lies in memory once, also behind a block that
// becomes two, since what stands for its operations is longer.
func TestWhatMeansTheSameLiesInMemoryOnce(t *testing.T) {
	const n, taken = 20 * blockOps, 100
	v, theirs := many(t, 2)
	link := func(device meta.Device, i int) (*meta.Make, meta.Stamp) {
		ref := meta.Ref{Home: folder(0).Ino, Ino: meta.MakeIno(device, 1<<31+uint64(i))}
		at := meta.Stamp{Device: device, No: meta.OpNo(1<<20 + i), Time: meta.Time{Sec: 7}}
		return &meta.Make{Parent: folder(0), Name: named(i), Kind: meta.Symlink, Ref: ref, Perm: 0o777, Target: bytes.Repeat([]byte{byte(device)}, 150)}, at
	}
	for i := range n {
		op, at := link(1, i)
		_, err := v.Execute(op, at)
		must(t, err)
	}
	for i := 1; i < taken; i++ {
		op, at := link(2, i)
		b, err := op.Apply(v.confirmed, at)
		must(t, err)
		theirs.Batch.Puts = append(theirs.Batch.Puts, b.Puts...)
	}
	was := v.ops.blocks
	_, err := v.Follow([]Slot{theirs}, meta.RebaseOptions{Device: "desk"}, func(Followed) error { return nil })
	must(t, err)
	now := v.ops.blocks
	more := len(now) - len(was)
	if more <= 0 {
		t.Fatalf("%d blocks have become %d", len(was), len(now))
	}
	for i := 1; i < len(was); i++ {
		if &was[i].data[0] != &now[i+more].data[0] {
			t.Errorf("block %d of %d lies in memory twice", i, len(was))
		}
	}
}
