package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// copyRange copies as copy_file_range(2) does until it is done.
func copyRange(from, to int, off, at int64, n int) (copied int, err error) {
	for n > 0 {
		done, err := unix.CopyFileRange(from, &off, to, &at, n, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil || done == 0 {
			return copied, err
		}
		copied, n = copied+done, n-done
	}
	return copied, nil
}

// cloning are programs of copies; what comes of each is the same on the disk.
var cloning = []struct {
	name     string
	off, at  int64
	n        int
	self     bool // within one file
	dirty    bool // both were written just before
	truncate int64
}{
	{name: "all of it", n: 1 << 30},
	{name: "all of it, just written", n: 1 << 30, dirty: true},
	{name: "unaligned", off: 12345, at: 777, n: 100_001},
	{name: "unaligned, just written", off: 4095, at: 4097, n: 70_000, dirty: true},
	{name: "one byte", off: 300_000, at: 5, n: 1},
	{name: "behind the end of the target", off: 10, at: 3 << 20, n: 5000},
	{name: "the end of the source", off: 1<<20 + 100, at: 50, n: 1 << 20},
	{name: "behind the end of the source", off: 2 << 20, at: 50, n: 10},
	{name: "from a hole into data", off: 400_000, at: 100_000, n: 200_000},
	{name: "nothing", n: 0},
	{name: "within one file", off: 0, at: 600_000, n: 300_000, self: true, dirty: true},
	{name: "over itself", off: 0, at: 1000, n: 3000, self: true},
	{name: "over exactly itself", off: 1000, at: 1000, n: 3000, self: true},
	{name: "side by side in one file", off: 0, at: 3000, n: 3000, self: true},
}

// copy_file_range(2) does what it does on a disk, and what was copied is there after a
// crash and on another machine.
func TestCopyFileRange(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	disk := m.mkdir("disk")
	play := func(dir string, i int) (said string) {
		c := cloning[i]
		make := func(name string, seed uint64, size int) *os.File {
			f, err := os.OpenFile(filepath.Join(dir, fmt.Sprint(i, name)), os.O_RDWR|os.O_CREATE, 0o644)
			must(t, err)
			_, err = f.WriteAt(pattern(seed, 0, 300_000), 0) // a hole, then the rest
			must(t, err)
			_, err = f.WriteAt(pattern(seed+1, 0, size-700_000), 700_000)
			must(t, err)
			if !c.dirty {
				must(t, f.Sync())
			}
			return f
		}
		src, dst := make("src", 1, 1<<20+4321), make("dst", 7, 1<<20+99)
		defer src.Close()
		defer dst.Close()
		to := dst
		if c.self {
			to = src
		}
		n, err := copyRange(int(src.Fd()), int(to.Fd()), c.off, c.at, c.n)
		st, serr := to.Stat()
		must(t, errors.Join(serr, to.Sync()))
		return fmt.Sprint(n, " bytes, ", err, ", size ", st.Size())
	}
	for i, c := range cloning {
		want, got := play(disk, i), play(m.mnt, i)
		if got != want {
			t.Errorf("%s: %s; on the disk %s", c.name, got, want)
		}
	}
	same := func(mnt, when string) {
		for i, c := range cloning {
			for _, name := range []string{"src", "dst"} {
				got, want := read(t, filepath.Join(mnt, fmt.Sprint(i, name))), read(t, filepath.Join(disk, fmt.Sprint(i, name)))
				if !bytes.Equal(got, want) {
					t.Errorf("%s: %s: %s holds %d bytes that differ, want %d", when, c.name, name, len(got), len(want))
				}
			}
		}
	}
	same(m.mnt, "at once")
	must(t, syncFolder(m.mnt))
	d.kill()
	d = m.mount()
	same(m.mnt, "after a crash")
	d = d.remount()
	same(d.m.mnt, "on another machine")
	d.umount()
}

// cp of a large file takes no time and sends no bytes. Afterwards each goes its own way.
func TestCopyIsAClone(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	const mib, size = 1 << 20, 96 << 20
	f, err := os.Create(m.in("large"))
	must(t, err)
	for off := int64(0); off < size; off += 8 * mib {
		_, err := f.WriteAt(pattern(uint64(off), off, 8*mib), off)
		must(t, err)
	}
	must(t, f.Sync())
	must(t, f.Close())
	m.ok("wait", m.mnt)
	before := packed(t, m.store)

	begin := time.Now()
	m.tool("cp", m.in("large"), m.in("copy"))
	t.Logf("cp of %d MiB: %v", size/mib, time.Since(begin))
	m.tool("cp", "-a", "--reflink=auto", m.in("large"), m.in("again"))
	m.ok("wait", m.mnt)
	if after := packed(t, m.store); after != before {
		t.Errorf("%d bytes in packs after two copies, %d before", after, before)
	}
	want := read(t, m.in("large"))
	for _, name := range []string{"copy", "again"} {
		if !bytes.Equal(read(t, m.in(name)), want) {
			t.Errorf("%s differs", name)
		}
	}
	must(t, writeAt(m.in("large"), []byte("changed"), 10*mib))
	must(t, os.Remove(m.in("again")))
	d = d.remount()
	if !bytes.Equal(read(t, d.m.in("copy")), want) {
		t.Error("the copy differs after the original was changed")
	}
	d.umount()
}

// A hole is copied as one, over data too.
func TestCopyOfHoles(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	const mib = 1 << 20
	from, to := mustOpen(t, m.in("from"), unix.O_RDWR|unix.O_CREAT), mustOpen(t, m.in("to"), unix.O_RDWR|unix.O_CREAT)
	for _, off := range []int64{1, 3} {
		_, err := unix.Pwrite(from, pattern(1, off, mib), off*mib)
		must(t, err)
	}
	must(t, unix.Ftruncate(from, 6*mib))
	_, err := unix.Pwrite(to, pattern(2, 0, 8*mib), 0)
	must(t, err)
	if n, err := copyRange(from, to, 0, mib, 6*mib); n != 6*mib || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	must(t, again(func() error { return unix.Fsync(to) })) // what the kernel has not handed over counts as a hole
	if got, want := fmt.Sprint(seeks(t, to)), fmt.Sprint([]int{0, mib, 2 * mib, 3 * mib, 4 * mib, 5 * mib, 7 * mib, 8 * mib}); got != want {
		t.Errorf("data and holes at %s, want %s", got, want)
	}
	must(t, errors.Join(unix.Close(from), unix.Close(to)))
	d.umount()
}

// packed is how many bytes of packs lie in a store.
func packed(t testing.TB, store string) (n int64) {
	t.Helper()
	for _, name := range ofKind(t, store, "pack") {
		st, err := os.Stat(filepath.Join(store, name))
		must(t, err)
		n += st.Size()
	}
	return n
}

// writeAt writes into a file and closes it.
func writeAt(path string, b []byte, off int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, off)
	return errors.Join(err, f.Close())
}

