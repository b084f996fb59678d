package check

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/state"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/dir"
)

// memoryMost is what a check may hold in memory, of a drive of a million files.
const memoryMost = 400 << 20

// A check of a large drive holds little of it in memory. HUSHFS_CHECK_FILES says how
// many files; the number that counts is 1000000. HUSHFS_CHECK_KEEP is a folder in which
// the drive is left, with the passphrase "open sesame".
func TestManyFiles(t *testing.T) {
	files := 20_000
	if s := os.Getenv("HUSHFS_CHECK_FILES"); s != "" {
		var err error
		files, err = strconv.Atoi(s)
		must(t, err)
	}
	place := t.TempDir()
	if s := os.Getenv("HUSHFS_CHECK_KEEP"); s != "" {
		place = s
	}
	w := newWorld(t)
	w.generate(files)
	w.dir = t.TempDir() // another machine folds it
	w.mkdir("one more")
	must(t, w.v.WaitStored(t.Context()))
	must(t, w.v.Refold(t.Context(), false))
	w.lock()
	b := w.onDisk(place)
	w.objects = nil

	stop, done := make(chan struct{}), make(chan uint64)
	go func() {
		var most uint64
		for {
			select {
			case <-stop:
				done <- most
				return
			case <-time.After(20 * time.Millisecond):
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapInuse+m.StackInuse)
			}
		}
	}()
	runtime.GC()
	r, err := w.try(b, Options{})
	close(stop)
	most := <-done
	must(t, err)
	healthy(t, r)
	if r.Counts.Inodes < files || r.Counts.Names < files {
		t.Errorf("%+v", r.Counts)
	}
	t.Logf("%d inodes in %.1f s, at most %d MiB in memory", r.Counts.Inodes, r.Seconds, most>>20)
	if most > memoryMost {
		t.Errorf("%d MiB in memory", most>>20)
	}

	// All that one pack holds, lost: each file is named.
	var pack string
	must(t, (&steady{Bucket: b}).each(t.Context(), chain.PackPrefix(w.vol), func(i store.Info) error { pack = i.Name; return nil }))
	must(t, b.Delete(t.Context(), pack))
	r, err = w.try(b, Options{})
	must(t, err)
	f := only(t, r)
	if f.Object != pack || len(f.Files) == 0 || len(f.Files[0].Paths) != 1 {
		t.Errorf("%s: %d files", f.Object, len(f.Files))
	}
	t.Logf("with %d files lost: %.1f s", len(f.Files), r.Seconds)
	if os.Getenv("HUSHFS_CHECK_KEEP") != "" {
		must(t, b.PutIfAbsent(t.Context(), pack, make([]byte, crypt.ObjectSize(4<<20))))
	}
}

// onDisk copies the drive into a folder, with a pack of zeros for each that metadata
// names and that was never there: only its size is looked at.
func (w *world) onDisk(place string) store.Bucket {
	w.t.Helper()
	must(w.t, os.MkdirAll(place, 0o700))
	b, err := dir.Open(place, dir.Options{})
	must(w.t, err)
	w.t.Cleanup(func() { must(w.t, b.Close()) })
	for _, name := range w.objects.Names() {
		must(w.t, b.PutIfAbsent(w.t.Context(), name, w.get(name)))
	}
	for _, name := range w.promised {
		path := filepath.Join(place, chain.PackName(w.vol, name))
		must(w.t, os.MkdirAll(filepath.Dir(path), 0o700))
		f, err := os.Create(path)
		must(w.t, err)
		must(w.t, f.Truncate(crypt.ObjectSize(4<<20)))
		must(w.t, f.Close())
	}
	return b
}

// generate makes files by commits alone, a hundred in a folder.
func (w *world) generate(files int) {
	t := w.t
	u := w.drive()
	defer u.Wipe()
	s, _, err := state.Open(w.state(), u.Root(), u.ID, "laptop")
	must(t, err)
	defer s.Wipe()
	device, no, _ := s.Device()
	l := w.load()
	st := l.Chain
	var b meta.Batch
	var delta meta.Delta
	bytesIn, inos, packs, inPack := 0, uint64(1<<20), uint64(1<<20), 0
	put := func(k, v []byte) {
		b.Puts = append(b.Puts, meta.KV{Key: k, Value: v})
		bytesIn += len(k) + len(v) + 6
	}
	flush := func(last bool) {
		if bytesIn < 700<<10 && !last {
			return
		}
		slices.SortFunc(b.Puts, func(a, c meta.KV) int { return bytes.Compare(a.Key, c.Key) })
		op := st.LastOp[no] + 1
		c, err := st.Build(st.Slot+1, device, no, time.Unix(1, 0), chain.Content{First: op, Last: op, Batch: &b, Usage: delta})
		must(t, err)
		must(t, w.objects.PutIfAbsent(t.Context(), chain.SlotName(st.Volume, c.Slot), c.Object))
		must(t, st.Advance(st.Judge(c.Slot, c.Object, nil).Commit))
		b, delta, bytesIn = meta.Batch{}, meta.Delta{}, 0
	}
	pack := func() {
		packs, inPack = packs+1, 0
		name := crypt.Name{byte(packs), byte(packs >> 8), 1}
		w.promised = append(w.promised, name)
		put(meta.PackKey(meta.MakePack(no, packs)), meta.AppendPackRecord(nil, meta.PackRecord{Name: name, Length: 4 << 20, Epoch: uint32(st.Epoch)}))
	}
	inode := func(parent meta.Ref, name string, n meta.Inode) meta.Ref {
		inos++
		at := meta.Time{Sec: 1_700_000_000 + int64(inos%1000), Nsec: uint32(inos * 7919 % 1e9)}
		n.UID, n.GID, n.Atime, n.Mtime, n.Ctime, n.Btime, n.Version = 1000, 1000, at, at, at, at, inos
		ref := meta.Ref{Home: parent.Ino, Ino: meta.MakeIno(no, inos)}
		put(meta.DirentKey(parent.Ino, []byte(name)), meta.AppendDirent(nil, meta.Dirent{Ref: ref, Kind: n.Kind}))
		put(meta.InodeKey(ref), meta.AppendInode(nil, &n))
		delta = delta.Plus(meta.Delta{Inodes: 1, Bytes: int64(n.Size)})
		return ref
	}
	pack()
	dirs := 0
	var folder meta.Ref
	for i := range files {
		if i%100 == 0 {
			folder = inode(meta.RootRef, fmt.Sprintf("folder %05d", i/100), meta.Inode{Kind: meta.Dir, Perm: 0o755, Nlink: 2, Parent: meta.RootRef})
			dirs++
		}
		if inPack == 40_000 {
			pack()
		}
		inode(folder, fmt.Sprintf("file-%07d.txt", i), meta.Inode{
			Kind: meta.File, Perm: 0o644, Nlink: 1, Size: 100,
			Extents: []meta.Extent{{Len: 100, Pack: meta.MakePack(no, packs), PackOff: uint32(inPack) * 100}},
		})
		inPack++
		flush(false)
	}
	root, err := meta.GetInode(l.Confirmed, meta.RootRef)
	must(t, err)
	root.Nlink = uint32(2 + dirs)
	put(meta.InodeKey(meta.RootRef), meta.AppendInode(nil, root))
	flush(true)
}
