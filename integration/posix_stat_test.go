package integration

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func statx(t testing.TB, path string, flags, mask int) unix.Statx_t {
	t.Helper()
	var st unix.Statx_t
	must(t, unix.Statx(unix.AT_FDCWD, path, flags|unix.AT_SYMLINK_NOFOLLOW, mask, &st))
	return st
}

// statx(2) tells when a thing was made. That is the same for ever, and on every
// machine.
func TestBirthTime(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	var tick unix.Timespec // times of files are those of the kernel's last tick
	must(t, unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &tick))
	before := time.Unix(tick.Unix())
	must(t, os.WriteFile(m.in("file"), []byte("x"), 0o644))
	must(t, os.Mkdir(m.in("dir"), 0o755))
	must(t, os.Symlink("x", m.in("link")))
	must(t, unix.Mkfifo(m.in("fifo"), 0o644))
	after := time.Now().Add(time.Millisecond)
	names := []string{"file", "dir", "link", "fifo"}
	born := map[string]unix.StatxTimestamp{}
	for _, name := range names {
		st := statx(t, m.in(name), 0, unix.STATX_BASIC_STATS|unix.STATX_BTIME)
		at := time.Unix(st.Btime.Sec, int64(st.Btime.Nsec))
		if st.Mask&unix.STATX_BTIME == 0 || at.Before(before) || at.After(after) {
			t.Errorf("%s: mask %x, made at %v, want %v to %v", name, st.Mask, at, before, after)
		}
		born[name] = st.Btime
		var plain unix.Stat_t
		must(t, unix.Lstat(m.in(name), &plain))
		if uint64(plain.Ino) != st.Ino || plain.Mode != uint32(st.Mode) || plain.Size != int64(st.Size) || plain.Mtim.Sec != st.Mtime.Sec || plain.Mtim.Nsec != int64(st.Mtime.Nsec) || uint64(plain.Nlink) != uint64(st.Nlink) {
			t.Errorf("%s: statx and stat differ: %+v, %+v", name, st, plain)
		}
	}
	early := unix.Timespec{Sec: 1}
	for _, name := range names {
		must(t, unix.UtimesNanoAt(unix.AT_FDCWD, m.in(name), []unix.Timespec{early, early}, unix.AT_SYMLINK_NOFOLLOW))
	}
	must(t, os.WriteFile(m.in("file"), []byte("changed"), 0o644))
	must(t, os.Chmod(m.in("dir"), 0o700))
	must(t, os.Rename(m.in("file"), m.in("renamed")))
	must(t, os.Rename(m.in("renamed"), m.in("file")))
	d = d.remount()
	for _, name := range names {
		if st := statx(t, d.m.in(name), unix.AT_STATX_FORCE_SYNC, unix.STATX_BTIME); st.Btime != born[name] {
			t.Errorf("%s: made at %+v, was %+v", name, st.Btime, born[name])
		}
	}
	if os.Geteuid() == 0 {
		dev := unix.Mkdev(0xabc, 0x12345)
		must(t, unix.Mknod(d.m.in("device"), unix.S_IFBLK|0o600, int(dev)))
		if st := statx(t, d.m.in("device"), unix.AT_STATX_FORCE_SYNC, unix.STATX_BASIC_STATS|unix.STATX_BTIME); st.Rdev_major != 0xabc || st.Rdev_minor != 0x12345 || st.Mode != unix.S_IFBLK|0o600 {
			t.Errorf("device %x:%x, mode %o", st.Rdev_major, st.Rdev_minor, st.Mode)
		}
	}
	d.umount()
}