// A copy changes its target like a write: times, setuid, setgid and capabilities of
// programs that an ordinary user copies into.
func TestCopyTakesPrivileges(t *testing.T) {
	needRoot(t)
	t.Parallel()
	m := newDrive(t)
	d := m.mount("--allow-other")
	must(t, os.Chmod(m.home, 0o755))
	disk := m.mkdir("disk")
	for _, dir := range []string{m.mnt, disk} {
		must(t, os.Chmod(dir, 0o777))
	}
	user := m.puppet(nobody)
	said := map[string]string{}
	for _, dir := range []string{disk, m.mnt} {
		src, dst := filepath.Join(dir, "src"), filepath.Join(dir, "dst")
		must(t, os.WriteFile(src, []byte("12345"), 0o644))
		must(t, os.WriteFile(dst, []byte("abcdefghij"), 0o644))
		must(t, os.Chown(dst, nobody, nobody))
		must(t, unix.Chmod(dst, 0o6777))
		old := unix.Timespec{Sec: 1 << 30}
		must(t, unix.UtimesNanoAt(unix.AT_FDCWD, dst, []unix.Timespec{old, old}, 0))
		user.want(0, order{Do: "open", ID: 1, Path: src, N: []int64{unix.O_RDONLY}})
		user.want(0, order{Do: "open", ID: 2, Path: dst, N: []int64{unix.O_RDWR}})
		user.want(0, order{Do: "copy", ID: 1, To: 2, N: []int64{1, 3, 3}})
		user.want(0, order{Do: "close", ID: 2})
		var st unix.Stat_t
		must(t, unix.Lstat(dst, &st))
		said[dir] = fmt.Sprintf("%s %o, new mtime %v", read(t, dst), st.Mode, st.Mtim.Sec > 1<<30)
		user.want(unix.EBADF, order{Do: "copy", ID: 1, To: 1, N: []int64{0, 10, 3}}) // not open to write
		user.want(0, order{Do: "close", ID: 1})
	}
	if said[m.mnt] != said[disk] {
		t.Errorf("%s; on the disk %s", said[m.mnt], said[disk])
	}
	user.end()
	d.umount()
}
