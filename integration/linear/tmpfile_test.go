package linear

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/store/s3/s3test"
)

// unnamed makes a file without a name.
func (m *machine) unnamed() (fd int, err error) {
	err = again(func() (err error) {
		fd, err = unix.Open(m.mnt, unix.O_TMPFILE|unix.O_RDWR, 0o644)
		return err
	})
	return fd, err
}

// link gives a file that is open a name.
func link(fd int, path string) error {
	return unix.Linkat(unix.AT_FDCWD, fmt.Sprint("/proc/self/fd/", fd), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
}

// Two machines give names to files that had none, at once: each name is one's, whose file
// is whole, and of the other's nothing is left, until that gets another name.
func TestTmpfilesRace(t *testing.T) {
	fleet := newFleet(t, s3test.Start(t, s3test.MinIO), 2, "remote")
	const names = 6
	owner := [names]string{}
	for k := range names {
		var told [2]error
		began := time.Now()
		var g sync.WaitGroup
		fds := [2]int{}
		for i, m := range fleet {
			fd, err := m.unnamed()
			must(t, err)
			_, err = unix.Write(fd, []byte(m.source))
			must(t, err)
			fds[i] = fd
			g.Go(func() { told[i] = link(fd, m.in(fmt.Sprint("n", k))) })
		}
		g.Wait()
		t.Logf("n%d: %v after %v", k, told, time.Since(began))
		for i, m := range fleet {
			switch {
			case told[i] == nil && owner[k] == "":
				owner[k] = m.source
			case told[i] == nil:
				t.Errorf("both machines are told that they have n%d", k)
			case errors.Is(told[i], unix.EEXIST):
				var st unix.Stat_t
				if err := unix.Fstat(fds[i], &st); err != nil || st.Nlink != 0 || st.Size != int64(len(m.source)) {
					t.Errorf("what is open has %d links and %d bytes: %v", st.Nlink, st.Size, err)
				}
				_, err := unix.Pwrite(fds[i], []byte("!"), st.Size)
				must(t, err)
				must(t, again(func() error { return unix.Fsync(fds[i]) }))
				must(t, link(fds[i], m.in(fmt.Sprint("instead of n", k))))
			default:
				t.Errorf("n%d: %v", k, told[i])
			}
			must(t, unix.Close(fds[i]))
		}
	}
	for _, m := range fleet { // what was written may have come after the name
		must(t, m.run("sync", m.mnt))
	}
	for i, m := range fleet {
		must(t, m.run("sync", m.mnt))
		entries, err := os.ReadDir(m.mnt)
		must(t, err)
		for _, e := range entries {
			if strings.Contains(e.Name(), "incomplete") || strings.Contains(e.Name(), "conflict") {
				t.Errorf("machine %d has %q", i, e.Name())
			}
		}
		for k := range names {
			loser := fleet[0].source
			if owner[k] == loser {
				loser = fleet[1].source
			}
			for name, want := range map[string]string{"n": owner[k], "instead of n": loser + "!"} {
				if b, err := os.ReadFile(m.in(fmt.Sprint(name, k))); err != nil || string(b) != want {
					t.Errorf("machine %d: %s%d holds %q, %v, want %q", i, name, k, b, err, want)
				}
			}
		}
	}
	for _, m := range fleet {
		m.away()
	}
}

// A file that became a conflict copy while it was open is waited for as its folder wants
// it: fsync says that it is a copy, and then that the store has it.
func TestFsyncOfACopyInAFolder(t *testing.T) {
	fleet := newFleet(t, s3test.Start(t, s3test.MinIO), 2, "local")
	ours, theirs := fleet[0], fleet[1]
	must(t, os.Mkdir(ours.in("d"), 0o755))
	must(t, unix.Setxattr(ours.in("d"), "user.hushfs.durability", []byte("remote"), 0))
	must(t, os.WriteFile(ours.in("d/f"), []byte("base"), 0o644))
	must(t, ours.run("sync", ours.mnt))
	must(t, theirs.run("sync", theirs.mnt))
	f, err := os.OpenFile(ours.in("d/f"), os.O_RDWR, 0)
	must(t, err)
	must(t, os.WriteFile(theirs.in("d/f"), []byte("theirs"), 0o644))
	must(t, theirs.run("sync", theirs.mnt))
	must(t, ours.run("sync", ours.mnt))
	_, err = f.WriteAt([]byte("ours"), 0)
	must(t, err)
	if err := f.Sync(); !errors.Is(err, unix.EIO) {
		t.Errorf("the first fsync says %v", err)
	}
	must(t, f.Sync())
	where := make([]byte, 64)
	n, err := unix.Fgetxattr(int(f.Fd()), "user.hushfs.durable", where)
	if err != nil || !strings.HasPrefix(string(where[:max(n, 0)]), "bucket ") {
		t.Errorf("after fsync it is at %q, %v", where[:max(n, 0)], err)
	}
	must(t, f.Close())
	for _, m := range fleet {
		m.away()
	}
}
