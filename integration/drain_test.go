package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// slowly is a store with which a drain takes some seconds. How much of it is still to come
// when a test looks depends on the machine that runs the test: what needs something to be
// on its way has the store held.
var slowly = []string{"--test-store-delay", "700ms"}

// mountHeld mounts with a store that takes nothing before let is called: a machine that is
// a device already can go on only into its journal.
func (m *machine) mountHeld(flags ...string) (d *daemon, let func()) {
	m.t.Helper()
	held := m.at("held")
	must(m.t, os.WriteFile(held, nil, 0o600))
	d = m.start([]string{"HUSHFS_HELD_STORE=" + held}, m.mountArgs(flags...)...)
	d.awaitMounted()
	return d, func() { must(m.t, os.Remove(held)) }
}

// fill writes a few packs' worth, all of it synced.
func fill(t *testing.T, m *machine) {
	t.Helper()
	for i := range 6 {
		must(t, writeSynced(m.in(fmt.Sprint("file", i)), os.O_CREATE, pattern(uint64(i), 0, 3<<20)))
	}
	must(t, syncFolder(m.mnt))
}

func checkFilled(t *testing.T, m *machine) {
	t.Helper()
	for i := range 6 {
		b, err := os.ReadFile(m.in(fmt.Sprint("file", i)))
		if err != nil || string(b) != string(pattern(uint64(i), 0, 3<<20)) {
			t.Errorf("file%d: %d bytes, %v", i, len(b), err)
		}
	}
}

// Plain umount: the mount is gone at once, the daemon sends the rest and ends.
func TestPlainUmountDrains(t *testing.T) {
	t.Parallel()
	m := newDrive(t).enrolled()
	d, let := m.mountHeld()
	fill(t, m)
	m.plainUmount() // comes back although nothing is sent
	if mounted(m.mnt) {
		t.Error("still mounted")
	}
	eventually(t, "it drains", time.Minute, func() bool {
		s := m.status()
		return len(s) == 1 && s[0].Phase == "draining" && s[0].PID == d.cmd.Process.Pid
	})
	if d.ended() {
		t.Fatal("the daemon ended without a drain")
	}
	let()
	if code := d.await(); code != 0 {
		t.Fatalf("the daemon ended with code %d", code)
	}
	e := m.another().mount()
	checkFilled(t, e.m)
	e.umount()
}

// kill -9 during the drain loses nothing: the next mount sends what is left.
func TestKilledWhileDraining(t *testing.T) {
	t.Parallel()
	m := newDrive(t).enrolled()
	d, _ := m.mountHeld()
	fill(t, m)
	m.plainUmount()
	eventually(t, "it drains", time.Minute, func() bool {
		s := m.status()
		return len(s) == 1 && s[0].Phase == "draining"
	})
	d.kill()
	d = m.mount()
	checkFilled(t, m)
	d = d.remount()
	checkFilled(t, d.m)
	d.umount()
}

// A mount while the daemon of the last one still drains says so and joins in.
func TestMountJoinsADrain(t *testing.T) {
	t.Parallel()
	m := newDrive(t).enrolled()
	d, let := m.mountHeld()
	fill(t, m)
	m.plainUmount()
	e := m.start(nil, m.mountArgs()...)
	want := fmt.Sprintf("pid %d still sends", d.cmd.Process.Pid)
	eventually(t, "the second mount says "+want, time.Minute, func() bool { return strings.Contains(e.logged(), want) })
	let()
	e.awaitMounted()
	if code := d.await(); code != 0 {
		t.Errorf("the first daemon ended with code %d", code)
	}
	checkFilled(t, m)
	e.umount()
}

// hushfs umount with --no-wait and --timeout say what waits, by exit code too,
// and the daemon goes on.
func TestUmountThatDoesNotWait(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		flags []string
		code  int
	}{
		{[]string{"--no-wait"}, 14},
		{[]string{"--timeout", "5s"}, 13},
	} {
		t.Run(c.flags[0], func(t *testing.T) {
			t.Parallel()
			m := newDrive(t).enrolled()
			d, let := m.mountHeld()
			fill(t, m)
			m.refused(c.code, []string{"not everything is in the store", fmt.Sprint("Pid ", d.cmd.Process.Pid), "hushfs status"},
				append(append([]string{"umount"}, c.flags...), m.mnt)...)
			let()
			if code := d.await(); code != 0 {
				t.Errorf("the daemon ended with code %d", code)
			}
			e := m.another().mount()
			checkFilled(t, e.m)
			e.umount()
		})
	}
}

// hushfs wait returns when all that was written is in the store, also what a
// program has not closed or synced; and in time when it is not.
func TestWait(t *testing.T) {
	t.Parallel()
	m := newDrive(t).enrolled()
	d, let := m.mountHeld()
	f, err := os.Create(m.in("open"))
	must(t, err)
	defer f.Close()
	_, err = f.Write(pattern(5, 0, 500_000))
	must(t, err)
	m.refused(13, []string{"not everything of it is in the store yet", "hushfs status"}, "wait", "--timeout", "5s", m.in("open"))
	m.refused(2, []string{"nothing is at " + m.in("none"), "typing error"}, "wait", m.in("none"))
	let()
	m.ok("wait", m.in("open"))
	if s := m.status(); len(s) != 1 || !s[0].Volume.Stored {
		t.Errorf("status after wait: %+v", s)
	}
	// What another machine sees now is what was written, though the file is open.
	e := m.another().mount("--read-only")
	if b, err := os.ReadFile(e.m.in("open")); err != nil || string(b) != string(pattern(5, 0, 500_000)) {
		t.Errorf("another machine sees %d bytes, %v", len(b), err)
	}
	e.umount()
	must(t, f.Close())
	d.umount()
	m.refused(10, []string{"no mounted drive"}, "wait", m.mnt)
}

