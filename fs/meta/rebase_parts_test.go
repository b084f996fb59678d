package meta_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/meta/metatest"
)

// worst is a state in which all that an operation needs is as long as it can be: a file
// with attributes, at the bottom of folders, of which each has attributes too.
type worst struct {
	t    *testing.T
	was  *metatest.Map
	way  []meta.Ref // from the root to the folder of the file
	file meta.Ref
	at   meta.Stamp
	inos uint64
}

func (w *worst) name(i int) []byte {
	name := fmt.Sprintf("%d-", i)
	return []byte(name + strings.Repeat("n", meta.MaxName-len(name)))
}

// attributes puts the shortest there are, meta.MaxXattrs bytes of them.
func (w *worst) attributes(ref meta.Ref) (puts []meta.KV) {
	for i, n := 0, 0; n < meta.MaxXattrs; i++ {
		name := fmt.Appendf(nil, "user.%c", 'A'+i%26)
		for rest := i / 26; rest > 0; rest /= 26 {
			name = append(name, byte('A'+rest%26))
		}
		puts = append(puts, meta.KV{meta.XattrKey(ref, name), nil})
		n += len(name)
	}
	return puts
}

func newWorst(t *testing.T, depth int, extents uint64) *worst {
	w := &worst{t: t, was: new(metatest.Map), way: []meta.Ref{meta.RootRef}, at: meta.Stamp{Device: 65535, No: meta.MaxOpNo - 9, Time: meta.Time{Sec: 1 << 40, Nsec: 999_999_999}}}
	at := w.at.Time
	inode := meta.Inode{Perm: 0o7777, UID: 1<<32 - 1, GID: 1<<32 - 1, Xattrs: true, Version: w.at.Version(), Atime: at, Mtime: at, Ctime: at, Btime: at}
	var puts []meta.KV
	add := func(parent, ref meta.Ref, name []byte, n meta.Inode) {
		puts = append(puts, meta.KV{meta.InodeKey(ref), meta.AppendInode(nil, &n)}, meta.KV{meta.DirentKey(parent.Ino, name), meta.AppendDirent(nil, meta.Dirent{ref, n.Kind})})
	}
	root := inode
	root.Kind, root.Nlink, root.Xattrs, root.Parent = meta.Dir, 3, false, meta.RootRef
	puts = append(puts, meta.KV{meta.InodeKey(meta.RootRef), meta.AppendInode(nil, &root)})
	w.was.Apply(w.batch(puts))
	puts = nil
	next := func() meta.Ref {
		w.inos++
		return meta.Ref{Home: w.way[len(w.way)-1].Ino, Ino: meta.MakeIno(65535, meta.MaxCounter-w.inos)}
	}
	for i := range depth {
		ref, n := next(), inode
		n.Kind, n.Nlink, n.Parent = meta.Dir, 3, w.way[i]
		if n.Xattrs = i >= depth-3; n.Xattrs {
			puts = append(puts, w.attributes(ref)...)
		}
		add(w.way[i], ref, w.name(i), n)
		w.way = append(w.way, ref)
	}
	n := inode
	n.Kind, n.Nlink, n.Size, n.Indexed = meta.File, 1, meta.MaxFileSize, true
	w.file = next()
	add(w.way[depth], w.file, w.name(depth), n)
	puts = append(puts, w.attributes(w.file)...)
	w.was.Apply(w.batch(puts))
	for i := range extents {
		x := meta.Extent{Off: meta.MaxFileSize - (extents-i)*(1<<30), Len: meta.MaxExtent - 1, Pack: meta.MakePack(65535, meta.MaxCounter-i), PackOff: 1}
		w.was.Apply(&meta.Batch{Puts: []meta.KV{{meta.ExtentKey(w.file.Ino, x.End()), meta.AppendExtent(nil, x)}}})
	}
	return w
}

func (w *worst) batch(puts []meta.KV) *meta.Batch {
	var b meta.Builder
	for _, kv := range puts {
		b.Add(&meta.Batch{Puts: []meta.KV{kv}})
	}
	return b.Batch()
}

