package integration

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/store/s3/s3test"
)

const (
	durable    = "user.hushfs.durable"    // says where a file is
	durability = "user.hushfs.durability" // of a directory: where it is to be
)

// nowhereLeft kills the daemon and takes away all that the machine had: it is another
// one, which knows the store and the passphrase.
func (d *daemon) nowhereLeft(flags ...string) *daemon {
	d.t.Helper()
	d.kill()
	d.m.detach()
	for _, dir := range []string{"state", "cache", "config"} {
		must(d.t, os.RemoveAll(d.m.at(dir)))
	}
	return d.m.mount(flags...)
}

// With --durability remote what was acknowledged survives the loss of the machine.
func TestRemoteSurvivesTheMachine(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	m := driveAt(t, server)
	flags := []string{"--durability", "remote"}
	d := m.mount(flags...)
	for _, c := range []struct {
		name string
		do   func() error
		find string // what must be there afterwards
		want string // its content; empty for what has none
	}{
		{"fsync", func() error { return writeSynced(m.in("f"), os.O_CREATE, []byte("synced")) }, "f", "synced"},
		{"fdatasync", func() error {
			f, err := os.OpenFile(m.in("f"), os.O_RDWR, 0)
			must(t, err)
			_, err = f.WriteString("DATA")
			return errors.Join(err, again(func() error { return unix.Fdatasync(int(f.Fd())) }), f.Close())
		}, "f", "DATAed"},
		{"O_SYNC", func() error {
			f, err := os.OpenFile(m.in("f"), os.O_RDWR|os.O_SYNC, 0)
			must(t, err)
			defer f.Close()
			_, err = f.WriteString("osync")
			return err
		}, "f", "osyncd"},
		{"msync", func() error {
			f, err := os.OpenFile(m.in("f"), os.O_RDWR, 0)
			must(t, err)
			b, err := unix.Mmap(int(f.Fd()), 0, 6, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			must(t, err)
			copy(b, "mapped")
			return errors.Join(again(func() error { return unix.Msync(b, unix.MS_SYNC) }), unix.Munmap(b), f.Close())
		}, "f", "mapped"},
		{"O_EXCL", func() error {
			f, err := os.OpenFile(m.in("lock"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err == nil {
				err = f.Close()
			}
			return err
		}, "lock", ""},
		{"mkdir", func() error { return os.Mkdir(m.in("dir"), 0o755) }, "dir", ""},
		{"link", func() error { return os.Link(m.in("f"), m.in("dir", "link")) }, "dir/link", "mapped"},
		{"symlink", func() error { return os.Symlink("nothing", m.in("symlink")) }, "symlink", ""},
		{"rename", func() error { return os.Rename(m.in("f"), m.in("dir", "renamed")) }, "dir/renamed", "mapped"},
		{"fsync of a directory", func() error {
			return errors.Join(os.WriteFile(m.in("plain"), nil, 0o600), syncFolder(m.mnt))
		}, "plain", ""},
	} {
		mustf(t, c.do(), "%s", c.name)
		d = d.nowhereLeft(flags...)
		if _, err := os.Lstat(m.in(c.find)); err != nil {
			t.Fatalf("%s: it went with the machine: %v", c.name, err)
		}
		if c.want != "" {
			if got := string(read(t, m.in(c.find))); got != c.want {
				t.Fatalf("%s: it holds %q, want %q", c.name, got, c.want)
			}
		}
	}
	d.umount()
}

// A file says where it is through its life, and nobody can say otherwise.
func TestDurableThroughALife(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	m := driveAt(t, server)
	d := m.mount()
	must(t, os.WriteFile(m.in("first"), []byte("1"), 0o644))
	m.ok("wait", m.mnt)
	must(t, server.Pause())
	f, err := os.Create(m.in("f"))
	must(t, err)
	defer f.Close()
	_, err = f.WriteString("1")
	must(t, err)
	is := func(path string, one ...string) {
		t.Helper()
		if got, err := getxattr(path, durable); err != nil || !slices.ContainsFunc(one, func(want string) bool {
			return got == want || want == "bucket" && strings.HasPrefix(got, "bucket ")
		}) {
			t.Errorf("it is %q, %v; want one of %q", got, err, one)
		}
	}
	is(m.in("f"), "no", "local") // made, at once or a second ago
	is(m.in("first"), "bucket")
	must(t, f.Sync())
	is(m.in("f"), "local")
	is(m.mnt, "local")
	eventually(t, "what was closed is in the journal", time.Minute, func() bool {
		must(t, os.WriteFile(m.in("closed"), []byte("1"), 0o644))
		time.Sleep(10 * time.Millisecond) // between two looks
		got, err := getxattr(m.in("closed"), durable)
		must(t, err)
		if got != "no" {
			return false
		}
		within(t, "though nobody synced it", 30*time.Second, func() bool {
			got, err := getxattr(m.in("closed"), durable)
			must(t, err)
			return got == "local"
		})
		return true
	})
	if names := listxattr(t, m.in("f")); len(names) > 0 {
		t.Errorf("listed: %q", names)
	}
	for what, err := range map[string]error{
		"set":    unix.Lsetxattr(m.in("f"), durable, []byte("bucket 9"), 0),
		"remove": unix.Lremovexattr(m.in("f"), durable),
	} {
		if !errors.Is(err, unix.EPERM) {
			t.Errorf("%s: %v", what, err)
		}
	}
	must(t, server.Resume())
	m.ok("wait", m.in("f"))
	is(m.in("f"), "bucket")
	before, err := getxattr(m.in("f"), durable)
	must(t, err)
	_, err = f.WriteString("2")
	must(t, errors.Join(err, f.Sync()))
	m.ok("wait", m.in("f"))
	if after, err := getxattr(m.in("f"), durable); err != nil || after == before {
		t.Errorf("after another commit it is %q, as before; %v", after, err)
	}
	must(t, f.Close())
	d.umount()
}

// stuck is a store that takes nothing.
var stuck = []string{"--test-store-delay", "24h"}

// Which directories want the store to have it, and what they may say. Who does not
// get it in time hears of that, and nothing is lost.
func TestDurabilityOfDirectories(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount(append([]string{"--remote-timeout", "100ms"}, stuck...)...)
	sure, weak := m.in("sure"), m.in("sure", "weak")
	must(t, os.MkdirAll(weak, 0o755))
	must(t, writeSynced(m.in("sure", "f"), os.O_CREATE, []byte("1")))
	must(t, unix.Lsetxattr(sure, durability, []byte("remote"), 0))
	must(t, unix.Lsetxattr(weak, durability, []byte("local"), 0))
	for path, value := range map[string]string{sure: "Remote", weak: "", m.mnt: "remote ", m.in("sure", "f"): "remote"} {
		if err := unix.Lsetxattr(path, durability, []byte(value), 0); !errors.Is(err, unix.EINVAL) {
			t.Errorf("%q: %v", value, err)
		}
	}
	if got, err := getxattr(sure, durability); got != "remote" {
		t.Errorf("it has %q, %v", got, err)
	}
	late := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, unix.ETIMEDOUT) {
			t.Errorf("%s: %v, want ETIMEDOUT", what, err)
		}
	}
	late("fsync", writeSynced(m.in("sure", "f"), 0, []byte("2")))
	late("mkdir", os.Mkdir(m.in("sure", "below"), 0o755))
	eventually(t, "what was made is to be seen", time.Minute, func() bool {
		_, err := os.Stat(m.in("sure", "below"))
		return err == nil
	})
	late("fsync in a directory that was made there", writeSynced(m.in("sure", "below", "f"), os.O_CREATE, []byte("1")))
	late("fsync of a directory", syncFolder(sure))
	late("link", os.Link(m.in("sure", "f"), m.in("sure", "link")))
	late("O_EXCL", writeSynced(m.in("sure", "new"), os.O_CREATE|os.O_EXCL, nil))
	eventually(t, "what was linked is to be seen", time.Minute, func() bool {
		b, err := os.ReadFile(m.in("sure", "link"))
		return err == nil && string(b) == "2"
	})
	must(t, writeSynced(m.in("sure", "weak", "f"), os.O_CREATE, []byte("1")))
	must(t, writeSynced(m.in("elsewhere"), os.O_CREATE, []byte("1")))
	late("rename", os.Rename(m.in("elsewhere"), m.in("sure", "moved")))
	var f *os.File
	eventually(t, "what was moved is to be seen", time.Minute, func() (there bool) {
		var err error
		f, err = os.OpenFile(m.in("sure", "moved"), os.O_RDWR, 0)
		return err == nil
	})
	late("fsync of what was moved there", f.Sync())
	must(t, f.Close())
	must(t, unix.Lremovexattr(sure, durability))
	must(t, writeSynced(m.in("sure", "f"), 0, []byte("3")))
	d.kill()
	d = m.mount()
	for path, want := range map[string]string{"sure/f": "3", "sure/link": "3", "sure/below/f": "1", "sure/moved": "1", "sure/weak/f": "1", "sure/new": ""} {
		if got := string(read(t, m.in(path))); got != want {
			t.Errorf("%s holds %q, want %q", path, got, want)
		}
	}
	d.umount()
}

// Who waits for the store can be interrupted, and status says that somebody waits.
func TestRemoteCanBeInterrupted(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount(append([]string{"--durability", "remote"}, stuck...)...)
	f, err := os.Create(m.in("f"))
	must(t, err)
	defer f.Close()
	_, err = f.WriteString("kept")
	must(t, err)
	for what, call := range map[string]func() error{
		"fsync": func() error { return unix.Fsync(int(f.Fd())) },
		"mkdir": func() error { return unix.Mkdir(m.in("dir"), 0o755) },
	} {
		signal, ended := onThread(t, call)
		eventually(t, "status says that a program waits", time.Minute, func() bool {
			return strings.Contains(m.ok("status"), "is to be in the store before they go on (durability remote): 1 program")
		})
		select {
		case err := <-ended:
			t.Fatalf("%s did not wait: %v", what, err)
		default:
		}
		signal()
		select {
		case err := <-ended:
			if !errors.Is(err, unix.EINTR) {
				t.Errorf("%s: %v, want EINTR", what, err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s was not interrupted", what)
		}
	}
	if got, err := getxattr(m.in("f"), durable); got != "local" {
		t.Errorf("it is %q, %v", got, err)
	}
	eventually(t, "the directory is to be seen", time.Minute, func() bool {
		_, err := os.Stat(m.in("dir"))
		return err == nil
	})
	// A program that is killed while it waits ends.
	c := exec.Command("sync", m.in("f"))
	must(t, c.Start())
	eventually(t, "it waits", time.Minute, func() bool { return strings.Contains(m.ok("status"), "1 program") })
	must(t, c.Process.Kill())
	c.Wait() // killed, as it should be
	must(t, f.Close())
	d.kill()
	d = m.mount()
	if got := string(read(t, m.in("f"))); got != "kept" {
		t.Errorf("it holds %q", got)
	}
	d.umount()
}

// hushfs wait FILE waits for that file, while a program goes on writing another.
func TestWaitForOneFile(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount("--test-store-delay", "50ms")
	big, err := os.Create(m.in("big"))
	must(t, err)
	defer big.Close()
	stop, stopped := make(chan struct{}), make(chan error)
	go func() {
		b := pattern(1, 0, 1<<20)
		for i := int64(0); ; i = (i + 1) % 256 {
			select {
			case <-stop:
				stopped <- nil
				return
			case <-time.After(10 * time.Millisecond): // 100 MiB/s at most
			}
			if _, err := big.WriteAt(b, i<<20); err != nil {
				stopped <- err
				return
			}
		}
	}()
	small, err := os.Create(m.in("small"))
	must(t, err)
	defer small.Close()
	_, err = small.WriteString("small")
	must(t, err)
	if out := m.ok("wait", "--timeout", "10m", m.in("small")); !strings.Contains(out, "small is in the store") {
		t.Errorf("it says %q", out)
	}
	got, err := getxattr(m.in("small"), durable)
	if err != nil || !strings.HasPrefix(got, "bucket ") {
		t.Errorf("small is %q, %v", got, err)
	}
	eventually(t, "the other program is still at it", time.Minute, func() bool {
		other, err := getxattr(m.in("big"), durable)
		must(t, err)
		return other == "no"
	})
	out := m.ok("wait", "--json", m.in("small"))
	if !strings.Contains(out, `"stored"`) {
		t.Errorf("--json gives %s", out)
	}
	e := m.another().mount("--read-only")
	if got := string(read(t, e.m.in("small"))); got != "small" {
		t.Errorf("another machine reads %q", got)
	}
	e.umount()
	close(stop)
	must(t, <-stopped)
	must(t, errors.Join(small.Close(), big.Close()))
	m.ok("wait", m.mnt)
	d.umount()
}

// hushfs wait opens files to have them synced and reads none: no time of reading is left
// behind, by which a file that is in the store would have something to be sent again.
func TestWaitReadsNothing(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	f, err := os.Create(m.in("f"))
	must(t, err)
	defer f.Close()
	_, err = f.WriteString("1")
	must(t, errors.Join(err, f.Sync()))
	old := unix.Timespec{Sec: 1 << 30}
	for what, path := range map[string]string{"the file": m.in("f"), "all": m.mnt} {
		must(t, unix.UtimesNanoAt(unix.AT_FDCWD, m.in("f"), []unix.Timespec{old, old}, 0))
		m.ok("wait", path)
		if got := statx(t, m.in("f"), unix.AT_STATX_FORCE_SYNC, unix.STATX_BASIC_STATS).Atime; got.Sec != old.Sec {
			t.Errorf("%s was waited for, and the file was read at %d", what, got.Sec)
		}
		if got, err := getxattr(m.in("f"), durable); err != nil || !strings.HasPrefix(got, "bucket ") {
			t.Errorf("%s was waited for, and the file is %q, %v", what, got, err)
		}
	}
	must(t, f.Close())
	d.umount()
}