// utimensat, and which operations set which times.
func TestTimes(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	must(t, os.Mkdir(m.in("dir"), 0o755))
	must(t, os.WriteFile(m.in("dir", "file"), []byte("12345"), 0o644))
	const long = 1 << 30 // seconds after 1970, in the past
	times := func(name string) (st unix.Stat_t) {
		must(t, unix.Lstat(m.in(name), &st))
		return st
	}
	set := func(name string) {
		at := unix.Timespec{Sec: long, Nsec: 7}
		must(t, unix.UtimesNanoAt(unix.AT_FDCWD, m.in(name), []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW))
	}
	for _, c := range []struct {
		name         string
		do           func() error
		file         bool // mtime of the file changes
		dir          bool // mtime of its directory changes
		fileC, atime bool // ctime, atime of the file change
	}{
		{"read", func() error { _, err := os.ReadFile(m.in("dir/file")); return err }, false, false, false, true},
		{"list", func() error { _, err := os.ReadDir(m.in("dir")); return err }, false, false, false, false},
		{"write", func() error { return writeSynced(m.in("dir/file"), 0, []byte("x")) }, true, false, true, false},
		{"truncate", func() error { return os.Truncate(m.in("dir/file"), 2) }, true, false, true, false},
		{"truncate to the same size", func() error { return os.Truncate(m.in("dir/file"), 2) }, false, false, false, false},
		{"chmod", func() error { return os.Chmod(m.in("dir/file"), 0o600) }, false, false, true, false},
		{"chown to nobody new", func() error { return os.Lchown(m.in("dir/file"), -1, -1) }, false, false, true, false},
		{"link", func() error { return os.Link(m.in("dir/file"), m.in("dir/other")) }, false, true, true, false},
		{"unlink of another name", func() error { return os.Remove(m.in("dir/other")) }, false, true, true, false},
		{"setxattr", func() error { return unix.Lsetxattr(m.in("dir/file"), "user.x", nil, 0) }, false, false, true, false},
		{"rename, and back", func() error {
			return errors.Join(os.Rename(m.in("dir/file"), m.in("dir/file2")), os.Rename(m.in("dir/file2"), m.in("dir/file")))
		}, false, true, true, false},
		{"create beside it", func() error { return os.WriteFile(m.in("dir/new"), nil, 0o644) }, false, true, false, false},
		{"mkdir beside it", func() error { return os.Mkdir(m.in("dir/newdir"), 0o755) }, false, true, false, false},
		{"touch -a", func() error {
			return unix.UtimesNanoAt(unix.AT_FDCWD, m.in("dir/file"), []unix.Timespec{{Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_OMIT}}, 0)
		}, false, false, true, true},
		{"touch -m", func() error {
			return unix.UtimesNanoAt(unix.AT_FDCWD, m.in("dir/file"), []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Nsec: unix.UTIME_NOW}}, 0)
		}, true, false, true, false},
	} {
		set("dir/file")
		set("dir")
		was := times("dir/file").Ctim
		eventually(t, "the clock of the kernel's times goes on", patience, func() bool {
			var now unix.Timespec
			must(t, unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now))
			return now.Nano() > was.Nano()
		})
		mustf(t, c.do(), "%s", c.name)
		file, dir := times("dir/file"), times("dir")
		for _, x := range []struct {
			what string
			got  bool
			want bool
		}{
			{"mtime", file.Mtim.Sec != long, c.file},
			{"atime", file.Atim.Sec != long, c.atime},
			{"ctime", file.Ctim != was, c.fileC},
			{"directory's mtime", dir.Mtim.Sec != long, c.dir},
		} {
			if x.got != x.want {
				t.Errorf("%s: %s changed: %v, want %v", c.name, x.what, x.got, x.want)
			}
		}
	}
	d.umount()
}

// access(2) asks for what the modes allow; root may all but run what nobody may.
func TestAccess(t *testing.T) {
	needRoot(t)
	t.Parallel()
	m := newDrive(t)
	d := m.mount("--allow-other")
	must(t, os.Chmod(m.home, 0o755))
	user := m.puppet(nobody)
	must(t, os.Chmod(m.mnt, 0o755))
	for _, c := range []struct {
		mode    uint32
		uid     int
		allowed uint32 // to the user
		root    uint32
	}{
		{0o600, 0, 0, unix.R_OK | unix.W_OK},
		{0o644, 0, unix.R_OK, unix.R_OK | unix.W_OK},
		{0o711, 0, unix.X_OK, unix.R_OK | unix.W_OK | unix.X_OK},
		{0o604, nobody, 0, unix.R_OK | unix.W_OK}, // hers are the owner's bits: 6
		{0o077, nobody, 0, unix.R_OK | unix.W_OK | unix.X_OK},
	} {
		if c.uid == nobody && c.mode == 0o604 {
			c.allowed = unix.R_OK | unix.W_OK
		}
		must(t, os.WriteFile(m.in("file"), nil, 0o600))
		must(t, os.Chown(m.in("file"), c.uid, c.uid))
		must(t, unix.Chmod(m.in("file"), c.mode))
		for _, ask := range []uint32{unix.R_OK, unix.W_OK, unix.X_OK} {
			got := user.do(order{Do: "access", Path: m.in("file"), N: []int64{int64(ask)}}).Errno
			if (got == 0) != (c.allowed&ask != 0) || got != 0 && got != unix.EACCES {
				t.Errorf("mode %04o of uid %d: access %d of uid %d: %v", c.mode, c.uid, ask, nobody, error(got))
			}
			err := unix.Access(m.in("file"), ask)
			if (err == nil) != (c.root&ask != 0) || err != nil && !errors.Is(err, unix.EACCES) {
				t.Errorf("mode %04o: access %d of root: %v", c.mode, ask, err)
			}
		}
		must(t, os.Remove(m.in("file")))
	}
	user.end()
	d.umount()
}