// gone is the state in which of the folders only the first n are left, and no file.
func (w *worst) gone(n int) *metatest.Map {
	now := new(metatest.Map)
	for i, ref := range w.way[:n+1] {
		v, err := w.was.Get(meta.InodeKey(ref))
		if err != nil {
			w.t.Fatal(err)
		}
		old, err := meta.DecodeInode(v)
		if err != nil {
			w.t.Fatal(err)
		}
		if old.Xattrs = false; i == n {
			old.Nlink = 2
		}
		now.Apply(&meta.Batch{Puts: []meta.KV{{meta.InodeKey(ref), meta.AppendInode(nil, old)}}})
		if i > 0 {
			now.Apply(&meta.Batch{Puts: []meta.KV{{meta.DirentKey(w.way[i-1].Ino, w.name(i-1)), meta.AppendDirent(nil, meta.Dirent{ref, meta.Dir})}}})
		}
	}
	return now
}

// follow executes changes again and says what stands for them, which is one operation.
func (w *worst) follow(was, now *metatest.Map, changes []meta.Change) (steps []meta.Change, left *metatest.Map) {
	w.t.Helper()
	left = now.Clone()
	r := meta.NewRebase(was, func(yield func(meta.Change, meta.Stamp) bool) {
		for _, c := range changes {
			if !yield(c, w.at) {
				return
			}
		}
	}, meta.RebaseOptions{
		Device: strings.Repeat("d", 255),
		NewIno: func() (meta.Ino, error) { w.inos++; return meta.MakeIno(65535, meta.MaxCounter-w.inos), nil },
		Place: func(ref meta.Ref) (meta.Ref, []byte, bool) {
			return w.way[len(w.way)-1], w.name(len(w.way) - 1), ref == w.file
		},
	})
	for _, c := range changes {
		some, err := r.Again(c, left, w.at)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, s := range some {
			b, err := s.Apply(left, w.at)
			if err != nil {
				w.t.Fatalf("%T: %v", s, err)
			}
			left.Apply(b)
		}
		steps = append(steps, some...)
	}
	return steps, left
}

// fits holds what stands for one operation to a commit: without the fills, which may come
// in others, and to each fill alone. Each extent is in a pack of its own.
func (w *worst) fits(now *metatest.Map, steps []meta.Change) {
	w.t.Helper()
	const (
		commit   = 1 << 20
		envelope = 16 << 10 // with the signature, which is some 3,400 bytes
		pack     = 9 + 45 + 2
	)
	var b meta.Builder
	packs := 0
	now = now.Clone()
	for _, s := range steps {
		one, err := s.Apply(now, w.at)
		if err != nil {
			w.t.Fatalf("%T: %v", s, err)
		}
		now.Apply(one)
		if n := len(meta.EncodeStep(s)); n > meta.MaxStep {
			w.t.Errorf("%T of %d bytes", s, n)
		}
		if meta.IsFill(meta.EncodeStep(s)) {
			if n := len(one.Encode()) + pack*len(meta.Contents(s)); n > 128<<10 {
				w.t.Errorf("a fill takes %d bytes", n)
			}
			continue
		}
		b.Add(one)
		packs += len(meta.Contents(s))
	}
	n := len(b.Batch().Encode()) + pack*packs + envelope
	w.t.Logf("%d steps: %d bytes of %d", len(steps), n, commit)
	if n > commit {
		w.t.Errorf("%d steps take %d bytes of a commit", len(steps), n)
	}
}

// full is a write of as many extents as an operation has, in windows that are cut.
func (w *worst) full() *meta.Write {
	o := &meta.Write{Ref: w.file, Size: meta.MaxFileSize, Mtime: &w.at.Time}
	for i := range uint64(meta.MaxExtents) {
		o.Extents = append(o.Extents, meta.Extent{Off: i * (1 << 30), Len: meta.MaxExtent - 1, Pack: meta.MakePack(65535, i+1), PackOff: 1})
	}
	return o
}

