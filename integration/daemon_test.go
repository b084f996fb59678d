package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// daemon is a hushfs mount -f that a test has started.
type daemon struct {
	t   testing.TB
	m   *machine
	cmd *exec.Cmd
	log string        // file of all that it printed
	end chan struct{} // closed when the process is gone
}

// mount mounts the drive in the foreground of a process of its own and returns
// when the mount answers.
func (m *machine) mount(flags ...string) *daemon {
	m.t.Helper()
	d := m.start(nil, m.mountArgs(flags...)...)
	d.awaitMounted()
	return d
}

// start starts hushfs with -f; env is added to the environment. It is killed at
// the end of the test, if it is still there.
func (m *machine) start(env []string, args ...string) *daemon {
	m.t.Helper()
	f, err := os.CreateTemp(m.home, "daemon*.log")
	must(m.t, err)
	defer f.Close()
	c := m.command(m.t.Context(), hushfs, append(args[:1:1], append([]string{"-f"}, args[1:]...)...)...)
	c.Env = append(c.Env, env...)
	c.Stdout, c.Stderr = f, f
	must(m.t, c.Start())
	d := &daemon{t: m.t, m: m, cmd: c, log: f.Name(), end: make(chan struct{})}
	go func() {
		defer close(d.end)
		c.Wait() // how it ended is in ProcessState
	}()
	m.t.Cleanup(func() {
		if m.t.Failed() {
			m.t.Logf("%s:\n%s", c, tail([]byte(d.logged())))
		}
	})
	m.t.Cleanup(d.kill)
	return d
}

// awaitMounted waits until the daemon has said so.
func (d *daemon) awaitMounted() {
	d.t.Helper()
	if !d.comesUp() {
		d.t.Fatalf("the daemon ended, %v:\n%s", d.cmd.ProcessState, d.logged())
	}
}

// comesUp waits until the drive is mounted, true, or the daemon has ended, false.
func (d *daemon) comesUp() bool {
	d.t.Helper()
	up := false
	eventually(d.t, "mounted", time.Minute, func() bool {
		up = strings.Contains(d.logged(), "Mounted at ")
		return up || d.ended()
	})
	return up
}

func (d *daemon) logged() string {
	b, err := os.ReadFile(d.log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		d.t.Error(err)
	}
	return string(b)
}

func (d *daemon) ended() bool {
	select {
	case <-d.end:
		return true
	default:
		return false
	}
}

// await waits for the daemon's end and returns its exit code, -1 if it was killed.
func (d *daemon) await() int {
	d.t.Helper()
	eventually(d.t, "the daemon ends", patience, d.ended)
	return d.cmd.ProcessState.ExitCode()
}

// halt stops the daemon by a signal and returns when none of its threads goes on: which
// they may for a while.
func (d *daemon) halt() {
	d.t.Helper()
	must(d.t, d.cmd.Process.Signal(syscall.SIGSTOP))
	eventually(d.t, "all threads are stopped", patience, func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/[0-9]*/stat", d.cmd.Process.Pid))
		must(d.t, err)
		for _, one := range threads {
			b, err := os.ReadFile(one)
			if err != nil || !bytes.Contains(b, []byte(") T ")) {
				return false
			}
		}
		return len(threads) > 0
	})
}

// kill is kill -9. The dead mount stays.
func (d *daemon) kill() {
	if err := d.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		d.t.Error(err)
	}
	<-d.end
}

// umount locks the drive by hushfs umount; everything must then be in the store
// and the daemon gone.
func (d *daemon) umount() {
	d.t.Helper()
	if r := d.m.run("umount", d.m.mnt); r.code != 0 {
		d.t.Fatalf("umount: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if code := d.await(); code != 0 {
		d.t.Fatalf("the daemon ended with code %d:\n%s", code, d.logged())
	}
	if mounted(d.m.mnt) {
		d.t.Fatal("still mounted")
	}
}

// remount locks the drive and mounts it on a machine that has nothing but the
// store and the passphrase.
func (d *daemon) remount(flags ...string) *daemon {
	d.t.Helper()
	d.umount()
	return d.m.another().mount(flags...)
}

// plainUmount is umount(8) by the machine's user.
func (m *machine) plainUmount() {
	m.t.Helper()
	allExecuted()
	c := m.command(m.t.Context(), "fusermount3", "-u", m.mnt)
	if r := finish(m.t, c); r.code != 0 {
		m.t.Fatalf("%s: %s", c, r.stderr)
	}
}

// alive reports whether a process is there and no zombie.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	b, err := os.ReadFile("/proc/" + itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(rest, "Z")
}
