package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// mustOpen is open(2); the test closes what it gives. To close it at the test's end
// besides could hit a file of a test beside this one.
func mustOpen(t testing.TB, path string, flags int) int {
	t.Helper()
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o644)
	must(t, err)
	return fd
}

// What the flags of open(2) ask for.
func TestOpenFlags(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	must(t, os.WriteFile(m.in("file"), []byte("12345"), 0o644))
	must(t, os.Mkdir(m.in("dir"), 0o755))
	must(t, os.Symlink("file", m.in("link")))
	must(t, os.Symlink("nowhere", m.in("dangling")))
	for _, c := range []struct {
		name  string
		path  string
		flags int
		want  error
	}{
		{"O_EXCL of a file", "file", unix.O_CREAT | unix.O_EXCL, unix.EEXIST},
		{"O_EXCL of a link to nothing", "dangling", unix.O_CREAT | unix.O_EXCL, unix.EEXIST},
		{"O_CREAT without O_EXCL", "file", unix.O_CREAT, nil},
		{"no O_CREAT", "absent", unix.O_RDWR, unix.ENOENT},
		{"O_NOFOLLOW of a link", "link", unix.O_NOFOLLOW, unix.ELOOP},
		{"O_NOFOLLOW|O_PATH of a link", "link", unix.O_NOFOLLOW | unix.O_PATH, nil},
		{"O_DIRECTORY of a file", "file", unix.O_DIRECTORY, unix.ENOTDIR},
		{"O_DIRECTORY of a directory", "dir", unix.O_DIRECTORY, nil},
		{"a directory to write", "dir", unix.O_WRONLY, unix.EISDIR},
		{"a file as a directory", "file/", unix.O_RDONLY, unix.ENOTDIR},
		{"O_NOATIME", "file", unix.O_NOATIME, nil},
		{"O_TMPFILE to read", "dir", unix.O_TMPFILE, unix.EINVAL},
	} {
		fd, err := unix.Open(m.mnt+"/"+c.path, c.flags|unix.O_CLOEXEC, 0o644)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if err == nil {
			must(t, unix.Close(fd))
		}
	}

	fd := mustOpen(t, m.in("file"), unix.O_WRONLY|unix.O_TRUNC)
	if b := read(t, m.in("file")); len(b) != 0 {
		t.Errorf("after O_TRUNC there are %d bytes", len(b))
	}
	must(t, unix.Close(fd))

	// O_APPEND: pwrite(2), too, writes at the end.
	fd = mustOpen(t, m.in("file"), unix.O_WRONLY|unix.O_APPEND)
	for _, s := range []string{"one ", "two "} {
		_, err := unix.Write(fd, []byte(s))
		must(t, err)
	}
	_, err := unix.Pwrite(fd, []byte("three"), 0)
	must(t, err)
	must(t, unix.Close(fd))
	if s := string(read(t, m.in("file"))); s != "one two three" {
		t.Errorf("appended: %q", s)
	}

	// O_PATH: no reading, but fstat, fchdir, openat, and a way to open it again.
	path := mustOpen(t, m.in("file"), unix.O_PATH)
	if _, err := unix.Read(path, make([]byte, 1)); !errors.Is(err, unix.EBADF) {
		t.Errorf("read by O_PATH: %v", err)
	}
	again := mustOpen(t, fmt.Sprint("/proc/self/fd/", path), unix.O_RDONLY)
	b := make([]byte, 3)
	_, err = unix.Read(again, b)
	must(t, err)
	if string(b) != "one" {
		t.Errorf("opened by O_PATH: %q", b)
	}
	must(t, unix.Close(again))
	must(t, unix.Unlink(m.in("file")))
	var st unix.Stat_t
	must(t, unix.Fstat(path, &st))
	if st.Nlink != 0 || st.Size != 13 {
		t.Errorf("removed, held by O_PATH: nlink %d, size %d", st.Nlink, st.Size)
	}
	must(t, unix.Close(path))
	d.umount()
}

