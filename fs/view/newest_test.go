package view

import (
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// filled is what Filled says, found by looking at all operations.
func filled(v *View) int {
	files := map[meta.Ino]bool{}
	for p := range v.Pending().All() {
		switch o := p.Op.(type) {
		case *meta.Write:
			files[o.Ref.Ino] = true
		case *meta.Clone:
			files[o.Ref.Ino] = true
		}
	}
	return len(files)
}

// How many files have content that waits is known without looking at what waits, whatever
// becomes of it.
func TestFilled(t *testing.T) {
	const n = 2000
	v, theirs := many(t, n)
	check := func(when string, want int) {
		t.Helper()
		if got, all := v.Filled(nil), filled(v); got != want || all != want {
			t.Errorf("%s: %d files, by the operations %d, want %d", when, got, all, want)
		}
	}
	check("at first", 0)
	fill(t, v, n)
	check("filled", n/2)
	ref := func(i int) meta.Ref { return meta.Ref{Home: folder(i / 1000).Ino, Ino: meta.MakeIno(1, uint64(i+1))} }
	if got := v.Filled([]meta.Ref{ref(0), ref(1), {Home: meta.Root, Ino: meta.MakeIno(1, 1<<20)}}); got != n/2+1 {
		t.Errorf("with one more it is %d", got)
	}
	o := meta.RebaseOptions{Device: "desk", NewIno: func() (meta.Ino, error) { return 0, nil }}
	_, err := v.Follow([]Slot{theirs}, o, func(Followed) error { return nil })
	must(t, err)
	check("followed", n/2)
	size := uint64(10)
	for no, op := range []meta.Change{
		&meta.Write{Ref: ref(5), Extents: []meta.Extent{{Len: 10, Pack: meta.MakePack(1, 99)}}, Size: size},
		&meta.Write{Ref: ref(5), Extents: []meta.Extent{{Len: 9, Pack: meta.MakePack(1, 98)}}, Size: size},
		&meta.Setattr{Ref: ref(6), Valid: meta.SetPerm, Perm: 0o600},
		&meta.Unlink{Parent: folder(0), Name: named(7), Ref: ref(7)},
	} {
		_, err := v.Execute(op, meta.Stamp{Device: 1, No: meta.OpNo(n + 1 + no), Time: meta.Time{Sec: 1_800_000_000}})
		must(t, err)
	}
	check("written again", n/2)
	newest := func(when string, want ...meta.OpNo) {
		t.Helper()
		for i, want := range want {
			if got := v.NewestOf(ref(i + 4).Ino); got != want {
				t.Errorf("%s: file %d was written by operation %d, want %d", when, i+4, got, want)
			}
		}
	}
	newest("written again", 10, n+2, n+3, n+4)
	slot := theirs.No
	settle := func(last meta.OpNo) {
		took := v.Take(last, 1<<30)
		slot++
		v.Settle(slot, took.Ops.Last().No, took.Batch, took.Usage)
	}
	settle(n / 2)
	check("half is settled", n/4+1)
	settle(n)
	check("only what came later waits", 1)
	settle(n + 1)
	check("one of two writes waits", 1)
	newest("one of two writes waits", 0, n+2, n+3, n+4)
	settle(n + 4)
	check("all is settled", 0)
	newest("all is settled", 0, 0, 0, 0)
}
