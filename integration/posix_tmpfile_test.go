package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Files without a name: nobody sees them, they go with their last descriptor, and
// one that is linked is there with all that it has, at once.
func TestTmpfile(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	must(t, os.Mkdir(m.in("dir"), 0o755))
	must(t, os.Mkdir(m.in("other"), 0o755))
	link := func(fd int, path string) error {
		return unix.Linkat(unix.AT_FDCWD, fmt.Sprint("/proc/self/fd/", fd), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
	}

	lost := mustOpen(t, m.in("dir"), unix.O_TMPFILE|unix.O_RDWR)
	_, err := unix.Write(lost, pattern(9, 0, 2<<20))
	must(t, err)
	must(t, again(func() error { return unix.Fsync(lost) }))
	never := mustOpen(t, m.in("dir"), unix.O_TMPFILE|unix.O_EXCL|unix.O_RDWR)
	if err := link(never, m.in("dir", "never")); !errors.Is(err, unix.ENOENT) {
		t.Errorf("linking what was made by O_EXCL: %v", err)
	}

	const size = 9<<20 + 5
	fd := mustOpen(t, m.in("dir"), unix.O_TMPFILE|unix.O_RDWR)
	want := make([]byte, size)
	for _, off := range []int{0, 3 << 20, 8 << 20} {
		copy(want[off:], pattern(uint64(off), 0, 700_000))
		_, err := unix.Pwrite(fd, want[off:off+700_000], int64(off))
		must(t, err)
	}
	must(t, unix.Ftruncate(fd, size))
	must(t, unix.Fchmod(fd, 0o750))
	must(t, unix.Fsetxattr(fd, "user.x", []byte("y"), 0))
	if len(manifest(t, m.in("dir"))) != 1 {
		t.Error("a file without a name is listed")
	}
	must(t, os.WriteFile(m.in("other", "taken"), nil, 0o644))
	if err := link(fd, m.in("other", "taken")); !errors.Is(err, unix.EEXIST) {
		t.Errorf("linking over a name: %v", err)
	}
	must(t, again(func() error { return unix.Fsync(fd) }))
	must(t, link(fd, m.in("other", "linked"))) // not where it was made
	must(t, link(fd, m.in("dir", "again")))
	must(t, syncFolder(m.in("dir")))
	var st unix.Stat_t
	must(t, unix.Fstat(fd, &st))
	if st.Nlink != 2 || st.Size != size || st.Mode != unix.S_IFREG|0o750 {
		t.Errorf("linked: nlink %d, size %d, mode %o", st.Nlink, st.Size, st.Mode)
	}
	_, err = unix.Pwrite(fd, []byte("after"), 100)
	must(t, err)
	copy(want[100:], "after")
	must(t, again(func() error { return unix.Fsync(fd) }))
	check := func(m *machine) {
		t.Helper()
		got := manifest(t, m.mnt)
		if len(got) != 6 { // the root, two folders, three files
			t.Errorf("there is %v", got)
		}
		for _, name := range []string{"other/linked", "dir/again"} {
			if b, err := os.ReadFile(m.in(name)); err != nil || !bytes.Equal(b, want) {
				t.Errorf("%s has %d bytes that differ, %v", name, len(b), err)
			}
			if got, err := getxattr(m.in(name), "user.x"); err != nil || got != "y" {
				t.Errorf("%s: the attribute is %q, %v", name, got, err)
			}
		}
	}
	check(m)
	d.kill()
	for _, fd := range []int{fd, lost, never} {
		unix.Close(fd)
	}
	d = m.mount()
	check(m)
	d = d.remount()
	check(d.m)
	d.umount()
}