// O_DIRECT goes past the kernel's pages, and agrees with what goes through them.
func TestDirectIO(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	const size = 3<<20 + 4096
	want := pattern(1, 0, size)
	fd := mustOpen(t, m.in("file"), unix.O_RDWR|unix.O_CREAT|unix.O_DIRECT)
	buf := aligned(t, size)
	copy(buf, want)
	n, err := unix.Pwrite(fd, buf, 0)
	if err != nil || n != size {
		t.Fatalf("wrote %d bytes: %v", n, err)
	}
	if b := read(t, m.in("file")); !bytes.Equal(b, want) {
		t.Error("what O_DIRECT wrote reads otherwise through the cache")
	}
	// Dirty pages of another descriptor come first.
	f, err := os.OpenFile(m.in("file"), os.O_WRONLY, 0)
	must(t, err)
	patch := pattern(2, 0, 5000)
	_, err = f.WriteAt(patch, 10_000)
	must(t, err)
	copy(want[10_000:], patch)
	clear(buf)
	if n, err = unix.Pread(fd, buf, 0); err != nil || !bytes.Equal(buf[:n], want) {
		t.Errorf("O_DIRECT reads %d bytes that differ: %v", n, err)
	}
	// And pages that were read before do not hide what O_DIRECT wrote after.
	copy(buf, pattern(3, 0, 8192))
	_, err = unix.Pwrite(fd, buf[:8192], 1<<20)
	must(t, err)
	copy(want[1<<20:], pattern(3, 0, 8192))
	if b := read(t, m.in("file")); !bytes.Equal(b, want) {
		t.Error("what O_DIRECT wrote over cached pages is not seen")
	}
	must(t, f.Close())
	must(t, unix.Close(fd))
	d = d.remount()
	if b := read(t, d.m.in("file")); !bytes.Equal(b, want) {
		t.Error("on another machine the file differs")
	}
	d.umount()
}

// aligned is memory that begins at a page.
func aligned(t testing.TB, size int) []byte {
	t.Helper()
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	must(t, err)
	t.Cleanup(func() { must(t, unix.Munmap(b)) })
	return b
}

// What write(2) acknowledges by O_SYNC or O_DSYNC, or fsync and its kin after it,
// survives a crash of the daemon.
func TestSynchronousWrites(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	const size = 64 << 10
	buf := aligned(t, size)
	want := map[string][]byte{}
	var fds []int
	for i, c := range []struct {
		name  string
		flags int
		sync  func(fd int) error
	}{
		{"O_SYNC", unix.O_SYNC, nil},
		{"O_DSYNC", unix.O_DSYNC, nil},
		{"O_DIRECT and O_SYNC", unix.O_DIRECT | unix.O_SYNC, nil},
		{"O_DIRECT and O_DSYNC", unix.O_DIRECT | unix.O_DSYNC, nil},
		{"fsync", 0, unix.Fsync},
		{"fdatasync", 0, unix.Fdatasync},
		{"O_DIRECT and fdatasync", unix.O_DIRECT, unix.Fdatasync},
		{"pwritev2 with RWF_DSYNC", 0, func(fd int) error {
			_, err := unix.Pwritev2(fd, [][]byte{buf}, 0, unix.RWF_DSYNC)
			return err
		}},
		{"mmap and msync", 0, func(fd int) error {
			b, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			if err != nil {
				return err
			}
			b[size-1] ^= 0xff
			buf[size-1] ^= 0xff // which is what it must read then
			return errors.Join(again(func() error { return unix.Msync(b, unix.MS_SYNC) }), unix.Munmap(b))
		}},
	} {
		copy(buf, pattern(uint64(i), 0, size))
		fd := mustOpen(t, m.in(c.name), unix.O_RDWR|unix.O_CREAT|c.flags)
		_, err := unix.Pwrite(fd, buf, 0)
		must(t, err)
		if c.sync != nil {
			mustf(t, again(func() error { return c.sync(fd) }), "%s", c.name)
		}
		want[c.name] = bytes.Clone(buf)
		fds = append(fds, fd)
	}
	d.kill()
	for _, fd := range fds { // not before: a close would hand over what sync did not
		unix.Close(fd)
	}
	d = m.mount()
	for name, b := range want {
		if got, err := os.ReadFile(m.in(name)); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%s: %d bytes, or others, after the crash: %v", name, len(got), err)
		}
	}
	d.umount()
}

