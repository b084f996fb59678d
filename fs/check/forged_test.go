package check

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
)

// forger makes metadata that no program makes.
type forger struct {
	*world
	puts    []meta.KV
	deletes [][]byte
}

func (f *forger) inode(ref meta.Ref, change func(n *meta.Inode)) {
	n := f.world.inode(ref)
	change(n)
	f.puts = append(f.puts, meta.KV{Key: meta.InodeKey(ref), Value: meta.AppendInode(nil, n)})
}

func (f *forger) name(dir meta.Ino, name string, ref meta.Ref, kind meta.Kind) {
	f.puts = append(f.puts, meta.KV{Key: meta.DirentKey(dir, []byte(name)), Value: meta.AppendDirent(nil, meta.Dirent{Ref: ref, Kind: kind})})
}

func (f *forger) unname(dir meta.Ino, name string) {
	f.deletes = append(f.deletes, meta.DirentKey(dir, []byte(name)))
}

func (f *forger) extent(ino meta.Ino, e meta.Extent) {
	f.puts = append(f.puts, meta.KV{Key: meta.ExtentKey(ino, e.End()), Value: meta.AppendExtent(nil, e)})
}

// want is a finding that must be there.
type want struct {
	kind  Kind
	cause Cause
	path  string
	lost  []Bytes // of the one file concerned
}

