package integration

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// canary is a text that is nowhere by accident.
func canary(what string) string {
	b := make([]byte, 6)
	rand.Read(b)
	return what + "-" + hex.EncodeToString(b)
}

// canaries are all that a program can tell a drive.
type canaries struct{ folder, name, link, target, body, attribute, value, drive string }

func newCanaries() canaries {
	return canaries{canary("folder"), canary("name"), canary("link"), canary("target"), canary("body"), canary("user.attribute"), canary("value"), canary("drive")}
}

func (f canaries) all() []string {
	return []string{f.folder, f.name, f.link, f.target, f.body, f.attribute, f.value, f.drive}
}

// fly puts the canaries everywhere, small and large, and syncs.
func (f canaries) fly(m *machine, at string) {
	t := m.t
	dir := m.in(f.folder, at)
	must(t, os.MkdirAll(dir, 0o755))
	for suffix, n := range map[string]int{"": 10, "-large": 60_000} {
		path := filepath.Join(dir, f.name+suffix)
		must(t, writeSynced(path, os.O_CREATE, []byte(strings.Repeat(f.body+"\n", n))))
		must(t, unix.Setxattr(path, f.attribute, []byte(strings.Repeat(f.value, 30)), 0))
		must(t, os.Link(path, filepath.Join(dir, f.link+suffix)))
	}
	must(t, os.Symlink(f.target, filepath.Join(dir, f.link+"-soft")))
	must(t, os.Mkdir(filepath.Join(dir, f.name+"-dir"), 0o700))
	must(t, os.Rename(filepath.Join(dir, f.name+"-dir"), filepath.Join(dir, f.link+"-dir")))
	must(t, os.WriteFile(filepath.Join(dir, f.name+"-gone"), []byte(f.body), 0o600))
	must(t, os.Remove(filepath.Join(dir, f.name+"-gone")))
	must(t, syncFolder(dir))
}

// keepsNothing searches all that the machine has on its disk, and the store.
func keepsNothing(t *testing.T, m *machine, f canaries) {
	t.Helper()
	secrets := append(f.all(), passphrase)
	for line := range strings.Lines(string(read(t, m.words))) {
		if w := strings.Fields(line); len(w) >= 4 {
			secrets = append(secrets, strings.Join(w[:4], " "))
		}
	}
	searchTree(t, m, secrets)
}

// After a lock and after a kill, with a full journal, nothing that programs wrote is in
// the clear in any file, and no process but the daemon has any secret in its memory;
// the daemon has neither passphrase nor recovery words.
func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	needRoot(t) // to read the memory of a daemon
	f := newCanaries()
	m := newMachine(t)
	m.ok(m.initArgs("--name", f.drive)...)
	pid := m.background()
	f.fly(m, "stored")
	searchMemory(t, pid, []string{passphrase}, false)
	if !searchMemory(t, pid, []string{f.name}, true) {
		t.Error("the search of memory finds nothing: it proves nothing")
	}
	for _, p := range processesOf(t, m) {
		if p != pid {
			t.Errorf("process %d is left of the mount", p)
		}
	}
	m.ok("wait", m.mnt)
	m.ok("umount", m.mnt)
	gone(t, pid)
	keepsNothing(t, m, f)

	pid = m.background("--test-store-delay", "1h")
	f.fly(m, "waiting")
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	gone(t, pid)
	m.detach()
	keepsNothing(t, m, f)

	d := m.mount()
	if got := string(read(t, m.in(f.folder, "waiting", f.name))); got != strings.Repeat(f.body+"\n", 10) {
		t.Errorf("after the kill %d bytes are there", len(got))
	}
	d.umount()
	keepsNothing(t, m, f)
}

// processesOf are those whose environment is the machine's.
func processesOf(t *testing.T, m *machine) (pids []int) {
	t.Helper()
	found, err := filepath.Glob("/proc/[0-9]*/environ")
	must(t, err)
	for _, path := range found {
		if b, err := os.ReadFile(path); err == nil && bytes.Contains(b, []byte("HOME="+m.home+"\x00")) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			must(t, err)
			pids = append(pids, pid)
		}
	}
	return pids
}

