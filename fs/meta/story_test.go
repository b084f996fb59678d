package meta_test

import (
	"errors"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/meta/metatest"
)

// tree is a state with short ways to change it.
type tree struct {
	*metatest.Map
	t    testing.TB
	at   meta.Stamp
	inos uint64
}

func newTree(t testing.TB) *tree {
	r := &tree{Map: new(metatest.Map), t: t, at: meta.Stamp{Device: 1, Time: clock}}
	r.Apply(meta.InitBatch(clock, 1000, 1000))
	return r
}

// do executes an operation that must succeed.
func (r *tree) do(op meta.Op) *meta.Batch {
	r.t.Helper()
	r.at.No++
	b, err := op.Apply(r.Map, r.at)
	if err != nil {
		r.t.Fatalf("%T: %v", op, err)
	}
	if err := b.Validate(); err != nil {
		r.t.Fatalf("%T: %v", op, err)
	}
	r.Map.Apply(b)
	return b
}

// refused executes an operation that must fail with want and nothing else.
func (r *tree) refused(op meta.Op, want error) {
	r.t.Helper()
	if b, err := op.Apply(r.Map, r.at); !errors.Is(err, want) || b != nil {
		r.t.Errorf("%T: got %v, %v, want %v", op, b, err, want)
	}
}

func (r *tree) make(parent meta.Ref, name string, kind meta.Kind) meta.Ref {
	r.t.Helper()
	r.inos++
	o := &meta.Make{Parent: parent, Name: []byte(name), Ref: meta.Ref{Home: parent.Ino, Ino: meta.MakeIno(1, r.inos)}, Kind: kind, Perm: 0o755}
	if kind == meta.Symlink {
		o.Target = []byte("nowhere")
	}
	r.do(o)
	return o.Ref
}

