package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
)

// A device signs a tree that no program makes, and that fits all rules of a commit. Nobody
// hangs over it or ends, whatever he does with what is there, also with changes that wait;
// what is whole stays so.
func TestAttackWriterTree(t *testing.T) {
	inode := func(ref meta.Ref, change func(*meta.Inode)) meta.KV {
		n := &meta.Inode{Kind: meta.Dir, Perm: 0o755, Nlink: 2, Parent: meta.RootRef}
		change(n)
		return meta.KV{Key: meta.InodeKey(ref), Value: meta.AppendInode(nil, n)}
	}
	entry := func(dir meta.Ino, name string, ref meta.Ref, kind meta.Kind) meta.KV {
		return meta.KV{Key: meta.DirentKey(dir, []byte(name)), Value: meta.AppendDirent(nil, meta.Dirent{Ref: ref, Kind: kind})}
	}
	for name, c := range map[string]func(no meta.Device, d, e, f meta.Ref) (puts []meta.KV, deletes [][]byte){
		"a folder in itself": func(_ meta.Device, d, _, _ meta.Ref) ([]meta.KV, [][]byte) {
			return []meta.KV{entry(d.Ino, "round", d, meta.Dir), inode(d, func(n *meta.Inode) { n.Parent, n.Nlink = d, 3 })}, nil
		},
		"two folders in each other": func(_ meta.Device, d, e, _ meta.Ref) ([]meta.KV, [][]byte) {
			return []meta.KV{entry(e.Ino, "round", d, meta.Dir), inode(d, func(n *meta.Inode) { n.Parent = e }), inode(e, func(n *meta.Inode) { n.Parent = d })}, [][]byte{meta.DirentKey(meta.Root, []byte("d"))}
		},
		"two folders in each other, and in the root": func(_ meta.Device, d, e, _ meta.Ref) ([]meta.KV, [][]byte) {
			return []meta.KV{entry(e.Ino, "round", d, meta.Dir), inode(d, func(n *meta.Inode) { n.Parent = e }), inode(e, func(n *meta.Inode) { n.Parent = d })}, nil
		},
		"the root in a folder": func(_ meta.Device, d, _, _ meta.Ref) ([]meta.KV, [][]byte) {
			return []meta.KV{entry(d.Ino, "root", meta.RootRef, meta.Dir), inode(meta.RootRef, func(n *meta.Inode) { n.Parent, n.Nlink = d, 9 })}, nil
		},
		"names of nothing": func(no meta.Device, d, _, _ meta.Ref) ([]meta.KV, [][]byte) {
			ghost := meta.Ref{Home: d.Ino, Ino: meta.MakeIno(no, 1<<30)}
			return []meta.KV{entry(d.Ino, "ghost", ghost, meta.Dir), entry(d.Ino, "ghost2", ghost, meta.File), entry(meta.Root, "ghost", ghost, meta.Dir)}, nil
		},
		"a file that is called a folder, and the other way": func(_ meta.Device, d, e, f meta.Ref) ([]meta.KV, [][]byte) {
			return []meta.KV{entry(d.Ino, "f", f, meta.Dir), entry(d.Ino, "e", e, meta.File), entry(meta.Root, "e2", e, meta.Symlink)}, nil
		},
		"a folder that is a file": func(_ meta.Device, d, _, _ meta.Ref) ([]meta.KV, [][]byte) {
			return []meta.KV{inode(d, func(n *meta.Inode) { n.Kind, n.Nlink, n.Parent = meta.File, 1, meta.Ref{} })}, nil
		},
		"a file larger than all": func(_ meta.Device, _, _, f meta.Ref) ([]meta.KV, [][]byte) {
			return []meta.KV{inode(f, func(n *meta.Inode) {
				n.Kind, n.Nlink, n.Parent, n.Size, n.Version = meta.File, 1, meta.Ref{}, meta.MaxFileSize, 1<<48|9
				n.Extents = []meta.Extent{{Off: 0, Len: 10, Pack: meta.MakePack(3, 1<<30)}, {Off: 20, Len: 40 << 20, Pack: meta.MakePack(1, 1), PackOff: 1 << 31}}
			})}, nil
		},
		"a file that never ends": func(_ meta.Device, _, _, f meta.Ref) ([]meta.KV, [][]byte) {
			return []meta.KV{inode(f, func(n *meta.Inode) {
				n.Kind, n.Nlink, n.Parent, n.Size, n.Indexed, n.Version = meta.File, meta.MaxLinks, meta.Ref{}, meta.MaxFileSize, true, 1<<48|9
			}), {Key: meta.ExtentKey(f.Ino, 50), Value: meta.AppendExtent(nil, meta.Extent{Off: 0, Len: 50, Pack: meta.MakePack(1, 1)})},
				{Key: meta.ExtentKey(f.Ino, 60), Value: meta.AppendExtent(nil, meta.Extent{Off: 10, Len: 50, Pack: meta.MakePack(1, 1)})}}, nil
		},
		"links without number": func(_ meta.Device, d, e, f meta.Ref) ([]meta.KV, [][]byte) {
			return []meta.KV{inode(d, func(n *meta.Inode) { n.Nlink = meta.MaxLinks }), inode(e, func(n *meta.Inode) { n.Nlink, n.Parent = 2, d }),
				inode(f, func(n *meta.Inode) { n.Kind, n.Nlink, n.Parent = meta.File, meta.MaxLinks, meta.Ref{} })}, nil
		},
		"a root that counts no further, and the folders gone": func(_ meta.Device, d, e, _ meta.Ref) ([]meta.KV, [][]byte) {
			return []meta.KV{inode(meta.RootRef, func(n *meta.Inode) { n.Nlink = meta.MaxLinks })},
				[][]byte{meta.DirentKey(meta.Root, []byte("d")), meta.DirentKey(d.Ino, []byte("e")), meta.InodeKey(d), meta.InodeKey(e)}
		},
		"a link that leads out": func(no meta.Device, d, _, _ meta.Ref) ([]meta.KV, [][]byte) {
			ref := meta.Ref{Home: d.Ino, Ino: meta.MakeIno(no, 1<<30)}
			return []meta.KV{entry(d.Ino, "out", ref, meta.Symlink), inode(ref, func(n *meta.Inode) {
				n.Kind, n.Nlink, n.Parent, n.Target, n.Size = meta.Symlink, 1, meta.Ref{}, []byte("../../../../etc/passwd"), 22
			})}, nil
		},
		"the number of another device": func(_ meta.Device, d, _, f meta.Ref) ([]meta.KV, [][]byte) {
			ref := meta.Ref{Home: d.Ino, Ino: meta.MakeIno(1, 1<<35)}
			return []meta.KV{entry(d.Ino, "foreign", ref, meta.File), inode(ref, func(n *meta.Inode) { n.Kind, n.Nlink, n.Parent = meta.File, 1, meta.Ref{} }),
				entry(meta.Root, "twice", meta.Ref{Home: d.Ino, Ino: f.Ino}, meta.File)}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			// Folders that no name leads to any more, with what waits for them, are fsck's to
			// bring back: fs/check TestForgedMetadata.
			cutOff := name == "two folders in each other" || name == "a folder that is a file"
			w := newWorld(t)
			evil, desk := w.machine("evil"), w.machine("desk")
			as(w.laptop, write("precious", big), mkdir("d"), mkdir("d/e"), write("d/f", "1"), drained)
			as(evil, write("evil", "1"), drained)
			as(desk, write("desk", "1"), drained)
			as(w.laptop, upToDate)
			refs := map[string]meta.Ref{}
			for _, p := range []string{"d", "d/e", "d/f"} {
				_, _, a, err := w.laptop.find(p)
				if err != nil {
					t.Fatal(err)
				}
				refs[p] = a.Ref
			}
			// Changes of both wait, in the folders that it is about.
			as(w.laptop, write("d/e/new", "laptop's"), rename("d/f", "d/e/f"), fsync("d/e/new"))
			as(desk, upToDate, write("d/f", "desk's"), mkdir("d/e/sub"), rename("d/e", "e"), fsync("d/f"))
			f := w.forger()
			by, no := evil.stolen()
			puts, deletes := c(no, refs["d"], refs["d/e"], refs["d/f"])
			var b meta.Builder
			for _, k := range deletes {
				b.Add(&meta.Batch{Deletes: [][]byte{k}})
			}
			for _, kv := range puts {
				b.Add(&meta.Batch{Puts: []meta.KV{kv}})
			}
			next := f.next(no)
			next.batch, next.last = b.Batch().Encode(), next.first
			o, _ := f.commit(f.st.Slot+1, by, next)
			f.put(f.st.Slot+1, o)
			third := w.machine("third")
			for _, m := range []*machine{w.laptop, desk, third} {
				inTime(t, m.name, func() {
					m.mustOpen()
					for range 2 {
						if err := errors.Join(drained(m), upToDate(m)); err != nil {
							t.Errorf("the %s is stuck: %v", m.name, err)
						}
					}
					if own := map[*machine]string{w.laptop: "laptop's", desk: "desk's"}[m]; own != "" && !cutOff && !m.finds(own) {
						t.Errorf("what waited on the %s is nowhere:\n%s", m.name, m.tree())
					}
					m.pokes(meta.RootRef, 3)
					as(m, read("precious", big), read("evil", "1"), write(m.name+" 2", "1"), drained)
				})
			}
			inTime(t, "fold and lock", func() {
				as(w.laptop, upToDate, folded, lock)
				as(desk, upToDate, lock)
				fourth := w.machine("fourth")
				as(fourth, read("precious", big), read("third 2", "1"))
				fourth.pokes(meta.RootRef, 3)
				as(fourth, write("last", "1"), lock)
				as(w.laptop, read("last", "1"))
			})
		})
	}
}