// searchMemory looks for words in all memory of a process that can be written to, and
// reports whether it has one; unless that is expected, it is a fault.
func searchMemory(t *testing.T, pid int, words []string, expected bool) (found bool) {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	must(t, err)
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	must(t, err)
	defer mem.Close()
	searched := int64(0)
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var rights string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &rights); err != nil || !strings.HasPrefix(rights, "rw") {
			continue
		}
		const step, overlap = 1 << 20, 256
		for at := from; at < to; at += step {
			b := make([]byte, min(step+overlap, to-at))
			n, err := mem.ReadAt(b, at)
			if err != nil && n == 0 {
				break // never touched, or given back
			}
			searched += int64(n)
			for _, w := range words {
				if bytes.Contains(b[:n], []byte(w)) {
					if found = true; !expected {
						t.Errorf("process %d has %.12q… in its memory", pid, w)
					}
				}
			}
		}
	}
	if searched < 1<<20 {
		t.Errorf("only %d bytes of memory were searched", searched)
	}
	return found
}

// A daemon that crashes leaves no core file, whatever the limits are, and its last words
// hold no secret.
func TestNoCoreDump(t *testing.T) {
	t.Parallel()
	dumps := func(c *exec.Cmd, signal syscall.Signal) bool {
		must(t, c.Process.Signal(signal))
		_ = c.Wait()
		return c.ProcessState.Sys().(syscall.WaitStatus).CoreDump()
	}
	unlimited := func(m *machine, args ...string) *exec.Cmd {
		c := m.command(t.Context(), "sh", append([]string{"-c", "ulimit -c unlimited; cd \"$HOME\"; exec \"$@\"", "sh"}, args...)...)
		f, err := os.Create(m.at("last-words"))
		must(t, err)
		defer f.Close()
		c.Stdout, c.Stderr = f, f
		must(t, c.Start())
		return c
	}
	for _, signal := range []syscall.Signal{syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGSEGV} {
		t.Run(signal.String(), func(t *testing.T) {
			f := newCanaries()
			m := newDrive(t)
			other := unlimited(m, "sleep", "1h")
			eventually(t, "it sleeps", patience, func() bool {
				b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", other.Process.Pid))
				return string(b) == "sleep\n"
			})
			if !dumps(other, signal) {
				t.Log("this machine makes no core files of other programs either: the limit alone was looked at")
			}
			cores, err := filepath.Glob(m.at("core*"))
			must(t, err)
			for _, core := range cores {
				must(t, os.Remove(core))
			}
			args := m.mountArgs()
			c := unlimited(m, append([]string{hushfs, args[0], "-f"}, args[1:]...)...)
			eventually(t, "mounted", patience, func() bool { return strings.Contains(string(read(t, m.at("last-words"))), "Mounted at ") })
			f.fly(m, "x")
			limits := string(read(t, fmt.Sprintf("/proc/%d/limits", c.Process.Pid)))
			for line := range strings.Lines(limits) {
				if strings.HasPrefix(line, "Max core file size") && strings.Fields(line)[4] != "0" {
					t.Error(line)
				}
			}
			if dumps(c, signal) {
				t.Error("a core was dumped")
			}
			m.detach()
			if cores, err = filepath.Glob(m.at("core*")); err != nil || len(cores) > 0 {
				t.Errorf("core files %q, %v", cores, err)
			}
			search(t, "its last words", read(t, m.at("last-words")), append(f.all()[:7], passphrase))
		})
	}
}

// After 10,000 operations of every kind the daemon has as many goroutines and open files
// as before, and no more memory.
func TestNothingPilesUp(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	pid := d.cmd.Process.Pid
	rounds := 0
	ops := func(n int) {
		for end := rounds + n; rounds < end; rounds++ {
			everyKind(t, m.in(), rounds)
		}
		m.ok("wait", m.mnt)
	}
	const each = 30 // operations of a round, and more
	ops(1500 / each)
	before := m.counts(pid)
	ops(10_000 / each)
	var after counts
	// The kernel takes back inodes and files when it likes to.
	eventually(t, "all is as before", patience, func() bool {
		after = m.counts(pid)
		t.Logf("before %+v, after %+v", before, after)
		return after.goroutines <= before.goroutines+4 && after.files <= before.files+2 && after.anonymous <= before.anonymous+96<<20
	})
	d.umount()
}

// counts of a daemon.
type counts struct {
	goroutines, files int
	anonymous         int64 // bytes
}

func (m *machine) counts(pid int) (c counts) {
	m.t.Helper()
	var s struct {
		Mounts []struct {
			Goroutines int `json:"goroutines"`
		} `json:"mounts"`
	}
	must(m.t, json.Unmarshal([]byte(m.ok("status", "--json")), &s))
	if len(s.Mounts) != 1 || s.Mounts[0].Goroutines == 0 {
		m.t.Fatalf("status: %+v", s)
	}
	c.goroutines = s.Mounts[0].Goroutines
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	must(m.t, err)
	c.files = len(fds)
	for line := range strings.Lines(string(read(m.t, fmt.Sprintf("/proc/%d/status", pid)))) {
		if strings.HasPrefix(line, "RssAnon:") {
			kb, err := strconv.ParseInt(strings.Fields(line)[1], 10, 64)
			must(m.t, err)
			c.anonymous = kb << 10
		}
	}
	return c
}