func (r *tree) inode(ref meta.Ref) *meta.Inode {
	r.t.Helper()
	n, err := meta.GetInode(r.Map, ref)
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

func (r *tree) extents(ref meta.Ref) (out []meta.Extent) {
	r.t.Helper()
	err := meta.Extents(r.Map, ref, r.inode(ref), 0, meta.MaxFileSize, func(x meta.Extent) bool {
		out = append(out, x)
		return true
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

func TestRefusals(t *testing.T) {
	r := newTree(t)
	dir := r.make(meta.RootRef, "dir", meta.Dir)
	sub := r.make(dir, "sub", meta.Dir)
	empty := r.make(meta.RootRef, "empty", meta.Dir)
	file := r.make(meta.RootRef, "file", meta.File)
	other := r.make(dir, "other", meta.File)
	fifo := r.make(meta.RootRef, "fifo", meta.Fifo)
	gone := meta.Ref{Home: meta.Root, Ino: meta.MakeIno(1, 999)}
	b := func(s string) []byte { return []byte(s) }
	mk := func(parent meta.Ref, name string) meta.Op {
		return &meta.Make{Parent: parent, Name: b(name), Ref: meta.Ref{Home: parent.Ino, Ino: gone.Ino}, Kind: meta.File}
	}
	rename := func(p meta.Ref, n string, ref, p2 meta.Ref, n2 string, replaced *meta.Ref, flags meta.RenameFlags) meta.Op {
		return &meta.Rename{Parent: p, Name: b(n), Ref: ref, NewParent: p2, NewName: b(n2), Replaced: replaced, Flags: flags}
	}
	root := meta.RootRef
	for _, c := range []struct {
		name string
		op   meta.Op
		want error
	}{
		{"create over a file", mk(root, "file"), meta.ErrExist},
		{"create in a file", mk(file, "a"), meta.ErrNotDir},
		{"create in a removed directory", mk(meta.Ref{Home: 1, Ino: meta.MakeIno(1, 998)}, "a"), meta.ErrNotExist},
		{"create without a name", mk(root, ""), meta.ErrName},
		{"create ..", mk(root, ".."), meta.ErrName},
		{"create a name of 256 bytes", mk(root, longName+"n"), meta.ErrNameTooLong},
		{"create with another home", &meta.Make{Parent: dir, Name: b("a"), Ref: gone, Kind: meta.File}, meta.ErrMalformed},
		{"symlink to nothing", &meta.Make{Parent: root, Name: b("a"), Ref: gone, Kind: meta.Symlink}, meta.ErrNotExist},
		{"symlink to 4096 bytes", &meta.Make{Parent: root, Name: b("a"), Ref: gone, Kind: meta.Symlink, Target: make([]byte, 4096)}, meta.ErrNameTooLong},
		{"write a directory", &meta.Write{Ref: dir, Size: 1}, meta.ErrIsDir},
		{"write a fifo", &meta.Write{Ref: fifo, Size: 1}, meta.ErrNotFile},
		{"write a removed file", &meta.Write{Ref: gone, Size: 1}, meta.ErrNotExist},
		{"write what somebody else wrote", &meta.Write{Ref: file, Observed: 77, Size: 1}, meta.ErrConflict},
		{"write beyond the longest file", &meta.Write{Ref: file, Extents: []meta.Extent{{Off: meta.MaxFileSize, Len: 1, Pack: 1}}}, meta.ErrTooLarge},
		{"write overlapping extents", &meta.Write{Ref: file, Extents: []meta.Extent{{Len: 2, Pack: 1}, {Off: 1, Len: 2, Pack: 1}}}, meta.ErrMalformed},
		{"write 1025 extents", &meta.Write{Ref: file, Extents: make([]meta.Extent, meta.MaxExtents+1)}, meta.ErrMalformed},
		{"truncate a directory", &meta.Truncate{Ref: dir}, meta.ErrIsDir},
		{"truncate beyond the longest file", &meta.Truncate{Ref: file, Size: 1 << 63}, meta.ErrTooLarge},
		{"truncate what somebody else wrote", &meta.Truncate{Ref: file, Observed: 77}, meta.ErrConflict},
		{"punch what somebody else wrote", &meta.PunchHole{Ref: file, Observed: 77, Len: 1}, meta.ErrConflict},
		{"punch beyond the longest file", &meta.PunchHole{Ref: file, Off: 1, Len: meta.MaxFileSize}, meta.ErrTooLarge},
		{"chmod a removed file", &meta.Setattr{Ref: gone, Valid: meta.SetPerm}, meta.ErrNotExist},
		{"unlink a directory", &meta.Unlink{Parent: root, Name: b("dir"), Ref: dir}, meta.ErrIsDir},
		{"unlink no name", &meta.Unlink{Parent: root, Name: b("none"), Ref: file}, meta.ErrNotExist},
		{"unlink another file than the one meant", &meta.Unlink{Parent: root, Name: b("file"), Ref: other}, meta.ErrConflict},
		{"unlink what somebody else wrote", &meta.Unlink{Parent: root, Name: b("file"), Ref: file, Observed: 77}, meta.ErrConflict},
		{"rmdir a file", &meta.Rmdir{Parent: root, Name: b("file"), Ref: file}, meta.ErrNotDir},
		{"rmdir with names in it", &meta.Rmdir{Parent: root, Name: b("dir"), Ref: dir}, meta.ErrNotEmpty},
		{"rmdir another directory than the one meant", &meta.Rmdir{Parent: root, Name: b("empty"), Ref: dir}, meta.ErrConflict},
		{"rename no name", rename(root, "none", file, root, "b", nil, 0), meta.ErrNotExist},
		{"rename another file than the one meant", rename(root, "file", other, root, "b", nil, 0), meta.ErrConflict},
		{"rename onto a name that was free", rename(root, "file", file, dir, "other", nil, 0), meta.ErrConflict},
		{"rename onto a name that is gone", rename(root, "file", file, dir, "none", &other, 0), meta.ErrConflict},
		{"rename with noreplace", rename(root, "file", file, dir, "other", nil, meta.NoReplace), meta.ErrExist},
		{"rename a file onto a directory", rename(root, "file", file, root, "empty", &empty, 0), meta.ErrIsDir},
		{"rename a directory onto a file", rename(root, "empty", empty, root, "file", &file, 0), meta.ErrNotDir},
		{"rename onto a directory with names", rename(root, "empty", empty, root, "dir", &dir, 0), meta.ErrNotEmpty},
		{"rename a directory into itself", rename(root, "dir", dir, dir, "b", nil, 0), meta.ErrCycle},
		{"rename a directory below itself", rename(root, "dir", dir, sub, "b", nil, 0), meta.ErrCycle},
		{"rename into a file", rename(root, "dir", dir, file, "b", nil, 0), meta.ErrNotDir},
		{"exchange with no name", rename(root, "file", file, root, "b", nil, meta.Exchange), meta.ErrNotExist},
		{"exchange with a directory above", rename(dir, "sub", sub, root, "dir", &dir, meta.Exchange), meta.ErrCycle},
		{"exchange with a directory below", rename(root, "dir", dir, dir, "sub", &sub, meta.Exchange), meta.ErrCycle},
		{"rename over what somebody else wrote", &meta.Rename{Parent: root, Name: b("file"), Ref: file, NewParent: dir, NewName: b("other"), Replaced: &other, Observed: 77}, meta.ErrConflict},
		{"link to a directory", &meta.Link{Ref: dir, Parent: root, Name: b("b")}, meta.ErrPerm},
		{"link onto a name", &meta.Link{Ref: file, Parent: root, Name: b("dir")}, meta.ErrExist},
		{"link to a removed file", &meta.Link{Ref: gone, Parent: root, Name: b("b")}, meta.ErrNotExist},
		{"setxattr with replace", &meta.Setxattr{Ref: file, Name: b("u"), Flags: meta.XattrReplace}, meta.ErrNoAttr},
		{"setxattr above 64 KiB", &meta.Setxattr{Ref: file, Name: b("u"), Value: make([]byte, meta.MaxXattr+1)}, meta.ErrTooLarge},
		{"removexattr of none", &meta.Removexattr{Ref: file, Name: b("u")}, meta.ErrNoAttr},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &tree{Map: r.Map, t: t, at: r.at}
			r.refused(c.op, c.want)
		})
	}
}

// A file keeps its inode's key when it moves, and outlives the directory that
// it was made in.
func TestHomeOutlivesItsDirectory(t *testing.T) {
	r := newTree(t)
	dir := r.make(meta.RootRef, "dir", meta.Dir)
	file := r.make(dir, "file", meta.File)
	r.do(&meta.Rename{Parent: dir, Name: []byte("file"), NewParent: meta.RootRef, NewName: []byte("file"), Ref: file})
	r.do(&meta.Rmdir{Parent: meta.RootRef, Name: []byte("dir"), Ref: dir})
	d, err := meta.Lookup(r, meta.Root, []byte("file"))
	if err != nil || d.Ref != file || r.inode(d.Ref).Nlink != 1 {
		t.Errorf("got %v, %v", d, err)
	}
}

// A write to one of two names' file does not save the other name from unlink,
// since the content stays.
func TestUnlinkWithAnotherNameDoesNotLookAtTheVersion(t *testing.T) {
	r := newTree(t)
	file := r.make(meta.RootRef, "a", meta.File)
	old := r.inode(file).Version
	r.do(&meta.Link{Ref: file, Parent: meta.RootRef, Name: []byte("b")})
	r.do(&meta.Write{Ref: file, Size: 9})
	r.do(&meta.Unlink{Parent: meta.RootRef, Name: []byte("a"), Ref: file, Observed: old})
	r.refused(&meta.Unlink{Parent: meta.RootRef, Name: []byte("b"), Ref: file, Observed: old}, meta.ErrConflict)
}

func TestRenameOntoAnotherNameOfTheSameFileChangesNothing(t *testing.T) {
	r := newTree(t)
	file := r.make(meta.RootRef, "a", meta.File)
	r.do(&meta.Link{Ref: file, Parent: meta.RootRef, Name: []byte("b")})
	b := r.do(&meta.Rename{Parent: meta.RootRef, Name: []byte("a"), NewParent: meta.RootRef, NewName: []byte("b"), Ref: file, Replaced: &file})
	if !b.Empty() {
		t.Errorf("got %v", b)
	}
}

func TestSetgidDirectoryHandsDownItsGroup(t *testing.T) {
	r := newTree(t)
	dir := r.make(meta.RootRef, "dir", meta.Dir)
	r.do(&meta.Setattr{Ref: dir, Valid: meta.SetPerm | meta.SetGID, Perm: 0o2775, GID: 55})
	sub, file := r.make(dir, "sub", meta.Dir), r.make(dir, "file", meta.File)
	if n := r.inode(sub); n.GID != 55 || n.Perm != 0o2755 {
		t.Errorf("directory: gid %d, mode %o", n.GID, n.Perm)
	}
	if n := r.inode(file); n.GID != 55 || n.Perm != 0o755 {
		t.Errorf("file: gid %d, mode %o", n.GID, n.Perm)
	}
}
