package meta_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

func TestClone(t *testing.T) {
	r := newTree(t)
	file := r.make(meta.RootRef, "file", meta.File)
	x := func(off, n uint64, pack meta.PackNo, at uint32) meta.Extent {
		return meta.Extent{Off: off, Len: n, Pack: pack, PackOff: at}
	}
	r.do(&meta.Write{Ref: file, Extents: []meta.Extent{x(0, 100, packOne, 0)}})
	for _, c := range []struct {
		name string
		op   meta.Clone
		size uint64
		want []meta.Extent
	}{
		{"into the middle, a hole at each end", meta.Clone{Off: 40, Len: 30, Extents: []meta.Extent{x(50, 10, packOne+1, 5)}}, 100,
			[]meta.Extent{x(0, 40, packOne, 0), x(50, 10, packOne+1, 5), x(70, 30, packOne, 70)}},
		{"the same bytes over themselves", meta.Clone{Off: 10, Len: 20, Extents: []meta.Extent{x(10, 20, packOne, 10)}}, 100,
			[]meta.Extent{x(0, 100, packOne, 0)}},
		{"behind the end", meta.Clone{Off: 200, Len: 10, Extents: []meta.Extent{x(200, 10, packOne, 3)}}, 210,
			[]meta.Extent{x(0, 100, packOne, 0), x(200, 10, packOne, 3)}},
		{"a hole behind the end", meta.Clone{Off: 200, Len: 10}, 210, []meta.Extent{x(0, 100, packOne, 0)}},
		{"all of it", meta.Clone{Len: 120, Extents: []meta.Extent{x(0, 7, packOne+2, 0)}}, 120, []meta.Extent{x(0, 7, packOne+2, 0)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &tree{Map: r.Clone(), t: t, at: r.at}
			c.op.Ref = file
			r.do(&c.op)
			if n := r.inode(file); n.Size != c.size {
				t.Errorf("size %d, want %d", n.Size, c.size)
			}
			if got := r.extents(file); !slices.Equal(got, c.want) {
				t.Errorf("extents %v, want %v", got, c.want)
			}
		})
	}
}

// Whoever retires packs did not see the reference that a clone makes.
func TestCloneRevivesPacks(t *testing.T) {
	r := newTree(t)
	file := r.make(meta.RootRef, "file", meta.File)
	state := &meta.Batch{}
	for i := range meta.PackNo(4) {
		state.Puts = append(state.Puts, meta.KV{Key: meta.RetiredKey(packOne + i), Value: meta.AppendRetired(nil, 7)})
	}
	r.Map.Apply(state)
	r.do(&meta.Clone{Ref: file, Len: 9, Extents: []meta.Extent{{Off: 0, Len: 2, Pack: packOne + 3}, {Off: 5, Len: 2, Pack: packOne + 1}}})
	for i, retired := range []bool{true, false, true, false} {
		_, err := r.Map.Get(meta.RetiredKey(packOne + meta.PackNo(i)))
		if errors.Is(err, meta.ErrAbsent) == retired {
			t.Errorf("pack %d: %v, want retired %v", i, err, retired)
		}
	}
}