// everyKind does about thirty operations, of every kind, in a folder, and leaves a few
// things behind.
func everyKind(t *testing.T, root string, round int) {
	t.Helper()
	dir := filepath.Join(root, fmt.Sprint("r", round%7), fmt.Sprint("s", round))
	in := func(name string) string { return filepath.Join(dir, name) }
	must(t, os.MkdirAll(dir, 0o755))
	f, err := os.Create(in("a"))
	must(t, err)
	_, err = f.Write(pattern(uint64(round), 0, 3000+round%5*40_000))
	must(t, err)
	_, err = f.WriteAt([]byte("beyond"), 1<<20)
	must(t, err)
	must(t, f.Sync())
	must(t, f.Truncate(5000))
	must(t, again(func() error {
		return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 1000, 2000)
	}))
	_, err = f.Seek(0, unix.SEEK_DATA)
	must(t, err)
	_, err = f.Seek(0, io.SeekStart)
	must(t, err)
	_, err = io.ReadAll(f)
	must(t, err)
	lock := unix.Flock_t{Type: unix.F_WRLCK, Len: 10}
	must(t, again(func() error { return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock) }))
	must(t, again(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }))
	m, err := unix.Mmap(int(f.Fd()), 0, 5000, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(t, err)
	m[10] = 1
	must(t, again(func() error { return unix.Msync(m, unix.MS_SYNC) }))
	must(t, unix.Munmap(m))
	must(t, os.Remove(in("a")))
	_, err = f.WriteAt([]byte("no name"), 0)
	must(t, err)
	must(t, f.Close())
	must(t, os.WriteFile(in("b"), []byte("b"), 0o644))
	must(t, os.Chmod(in("b"), 0o600))
	must(t, os.Chtimes(in("b"), time.Unix(1, 2), time.Unix(3, 4)))
	must(t, unix.Setxattr(in("b"), "user.x", bytes.Repeat([]byte("v"), 100), 0))
	_, err = unix.Listxattr(in("b"), make([]byte, 1000))
	must(t, err)
	_, err = unix.Getxattr(in("b"), "user.x", make([]byte, 1000))
	must(t, err)
	must(t, unix.Removexattr(in("b"), "user.x"))
	must(t, os.Link(in("b"), in("c")))
	must(t, os.Rename(in("c"), in("d")))
	if err := unix.Renameat2(unix.AT_FDCWD, in("b"), unix.AT_FDCWD, in("d"), unix.RENAME_NOREPLACE); !errors.Is(err, unix.EEXIST) {
		t.Errorf("rename onto a name that is there: %v", err)
	}
	must(t, os.Mkdir(in("sub"), 0o700))
	must(t, unix.Renameat2(unix.AT_FDCWD, in("sub"), unix.AT_FDCWD, in("d"), unix.RENAME_EXCHANGE))
	must(t, os.Symlink("target", in("soft")))
	_, err = os.Readlink(in("soft"))
	must(t, err)
	must(t, unix.Mkfifo(in("fifo"), 0o600))
	_, err = os.ReadDir(dir)
	must(t, err)
	var st unix.Statfs_t
	must(t, unix.Statfs(dir, &st))
	_, err = os.Stat(in("none"))
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a name that is not there: %v", err)
	}
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR, 0o600)
	must(t, err)
	_, err = unix.Pwrite(fd, []byte("tmp"), 0)
	must(t, err)
	must(t, unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, in("tmp"), unix.AT_SYMLINK_FOLLOW))
	must(t, unix.Close(fd))
	copied(t, in("tmp"), in("copy"))
	must(t, os.Remove(in("d"))) // the directory, by exchange
	must(t, os.Remove(in("soft")))
	must(t, os.Remove(in("fifo")))
	must(t, syncFolder(dir))
	if round%3 > 0 {
		must(t, os.RemoveAll(dir))
	}
}

// copied copies a file as the kernel does it by itself.
func copied(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	must(t, err)
	defer in.Close()
	out, err := os.Create(to)
	must(t, err)
	defer out.Close()
	_, err = unix.CopyFileRange(int(in.Fd()), nil, int(out.Fd()), nil, 1<<20, 0)
	must(t, err)
}
