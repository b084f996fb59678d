package volume

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
	"github.com/hushfs/hushfs/store/mem"
)

// cheap is an Argon2id that a test can afford.
var cheap = keyslot.Params{MemoryKiB: 19 << 10, Passes: 2, Lanes: 1}

// world is a drive in a store, and the machine that made it.
type world struct {
	t       testing.TB
	objects *mem.Bucket
	faults  *fault.Bucket // in front of objects
	unlock  []byte        // see drive.Unlocked.Handover
	vol     crypt.VolumeID
	laptop  *machine
	seen    int // calls in faults that were counted
}

// machine is a computer with a state and a cache folder of its own.
type machine struct {
	t      testing.TB
	name   string
	bucket store.Bucket
	unlock []byte
	dir    string
	log    *lines
	step   func(string)
	ro     bool
	fold   int            // Options.FoldCommits
	slept  atomic.Int64   // nanoseconds that the machine was asleep
	near   int64          // Options.CacheSize; most tests have no cache
	set    func(*Options) // of the next mounts; nil changes nothing
	trim   publish.TrimOptions

	v     *Volume // nil while locked
	stop  context.CancelFunc
	ended chan struct{}
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, objects: mem.New()}
	w.faults = fault.Wrap(w.objects)
	w.laptop = w.machine("laptop")
	w.unlock, w.vol = makeDrive(t, w.objects, w.laptop.state())
	w.laptop.unlock = w.unlock
	return w
}

