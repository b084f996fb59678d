package volume

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/meta"
)

// generator makes a drive of many files by commits alone, as its first device.
type generator struct {
	t     testing.TB
	w     *world
	st    *chain.State
	b     meta.Batch
	size  int
	inos  uint64
	packs uint64
	delta meta.Delta
	files int
}

// generate fills the drive with dirs folders of subs folders of files files each, in
// commits of nearly the largest size.
func (w *world) generate(t testing.TB, dirs, subs, files int) {
	g := &generator{t: t, w: w}
	l := w.load()
	g.st = l.Chain
	g.inos, g.packs = 1<<20, 1<<20
	var top []meta.KV
	for d := range dirs {
		dir := g.make(meta.RootRef, fmt.Sprintf("folder %03d", d), meta.Dir, uint32(2+subs))
		for s := range subs {
			sub := g.make(dir, fmt.Sprintf("sub %03d", s), meta.Dir, 2)
			for f := range files {
				g.make(sub, fmt.Sprintf("file-%04d.txt", f), meta.File, 1)
				g.flush(800 << 10)
			}
		}
	}
	root, err := meta.GetInode(l.Confirmed, meta.RootRef)
	if err != nil {
		t.Fatal(err)
	}
	root.Nlink = uint32(2 + dirs)
	top = append(top, meta.KV{Key: meta.InodeKey(meta.RootRef), Value: meta.AppendInode(nil, root)})
	g.b.Puts = append(g.b.Puts, top...)
	g.flush(0)
}

// make adds an inode under a name.
func (g *generator) make(parent meta.Ref, name string, kind meta.Kind, links uint32) meta.Ref {
	g.inos++
	ref := meta.Ref{Home: parent.Ino, Ino: meta.MakeIno(1, g.inos)}
	at := meta.Time{Sec: 1_700_000_000 + int64(g.inos%1000), Nsec: uint32(g.inos * 7919 % 1e9)}
	n := &meta.Inode{Kind: kind, Perm: 0o644, UID: 1000, GID: 1000, Nlink: links, Atime: at, Mtime: at, Ctime: at, Btime: at, Version: g.inos}
	g.delta.Inodes++
	if kind == meta.Dir {
		n.Perm, n.Parent = 0o755, parent
	} else {
		n.Size = 100
		n.Extents = []meta.Extent{{Off: 0, Len: 100, Pack: meta.MakePack(1, g.packs), PackOff: uint32(g.files%40000) * 100}}
		g.delta.Bytes += 100
		g.files++
	}
	for _, kv := range []meta.KV{
		{Key: meta.DirentKey(parent.Ino, []byte(name)), Value: meta.AppendDirent(nil, meta.Dirent{Ref: ref, Kind: kind})},
		{Key: meta.InodeKey(ref), Value: meta.AppendInode(nil, n)},
	} {
		g.b.Puts = append(g.b.Puts, kv)
		g.size += len(kv.Key) + len(kv.Value) + 6
	}
	return ref
}

// flush makes a commit of what has come together, when that is more than size bytes.
func (g *generator) flush(size int) {
	if g.size <= size {
		return
	}
	p := meta.PackRecord{Name: crypt.Name{byte(g.packs), byte(g.packs >> 8)}, Length: meta.MaxExtent, Epoch: uint32(g.st.Epoch)}
	g.b.Puts = append(g.b.Puts, meta.KV{Key: meta.PackKey(meta.MakePack(1, g.packs)), Value: meta.AppendPackRecord(nil, p)})
	g.packs++
	slices.SortFunc(g.b.Puts, func(a, b meta.KV) int { return bytes.Compare(a.Key, b.Key) })
	device, no, _ := g.w.laptop.v.state.Device()
	op := g.st.LastOp[no] + 1
	c, err := g.st.Build(g.st.Slot+1, device, no, time.Unix(1, 0), chain.Content{First: op, Last: op, Batch: &g.b, Usage: g.delta})
	if err != nil {
		g.t.Fatal(err)
	}
	if err := g.w.objects.PutIfAbsent(g.t.Context(), chain.SlotName(g.st.Volume, c.Slot), c.Object); err != nil {
		g.t.Fatal(err)
	}
	j := g.st.Judge(c.Slot, c.Object, nil)
	if err := g.st.Advance(j.Commit); err != nil {
		g.t.Fatal(j.Reason, err)
	}
	g.b, g.size, g.delta = meta.Batch{}, 0, meta.Delta{}
}

// A drive of a million files is mounted by a machine that never saw it, and its root
// folder listed, with ten requests; and what that machine holds in memory does not
// depend on how many there are.
func TestAMillionFiles(t *testing.T) {
	w := newWorld(t)
	w.laptop.mustOpen()
	w.generate(t, 100, 100, 100)
	w.laptop.crash()
	w.laptop.forget()
	folder := w.machine("folder")
	as(folder, write("one more", "1"), drained, folded, lock)

	m := w.machine("new")
	w.gets()
	u, err := drive.Unlock(t.Context(), w.faults, drive.UnlockOptions{Passphrase: []byte("open sesame")})
	if err != nil {
		t.Fatal(err)
	}
	u.Wipe()
	start := time.Now()
	m.mustOpen()
	entries, err := m.v.List(t.Context(), meta.RootRef)
	if err != nil || len(entries) != 101 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	for _, e := range entries {
		if _, err := m.v.Attr(t.Context(), e.Ref); err != nil {
			t.Fatal(err)
		}
	}
	took := time.Since(start)
	n := w.gets()
	sum := 0
	for _, c := range n {
		sum += c
	}
	t.Logf("%d requests, %v, %v", sum, n, took)
	if sum > 10 {
		t.Errorf("%d requests: %v", sum, n)
	}
	if got := m.v.Usage().Inodes; got != 1+1+100+100*100+1_000_000 {
		t.Errorf("%d inodes", got)
	}
	// Somewhere deep, once: it costs a few more.
	if _, _, a, err := m.find("folder 073/sub 041/file-0099.txt"); err != nil || a.Inode.Size != 100 {
		t.Errorf("a file: %v", err)
	}
	if _, _, _, err := m.find("folder 073/sub 041/file-0100.txt"); err == nil {
		t.Error("a file that is none")
	}
	t.Logf("then %v", w.gets())
	if used := m.v.memory.Used(); used > tableMemory {
		t.Errorf("%d bytes of tables in memory", used)
	}
}

// A folder of 100,000 names is listed by a machine that keeps nothing near, page by
// page, and each name once.
func TestALargeFolder(t *testing.T) {
	w := newWorld(t)
	w.laptop.mustOpen()
	w.generate(t, 1, 1, 100_000)
	w.laptop.crash()
	as(w.machine("folder"), write("one more", "1"), drained, folded, lock)
	m := w.machine("new")
	m.mustOpen()
	_, _, sub, err := m.find("folder 000/sub 000")
	if err != nil {
		t.Fatal(err)
	}
	w.gets()
	entries, err := m.v.List(t.Context(), sub.Ref)
	if err != nil || len(entries) != 100_000 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	for i, e := range entries {
		if i > 0 && bytes.Compare(entries[i-1].Name, e.Name) >= 0 {
			t.Fatalf("entry %d comes after one that is not before it", i)
		}
	}
	if n := w.gets(); n["t/"] > 20 {
		t.Errorf("listing took %v", n)
	}
}
