package integration

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stuckStore is a store that takes nothing more: a machine that is a device already can
// go on only into its journal.
var stuckStore = []string{"--test-store-delay", "1h"}

// enrolled makes the machine a device, so that it can write without the store.
func (m *machine) enrolled() *machine {
	m.t.Helper()
	d := m.mount()
	m.put("first")
	d.umount()
	return m
}

// background mounts as users do, and returns the daemon's pid.
func (m *machine) background(flags ...string) int {
	m.t.Helper()
	var r struct {
		Mounted status `json:"mounted"`
	}
	must(m.t, json.Unmarshal([]byte(m.ok(append([]string{"--json"}, m.mountArgs(flags...)...)...)), &r))
	m.reap(r.Mounted.PID)
	return r.Mounted.PID
}

// reap kills a process that is no child of ours at the end of the test.
func (m *machine) reap(pid int) {
	m.t.Cleanup(func() {
		if alive(pid) {
			must(m.t, syscall.Kill(pid, syscall.SIGKILL))
			eventually(m.t, "it is gone", patience, func() bool { return !alive(pid) })
		}
	})
}

// gone waits for the end of a process that is no child of ours.
func gone(t testing.TB, pid int) {
	t.Helper()
	eventually(t, "the process ends", patience, func() bool { return !alive(pid) })
}

// anotherHas wants a new machine to find what fill wrote.
func anotherHas(t *testing.T, m *machine) {
	t.Helper()
	e := m.another().mount()
	checkFilled(t, e.m)
	e.umount()
}

// One SIGTERM, SIGINT or SIGHUP, in the foreground and in the background, is an
// orderly lock: the rest is sent.
func TestOneSignalDrains(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		signal     syscall.Signal
		background bool
	}{
		{"SIGTERM in the background", syscall.SIGTERM, true},
		{"SIGHUP in the background", syscall.SIGHUP, true},
		{"SIGTERM", syscall.SIGTERM, false},
		{"SIGHUP", syscall.SIGHUP, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := newDrive(t)
			var d *daemon
			pid := 0
			if c.background {
				pid = m.background(slowly...)
			} else {
				d = m.mount(slowly...)
				pid = d.cmd.Process.Pid
			}
			fill(t, m)
			must(t, syscall.Kill(pid, c.signal))
			gone(t, pid)
			if d != nil && d.await() != 0 {
				t.Errorf("the daemon ended with code %d", d.await())
			}
			if mounted(m.mnt) {
				t.Error("still mounted")
			}
			anotherHas(t, m)
		})
	}
}

// A second signal leaves the rest in the journal, and the next mount sends it.
func TestSecondSignalLeavesTheJournal(t *testing.T) {
	t.Parallel()
	for _, background := range []bool{false, true} {
		t.Run(strconv.FormatBool(background), func(t *testing.T) {
			t.Parallel()
			m := newDrive(t).enrolled()
			var d *daemon
			pid := 0
			if background {
				pid = m.background(stuckStore...)
			} else {
				d = m.mount(stuckStore...)
				pid = d.cmd.Process.Pid
			}
			fill(t, m)
			must(t, syscall.Kill(pid, syscall.SIGINT))
			eventually(t, "it drains", time.Minute, func() bool {
				s := m.status()
				return len(s) == 1 && s[0].Phase == "draining"
			})
			must(t, syscall.Kill(pid, syscall.SIGINT))
			gone(t, pid)
			if d != nil && d.await() != 14 {
				t.Errorf("the daemon ended with code %d, want 14", d.await())
			}
			d = m.mount()
			checkFilled(t, m)
			d = d.remount()
			checkFilled(t, d.m)
			d.umount()
		})
	}
}

// Where even that hangs, as on a network disk whose server is gone, a third signal
// ends the daemon at once.
func TestThirdSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	disk := newDrive(t)
	under := disk.mount()
	m := newMachine(t)
	m.store = disk.in("store")
	m.init()
	m.enrolled()
	d := m.mount()
	must(t, under.cmd.Process.Signal(syscall.SIGSTOP))
	t.Cleanup(func() { under.cmd.Process.Signal(syscall.SIGCONT) })
	fill(t, m)
	for _, said := range []string{"unmounted; sending", "told to leave the rest", "ended at once"} {
		must(t, d.cmd.Process.Signal(syscall.SIGTERM))
		eventually(t, "the log says "+said, time.Minute, func() bool { return d.count(said) > 0 })
	}
	if code := d.await(); code != 14 {
		t.Errorf("the daemon ended with code %d, want 14", code)
	}
	must(t, under.cmd.Process.Signal(syscall.SIGCONT))
	d = m.mount()
	checkFilled(t, m)
	d.umount()
	under.umount()
}