// However deep a folder is, whatever it has, and however often it is taken away again,
// what stands for one operation has room in one commit, but for extents. What has no room
// stays out of the way, and that is told; the file and its bytes are there.
func TestWhatStandsForAnOperationHasRoom(t *testing.T) {
	t.Parallel()
	const depth, extents = 2000, 3000
	w := newWorst(t, depth, extents)
	for _, first := range []meta.Change{
		w.full(),
		&meta.Link{Parent: w.way[depth], Name: w.name(1), Ref: w.file},
		&meta.Make{Parent: w.way[depth], Name: w.name(2), Ref: meta.Ref{Home: w.way[depth].Ino, Ino: meta.MakeIno(1, 1)}, Kind: meta.Symlink, Target: bytes.Repeat([]byte("t"), meta.MaxTarget)},
	} {
		t.Run(fmt.Sprintf("%T", first), func(t *testing.T) {
			w := *w
			w.t = t
			was := w.was.Clone()
			b, err := first.Apply(was, w.at)
			if err != nil {
				t.Fatal(err)
			}
			was.Apply(b)
			changes := []meta.Change{first}
			// First a little is gone, then more and more.
			for _, n := range []int{depth - 10, depth - 20, depth - 500, depth / 2, 0} {
				now := w.gone(n)
				changes, was = w.follow(was, now, changes)
				w.fits(now, changes)
			}
			refs := map[meta.Ref]bool{}
			moved := 0
			for _, c := range changes {
				if ref, ok := meta.Makes(c); ok {
					refs[ref] = true
				}
				b, err := c.Apply(new(metatest.Map), w.at)
				if err != nil {
					continue
				}
				for _, kv := range b.Puts {
					if _, err := meta.ParseConflictKey(kv.Key); err != nil {
						continue
					}
					if r, err := meta.DecodeConflict(kv.Value); err == nil && r.Kind == meta.ConflictMoved {
						moved++
					}
				}
			}
			if !refs[w.way[depth]] || refs[w.way[1]] || moved == 0 {
				t.Errorf("%d inodes are made again, the lowest folder %v, the highest %v; %d records of folders that stand elsewhere", len(refs), refs[w.way[depth]], refs[w.way[1]], moved)
			}
			if _, ok := first.(*meta.Make); ok {
				return
			}
			held := 0
			for _, c := range changes {
				ref, ok := meta.Makes(c)
				if !ok {
					continue
				}
				n, err := meta.GetInode(was, ref)
				if err == nil && n.Kind == meta.File {
					err = meta.Extents(was, ref, n, 0, meta.MaxFileSize, func(meta.Extent) bool { held++; return true })
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			want := extents
			if _, ok := first.(*meta.Write); ok {
				want += meta.MaxExtents
			}
			if held != want {
				t.Errorf("the file has %d extents, want %d", held, want)
			}
		})
	}
}

// Folders inside one another, thousands of them, are made again in the time that a person
// waits, all of them, and where they were.
func TestManyFoldersAreMadeAgain(t *testing.T) {
	t.Parallel()
	const depth = 3500
	w := newWorst(t, 0, 0)
	state := w.was
	state.Apply(&meta.Batch{Deletes: [][]byte{meta.DirentKey(meta.Root, w.name(0))}})
	way := []meta.Ref{meta.RootRef}
	for i := range depth + 1 {
		ref := meta.Ref{Home: way[i].Ino, Ino: meta.MakeIno(2, uint64(i+1))}
		b, err := (&meta.Make{Parent: way[i], Name: []byte("d"), Ref: ref, Kind: meta.Dir}).Apply(state, w.at)
		if err != nil {
			t.Fatal(err)
		}
		state.Apply(b)
		way = append(way, ref)
	}
	op := &meta.Make{Parent: way[depth], Name: []byte("f"), Ref: meta.Ref{Home: way[depth].Ino, Ino: meta.MakeIno(1, 1)}, Kind: meta.File}
	now := new(metatest.Map)
	v, err := state.Get(meta.InodeKey(meta.RootRef))
	if err != nil {
		t.Fatal(err)
	}
	now.Apply(&meta.Batch{Puts: []meta.KV{{meta.InodeKey(meta.RootRef), v}}})
	steps, left := w.follow(state, now, []meta.Change{op})
	w.fits(now, steps)
	at := meta.RootRef
	for range depth {
		d, err := meta.Lookup(left, at.Ino, []byte("d"))
		if err != nil {
			t.Fatal(err)
		}
		at = d.Ref
	}
	if d, err := meta.Lookup(left, at.Ino, []byte("f")); err != nil || d.Ref.Ino != op.Ref.Ino {
		t.Errorf("at the bottom: %v, %v", d, err)
	}
}
