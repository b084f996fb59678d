package check

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hushfs/hushfs/cache"
	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/fs/block"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/state"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/table"
	"github.com/hushfs/hushfs/fs/volume"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/mem"
)

// world is a drive in memory, and the machine that made it.
type world struct {
	t        testing.TB
	objects  *mem.Bucket
	unlock   []byte
	vol      crypt.VolumeID
	dir      string
	folds    int          // Options.FoldCommits of its mounts
	skew     meta.Delta   // that craft adds to the sums
	promised []crypt.Name // packs that are said to be there

	v    *volume.Volume // nil while it is locked
	stop context.CancelFunc
	done chan struct{}
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, objects: mem.New(), dir: t.TempDir()}
	pass := []byte("open sesame")
	_, err := drive.Create(t.Context(), w.objects, drive.CreateOptions{
		Passphrase: pass, KDF: keyslot.Params{MemoryKiB: 19 << 10, Passes: 2, Lanes: 1}, DeviceName: "laptop", UID: 1000, GID: 1000,
		StateDir: func(drive.ID) (string, error) { return w.state(), nil },
	})
	must(t, err)
	u, err := drive.Unlock(t.Context(), w.objects, drive.UnlockOptions{Passphrase: pass})
	must(t, err)
	w.unlock, w.vol = u.Handover(), u.Main().ID
	u.Wipe()
	t.Cleanup(func() {
		if w.v != nil {
			w.lock()
		}
	})
	return w
}

func (w *world) state() string { return filepath.Join(w.dir, "state") }

func (w *world) drive() *drive.Unlocked {
	w.t.Helper()
	u, err := drive.FromHandover(w.unlock)
	must(w.t, err)
	return u
}

// open mounts the drive, with all that works in the background.
func (w *world) open(set ...func(*volume.Options)) *volume.Volume {
	w.t.Helper()
	if w.v != nil {
		return w.v
	}
	o := volume.Options{
		Bucket: w.objects, Drive: w.drive(), State: w.state(), Cache: filepath.Join(w.dir, "cache"), CacheSize: -1,
		DeviceName: "laptop", UID: 1000, GID: 1000, FoldCommits: w.folds, Log: slog.New(slog.DiscardHandler),
	}
	for _, s := range set {
		s(&o)
	}
	v, err := volume.Open(context.Background(), o)
	must(w.t, err)
	ctx, stop := context.WithCancel(context.Background())
	w.v, w.stop, w.done = v, stop, make(chan struct{})
	go func() {
		defer close(w.done)
		_ = v.Run(ctx)
	}()
	return v
}

// lock brings everything to the store.
func (w *world) lock() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := w.v.Shutdown(ctx)
	w.stop()
	<-w.done
	w.v = nil
	must(w.t, err)
}

// at is the inode of a path.
func (w *world) at(path string) volume.Attr {
	w.t.Helper()
	dir := volume.Attr{Ref: meta.RootRef}
	for _, p := range strings.Split(path, "/") {
		var err error
		dir, err = w.open().Lookup(w.t.Context(), dir.Ref, []byte(p))
		if err != nil {
			w.t.Fatalf("%s: %v", path, err)
		}
	}
	return dir
}

func (w *world) parent(path string) (meta.Ref, []byte) {
	w.t.Helper()
	dir, name := filepath.Split(path)
	if dir == "" {
		return meta.RootRef, []byte(name)
	}
	return w.at(strings.TrimSuffix(dir, "/")).Ref, []byte(name)
}

func (w *world) mkdir(path string) meta.Ref {
	w.t.Helper()
	dir, name := w.parent(path)
	a, err := w.open().Make(w.t.Context(), dir, name, volume.Node{Kind: meta.Dir, Perm: 0o755, UID: 1000, GID: 1000}, false)
	must(w.t, err)
	return a.Ref
}

// write makes a file whose content is in a commit and packs of its own.
func (w *world) write(path string, content []byte) meta.Ref {
	w.t.Helper()
	dir, name := w.parent(path)
	v := w.open()
	a, err := v.Make(w.t.Context(), dir, name, volume.Node{Kind: meta.File, Perm: 0o644, UID: 1000, GID: 1000}, false)
	must(w.t, err)
	w.change(a.Ref, 0, content)
	return a.Ref
}

func (w *world) change(ref meta.Ref, off uint64, content []byte) {
	w.t.Helper()
	v := w.open()
	must(w.t, v.Write(w.t.Context(), ref, off, content))
	must(w.t, v.Flush(w.t.Context(), ref))
	must(w.t, v.Fsync(w.t.Context(), ref))
	must(w.t, v.WaitStored(w.t.Context()))
}

func (w *world) link(from, to string) {
	w.t.Helper()
	dir, name := w.parent(to)
	_, err := w.open().Link(w.t.Context(), w.at(from).Ref, dir, name)
	must(w.t, err)
}

// content reads a file.
func (w *world) content(path string) []byte {
	w.t.Helper()
	a := w.at(path)
	b := make([]byte, a.Inode.Size)
	n, err := w.open().Read(w.t.Context(), a.Ref, 0, b)
	if err != nil {
		w.t.Fatalf("read %s: %v", path, err)
	}
	return b[:n]
}

// check is a quick one, or with data 1 one of all bytes.
func (w *world) check(data float64) *Report {
	w.t.Helper()
	r, err := w.try(w.objects, Options{Data: data})
	must(w.t, err)
	return r
}