// What a member can sign and no program makes is found, named, and repaired; and what a
// repair leaves is whole.
func TestForgedMetadata(t *testing.T) {
	t.Parallel()
	ghost := meta.Ref{Home: meta.Root, Ino: meta.MakeIno(1, 1<<30)}
	for _, c := range []struct {
		name  string
		do    func(f *forger, docs, a, b meta.Ref)
		wants []want
		saved []string // in lost+found
	}{
		{"a name of nothing", func(f *forger, _, _, _ meta.Ref) { f.name(meta.Root, "ghost", ghost, meta.File) },
			[]want{{KindName, Dangling, "/ghost", nil}}, nil},
		{"a directory's name of nothing", func(f *forger, docs, _, _ meta.Ref) { f.name(docs.Ino, "ghost", ghost, meta.Dir) },
			[]want{{KindName, Dangling, "/docs/ghost", nil}}, nil},
		{"a name in no directory", func(f *forger, _, _, b meta.Ref) { f.name(ghost.Ino, "b", b, meta.File) },
			[]want{{KindName, Dangling, "(inode 69793218560)/b", nil}}, nil},
		{"a name in a file", func(f *forger, _, a, b meta.Ref) { f.name(a.Ino, "b", b, meta.File) },
			[]want{{KindName, Dangling, "(inode 68719476738)/b", nil}}, nil},
		{"a name of another kind", func(f *forger, _, _, b meta.Ref) { f.name(meta.Root, "b as folder", b, meta.Dir) },
			[]want{{KindName, Altered, "/b as folder", nil}}, nil},
		{"a second name of a directory", func(f *forger, docs, _, _ meta.Ref) { f.name(meta.Root, "docs again", docs, meta.Dir) },
			[]want{{KindName, Twice, "/docs again", nil}}, nil},
		{"a wrong home", func(f *forger, docs, _, b meta.Ref) {
			f.name(meta.Root, "b elsewhere", meta.Ref{Home: docs.Ino, Ino: b.Ino}, meta.File)
		}, []want{{KindName, Dangling, "/b elsewhere", nil}}, nil},
		{"too many links", func(f *forger, _, a, _ meta.Ref) { f.inode(a, func(n *meta.Inode) { n.Nlink = 7 }) },
			[]want{{KindLinks, WrongCount, "/docs/a.bin", nil}}, nil},
		{"too few links", func(f *forger, _, a, _ meta.Ref) { f.inode(a, func(n *meta.Inode) { n.Nlink = 1 }) },
			[]want{{KindLinks, WrongCount, "/docs/a.bin", nil}}, nil},
		{"wrong links of a directory", func(f *forger, docs, _, _ meta.Ref) { f.inode(docs, func(n *meta.Inode) { n.Nlink = 9 }) },
			[]want{{KindLinks, WrongCount, "/docs", nil}}, nil},
		{"wrong links of the root", func(f *forger, _, _, _ meta.Ref) { f.inode(meta.RootRef, func(n *meta.Inode) { n.Nlink = 2 }) },
			[]want{{KindLinks, WrongCount, "/", nil}}, nil},
		{"a file without a name", func(f *forger, _, _, _ meta.Ref) { f.unname(meta.Root, "b.bin") },
			[]want{{KindInode, Nameless, "", nil}}, []string{"file 68719476739 without a name"}},
		{"a directory without a name", func(f *forger, _, _, _ meta.Ref) {
			f.unname(meta.Root, "docs")
			f.inode(meta.RootRef, func(n *meta.Inode) { n.Nlink-- })
		}, []want{{KindInode, Nameless, "", nil}}, []string{"directory 68719476737 without a name/a.bin", "directory 68719476737 without a name/inner/deep"}},
		{"a wrong parent", func(f *forger, docs, _, _ meta.Ref) {
			other := f.at("other").Ref
			f.lock()
			f.inode(docs, func(n *meta.Inode) { n.Parent = other })
		}, []want{{KindParent, Altered, "/docs", nil}}, nil},
		{"a circle", func(f *forger, docs, _, _ meta.Ref) {
			inner := f.at("docs/inner").Ref
			f.lock()
			f.unname(meta.Root, "docs")
			f.inode(meta.RootRef, func(n *meta.Inode) { n.Nlink-- })
			f.name(inner.Ino, "round", docs, meta.Dir)
			f.inode(docs, func(n *meta.Inode) { n.Parent = inner })
			f.inode(inner, func(n *meta.Inode) { n.Nlink++ })
		}, []want{{KindCycle, Nameless, "(inode 68719476737)/inner/round", nil}}, []string{"round (directory 68719476737, found in itself)/inner/deep"}},
		{"overlapping extents", func(f *forger, _, _, b meta.Ref) {
			f.inode(b, func(n *meta.Inode) {
				e := n.Extents[0]
				n.Extents, n.Indexed, n.Size = nil, true, 300
				f.extent(b.Ino, meta.Extent{Off: 0, Len: 150, Pack: e.Pack})
				f.extent(b.Ino, meta.Extent{Off: 100, Len: 200, Pack: e.Pack, PackOff: 700})
			})
		}, []want{{KindExtent, Overlap, "", []Bytes{{100, 50}}}}, []string{"b (damaged).bin"}},
		{"an extent behind the end of its pack", func(f *forger, _, _, b meta.Ref) {
			f.inode(b, func(n *meta.Inode) { n.Extents[0].PackOff += 1 << 20 })
		}, []want{{KindExtent, Outside, "", []Bytes{{0, 300_000}}}}, []string{"b (damaged).bin"}},
		{"an extent that goes on behind its pack", func(f *forger, _, _, b meta.Ref) {
			f.inode(b, func(n *meta.Inode) { n.Extents[0].PackOff += 1000 })
		}, []want{{KindExtent, Outside, "", []Bytes{{299_000, 1000}}}}, []string{"b (damaged).bin"}},
		{"an extent in a pack that nobody knows", func(f *forger, _, _, b meta.Ref) {
			f.inode(b, func(n *meta.Inode) { n.Extents[0].Pack = meta.MakePack(1, 1<<30) })
		}, []want{{KindExtent, Dangling, "", []Bytes{{0, 300_000}}}}, []string{"b (damaged).bin"}},
		{"an extent behind the end of its file", func(f *forger, _, _, b meta.Ref) {
			f.inode(b, func(n *meta.Inode) {
				e := n.Extents[0]
				n.Extents, n.Indexed, n.Size = nil, true, 100
				e.Len = 200
				f.extent(b.Ino, e)
			})
		}, []want{{KindExtent, Outside, "", nil}}, nil},
		{"extents that a file does not look for", func(f *forger, _, _, b meta.Ref) {
			f.extent(b.Ino, meta.Extent{Off: 7, Len: 10, Pack: f.world.inode(b).Extents[0].Pack})
		}, []want{{KindExtent, Leaked, "/b.bin", nil}}, nil},
		{"attributes that a file does not look for", func(f *forger, _, _, b meta.Ref) {
			f.puts = append(f.puts, meta.KV{Key: meta.XattrKey(b, []byte("user.x")), Value: []byte("y")})
		}, []want{{KindXattr, Leaked, "/b.bin", nil}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			docs := w.mkdir("docs")
			a := w.write("docs/a.bin", pattern(1, 300_000))
			b := w.write("b.bin", pattern(2, 300_000))
			w.link("docs/a.bin", "docs/second name")
			w.mkdir("docs/inner")
			w.write("docs/inner/deep", pattern(3, 10))
			w.mkdir("other")
			w.lock()
			healthy(t, w.check(1))
			f := &forger{world: w}
			c.do(f, docs, a, b)
			w.craft(f.puts, f.deletes...)

			r := w.check(1)
			if r.Healthy() {
				t.Fatal("nothing was found")
			}
			for _, want := range c.wants {
				if !slices.ContainsFunc(r.Findings, func(f Finding) bool {
					lost := len(want.lost) == 0 || len(f.Files) == 1 && slices.Equal(f.Files[0].Lost, want.lost) && slices.Contains(f.Files[0].Paths, "/b.bin")
					return f.Kind == want.kind && f.Cause == want.cause && (f.Path == want.path || want.path == "" && want.lost != nil || want.path == "") && lost
				}) {
					t.Errorf("no finding %+v in %+v", want, r.Findings)
				}
			}
			if n := len(r.Findings); n != len(c.wants) {
				t.Errorf("%d findings, want %d: %+v", n, len(c.wants), r.Findings)
			}
			done := w.repair(r)
			if len(done.Skipped) > 0 {
				t.Errorf("%+v", done)
			}
			if r := w.check(1); !r.Healthy() {
				t.Errorf("after the repair: %+v", r.Findings)
			}
			for _, name := range c.saved {
				w.at("lost+found/" + name)
			}
			if !slices.ContainsFunc(c.saved, func(s string) bool { return strings.HasPrefix(s, "directory") || strings.HasPrefix(s, "round") }) {
				if !bytes.Equal(w.content("docs/a.bin"), pattern(1, 300_000)) || !bytes.Equal(w.content("docs/inner/deep"), pattern(3, 10)) {
					t.Error("another file changed")
				}
			}
			if w.v != nil {
				w.lock()
			}
		})
	}
}