// Directories that went while somebody was in them.
func TestRemovedDirectory(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	must(t, os.Mkdir(m.in("gone"), 0o750))
	must(t, os.Mkdir(m.in("replaced"), 0o700))
	must(t, os.Mkdir(m.in("new"), 0o755))
	must(t, os.WriteFile(m.in("new", "file"), nil, 0o644))
	fds := map[string]int{}
	was := map[string]unix.Stat_t{}
	for _, name := range []string{"gone", "replaced"} {
		fds[name] = mustOpen(t, m.in(name), unix.O_RDONLY|unix.O_DIRECTORY)
		var st unix.Stat_t
		must(t, unix.Fstat(fds[name], &st))
		was[name] = st
	}
	must(t, os.Remove(m.in("gone")))
	must(t, unix.Rename(m.in("new"), m.in("replaced")))
	for name, fd := range fds {
		var st unix.Stat_t
		must(t, unix.Fstat(fd, &st))
		if st.Ino != was[name].Ino || st.Mode != was[name].Mode || st.Nlink != 0 {
			t.Errorf("%s: inode %d, mode %o, nlink %d; was inode %d, mode %o", name, st.Ino, st.Mode, st.Nlink, was[name].Ino, was[name].Mode)
		}
		if n, err := unix.ReadDirent(fd, make([]byte, 4096)); !errors.Is(err, unix.ENOENT) {
			t.Errorf("%s: reading: %d, %v", name, n, err)
		}
		if _, err := unix.Openat(fd, "file", unix.O_CREAT|unix.O_RDWR, 0o644); !errors.Is(err, unix.ENOENT) {
			t.Errorf("%s: making a file: %v", name, err)
		}
		must(t, unix.Fchmod(fd, 0o711))
		must(t, unix.Fstat(fd, &st))
		if st.Mode != unix.S_IFDIR|0o711 {
			t.Errorf("%s: mode %o after chmod", name, st.Mode)
		}
		must(t, again(func() error { return unix.Fsync(fd) }))
	}
	read(t, m.in("replaced", "file"))

	// The working directory of a program.
	out := m.tool("sh", "-c", `mkdir "$1" && cd "$1" && rmdir "$1" && stat -c '%F %h' . && ls -A . && ! touch x 2>/dev/null && echo done`, "-", m.in("cwd"))
	if out != "directory 0\ndone\n" {
		t.Errorf("in a removed working directory:\n%s", out)
	}
	for _, fd := range fds {
		must(t, unix.Close(fd))
	}
	d.umount()
}

// A directory that is read while names come and go: those that stay come once,
// and telldir's places lead back to where they were.
func TestDirectorySeek(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	const count = 3000
	for i := range count {
		must(t, os.WriteFile(m.in(fmt.Sprintf("stays-%05d", i)), nil, 0o644))
	}
	fd := mustOpen(t, m.mnt, unix.O_RDONLY|unix.O_DIRECTORY)
	buf := make([]byte, 8192)
	seen := map[string]int{}
	type place struct {
		off  int64
		next string
	}
	var places []place
	for i := 0; ; i++ {
		off, err := unix.Seek(fd, 0, io.SeekCurrent)
		must(t, err)
		n, err := unix.ReadDirent(fd, buf)
		must(t, err)
		if n == 0 {
			break
		}
		_, _, found := unix.ParseDirent(buf[:n], -1, nil)
		for _, name := range found {
			seen[name]++
		}
		if len(found) > 0 {
			places = append(places, place{off, found[0]})
		}
		must(t, os.WriteFile(m.in(fmt.Sprintf("comes-%05d", i)), nil, 0o644))
		must(t, os.Remove(m.in(fmt.Sprintf("stays-%05d", count-1-i))))
	}
	gone := len(places)
	for i := range count - gone {
		if name := fmt.Sprintf("stays-%05d", i); seen[name] != 1 {
			t.Errorf("%s came %d times", name, seen[name])
		}
	}
	for name, n := range seen {
		if n > 1 {
			t.Errorf("%s came %d times", name, n)
		}
	}
	for i := len(places) - 1; i > 0; i-- {
		_, err := unix.Seek(fd, places[i].off, io.SeekStart)
		must(t, err)
		n, err := unix.ReadDirent(fd, buf)
		must(t, err)
		_, _, found := unix.ParseDirent(buf[:n], -1, nil)
		if len(found) == 0 || found[0] != places[i].next {
			t.Fatalf("at place %d is %.40q, was %s", i, strings.Join(found, " "), places[i].next)
		}
	}
	// Rewound it shows what is there now.
	_, err := unix.Seek(fd, 0, io.SeekStart)
	must(t, err)
	now := map[string]bool{}
	for {
		n, err := unix.ReadDirent(fd, buf)
		must(t, err)
		if n == 0 {
			break
		}
		_, _, found := unix.ParseDirent(buf[:n], -1, nil)
		for _, name := range found {
			now[name] = true
		}
	}
	if len(now) != count || !now["comes-00000"] || now[fmt.Sprintf("stays-%05d", count-1)] {
		t.Errorf("rewound: %d names, want %d", len(now), count)
	}
	must(t, unix.Close(fd))
	d.umount()
}
