package integration

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// fallocate(2) in each mode, on clean and on dirty pages, before and after a
// remount.
func TestFallocate(t *testing.T) {
	t.Parallel()
	const (
		size   = 1<<20 + 123
		keep   = unix.FALLOC_FL_KEEP_SIZE
		punch  = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
		zero   = unix.FALLOC_FL_ZERO_RANGE
		maxLen = 1<<63 - 1
	)
	zeros := func(b []byte, off, n int64) []byte {
		for i := off; i < min(off+n, int64(len(b))); i++ {
			b[i] = 0
		}
		return b
	}
	longer := func(b []byte, n int64) []byte { return append(b, make([]byte, n-int64(len(b)))...) }
	same := func(b []byte) []byte { return b }
	m := newDrive(t)
	d := m.mount()
	want := map[string][]byte{}
	for _, c := range []struct {
		name     string
		mode     uint32
		off, len int64
		want     error
		then     func([]byte) []byte
	}{
		{"reserve within", 0, 100, 5000, nil, same},
		{"reserve to the end", 0, 0, size, nil, same},
		{"reserve beyond", 0, size - 5, 5000, nil, func(b []byte) []byte { return longer(b, size-5+5000) }},
		{"reserve far beyond", 0, 5 << 20, 1, nil, func(b []byte) []byte { return longer(b, 5<<20+1) }},
		{"keep beyond", keep, size, 1 << 20, nil, same},
		{"punch a few bytes", punch, 5000, 10, nil, func(b []byte) []byte { return zeros(b, 5000, 10) }},
		{"punch pages", punch, 4096, 1 << 19, nil, func(b []byte) []byte { return zeros(b, 4096, 1<<19) }},
		{"punch over the end", punch, size - 10, 1 << 20, nil, func(b []byte) []byte { return zeros(b, size-10, 1<<20) }},
		{"punch all", punch, 0, maxLen, nil, func(b []byte) []byte { return zeros(b, 0, size) }},
		{"zero within", zero, 777, 70000, nil, func(b []byte) []byte { return zeros(b, 777, 70000) }},
		{"zero over the end", zero, size - 10, 100, nil, func(b []byte) []byte { return longer(zeros(b, size-10, 10), size+90) }},
		{"zero over the end, kept", zero | keep, size - 10, 100, nil, func(b []byte) []byte { return zeros(b, size-10, 10) }},
		{"collapse", unix.FALLOC_FL_COLLAPSE_RANGE, 4096, 4096, unix.EOPNOTSUPP, same},
		{"insert", unix.FALLOC_FL_INSERT_RANGE, 4096, 4096, unix.EOPNOTSUPP, same},
		{"punch without keep", unix.FALLOC_FL_PUNCH_HOLE, 0, 10, unix.EOPNOTSUPP, same},
		{"no length", 0, 0, 0, unix.EINVAL, same},
		{"too far", 0, maxLen, 10, unix.EFBIG, same},
	} {
		for _, synced := range []bool{false, true} {
			name := c.name
			if synced {
				name += ", synced"
			}
			f, err := os.Create(m.in(name))
			must(t, err)
			was := pattern(uint64(len(want)), 0, size)
			_, err = f.Write(was)
			must(t, err)
			if synced {
				must(t, f.Sync())
			}
			if err := again(func() error { return unix.Fallocate(int(f.Fd()), c.mode, c.off, c.len) }); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
			want[name] = c.then(was)
			if b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30)); err != nil || !bytes.Equal(b, want[name]) {
				t.Errorf("%s: %d bytes that differ, want %d, %v", name, len(b), len(want[name]), err)
			}
			must(t, f.Close())
		}
	}
	d = d.remount()
	for name, b := range want {
		if got := read(t, d.m.in(name)); !bytes.Equal(got, b) {
			t.Errorf("%s: on another machine %d bytes that differ, want %d", name, len(got), len(b))
		}
	}
	d.umount()
}

// seeks are the places where data and holes begin, alternately, from the start.
func seeks(t testing.TB, fd int) (at []int64) {
	t.Helper()
	whence := unix.SEEK_DATA
	for off := int64(0); ; {
		next, err := unix.Seek(fd, off, whence)
		if errors.Is(err, unix.ENXIO) {
			return at
		}
		must(t, err)
		at, off = append(at, next), next
		whence = unix.SEEK_DATA + unix.SEEK_HOLE - whence
	}
}

// SEEK_DATA and SEEK_HOLE are exact when the kernel has no dirty pages of the
// file. Of one that is being written they are right after fsync: the kernel asks
// the daemon without writing back first, so what it still holds is not seen.
func TestSeekDataAndHoles(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	f, err := os.Create(m.in("file"))
	must(t, err)
	fd := int(f.Fd())
	const mib = 1 << 20
	if got := seeks(t, fd); len(got) != 0 {
		t.Errorf("an empty file has %v", got)
	}
	must(t, f.Truncate(8*mib))
	if got := seeks(t, fd); len(got) != 0 {
		t.Errorf("a hole has %v", got)
	}
	for _, off := range []int64{1 * mib, 5 * mib} {
		_, err = f.WriteAt(pattern(1, off, mib), off)
		must(t, err)
	}
	must(t, f.Sync())
	check := func(fd int, want ...int64) {
		t.Helper()
		got := seeks(t, fd)
		if len(got) != len(want) {
			t.Errorf("data and holes at %v, want %v", got, want)
			return
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("data and holes at %v, want %v", got, want)
				return
			}
		}
	}
	check(fd, 1*mib, 2*mib, 5*mib, 6*mib)
	must(t, again(func() error {
		return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 5*mib, mib/2)
	}))
	check(fd, 1*mib, 2*mib, 5*mib+mib/2, 6*mib)
	_, err = f.WriteAt(pattern(1, 7*mib, mib), 7*mib)
	must(t, err)
	must(t, f.Sync())
	check(fd, 1*mib, 2*mib, 5*mib+mib/2, 6*mib, 7*mib, 8*mib)
	for _, whence := range []int{unix.SEEK_DATA, unix.SEEK_HOLE} {
		if _, err := unix.Seek(fd, 8*mib, whence); !errors.Is(err, unix.ENXIO) {
			t.Errorf("at the end: %v", err)
		}
		if _, err := unix.Seek(fd, -1, whence); !errors.Is(err, unix.ENXIO) && !errors.Is(err, unix.EINVAL) {
			t.Errorf("before the beginning: %v", err)
		}
	}
	must(t, f.Close())
	d = d.remount()
	fd = mustOpen(t, d.m.in("file"), unix.O_RDONLY)
	check(fd, 1*mib, 2*mib, 5*mib+mib/2, 6*mib, 7*mib, 8*mib)
	must(t, unix.Close(fd))
	d.umount()
}

