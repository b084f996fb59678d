package meta_test

import (
	"errors"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// What only a broken or hostile writer leaves must end in an error, or be
// removable, and never in a circle.
func TestBrokenTrees(t *testing.T) {
	put := func(r *tree, key, value []byte) {
		r.Map.Apply(&meta.Batch{Puts: []meta.KV{{Key: key, Value: value}}})
	}
	name := []byte("x")

	t.Run("a name without an inode can be removed", func(t *testing.T) {
		r := newTree(t)
		put(r, meta.DirentKey(meta.Root, name), meta.AppendDirent(nil, meta.Dirent{Ref: docs, Kind: meta.File}))
		r.do(&meta.Unlink{Parent: meta.RootRef, Name: name, Ref: docs})
		put(r, meta.DirentKey(meta.Root, name), meta.AppendDirent(nil, meta.Dirent{Ref: docs, Kind: meta.File}))
		file := r.make(meta.RootRef, "file", meta.File)
		r.do(&meta.Rename{Parent: meta.RootRef, Name: []byte("file"), Ref: file, NewParent: meta.RootRef, NewName: name, Replaced: &docs})
	})
	t.Run("a file that is called a directory", func(t *testing.T) {
		r := newTree(t)
		file := r.make(meta.RootRef, "file", meta.File)
		put(r, meta.DirentKey(meta.Root, name), meta.AppendDirent(nil, meta.Dirent{Ref: file, Kind: meta.Dir}))
		r.refused(&meta.Rmdir{Parent: meta.RootRef, Name: name, Ref: file}, meta.ErrNotDir)
		r.refused(&meta.Rename{Parent: meta.RootRef, Name: name, Ref: file, NewParent: meta.RootRef, NewName: []byte("y")}, meta.ErrMalformed)
	})
	t.Run("a directory that is called a file", func(t *testing.T) {
		r := newTree(t)
		dir := r.make(meta.RootRef, "dir", meta.Dir)
		put(r, meta.DirentKey(meta.Root, name), meta.AppendDirent(nil, meta.Dirent{Ref: dir, Kind: meta.File}))
		r.refused(&meta.Unlink{Parent: meta.RootRef, Name: name, Ref: dir}, meta.ErrMalformed)
		file := r.make(meta.RootRef, "file", meta.File)
		r.refused(&meta.Rename{Parent: meta.RootRef, Name: []byte("file"), Ref: file, NewParent: meta.RootRef, NewName: name, Replaced: &dir}, meta.ErrMalformed)
		r.refused(&meta.Rename{Parent: meta.RootRef, Name: []byte("file"), Ref: file, NewParent: meta.RootRef, NewName: name, Replaced: &dir, Flags: meta.Exchange}, meta.ErrMalformed)
	})
	t.Run("two directories in each other", func(t *testing.T) {
		r := newTree(t)
		a, b, c := r.make(meta.RootRef, "a", meta.Dir), r.make(meta.RootRef, "b", meta.Dir), r.make(meta.RootRef, "c", meta.Dir)
		for _, x := range [][2]meta.Ref{{a, b}, {b, a}} {
			n := r.inode(x[0])
			n.Parent = x[1]
			put(r, meta.InodeKey(x[0]), meta.AppendInode(nil, n))
		}
		r.refused(&meta.Rename{Parent: meta.RootRef, Name: []byte("c"), Ref: c, NewParent: a, NewName: name}, meta.ErrMalformed)
	})
	t.Run("values that do not decode", func(t *testing.T) {
		r := newTree(t)
		dir := r.make(meta.RootRef, "dir", meta.Dir)
		put(r, meta.DirentKey(meta.Root, name), []byte{0})
		if err := meta.ReadDir(r, meta.Root, nil, func([]byte, meta.Dirent) bool { return true }); !errors.Is(err, meta.ErrMalformed) {
			t.Errorf("read directory: %v", err)
		}
		r.refused(&meta.Unlink{Parent: meta.RootRef, Name: name, Ref: docs}, meta.ErrMalformed)
		put(r, meta.InodeKey(dir), []byte{0})
		r.refused(&meta.Setattr{Ref: dir}, meta.ErrMalformed)
		n := &meta.Inode{Indexed: true, Size: 100}
		put(r, meta.ExtentKey(docs.Ino, 10), []byte{0})
		if err := meta.Extents(r, docs, n, 0, 100, func(meta.Extent) bool { return true }); !errors.Is(err, meta.ErrMalformed) {
			t.Errorf("extents: %v", err)
		}
	})
	t.Run("more links than can be counted", func(t *testing.T) {
		r := newTree(t)
		file, dir := r.make(meta.RootRef, "file", meta.File), r.make(meta.RootRef, "dir", meta.Dir)
		for _, ref := range []meta.Ref{file, dir} {
			n := r.inode(ref)
			n.Nlink = meta.MaxLinks
			put(r, meta.InodeKey(ref), meta.AppendInode(nil, n))
		}
		r.refused(&meta.Link{Ref: file, Parent: meta.RootRef, Name: name}, meta.ErrTooManyLinks)
		r.refused(&meta.Make{Parent: dir, Name: name, Ref: meta.Ref{Home: dir.Ino, Ino: highest}, Kind: meta.Dir}, meta.ErrTooManyLinks)
	})
}

// An operation must not guess about what this machine does not hold.
func TestUnknownIsNotAbsent(t *testing.T) {
	r := newTree(t)
	dir, other := r.make(meta.RootRef, "dir", meta.Dir), r.make(meta.RootRef, "other", meta.Dir)
	file := r.make(meta.RootRef, "file", meta.File)
	for i := range uint64(6) {
		r.do(&meta.Write{Ref: file, Extents: []meta.Extent{{Off: i * 10, Len: 5, Pack: packOne}}})
	}
	r.do(&meta.Setxattr{Ref: file, Name: []byte("u")})
	name := []byte("x")
	rename := &meta.Rename{Parent: meta.RootRef, Name: []byte("other"), Ref: other, NewParent: dir, NewName: name}
	for _, c := range []struct {
		name   string
		forget meta.Range
		op     meta.Op
	}{
		{"create with names not known", meta.DirentRange(dir.Ino), &meta.Make{Parent: dir, Name: name, Ref: letter, Kind: meta.File}},
		{"create with the directory not known", meta.InodeRange(meta.Root), &meta.Make{Parent: dir, Name: name, Ref: letter, Kind: meta.File}},
		{"rmdir with names not known", meta.DirentRange(dir.Ino), &meta.Rmdir{Parent: meta.RootRef, Name: []byte("dir"), Ref: dir}},
		{"unlink with the inode not known", meta.InodeRange(meta.Root), &meta.Unlink{Parent: meta.RootRef, Name: []byte("file"), Ref: file}},
		{"rename with the target not known", meta.DirentRange(dir.Ino), rename},
		{"link with names not known", meta.DirentRange(dir.Ino), &meta.Link{Ref: file, Parent: dir, Name: name}},
		{"write with extents not known", meta.ExtentRange(file.Ino), &meta.Write{Ref: file, Extents: []meta.Extent{{Off: 3, Len: 5, Pack: packOne}}}},
		{"truncate with extents not known", meta.ExtentRange(file.Ino), &meta.Truncate{Ref: file, Size: 3}},
		{"setxattr with attributes not known", meta.XattrRange(file), &meta.Setxattr{Ref: file, Name: name, Flags: meta.XattrCreate}},
		{"removexattr with attributes not known", meta.XattrRange(file), &meta.Removexattr{Ref: file, Name: name}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &tree{Map: r.Clone(), t: t, at: r.at}
			r.Forget(c.forget)
			r.refused(c.op, meta.ErrUnknown)
			r.Forget(meta.Range{})
			if _, err := c.op.Apply(r, r.at); err != nil && !errors.Is(err, meta.ErrNoAttr) {
				t.Errorf("once known: %v", err)
			}
		})
	}
}