// inTime ends a test that hangs.
func inTime(t *testing.T, what string, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); fn() }()
	select {
	case <-done:
	case <-time.After(5 * time.Minute):
		stacks := make([]byte, 1<<20)
		t.Fatalf("%s: it hangs\n%s", what, stacks[:runtime.Stack(stacks, true)])
	}
}

// finds says whether a content is under any name, whatever the names say that they stand for.
func (m *machine) finds(content string) bool {
	ctx, been := context.Background(), map[meta.Ref]bool{}
	var in func(dir meta.Ref) bool
	in = func(dir meta.Ref) bool {
		list, _ := m.v.List(ctx, dir) // what cannot be listed has none that counts
		for _, e := range list {
			b := make([]byte, 100)
			a, err := m.v.Lookup(ctx, dir, e.Name)
			if err != nil || been[a.Ref] {
				continue
			}
			been[a.Ref] = true
			if n, err := m.v.Read(ctx, a.Ref, 0, b); err == nil && string(b[:n]) == content || in(a.Ref) {
				return true
			}
		}
		return false
	}
	return in(meta.RootRef)
}

// pokes does to what is below a folder all that a program may do, and wants an answer.
func (m *machine) pokes(dir meta.Ref, depth int) {
	ctx := context.Background()
	list, err := m.v.List(ctx, dir)
	m.sane("list", err)
	for i, e := range list {
		if dir == meta.RootRef && bytes.Contains([]byte("precious evil desk 2 laptop 2 third 2"), e.Name) {
			continue
		}
		a, err := m.v.Lookup(ctx, dir, e.Name)
		m.sane("lookup", err)
		if err != nil {
			m.sane("unlink", m.v.Unlink(ctx, dir, e.Name))
			continue
		}
		b := make([]byte, 8192)
		for _, off := range []uint64{0, 20, a.Inode.Size / 2, a.Inode.Size - min(a.Inode.Size, 100)} {
			_, err := m.v.Read(ctx, a.Ref, off, b)
			m.sane("read", err)
		}
		if a.Inode.Kind == meta.File {
			m.sane("write", m.v.Write(ctx, a.Ref, 5, []byte("poked")))
			m.sane("fsync", m.v.Fsync(ctx, a.Ref))
		}
		_, err = m.v.Link(ctx, a.Ref, dir, fmt.Appendf(nil, "link %s %d", m.name, i))
		m.sane("link", err)
		m.sane("chmod", m.v.Setattr(ctx, a.Ref, meta.Setattr{Valid: meta.SetPerm, Perm: 0o700}))
		if e.Kind == meta.Dir && depth > 0 {
			m.pokes(a.Ref, depth-1)
			_, err := m.v.Make(ctx, a.Ref, fmt.Appendf(nil, "made by %s", m.name), Node{Kind: meta.File, Perm: 0o644}, false)
			m.sane("make", err)
		}
		m.sane("rename", m.v.Rename(ctx, dir, e.Name, meta.RootRef, fmt.Appendf(nil, "%s %d %d", m.name, depth, i), 0))
		_, err = m.v.below(ctx, a.Ref)
		m.sane("below", err)
	}
	_, err = m.v.Conflicts(ctx)
	m.sane("conflicts", err)
	_ = m.v.Status()
}

// sane wants an error that has a name.
func (m *machine) sane(what string, err error) {
	m.t.Helper()
	for _, want := range []error{
		meta.ErrNotExist, meta.ErrExist, meta.ErrMalformed, meta.ErrIsDir, meta.ErrNotDir, meta.ErrNotEmpty, meta.ErrUnknown, meta.ErrAbsent,
		meta.ErrTooManyLinks, meta.ErrTooLarge, meta.ErrCycle, meta.ErrPerm, meta.ErrNotFile, meta.ErrConflict, ErrStale,
	} {
		if errors.Is(err, want) {
			return
		}
	}
	if err != nil && !isNamed(err) {
		m.t.Errorf("%s, %s: an error without a name: %v", m.name, what, err)
	}
}