// mknod(2): what is no file keeps its kind and number.
func TestSpecialFiles(t *testing.T) {
	needRoot(t)
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	type special struct {
		mode uint32
		dev  uint64
	}
	nodes := map[string]special{
		"file":    {unix.S_IFREG | 0o640, 0},
		"fifo":    {unix.S_IFIFO | 0o602, 0},
		"socket":  {unix.S_IFSOCK | 0o660, 0},
		"char":    {unix.S_IFCHR | 0o600, unix.Mkdev(4, 64)},
		"block":   {unix.S_IFBLK | 0o600, unix.Mkdev(259, 70000)},
		"largest": {unix.S_IFCHR | 0o600, unix.Mkdev(1<<12-1, 1<<20-1)},
	}
	for name, s := range nodes {
		must(t, unix.Mknod(m.in(name), s.mode&unix.S_IFMT|0o600, int(s.dev)))
		must(t, unix.Chmod(m.in(name), s.mode&0o777))
	}
	if err := unix.Mknod(m.in("dir"), unix.S_IFDIR|0o755, 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("mknod of a directory: %v", err)
	}
	// A fifo passes on, though it lies in a drive.
	out := m.tool("sh", "-c", `cat "$1" & echo through >"$1"; wait`, "-", m.in("fifo"))
	if out != "through\n" {
		t.Errorf("the fifo passed on %q", out)
	}
	d = d.remount()
	for name, s := range nodes {
		var st unix.Stat_t
		must(t, unix.Lstat(d.m.in(name), &st))
		if st.Mode != s.mode || st.Rdev != s.dev {
			t.Errorf("%s: mode %o, device %x, want %o, %x", name, st.Mode, st.Rdev, s.mode, s.dev)
		}
	}
	// Mounts of hushfs make no devices work.
	if _, err := unix.Open(d.m.in("char"), unix.O_RDONLY|unix.O_NONBLOCK, 0); !errors.Is(err, unix.EACCES) {
		t.Errorf("opening a device: %v", err)
	}
	d.umount()
}

// The flags of renameat2(2).
func TestRenameFlags(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	must(t, os.WriteFile(m.in("a"), []byte("a"), 0o644))
	must(t, os.WriteFile(m.in("b"), []byte("b"), 0o644))
	must(t, os.MkdirAll(m.in("dir", "sub"), 0o755))
	must(t, os.Mkdir(m.in("empty"), 0o755))
	must(t, os.Link(m.in("a"), m.in("same")))
	for _, c := range []struct {
		name  string
		old   string
		new   string
		flags uint
		want  error
	}{
		{"NOREPLACE onto a file", "a", "b", unix.RENAME_NOREPLACE, unix.EEXIST},
		{"NOREPLACE onto itself", "a", "a", unix.RENAME_NOREPLACE, unix.EEXIST},
		{"NOREPLACE to a new name", "a", "c", unix.RENAME_NOREPLACE, nil},
		{"EXCHANGE with nothing", "c", "a", unix.RENAME_EXCHANGE, unix.ENOENT},
		{"EXCHANGE of a file and a directory", "c", "dir", unix.RENAME_EXCHANGE, nil},
		{"and back", "c", "dir", unix.RENAME_EXCHANGE, nil},
		{"EXCHANGE with an own directory", "dir", "dir/sub", unix.RENAME_EXCHANGE, unix.EINVAL},
		{"both flags", "c", "b", unix.RENAME_EXCHANGE | unix.RENAME_NOREPLACE, unix.EINVAL},
		{"WHITEOUT", "c", "d", unix.RENAME_WHITEOUT, unix.EINVAL},
		{"unknown flags", "c", "d", 1 << 10, unix.EINVAL},
		{"into itself", "dir", "dir/sub/x", 0, unix.EINVAL},
		{"a directory onto a file", "dir", "b", 0, unix.ENOTDIR},
		{"a file onto a directory", "b", "dir", 0, unix.EISDIR},
		{"onto a directory with things in it", "empty", "dir", 0, unix.ENOTEMPTY},
		{"onto an empty directory", "dir", "empty", 0, nil},
		{"onto another name of the same file", "c", "same", 0, nil}, // does nothing
	} {
		if err := unix.Renameat2(unix.AT_FDCWD, m.in(c.old), unix.AT_FDCWD, m.in(c.new), c.flags); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	got := manifest(t, m.mnt)
	for _, name := range []string{"c", "b", "same", "empty", "empty/sub"} {
		if got[name] == "" {
			t.Errorf("%s is not there", name)
		}
	}
	if len(got) != 6 {
		t.Errorf("there is %v", got)
	}
	d.umount()
}