// makeDrive makes a drive whose first device has its state in dir.
func makeDrive(t testing.TB, b store.Bucket, dir string) ([]byte, crypt.VolumeID) {
	t.Helper()
	pass := []byte("open sesame")
	_, err := drive.Create(t.Context(), b, drive.CreateOptions{
		Passphrase: pass, KDF: cheap, DeviceName: "laptop", UID: 1000, GID: 1000,
		StateDir: func(drive.ID) (string, error) { return dir, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	u, err := drive.Unlock(t.Context(), b, drive.UnlockOptions{Passphrase: pass})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Wipe()
	return u.Handover(), u.Main().ID
}

// machine is a further one, which never saw the drive.
func (w *world) machine(name string) *machine {
	m := &machine{near: -1, t: w.t, name: name, bucket: w.faults, unlock: w.unlock, dir: w.t.TempDir(), log: &lines{}}
	w.t.Cleanup(m.crash)
	return m
}

func (m *machine) state() string { return filepath.Join(m.dir, "state") }
func (m *machine) cache() string { return filepath.Join(m.dir, "cache") }

// open mounts without working in the background.
func (m *machine) open() error {
	u, err := drive.FromHandover(m.unlock)
	if err != nil {
		m.t.Fatal(err)
	}
	step := func(name string) {
		if step := m.step; step != nil { // once: what goes on by itself comes by when it is taken away
			step(name)
		}
	}
	o := Options{
		Bucket: m.bucket, Drive: u, State: m.state(), Cache: m.cache(), CacheSize: m.near, FoldCommits: m.fold, Trim: m.trim, Uptime: func() time.Duration { return time.Duration(m.slept.Load()) }, ReadOnly: m.ro,
		DeviceName: m.name, UID: 1000, GID: 1000, Step: step,
		Log: slog.New(slog.NewTextHandler(m.log, nil)),
	}
	if m.set != nil {
		m.set(&o)
	}
	m.v, err = Open(context.Background(), o)
	if err != nil {
		u.Wipe()
	}
	return err
}

func (m *machine) mustOpen() {
	m.t.Helper()
	if m.v == nil {
		if err := m.open(); err != nil {
			m.t.Fatalf("%s does not open: %v", m.name, err)
		}
	}
}

// run works in the background until lock or crash.
func (m *machine) run() {
	m.t.Helper()
	m.mustOpen()
	ctx, stop := context.WithCancel(context.Background())
	m.stop, m.ended = stop, make(chan struct{})
	v, ended := m.v, m.ended
	go func() {
		defer close(ended)
		_ = v.Run(ctx)
	}()
}

func (m *machine) halt() {
	if m.stop != nil {
		m.stop()
		<-m.ended
		m.stop = nil
	}
}

// shut is an orderly lock that may fail.
func (m *machine) shut(d time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	err := m.v.Shutdown(ctx)
	m.halt()
	m.v = nil
	return err
}

// crash ends the machine as a kill does, as far as one process can: nothing that
// is only in memory survives.
func (m *machine) crash() {
	if m.v == nil {
		return
	}
	m.halt()
	m.v.kill()
	m.v.persisting.Lock() // what is on its way to the journal was written before
	m.v.mu.Lock()
	m.v.closing, m.v.queue, m.v.dirty = true, nil, map[meta.Ino]*dirty{}
	m.v.mu.Unlock()
	m.v.persisting.Unlock()
	_ = m.v.journal.Close()
	m.v.closeNear() // the cache's lock is the process's
	m.v = nil
}

// forget loses all local state.
func (m *machine) forget() {
	m.t.Helper()
	m.crash()
	for _, d := range []string{m.state(), m.cache()} {
		if err := os.RemoveAll(d); err != nil {
			m.t.Fatal(err)
		}
	}
}

// An act is what somebody does at a machine.
type act func(m *machine) error

// as does acts at a machine, mounted for each; each must succeed.
func as(m *machine, acts ...act) {
	m.t.Helper()
	for i, a := range acts {
		m.mustOpen()
		if err := a(m); err != nil {
			m.t.Fatalf("%s, act %d: %v", m.name, i+1, err)
		}
	}
}

// find returns the directory of a path, its last name, and what that stands for.
func (m *machine) find(path string) (dir meta.Ref, name []byte, a Attr, err error) {
	parts := strings.Split(path, "/")
	dir = meta.RootRef
	for _, p := range parts[:len(parts)-1] {
		if a, err = m.v.Lookup(context.Background(), dir, []byte(p)); err != nil {
			return
		}
		dir = a.Ref
	}
	name = []byte(parts[len(parts)-1])
	a, err = m.v.Lookup(context.Background(), dir, name)
	return
}

// touch returns the file at path, made when it is missing.
func (m *machine) touch(path string) (Attr, error) {
	dir, name, a, err := m.find(path)
	if errors.Is(err, meta.ErrNotExist) {
		a, err = m.v.Make(context.Background(), dir, name, Node{Kind: meta.File, Perm: 0o644, UID: 1000, GID: 1000}, false)
	}
	return a, err
}

// write puts content into a file and closes it.
func write(path, content string) act {
	return func(m *machine) error {
		a, err := m.touch(path)
		if err != nil {
			return err
		}
		if err := m.v.Truncate(context.Background(), a.Ref, 0, nil); err != nil {
			return err
		}
		if err := m.v.Write(context.Background(), a.Ref, 0, []byte(content)); err != nil {
			return err
		}
		return m.v.Flush(context.Background(), a.Ref)
	}
}

// read finds exactly content in a file.
func read(path, content string) act {
	return func(m *machine) error {
		_, _, a, err := m.find(path)
		if err != nil {
			return err
		}
		got, err := m.content(a)
		if err == nil && string(got) != content {
			return fmt.Errorf("%s holds %.40q (%d bytes), want %.40q (%d)", path, got, len(got), content, len(content))
		}
		return err
	}
}

func (m *machine) content(a Attr) ([]byte, error) {
	b := make([]byte, a.Inode.Size)
	n, err := m.v.Read(context.Background(), a.Ref, 0, b)
	return b[:n], err
}

// missing finds nothing under a path.
func missing(path string) act {
	return func(m *machine) error {
		if _, _, _, err := m.find(path); !errors.Is(err, meta.ErrNotExist) {
			return fmt.Errorf("%s: %v", path, err)
		}
		return nil
	}
}

func mkdir(path string) act {
	return func(m *machine) error {
		dir, name, _, err := m.find(path)
		if errors.Is(err, meta.ErrNotExist) {
			_, err = m.v.Make(context.Background(), dir, name, Node{Kind: meta.Dir, Perm: 0o755, UID: 1000, GID: 1000}, false)
		}
		return err
	}
}

func unlink(path string) act {
	return func(m *machine) error {
		dir, name, _, err := m.find(path)
		if err != nil {
			return err
		}
		return m.v.Unlink(context.Background(), dir, name)
	}
}

func rename(from, to string) act {
	return func(m *machine) error {
		dir, name, _, err := m.find(from)
		if err != nil {
			return err
		}
		dir2, name2, _, err := m.find(to)
		if err != nil && !errors.Is(err, meta.ErrNotExist) {
			return err
		}
		return m.v.Rename(context.Background(), dir, name, dir2, name2, 0)
	}
}

func fsync(path string) act {
	return func(m *machine) error {
		_, _, a, err := m.find(path)
		if err != nil {
			return err
		}
		return m.v.Fsync(context.Background(), a.Ref)
	}
}

// drained brings everything to the store, without Run.
func drained(m *machine) error {
	if err := m.v.pinOld(context.Background(), 0); err != nil {
		return err
	}
	return m.v.sync.Publish(context.Background())
}

// lock ends with everything in the store.
func lock(m *machine) error { return m.shut(time.Minute) }

// refuses says that an act fails with an error.
func refuses(a act, want error) act {
	return func(m *machine) error {
		if err := a(m); !errors.Is(err, want) {
			return fmt.Errorf("%v, want %v", err, want)
		}
		return nil
	}
}

// tree describes everything that a program could see below the root, and number
// and version of each inode: two machines with one history say the same.
func (m *machine) tree() string {
	m.t.Helper()
	var out bytes.Buffer
	if err := m.v.describe(&out, "", meta.RootRef); err != nil {
		m.t.Fatal(err)
	}
	return out.String()
}

func (v *Volume) describe(out *bytes.Buffer, path string, ref meta.Ref) error {
	a, err := v.Attr(context.Background(), ref)
	if err != nil {
		return err
	}
	n := *a.Inode
	n.Extents, n.Indexed = nil, false // bytes that came inline lie in other packs after a crash
	var sum [32]byte
	if n.Kind == meta.File {
		b := make([]byte, n.Size)
		if _, err := v.Read(context.Background(), ref, 0, b); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		sum = sha256.Sum256(b)
	}
	fmt.Fprintf(out, "%s %v %x %x\n", path, ref, meta.AppendInode(nil, &n), sum[:8])
	if n.Kind != meta.Dir {
		return nil
	}
	list, err := v.List(context.Background(), ref)
	if err != nil {
		return err
	}
	for _, e := range list {
		if err := v.describe(out, path+"/"+string(e.Name), e.Ref); err != nil {
			return err
		}
	}
	return nil
}

// names lists the objects of a kind: l, k, a, p or h.
func (w *world) names(kind string) []string {
	var l []string
	for _, n := range w.objects.Names() {
		if strings.Contains(n, "/"+kind+"/") {
			l = append(l, n)
		}
	}
	return l
}

// lines keeps what was logged.
type lines struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// copyFolder copies a folder as a backup program does, also one that somebody works in: what
// goes meanwhile is not in the copy.
func copyFolder(t testing.TB, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path != from {
			return nil
		} else if err != nil {
			return err
		}
		at := to + strings.TrimPrefix(path, from)
		if e.IsDir() {
			return os.MkdirAll(at, 0o777)
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		f, err := os.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if err != nil {
			return err
		}
		_, err = f.Write(b)
		return errors.Join(err, f.Close())
	})
	if err != nil {
		t.Fatal(err)
	}
}

// once counts the steps that were met.
type once struct {
	mu   sync.Mutex // guards seen
	seen map[string]int
}

func (o *once) step(name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.seen == nil {
		o.seen = map[string]int{}
	}
	o.seen[name]++
}

func (o *once) names() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Sorted(maps.Keys(o.seen))
}

// folders lists the names in a folder.
func folders(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var l []string
	for _, e := range entries {
		l = append(l, e.Name())
	}
	return l
}