// SIGTERM to the daemon is an orderly lock.
func TestTerminated(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	fill(t, m)
	must(t, d.cmd.Process.Signal(os.Interrupt))
	if code := d.await(); code != 0 {
		t.Errorf("the daemon ended with code %d", code)
	}
	if mounted(m.mnt) {
		t.Error("still mounted")
	}
	e := m.another().mount()
	checkFilled(t, e.m)
	e.umount()
}

// umount without a terminal says by lines how far it is and what it waits for;
// with --json it says nothing but the result; on a terminal there is a bar.
func TestUmountShowsHowFarItIs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		args  func(m *machine) []string
		waits string // what it says before anything is sent
		check func(t *testing.T, r result)
	}{
		{"lines", func(m *machine) []string { return []string{hushfs, "umount", m.mnt} }, "6 files (18 MiB) wait", func(t *testing.T, r result) {
			if strings.Contains(r.stderr, "\r") {
				t.Errorf("it says\n%s", r.stderr)
			}
		}},
		{"JSON", func(m *machine) []string { return []string{hushfs, "umount", "--json", m.mnt} }, "", func(t *testing.T, r result) {
			var o struct {
				Locked struct{ Stored bool }
			}
			if err := json.Unmarshal([]byte(r.stdout), &o); err != nil || !o.Locked.Stored || r.stderr != "" {
				t.Errorf("%v\n%s\n%s", err, r.stdout, r.stderr)
			}
		}},
		{"terminal", func(m *machine) []string {
			return []string{"script", "-qec", hushfs + " umount " + m.mnt, "/dev/null"}
		}, "6 files (18 MiB) wait", func(t *testing.T, r result) {
			if !strings.Contains(r.stdout, "%") || !strings.Contains(r.stdout, "\r") {
				t.Errorf("it shows %q", r.stdout)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := newDrive(t).enrolled()
			d, let := m.mountHeld(slowly...)
			fill(t, m)
			allExecuted()
			args := c.args(m)
			p := m.command(t.Context(), args[0], args[1:]...)
			stdout, err := os.Create(m.at("stdout"))
			must(t, err)
			defer stdout.Close()
			stderr, err := os.Create(m.at("stderr"))
			must(t, err)
			defer stderr.Close()
			p.Stdout, p.Stderr = stdout, stderr
			must(t, p.Start())
			said := func() (string, string) { return string(read(t, stdout.Name())), string(read(t, stderr.Name())) }
			eventually(t, "it says what waits", time.Minute, func() bool {
				out, errs := said()
				return strings.Contains(out+errs, c.waits)
			})
			let()
			p.Wait() // its exit code is looked at
			r := result{code: p.ProcessState.ExitCode()}
			r.stdout, r.stderr = said()
			if r.code != 0 {
				t.Errorf("exit code %d:\n%s%s", r.code, r.stdout, r.stderr)
			}
			c.check(t, r)
			if code := d.await(); code != 0 {
				t.Errorf("the daemon ended with code %d", code)
			}
		})
	}
}

// Ctrl-C during umount leaves the rest in the journal and says how much it is and
// what happens to it; so does a server that cannot be reached.
func TestUmountInterrupted(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	m.put("first")
	m.ok("wait", m.mnt)
	must(t, os.Rename(m.store, m.store+".away"))
	fill(t, m)
	allExecuted()
	c := m.command(t.Context(), hushfs, "umount", m.mnt)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	must(t, c.Start())
	eventually(t, "it drains", time.Minute, func() bool {
		s := m.status()
		return len(s) == 1 && s[0].Phase == "draining" && s[0].Volume.Offline != ""
	})
	must(t, c.Process.Signal(os.Interrupt))
	c.Wait()
	checkRefusal(t, result{c.ProcessState.ExitCode(), "", stderr.String()}, 14,
		[]string{"interrupted", "changes, 6 files (18 MiB) wait in the sealed journal", "the store cannot be reached", fmt.Sprint("Pid ", d.cmd.Process.Pid), "the next mount on it sends the rest"})
	must(t, os.Rename(m.store+".away", m.store))
	if code := d.await(); code != 0 {
		t.Errorf("the daemon ended with code %d", code)
	}
	e := m.another().mount()
	checkFilled(t, e.m)
	e.umount()
}

// After a conflict umount has sent both sides of it.
func TestUmountAfterAConflict(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	n := m.another()
	e := n.mount()
	n.put("of n")
	n.ok("wait", n.mnt)
	m.put("same")
	m.ok("wait", m.mnt)
	must(t, os.WriteFile(n.in("same"), []byte("another"), 0o644))
	e.umount()
	m.ok("sync")
	found, err := filepath.Glob(m.in("same*"))
	must(t, err)
	if len(found) != 2 {
		t.Errorf("there are %q", found)
	}
	d.umount()
}