// Sums that do not add up are told, and cannot be put right.
func TestForgedTotals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("a", pattern(1, 10))
	w.lock()
	w.skew = meta.Delta{Inodes: 3}
	w.craft([]meta.KV{{Key: meta.XattrKey(meta.Ref{Home: meta.Root, Ino: meta.MakeIno(1, 1<<30)}, []byte("user.x")), Value: nil}})
	f := only(t, w.check(0))
	if f.Kind != KindTotals || f.Cause != WrongCount {
		t.Errorf("%+v", f)
	}
}

// A repair touches no file that was changed after the check.
func TestRepairAfterAChange(t *testing.T) {
	t.Parallel()
	w := pieces(t, false)
	ref := w.at("b.bin").Ref
	w.lock()
	w.delete(w.pack(ref))
	r := w.check(0)
	only(t, r)
	w.change(ref, 0, pattern(9, 300_000))
	w.lock()
	done := w.repair(r)
	if len(done.Skipped) != 1 || len(done.Saved) != 0 {
		t.Errorf("%+v", done)
	}
	if !bytes.Equal(w.content("b.bin"), pattern(9, 300_000)) {
		t.Error("what was written meanwhile is gone")
	}
	w.lock()
	healthy(t, w.check(1))
}

// The time of a file is kept by a repair, and a second loss goes beside the first.
func TestRepairTwice(t *testing.T) {
	t.Parallel()
	w := pieces(t, false)
	a, b := w.at("docs/a.bin"), w.at("b.bin")
	w.lock()
	first, second := w.pack(a.Ref), w.pack(b.Ref)
	w.delete(second)
	w.repair(w.check(0))
	got := w.at("lost+found/b (damaged).bin")
	if got.Inode.Mtime != b.Inode.Mtime {
		t.Errorf("changed at %v, want %v", got.Inode.Mtime, b.Inode.Mtime)
	}
	w.write("b.bin", pattern(4, 300_000))
	again := w.at("b.bin").Ref
	w.lock()
	w.delete(first)
	w.delete(w.pack(again))
	w.repair(w.check(0))
	w.at("lost+found/b (damaged) 2.bin")
	w.at("lost+found/docs - a (damaged).bin")
	text := string(w.content("lost+found/READ ME.txt"))
	if strings.Count(text, time.Now().Format("2006-")) < 2 || strings.Count(text, "was /b.bin") != 2 {
		t.Errorf("the text lost what it said:\n%s", text)
	}
	w.lock()
	healthy(t, w.check(1))
}
