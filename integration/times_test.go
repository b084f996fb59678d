package integration

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// What stat said after a close or an fsync is what it says after a remount, to the
// nanosecond, and what it says after a crash: else make builds again and rsync copies
// again. The kernel tells the times of what it writes late, and not at all when they
// come out as they were: its clock goes in steps of some milliseconds, and a file can
// be closed, opened and written again within one.
func TestTimesSurvive(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	said := map[string]unix.Stat_t{}
	note := func(name string) {
		var st unix.Stat_t
		must(t, unix.Lstat(m.in(name), &st))
		said[name] = st
	}
	again := func(mnt, when string) {
		t.Helper()
		bad := map[string]int{}
		for name, was := range said {
			var st unix.Stat_t
			must(t, unix.Lstat(mnt+"/"+name, &st))
			if st.Mtim != was.Mtim || st.Ctim != was.Ctim {
				kind := name[:len(name)-3]
				if bad[kind]++; bad[kind] == 1 {
					t.Errorf("%s: %s: mtime %+v, was %+v; ctime %+v, was %+v", when, name, st.Mtim, was.Mtim, st.Ctim, was.Ctim)
				}
			}
		}
		for kind, n := range bad {
			t.Errorf("%s: %d of %s differ", when, n, kind)
		}
	}
	for _, c := range writings {
		for i := range 40 {
			name := fmt.Sprintf("%s%03d", c.name, i)
			mustf(t, c.do(m.in(name)), "%s", c.name)
			note(name)
		}
	}
	again(m.mnt, "at once")
	must(t, syncFolder(m.mnt))
	d.kill()
	d = m.mount()
	again(m.mnt, "after a crash")
	d = d.remount()
	again(d.m.mnt, "on another machine")
	d.umount()
}

// writings are ways in which programs change a file; each ends with a close or fsync.
var writings = []struct {
	name string
	do   func(path string) error
}{
	{"written once", func(path string) error { return os.WriteFile(path, []byte("1"), 0o644) }},
	{"written twice", func(path string) error {
		return all(func() error { return os.WriteFile(path, []byte("1"), 0o644) }, func() error { return writeAt(path, []byte("2"), 0) })
	}},
	{"written three times", func(path string) error {
		return all(func() error { return os.WriteFile(path, []byte("1"), 0o644) },
			func() error { return writeAt(path, []byte("2"), 0) }, func() error { return writeAt(path, []byte("3"), 4) })
	}},
	{"written and synced twice", func(path string) error {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		defer f.Close()
		return all(func() error { _, err := f.Write([]byte("1")); return err }, f.Sync,
			func() error { _, err := f.Write([]byte("2")); return err }, f.Sync)
	}},
	{"emptied and written", func(path string) error {
		return all(func() error { return os.WriteFile(path, []byte("1"), 0o644) }, func() error { return os.WriteFile(path, []byte("2"), 0o644) })
	}},
	{"punched", func(path string) error {
		return all(func() error { return os.WriteFile(path, make([]byte, 9000), 0o644) }, func() error { return fallocated(path, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 10, 5000) })
	}},
	{"grown by fallocate", func(path string) error {
		return all(func() error { return os.WriteFile(path, nil, 0o644) }, func() error { return fallocated(path, 0, 0, 5000) })
	}},
	{"truncated to its size", func(path string) error {
		return all(func() error { return os.WriteFile(path, []byte("12345"), 0o644) }, func() error { return os.Truncate(path, 5) })
	}},
	{"mapped, written after the close", func(path string) error {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		if err := f.Truncate(4096); err != nil {
			return err
		}
		b, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			return err
		}
		b[1] = 'x'
		if err := f.Close(); err != nil {
			return err
		}
		b[2] = 'y'
		if err := unix.Munmap(b); err != nil {
			return err
		}
		// The last of it goes to the daemon when nobody waits for it.
		return synced(path)
	}},
	{"given a mode", func(path string) error {
		return all(func() error { return os.WriteFile(path, []byte("1"), 0o644) }, func() error { return os.Chmod(path, 0o6755) },
			func() error { return writeAt(path, []byte("2"), 0) })
	}},
	{"copied into", func(path string) error {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		return all(func() error { _, err := f.Write(make([]byte, 10_000)); return err }, f.Sync,
			func() error { _, err := copyRange(int(f.Fd()), int(f.Fd()), 0, 5000, 5000); return err }, f.Close)
	}},
	{"given times", func(path string) error {
		return all(func() error { return os.WriteFile(path, []byte("1"), 0o644) },
			func() error {
				return unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{{Sec: 5}, {Sec: 7, Nsec: 9}}, 0)
			})
	}},
	{"given times while it is open", func(path string) error {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		return all(func() error { _, err := f.Write([]byte("1")); return err },
			func() error {
				return unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{{Sec: 5}, {Sec: 7, Nsec: 9}}, 0)
			}, f.Close)
	}},
	{"renamed and synced", func(path string) error {
		return all(func() error { return os.WriteFile(path+".tmp", []byte("1"), 0o644) }, func() error { return os.Rename(path+".tmp", path) },
			func() error { return synced(path) })
	}},
}

// all does one after the other, and stops at an error.
func all(steps ...func() error) error {
	for _, do := range steps {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

func fallocated(path string, mode uint32, off, n int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return all(func() error { return again(func() error { return unix.Fallocate(int(f.Fd()), mode, off, n) }) }, f.Close)
}

// synced opens a file to write and syncs it.
func synced(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return all(f.Sync, f.Close)
}