func (w *world) try(b store.Bucket, o Options) (*Report, error) {
	w.t.Helper()
	u := w.drive()
	defer u.Wipe()
	o.Bucket, o.Drive = b, u
	return Run(w.t.Context(), o)
}

// repair mends what a check found, and locks.
func (w *world) repair(r *Report) *Repaired {
	w.t.Helper()
	if r.FromCommits() {
		must(w.t, os.MkdirAll(w.state(), 0o700))
		must(w.t, volume.Distrust(w.state()))
	}
	v := w.open()
	done, err := Repair(w.t.Context(), v, r, 1000, 1000)
	if err != nil {
		w.t.Fatalf("repair: %v", err)
	}
	w.lock()
	return done
}

// names lists the objects of a kind: l, k, a, p, t or h.
func (w *world) names(kind string) []string {
	var l []string
	for _, n := range w.objects.Names() {
		if strings.Contains(n, "/"+kind+"/") {
			l = append(l, n)
		}
	}
	return l
}

func (w *world) get(name string) []byte {
	w.t.Helper()
	b, err := w.objects.Get(w.t.Context(), name, 0, -1)
	must(w.t, err)
	return b
}

func (w *world) delete(name string) {
	w.t.Helper()
	must(w.t, w.objects.Delete(w.t.Context(), name))
}

func (w *world) flip(name string, at int) {
	w.t.Helper()
	b := bytes.Clone(w.get(name))
	if at < 0 {
		at += len(b)
	}
	b[at] ^= 1
	w.objects.Overwrite(name, b)
}

func (w *world) load() *publish.Loaded {
	w.t.Helper()
	u := w.drive()
	keys := &publish.Keys{}
	blocks := block.New(block.Options{
		Bucket: w.objects, Cache: cache.Off(), Volume: w.vol, Key: keys.Key, Bad: func(string, error) {},
		Place: func(o block.Object) string { return chain.TableName(w.vol, o.Name) },
	})
	w.t.Cleanup(blocks.Close)
	l, err := publish.Load(w.t.Context(), publish.LoadOptions{
		Bucket: w.objects, Volume: w.vol, Identity: u.Identity(), Tables: blocks, Keys: keys, Memory: table.NewMemory(8 << 20),
		Log: slog.New(slog.DiscardHandler),
	})
	must(w.t, err)
	return l
}

// inode reads one as the store has it, and pack the object that holds its first bytes.
func (w *world) inode(ref meta.Ref) *meta.Inode {
	w.t.Helper()
	var n *meta.Inode
	l := w.load()
	must(w.t, publish.Retry(w.t.Context(), func() (err error) {
		n, err = meta.GetInode(l.Confirmed, ref)
		return err
	}))
	return n
}

func (w *world) pack(ref meta.Ref) string {
	w.t.Helper()
	n := w.inode(ref)
	l := w.load()
	var raw []byte
	must(w.t, publish.Retry(w.t.Context(), func() (err error) {
		raw, err = l.Confirmed.Get(meta.PackKey(n.Extents[0].Pack))
		return err
	}))
	r, err := meta.DecodePackRecord(raw)
	must(w.t, err)
	return chain.PackName(w.vol, r.Name)
}

// craft puts a commit of the laptop's into the chain, as no hushfs makes it: what a
// broken program, or a member who means it, can sign.
func (w *world) craft(puts []meta.KV, deletes ...[]byte) {
	w.t.Helper()
	u := w.drive()
	defer u.Wipe()
	st, _, err := state.Open(w.state(), u.Root(), u.ID, "laptop")
	must(w.t, err)
	defer st.Wipe()
	device, no, _ := st.Device()
	l := w.load()
	slices.SortFunc(puts, func(a, b meta.KV) int { return bytes.Compare(a.Key, b.Key) })
	slices.SortFunc(deletes, bytes.Compare)
	b := &meta.Batch{Puts: puts, Deletes: deletes}
	var usage meta.Delta
	must(w.t, publish.Retry(w.t.Context(), func() (err error) {
		usage, err = meta.DeltaOf(l.Confirmed, b)
		return err
	}))
	op := l.Chain.LastOp[no] + 1
	c, err := l.Chain.Build(l.Next, device, no, time.Unix(1, 0), chain.Content{First: op, Last: op, Batch: b, Usage: usage.Plus(w.skew)})
	must(w.t, err)
	must(w.t, w.objects.PutIfAbsent(w.t.Context(), chain.SlotName(w.vol, c.Slot), c.Object))
	// Another machine goes on from here: to this one its own state would be a twin's.
	w.dir = w.t.TempDir()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pattern is content that compresses to nothing else.
func pattern(seed byte, n int) []byte {
	b := make([]byte, n)
	x := uint32(seed) + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// only finds the one finding that is worse than a note.
func only(t testing.TB, r *Report) Finding {
	t.Helper()
	var bad []Finding
	for _, f := range r.Findings {
		if f.Severity != Note {
			bad = append(bad, f)
		}
	}
	if len(bad) != 1 {
		t.Fatalf("%d findings, want 1: %+v", len(bad), bad)
	}
	return bad[0]
}

func healthy(t testing.TB, r *Report) {
	t.Helper()
	if !r.Healthy() || !r.Whole {
		t.Errorf("not healthy, whole %v: %+v", r.Whole, r.Findings)
	}
}

// inverted is a slot as it stands in a name.
func inverted(slot int) string {
	name := chain.SlotName(crypt.VolumeID{}, chain.Slot(slot))
	return name[len(name)-16:]
}
