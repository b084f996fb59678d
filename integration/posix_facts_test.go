package integration

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What stat says of a thing is the same after a remount on another machine: its number,
// links, device, and times from long before 1970 to long after 2446, with nanoseconds.
func TestStatIsTheSameElsewhere(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	must(t, os.MkdirAll(m.in("dir/a/b"), 0o755))
	must(t, os.Mkdir(m.in("dir/c"), 0o755))
	must(t, os.WriteFile(m.in("dir/file"), []byte("1"), 0o644))
	must(t, os.Link(m.in("dir/file"), m.in("dir/a/again")))
	must(t, unix.Mkfifo(m.in("fifo"), 0o622))
	names := []string{"dir", "dir/a", "dir/a/b", "dir/c", "dir/file", "dir/a/again", "fifo"}
	// 1677, 1901, 1969, 2038, 2106, 2446, 2486, 9999
	for i, sec := range []int64{-9223372036, -2147483649, -1, 2147483648, 4294967296, 15032385536, 16299999999, 253402300799} {
		name := fmt.Sprint("at ", sec)
		must(t, os.WriteFile(m.in(name), nil, 0o644))
		at := []unix.Timespec{{Sec: sec, Nsec: 999_999_999 - int64(i)}, {Sec: sec, Nsec: int64(i)}}
		must(t, unix.UtimesNanoAt(unix.AT_FDCWD, m.in(name), at, 0))
		var st unix.Stat_t
		if must(t, unix.Stat(m.in(name), &st)); st.Atim != at[0] || st.Mtim != at[1] {
			t.Errorf("%s: atime %v, mtime %v", name, st.Atim, st.Mtim)
		}
		names = append(names, name)
	}
	facts := func(m *machine, name string) string {
		var st unix.Stat_t
		must(t, unix.Lstat(m.in(name), &st))
		return fmt.Sprint(st.Ino, st.Mode, st.Nlink, st.Size, st.Rdev, st.Atim, st.Mtim, st.Ctim)
	}
	for name, links := range map[string]uint64{"": 3, "dir": 4, "dir/a": 3, "dir/a/b": 2, "dir/file": 2} {
		var st unix.Stat_t
		if must(t, unix.Lstat(m.in(name), &st)); uint64(st.Nlink) != links {
			t.Errorf("%q has %d links, want %d", name, st.Nlink, links)
		}
	}
	was := map[string]string{}
	for _, name := range names {
		was[name] = facts(m, name)
	}
	d = d.remount()
	for _, name := range names {
		if got := facts(d.m, name); got != was[name] {
			t.Errorf("%s: %s, was %s", name, got, was[name])
		}
	}
	d.umount()
}

// A sparse file of 16 TiB takes what lies in it.
func TestSixteenTiB(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	const end = 16 << 40
	fd := mustOpen(t, m.in("file"), unix.O_RDWR|unix.O_CREAT)
	for _, off := range []int64{0, end / 2, end - 5} {
		_, err := unix.Pwrite(fd, []byte("12345"), off)
		must(t, err)
	}
	must(t, again(func() error { return unix.Fsync(fd) }))
	must(t, unix.Close(fd))
	d = d.remount()
	fd = mustOpen(t, d.m.in("file"), unix.O_RDONLY)
	var st unix.Stat_t
	if must(t, unix.Fstat(fd, &st)); st.Size != end || st.Blocks > 1000 {
		t.Errorf("size %d, %d blocks", st.Size, st.Blocks)
	}
	b := make([]byte, 20)
	n, err := unix.Pread(fd, b, end-10)
	if must(t, err); !bytes.Equal(b[:n], []byte("\x00\x00\x00\x00\x0012345")) {
		t.Errorf("at its end: %q", b[:n])
	}
	must(t, unix.Close(fd))
	d.umount()
}

// A file that is mapped, read and written through the cache and past it at a time is
// one file.
func TestOneFileManyWays(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	const size = 64 << 10
	fd, direct := mustOpen(t, m.in("file"), unix.O_RDWR|unix.O_CREAT), mustOpen(t, m.in("file"), unix.O_RDWR|unix.O_DIRECT)
	must(t, unix.Ftruncate(fd, size))
	shared, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(t, err)
	private, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	must(t, err)
	private[8192] = 'p' // nobody else's
	want := make([]byte, size)
	buf := aligned(t, 4096)
	for i := range 60 {
		at, c := i*4096%size, byte('a'+i%26)
		switch i % 3 {
		case 0:
			_, err = unix.Pwrite(fd, bytes.Repeat([]byte{c}, 4096), int64(at))
		case 1:
			copy(shared[at:], bytes.Repeat([]byte{c}, 4096))
			if i%2 == 0 {
				err = again(func() error { return unix.Msync(shared[at:at+4096], unix.MS_SYNC) })
			}
		case 2:
			copy(buf, bytes.Repeat([]byte{c}, 4096))
			_, err = unix.Pwrite(direct, buf, int64(at))
		}
		must(t, err)
		copy(want[at:], bytes.Repeat([]byte{c}, 4096))
		got := make([]byte, size)
		_, err := unix.Pread(fd, got, 0)
		must(t, err)
		if !bytes.Equal(got, want) || !bytes.Equal(shared, want) {
			t.Fatalf("step %d: read and the mapping differ from what was written", i)
		}
		_, err = unix.Pread(direct, buf, int64(at))
		if must(t, err); !bytes.Equal(buf, want[at:at+4096]) {
			t.Fatalf("step %d: a direct read differs", i)
		}
	}
	if private[8192] != 'p' || want[8192] == 'p' {
		t.Error("the private mapping is not private")
	}
	must(t, unix.Munmap(shared))
	must(t, unix.Munmap(private))
	must(t, unix.Close(direct))
	must(t, unix.Close(fd))
	d = d.remount()
	if !bytes.Equal(read(t, d.m.in("file")), want) {
		t.Error("on another machine it differs")
	}
	d.umount()
}

// inotify tells of what programs of this machine do.
func TestInotify(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	must(t, err)
	_, err = unix.InotifyAddWatch(fd, m.mnt, unix.IN_CREATE|unix.IN_CLOSE_WRITE|unix.IN_MOVED_FROM|unix.IN_MOVED_TO|unix.IN_DELETE|unix.IN_ATTRIB)
	must(t, err)
	must(t, os.WriteFile(m.in("a"), []byte("1"), 0o644))
	must(t, os.Chmod(m.in("a"), 0o600))
	must(t, os.Rename(m.in("a"), m.in("b")))
	must(t, os.Remove(m.in("b")))
	var seen uint32
	buf := make([]byte, 64<<10)
	n, err := unix.Read(fd, buf)
	must(t, err)
	for at := 0; at+unix.SizeofInotifyEvent <= n; {
		e := (*unix.InotifyEvent)(unsafe.Pointer(&buf[at]))
		seen |= e.Mask
		at += unix.SizeofInotifyEvent + int(e.Len)
	}
	for _, want := range []uint32{unix.IN_CREATE, unix.IN_CLOSE_WRITE, unix.IN_ATTRIB, unix.IN_MOVED_FROM, unix.IN_MOVED_TO, unix.IN_DELETE} {
		if seen&want == 0 {
			t.Errorf("no event %x", want)
		}
	}
	must(t, unix.Close(fd))
	d.umount()
}