// At the end of --drain-timeout the rest stays in the journal, whether the store is
// slow or away, and the next mount sends it.
func TestDrainTimeout(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		flags []string
		away  bool
		end   func(d *daemon)
	}{
		{"a slow store, plain umount", stuckStore, false, func(d *daemon) { d.m.plainUmount() }},
		{"the store is away, plain umount", nil, true, func(d *daemon) { d.m.plainUmount() }},
		{"a slow store, SIGTERM", stuckStore, false, func(d *daemon) { must(d.t, d.cmd.Process.Signal(syscall.SIGTERM)) }},
		{"a slow store, umount", stuckStore, false, func(d *daemon) {
			d.m.refused(14, []string{"not in the store", "the next mount sends it"}, "umount", d.m.mnt)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := newDrive(t).enrolled()
			d := m.mount(append([]string{"--drain-timeout", "2s"}, c.flags...)...)
			if c.away {
				must(t, os.Rename(m.store, m.store+".away"))
			}
			fill(t, m)
			c.end(d)
			if code := d.await(); code != 14 {
				t.Errorf("the daemon ended with code %d, want 14", code)
			}
			if !strings.Contains(d.logged(), "not everything is in the store") {
				t.Errorf("the log does not say it:\n%s", d.logged())
			}
			if c.away {
				must(t, os.Rename(m.store+".away", m.store))
			}
			d = m.mount()
			checkFilled(t, m)
			d.umount()
			anotherHas(t, m)
		})
	}
}

// A mount that would have to wait for a drain longer than it was told to says so,
// and the drain goes on.
func TestMountDoesNotWaitForADrain(t *testing.T) {
	t.Parallel()
	m := newDrive(t).enrolled()
	d, let := m.mountHeld()
	fill(t, m)
	m.plainUmount()
	m.refused(13, []string{"has not finished sending", "Pid " + itoa(d.cmd.Process.Pid)}, m.mountArgs("--timeout", "200ms")...)
	let()
	if code := d.await(); code != 0 {
		t.Errorf("the daemon ended with code %d", code)
	}
	anotherHas(t, m)
}

// A umount that is killed has no part in the drain.
func TestUmountKilled(t *testing.T) {
	t.Parallel()
	m := newDrive(t).enrolled()
	d, let := m.mountHeld()
	fill(t, m)
	allExecuted()
	c := m.command(t.Context(), hushfs, "umount", m.mnt)
	must(t, c.Start())
	eventually(t, "it drains", time.Minute, func() bool {
		s := m.status()
		return len(s) == 1 && s[0].Phase == "draining"
	})
	must(t, c.Process.Kill())
	c.Wait() // it was killed
	let()
	if code := d.await(); code != 0 {
		t.Errorf("the daemon ended with code %d", code)
	}
	anotherHas(t, m)
}

// The terminal of a mount in the foreground goes away: that is a SIGHUP. One in the
// background has none.
func TestTerminalClosed(t *testing.T) {
	t.Parallel()
	t.Run("foreground", func(t *testing.T) {
		t.Parallel()
		m := newDrive(t)
		pidFile := m.at("pid")
		c := m.command(t.Context(), "script", "-qec", "sh -c 'echo $$ >"+pidFile+"; exec "+hushfs+" mount -f --passphrase-file "+m.pass+" "+m.store+" "+m.mnt+"'", "/dev/null")
		in, err := c.StdinPipe() // script must not take the end of its input for the end
		must(t, err)
		defer in.Close()
		must(t, c.Start())
		eventually(t, "mounted", time.Minute, func() bool { return mounted(m.mnt) && len(m.status()) == 1 })
		pid, err := strconv.Atoi(strings.TrimSpace(string(read(t, pidFile))))
		must(t, err)
		m.reap(pid)
		fill(t, m)
		must(t, c.Process.Kill()) // the terminal is gone with its other end
		c.Wait()                  // it was killed
		gone(t, pid)
		if mounted(m.mnt) {
			t.Error("still mounted")
		}
		anotherHas(t, m)
	})
	t.Run("background", func(t *testing.T) {
		t.Parallel()
		m := newDrive(t)
		r := finish(t, m.command(t.Context(), "script", "-qec", hushfs+" mount --passphrase-file "+m.pass+" "+m.store+" "+m.mnt, "/dev/null"))
		if r.code != 0 {
			t.Fatalf("exit code %d:\n%s%s", r.code, r.stdout, r.stderr)
		}
		s := m.status()
		if len(s) != 1 || s[0].Phase != "mounted" {
			t.Fatalf("without its terminal: %+v", s)
		}
		m.reap(s[0].PID)
		fill(t, m)
		m.ok("umount", m.mnt)
		anotherHas(t, m)
	})
}

