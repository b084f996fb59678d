package integration

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/store/s3/s3test"
)

// du is how many bytes the files below the folders take on the disk. One that
// moves from one to the other meanwhile counts once.
func du(t testing.TB, dirs ...string) (n int64) {
	t.Helper()
	seen := map[uint64]bool{}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil {
				var st unix.Stat_t
				if err = unix.Lstat(path, &st); err == nil && !seen[st.Ino] {
					seen[st.Ino] = true
					n += st.Blocks * 512
				}
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil // files come and go
			}
			return err
		})
		must(t, err)
	}
	return n
}

// watcher asks du over and over and keeps the most.
type watcher struct {
	stop chan struct{}
	done sync.WaitGroup
	most int64
}

func (m *machine) watchDisk() *watcher {
	w := &watcher{stop: make(chan struct{})}
	w.done.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-w.stop:
				return
			case <-tick.C:
			}
			w.most = max(w.most, du(m.t, m.at("state"), m.at("cache")))
		}
	})
	return w
}

func (w *watcher) end() int64 {
	close(w.stop)
	w.done.Wait()
	return w.most
}

// capped is a cap that a test reaches soon.
const capped = 96 << 20

var cappedFlags = []string{"--cache-size", "96MiB", "--full-timeout", "3s"}

// What waits and what is cached never take more of the disk than the cap, while
// several times as much is written and read; writers are as fast as the store.
func TestCapIsHard(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	m.mount().umount() // the cache is there
	d := m.mount(append([]string{"--test-store-delay", "400ms"}, cappedFlags...)...)
	w := m.watchDisk()
	const files, size = 24, 10 << 20
	began := time.Now()
	for i := range files {
		must(t, os.WriteFile(m.in(fmt.Sprint("file", i)), pattern(uint64(i), 0, size), 0o644))
		if i%6 == 5 {
			read(t, m.in(fmt.Sprint("file", i/2)))
		}
	}
	must(t, syncFolder(m.mnt))
	took := time.Since(began)
	m.ok("wait", m.mnt)
	for i := range files {
		if got := read(t, m.in(fmt.Sprint("file", i))); string(got) != string(pattern(uint64(i), 0, size)) {
			t.Errorf("file%d differs", i)
		}
	}
	most := w.end()
	t.Logf("%d MiB written in %v; at most %.1f MiB on the disk, of %d", files*size>>20, took, float64(most)/(1<<20), capped>>20)
	if most > capped {
		t.Errorf("%d bytes on the disk, over the cap of %d", most, capped)
	}
	d = d.remount()
	for i := range files {
		if got := read(t, d.m.in(fmt.Sprint("file", i))); string(got) != string(pattern(uint64(i), 0, size)) {
			t.Errorf("file%d differs on another machine", i)
		}
	}
	d.umount()
}

// Many programs that write at once do not go over it either, while the store is away: the
// kernel sends many writes at a time, and what waits for a place in a pack counts.
func TestCapIsHardForManyWriters(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount(cappedFlags...)
	const writers, size = 24, 6 << 20
	source := m.at("source")
	for i := range writers {
		must(t, os.WriteFile(fmt.Sprint(source, i), pattern(uint64(i), 0, size), 0o644))
	}
	w := m.watchDisk()
	must(t, os.Rename(m.store, m.store+".away"))
	var all []*exec.Cmd
	var begin []func() error
	for i := range writers {
		// A process of its own: one that has a file open whose close waits can start no other.
		// It begins when all have their files open: a new one may be refused by then.
		cp := exec.Command("sh", "-c", `exec >"$2"; read begin; exec cat "$1"`, "sh", fmt.Sprint(source, i), m.in(fmt.Sprint("file", i)))
		in, err := cp.StdinPipe()
		must(t, err)
		must(t, cp.Start())
		all, begin = append(all, cp), append(begin, in.Close)
	}
	eventually(t, "all files are open", time.Minute, func() bool {
		entries, err := os.ReadDir(m.mnt)
		return err == nil && len(entries) == writers
	})
	for _, each := range begin {
		must(t, each())
	}
	eventually(t, "new files are refused", time.Minute, func() bool { return m.statusVolume().Refused })
	must(t, os.Rename(m.store+".away", m.store))
	for i, cp := range all {
		if err := cp.Wait(); err != nil {
			t.Errorf("file%d: %v", i, err)
		}
	}
	m.ok("wait", m.mnt)
	if most := w.end(); most > capped {
		t.Errorf("%d bytes on the disk, over the cap of %d", most, capped)
	}
	d = d.remount()
	for i := range writers {
		if got := read(t, d.m.in(fmt.Sprint("file", i))); string(got) != string(pattern(uint64(i), 0, size)) {
			t.Errorf("file%d differs on another machine", i)
		}
	}
	d.umount()
}

