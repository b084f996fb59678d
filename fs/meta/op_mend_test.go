package meta_test

import (
	"errors"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// A Mend does what a check asked for only where the tree is still as it was seen.
func TestMendIsRefusedAfterAChange(t *testing.T) {
	r := newTree(t)
	dir := r.make(meta.RootRef, "dir", meta.Dir)
	deep := r.make(dir, "deep", meta.Dir)
	file := r.make(meta.RootRef, "file", meta.File)
	for _, c := range []struct {
		name string
		op   meta.Mend
		want error
	}{
		{"a name that stands for something else", meta.Mend{Act: meta.MendDrop, Ref: dir, Kind: meta.File, Dir: meta.Root, Name: []byte("file")}, meta.ErrConflict},
		{"a name of another kind", meta.Mend{Act: meta.MendDrop, Ref: file, Kind: meta.Dir, Dir: meta.Root, Name: []byte("file")}, meta.ErrConflict},
		{"a name that is gone", meta.Mend{Act: meta.MendDrop, Ref: file, Kind: meta.File, Dir: meta.Root, Name: []byte("no file")}, meta.ErrNotExist},
		{"another count", meta.Mend{Act: meta.MendLinks, Ref: file, Was: 2, Links: 1}, meta.ErrConflict},
		{"a count of nothing", meta.Mend{Act: meta.MendLinks, Ref: meta.Ref{Home: meta.Root, Ino: file.Ino + 100}, Was: 2, Links: 1}, meta.ErrNotExist},
		{"a name that is taken", meta.Mend{Act: meta.MendAdopt, Ref: file, Parent: dir, Name: []byte("deep")}, meta.ErrExist},
		{"a directory that might lie below", meta.Mend{Act: meta.MendAdopt, Ref: dir, Parent: deep, Name: []byte("x")}, meta.ErrCycle},
		{"no directory", meta.Mend{Act: meta.MendAdopt, Ref: dir, Parent: file, Name: []byte("x")}, meta.ErrNotDir},
		{"the parent of a file", meta.Mend{Act: meta.MendParent, Ref: file, Parent: dir}, meta.ErrNotDir},
		{"the root", meta.Mend{Act: meta.MendAdopt, Ref: meta.RootRef, Parent: dir, Name: []byte("x")}, meta.ErrMalformed},
	} {
		if _, err := c.op.Apply(r, meta.Stamp{Device: 1, No: 1}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}