// Whoever reads the log of a mount in the foreground may go away: it goes on, and
// drains when it is told to.
func TestLogReaderGone(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	ours, theirs, err := os.Pipe()
	must(t, err)
	args := m.mountArgs("-v", "-f")
	c := m.command(t.Context(), hushfs, args...)
	c.Stdout, c.Stderr = theirs, theirs
	must(t, c.Start())
	m.reap(c.Process.Pid)
	must(t, theirs.Close())
	eventually(t, "mounted", time.Minute, func() bool { return mounted(m.mnt) && len(m.status()) == 1 })
	must(t, ours.Close())
	fill(t, m)
	m.ok("wait", m.mnt) // which is logged, with -v
	must(t, c.Process.Signal(syscall.SIGTERM))
	if err := c.Wait(); err != nil {
		t.Errorf("the daemon ended: %v", err)
	}
	if mounted(m.mnt) {
		t.Error("still mounted")
	}
	anotherHas(t, m)
}

// The shell that started a mount in the foreground dies: the mount does not care.
func TestParentDies(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	pidFile := m.at("pid")
	c := m.command(t.Context(), "sh", "-c", `"$@" & echo $! >"$0.new" && mv "$0.new" "$0"; wait`, pidFile, hushfs)
	c.Args = append(c.Args, append([]string{"mount", "-f"}, m.mountArgs()[1:]...)...)
	must(t, c.Start())
	eventually(t, "mounted", time.Minute, func() bool { return mounted(m.mnt) && len(m.status()) == 1 })
	pid, err := strconv.Atoi(strings.TrimSpace(string(read(t, pidFile))))
	must(t, err)
	m.reap(pid)
	must(t, c.Process.Kill())
	c.Wait() // it was killed
	fill(t, m)
	if s := m.status(); len(s) != 1 || s[0].PID != pid || s[0].Phase != "mounted" {
		t.Errorf("after its parent died: %+v", s)
	}
	m.ok("umount", m.mnt)
	gone(t, pid)
	anotherHas(t, m)
}

// A mount that is killed while the passphrase is asked for takes the processes with
// it that ask, and leaves nothing that a further mount would stumble on.
func TestKilledWhileUnlocking(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	pidFile := m.at("pid")
	c := m.command(t.Context(), hushfs, "mount", "-f", "--passphrase-command", "echo $$ >"+pidFile+".new && mv "+pidFile+".new "+pidFile+"; exec sleep 1000", m.store, m.mnt)
	must(t, c.Start())
	var pid int
	eventually(t, "the passphrase is asked for", time.Minute, func() bool {
		b, err := os.ReadFile(pidFile)
		if errors.Is(err, os.ErrNotExist) {
			return false
		}
		must(t, err)
		pid, err = strconv.Atoi(strings.TrimSpace(string(b)))
		return err == nil
	})
	m.reap(pid)
	must(t, c.Process.Kill())
	c.Wait() // it was killed
	gone(t, pid)
	if _, err := filepath.Glob(m.mnt); err != nil || mounted(m.mnt) {
		t.Errorf("something is mounted: %v", err)
	}
	m.mount().umount()
}

// kill -9 of a mount that has just begun leaves nothing that the next one does not
// clean up, be that the lock, the socket or a mount that hangs.
func TestKilledWhileMounting(t *testing.T) {
	t.Parallel()
	m := newDrive(t).enrolled()
	for _, c := range []struct {
		name string
		far  func(pid int) bool
	}{
		{"it has the lock", func(pid int) bool {
			b, err := os.ReadFile(filepath.Join(m.stateDir(), "lock"))
			return err == nil && strings.Contains(string(b), `"pid":`+itoa(pid)+",")
		}},
		{"it has its socket", func(int) bool {
			found, err := filepath.Glob(m.at("run", "hushfs", "*.sock"))
			return err == nil && len(found) > 0
		}},
		{"it has its mount", func(int) bool { return mounted(m.mnt) }},
	} {
		// What the one before has left must not be taken for this one's.
		must(t, os.RemoveAll(m.at("run", "hushfs")))
		d := m.start(nil, m.mountArgs()...)
		eventually(t, c.name, time.Minute, func() bool { return c.far(d.cmd.Process.Pid) })
		d.kill()
	}
	d := m.mount()
	m.has("first")
	m.put("a")
	d.umount()
}