// While the store is away writers go on until the cap, then they are slowed, then
// new files are refused; what was accepted stays. When the store is back all goes
// on, without a remount.
func TestFullThenGoesOn(t *testing.T) {
	t.Parallel()
	t.Run("a folder that is away", func(t *testing.T) {
		t.Parallel()
		m := newDrive(t)
		fullThenGoesOn(t, m,
			func() { must(t, os.Rename(m.store, m.store+".away")) },
			func() { must(t, os.Rename(m.store+".away", m.store)) })
	})
	t.Run("a server that hangs", func(t *testing.T) {
		t.Parallel()
		server := s3test.Start(t, s3test.MinIO)
		fullThenGoesOn(t, driveAt(t, server), func() { must(t, server.Pause()) }, func() { must(t, server.Resume()) })
	})
}

func fullThenGoesOn(t *testing.T, m *machine, away, back func()) {
	t.Helper()
	d := m.mount(cappedFlags...)
	must(t, os.Mkdir(m.in("known"), 0o755))
	must(t, os.WriteFile(m.in("known", "a"), []byte("a"), 0o644))
	m.ok("wait", m.mnt)
	away()

	w := m.watchDisk()
	l := look(m.in("known"))
	open, err := os.Create(m.in("open"))
	must(t, err)
	defer open.Close()
	_, err = open.Write(pattern(777, 0, 64<<10))
	must(t, err)
	accepted, slowed := 0, false
	for ; err == nil && accepted < 400; accepted++ {
		err = os.WriteFile(m.in(fmt.Sprint("file", accepted)), pattern(uint64(accepted), 0, 1<<20), 0o644)
		slowed = slowed || m.statusVolume().Slowed != ""
	}
	accepted-- // the last one was refused
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("after %d MiB: %v", accepted, err)
	}
	t.Logf("%d MiB were accepted, of a cap of %d", accepted, capped>>20)
	if accepted < 32 || !slowed {
		t.Errorf("refused after %d MiB; slowed before: %v", accepted, slowed)
	}
	v := m.statusVolume()
	if !v.Refused || v.Slowed == "" || v.Offline == "" {
		t.Errorf("status when it is full: %+v", v)
	}
	for name, act := range map[string]func() error{
		"open for writing": func() error { _, err := os.OpenFile(m.in("file0"), os.O_WRONLY, 0); return err },
		"create":           func() error { return os.WriteFile(m.in("new"), nil, 0o644) },
		"mkdir":            func() error { return os.Mkdir(m.in("newdir"), 0o755) },
		"grow":             func() error { return open.Truncate(1 << 20) },
		"fallocate":        func() error { return again(func() error { return unix.Fallocate(int(open.Fd()), 0, 0, 1<<20) }) },
	} {
		if err := act(); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("%s when it is full: %v", name, err)
		}
	}
	// What is open already is written all the same, into the room that was kept.
	_, err = open.WriteAt(pattern(778, 0, 64<<10), 64<<10)
	mustf(t, err, "write to an open file")
	mustf(t, open.Sync(), "fsync")
	if got := read(t, m.in("file0")); string(got) != string(pattern(0, 0, 1<<20)) {
		t.Error("file0 cannot be read when it is full")
	}
	must(t, os.Rename(m.in("file0"), m.in("renamed")))
	must(t, os.Remove(m.in("renamed")))
	l.end(t, "full")
	if most := w.end(); most > capped {
		t.Errorf("%d bytes on the disk, over the cap of %d", most, capped)
	}

	back()
	eventually(t, "new files are taken again", time.Minute, func() bool {
		return os.WriteFile(m.in("after"), []byte("after"), 0o644) == nil
	})
	m.ok("wait", m.mnt)
	if v := m.statusVolume(); v.Refused || v.Slowed != "" || !v.Stored || v.Offline != "" {
		t.Errorf("status when it goes on: %+v", v)
	}
	must(t, open.Close())
	d = d.remount()
	for i := 1; i < accepted; i++ {
		if got := read(t, d.m.in(fmt.Sprint("file", i))); string(got) != string(pattern(uint64(i), 0, 1<<20)) {
			t.Errorf("file%d, accepted, differs on another machine", i)
		}
	}
	if got := string(read(t, d.m.in("open"))); got != string(pattern(777, 0, 64<<10))+string(pattern(778, 0, 64<<10)) {
		t.Error("the open file differs on another machine")
	}
	d.umount()
}

// A disk that something else fills to the last block does not stop sending, and
// frees itself of what waits; a lock while it is full returns.
func TestBrimfulDiskIsSent(t *testing.T) {
	needRoot(t)
	t.Parallel()
	m := newMachine(t)
	state := m.mkdir("state")
	must(t, unix.Mount("tmpfs", state, "tmpfs", 0, "size=160m,mode=700"))
	t.Cleanup(func() { must(t, unix.Unmount(state, unix.MNT_DETACH)) })
	m.init()
	d := m.mount(cappedFlags...)
	m.put("first")
	m.ok("wait", m.mnt)
	must(t, os.Rename(m.store, m.store+".away"))
	for i := range 10 {
		must(t, writeSynced(m.in(fmt.Sprint("file", i)), os.O_CREATE, pattern(uint64(i), 0, 3<<20)))
	}
	must(t, os.WriteFile(m.in("in memory"), pattern(99, 0, 3<<20), 0o644))
	f, err := os.Create(filepath.Join(state, "ballast"))
	must(t, err)
	for n := 1 << 20; n > 0; {
		if _, err := f.Write(make([]byte, n)); errors.Is(err, unix.ENOSPC) {
			n /= 2
		} else {
			must(t, err)
		}
	}
	must(t, f.Close())
	must(t, os.Rename(m.store+".away", m.store))
	d = d.remount()
	for i := range 10 {
		if got := read(t, d.m.in(fmt.Sprint("file", i))); string(got) != string(pattern(uint64(i), 0, 3<<20)) {
			t.Errorf("file%d differs", i)
		}
	}
	if got := read(t, d.m.in("in memory")); string(got) != string(pattern(99, 0, 3<<20)) {
		t.Error("what was in memory differs")
	}
	d.umount()
}

// A removal needs no room, also while what the kernel has of another file waits for some:
// the kernel tells the times of a file that loses a name before unlink(2) returns.
func TestRemovesWhenFull(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount(cappedFlags...)
	for _, name := range []string{"one", "two", "other"} {
		must(t, os.WriteFile(m.in(name), []byte(name), 0o644))
	}
	must(t, os.Link(m.in("two"), m.in("second")))
	m.ok("wait", m.mnt)
	content := pattern(1, 0, 24<<20)
	// A process of its own: one that has a file open whose close waits can start no other.
	big := exec.Command("sh", "-c", `cat > "$1"`, "sh", m.in("big"))
	pipe, err := big.StdinPipe()
	must(t, err)
	must(t, big.Start())
	eventually(t, "the file is open", time.Minute, func() bool { _, err := os.Lstat(m.in("big")); return err == nil })
	must(t, os.Rename(m.store, m.store+".away"))
	for i := 0; err == nil && i < 400; i++ {
		err = os.WriteFile(m.in(fmt.Sprint("file", i)), pattern(uint64(i), 0, 1<<20), 0o644)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	fed := make(chan error, 1)
	go func() {
		_, err := pipe.Write(content)
		fed <- errors.Join(err, pipe.Close())
	}()
	// At the end too little is left for a page of it, and it stands.
	stands := -1
	at := time.Now()
	eventually(t, "the write stands", 3*time.Minute, func() bool {
		v := m.statusVolume()
		if n := int(v.PendingBytes); n != stands {
			stands, at = n, time.Now()
		}
		return v.Refused && time.Since(at) > 3*time.Second
	})

	acts := []struct {
		name string
		act  func() error
	}{
		{"remove", func() error { return os.Remove(m.in("one")) }},
		{"remove one of two names", func() error { return os.Remove(m.in("second")) }},
		{"rename", func() error { return os.Rename(m.in("other"), m.in("renamed")) }},
	}
	done := make(chan error)
	var late string
	for _, a := range acts {
		go func() { done <- a.act() }()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("%s: %v", a.name, err)
			}
		case <-time.After(20 * time.Second):
			late = a.name
		}
		if late != "" {
			break
		}
	}
	must(t, os.Rename(m.store+".away", m.store))
	if late != "" {
		t.Errorf("%s waits for room", late)
		<-done
	}
	must(t, <-fed)
	must(t, big.Wait())
	m.ok("wait", m.mnt)
	if got := read(t, m.in("big")); string(got) != string(content) {
		t.Error("big differs")
	}
	d.umount()
}
