package integration

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

// bus is a system bus of a test's own, with a logind on it that is a few lines of
// this file.
type bus struct {
	t       testing.TB
	socket  string
	process *exec.Cmd
	conn    *dbus.Conn
	limit   time.Duration // InhibitDelayMaxSec

	mu    sync.Mutex // guards what follows
	asked []string   // what, who and mode of each lock that was asked for
	locks []lockEnds
}

// lockEnds are the ends of a lock: ours, and a copy of the one that was given away.
type lockEnds struct{ ours, theirs *os.File }

const (
	login1        = "org.freedesktop.login1"
	login1Path    = "/org/freedesktop/login1"
	login1Manager = "org.freedesktop.login1.Manager"
)

// newBus starts a bus at which the machine's hushfs will look for logind.
func newBus(t testing.TB, m *machine, limit time.Duration) *bus {
	t.Helper()
	b := &bus{t: t, socket: m.at("bus"), limit: limit}
	m.settings = append(m.settings, "DBUS_SYSTEM_BUS_ADDRESS=unix:path="+b.socket)
	t.Cleanup(b.kill)
	b.start(m)
	return b
}

func (b *bus) start(m *machine) {
	b.t.Helper()
	config := m.at("bus.conf")
	must(b.t, os.WriteFile(config, []byte(`<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=`+b.socket+`</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy>
</busconfig>`), 0o600))
	c := exec.Command("dbus-daemon", "--nofork", "--nopidfile", "--nosyslog", "--print-address", "--config-file="+config)
	out, err := c.StdoutPipe()
	must(b.t, err)
	c.Stderr = os.Stderr
	must(b.t, c.Start())
	b.process = c
	_, err = bufio.NewReader(out).ReadString('\n') // it listens
	must(b.t, err)
	b.conn, err = dbus.Connect("unix:path=" + b.socket)
	must(b.t, err)
	must(b.t, b.conn.ExportMethodTable(map[string]any{"Inhibit": b.inhibit}, login1Path, login1Manager))
	must(b.t, b.conn.ExportMethodTable(map[string]any{"Get": b.get}, login1Path, "org.freedesktop.DBus.Properties"))
	reply, err := b.conn.RequestName(login1, dbus.NameFlagDoNotQueue)
	must(b.t, err)
	if reply != dbus.RequestNameReplyPrimaryOwner {
		b.t.Fatalf("the name of logind: %v", reply)
	}
}

// kill ends the bus, if it is there.
func (b *bus) kill() {
	if b.process == nil {
		return
	}
	b.conn.Close()
	must(b.t, b.process.Process.Kill())
	b.process.Wait() // it was killed
	b.process = nil
}

// inhibit is logind's method.
func (b *bus) inhibit(what, who, why, mode string) (dbus.UnixFD, *dbus.Error) {
	ours, theirs, err := os.Pipe()
	if err != nil || why == "" {
		return 0, dbus.MakeFailedError(errors.Join(err, errors.New("no lock")))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, what+" "+who+" "+mode)
	b.locks = append(b.locks, lockEnds{ours, theirs})
	return dbus.UnixFD(theirs.Fd()), nil
}

// get is the method by which logind's properties are read.
func (b *bus) get(_, name string) (dbus.Variant, *dbus.Error) {
	if name != "InhibitDelayMaxUSec" {
		return dbus.Variant{}, dbus.MakeFailedError(errors.New("no such property"))
	}
	return dbus.MakeVariant(uint64(b.limit / time.Microsecond)), nil
}

// held waits until the daemon has its nth lock, and returns the end by which it is
// seen that the daemon lets go of it.
func (b *bus) held(d *daemon, n int) *os.File {
	b.t.Helper()
	eventually(b.t, "the daemon holds a lock", time.Minute, func() bool { return d.count("told before this machine stops") >= n })
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.asked) != n || b.asked[n-1] != "shutdown:sleep hushfs delay" {
		b.t.Fatalf("locks that were asked for: %q", b.asked)
	}
	l := b.locks[n-1]
	must(b.t, l.theirs.Close()) // it has its own copy
	b.t.Cleanup(func() { l.ours.Close() })
	return l.ours
}

// letGo waits until the daemon lets go of a lock, for at most as long as logind
// would, and some more for a busy machine.
func (b *bus) letGo(lock *os.File) {
	b.t.Helper()
	must(b.t, lock.SetReadDeadline(time.Now().Add(b.limit+patience)))
	if _, err := lock.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		b.t.Fatalf("the lock is held still: %v", err)
	}
}

// announce is a signal of logind.
func (b *bus) announce(signal string, before bool) {
	b.t.Helper()
	must(b.t, b.conn.Emit(login1Path, login1Manager+"."+signal, before))
}

// unsynced writes a file that stays open, and of which nobody but the kernel knows.
func unsynced(t testing.TB, path string, b []byte) *os.File {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	_, err = f.Write(b)
	must(t, err)
	return f
}

// A machine that shuts down waits until everything is in the store, also what
// programs keep open; the mount stays, for they will save more when they are told
// to end.
func TestShutdownIsWaitedFor(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	b := newBus(t, m, 30*time.Second)
	d := m.mount("-v", "--test-store-delay", "300ms")
	lock := b.held(d, 1)
	f := unsynced(t, m.in("open"), pattern(7, 0, 300_000))
	b.announce("PrepareForShutdown", true)
	b.letGo(lock)
	for _, want := range []string{"about to stop", "everything written so far is in the journal", "everything is in the store"} {
		if !strings.Contains(d.logged(), want) {
			t.Errorf("the log does not say %q", want)
		}
	}
	e := m.another().mount("--read-only")
	if got := read(t, e.m.in("open")); string(got) != string(pattern(7, 0, 300_000)) {
		t.Errorf("another machine sees %d bytes", len(got))
	}
	e.umount()
	if !mounted(m.mnt) {
		t.Error("the mount is gone")
	}
	// It was called off.
	b.announce("PrepareForShutdown", false)
	lock = b.held(d, 2)
	must(t, f.Close())
	d.umount()
	b.letGo(lock)
}

// With a store that is away, a machine that shuts down waits no longer than it was
// told, and what was written is in the journal.
func TestShutdownWithTheStoreAway(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	b := newBus(t, m, 15*time.Second)
	d := m.mount("-v")
	m.put("first") // it is a device then
	m.ok("wait", m.mnt)
	must(t, os.Rename(m.store, m.store+".away"))
	lock := b.held(d, 1)
	unsynced(t, m.in("open"), pattern(8, 0, 300_000))
	b.announce("PrepareForShutdown", true)
	b.letGo(lock)
	if log := d.logged(); !strings.Contains(log, "not everything is in the store; the rest is safe in the journal") {
		t.Errorf("the log does not say that something is left:\n%s", log)
	}
	d.kill()
	must(t, os.Rename(m.store+".away", m.store))
	d = m.mount()
	if got := read(t, m.in("open")); string(got) != string(pattern(8, 0, 300_000)) {
		t.Errorf("after the shutdown the file has %d bytes", len(got))
	}
	d.umount()
}

// Before the machine sleeps what is in memory goes to the journal, and nothing is
// waited for; when it is awake again there is a new lock, and what waits is sent.
func TestSleepIsSafe(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	b := newBus(t, m, 30*time.Second)
	d := m.mount("-v")
	m.put("first")
	m.ok("wait", m.mnt)
	must(t, os.Rename(m.store, m.store+".away"))
	lock := b.held(d, 1)
	unsynced(t, m.in("open"), pattern(9, 0, 300_000))
	b.announce("PrepareForSleep", true)
	b.letGo(lock)
	if !strings.Contains(d.logged(), "everything written so far is in the journal") {
		t.Errorf("the log does not say that it is in the journal:\n%s", d.logged())
	}
	b.announce("PrepareForSleep", false)
	lock = b.held(d, 2)
	if !strings.Contains(d.logged(), "the machine is awake again") {
		t.Error("the daemon does not know that it was asleep")
	}
	d.kill()
	b.letGo(lock) // as logind does, with the process
	must(t, os.Rename(m.store+".away", m.store))
	d = m.mount()
	if got := read(t, m.in("open")); string(got) != string(pattern(9, 0, 300_000)) {
		t.Errorf("after the kill the file has %d bytes", len(got))
	}
	d.umount()
}

// Without a bus nothing is said by default; a bus that comes, goes and comes again
// is found.
func TestBusComesAndGoes(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	m.put("a")
	d.umount()
	if log := strings.ToLower(d.logged()); strings.Contains(log, "logind") || strings.Contains(log, "bus") || strings.Contains(log, "sleeps") {
		t.Errorf("a machine without a bus is told about it:\n%s", log)
	}
	d = m.mount("-v")
	eventually(t, "a debug line", time.Minute, func() bool { return d.count("no word will come before this machine stops") == 1 })
	d.umount()

	b := newBus(t, m, 10*time.Second)
	d = m.mount("-v")
	b.held(d, 1)
	b.kill()
	m.put("b")
	b.start(m)
	lock := b.held(d, 2)
	must(t, d.cmd.Process.Signal(syscall.SIGTERM))
	if code := d.await(); code != 0 {
		t.Errorf("the daemon ended with code %d", code)
	}
	b.letGo(lock)
	if n := d.count("no word will come"); n > 1 {
		t.Errorf("it is said %d times that there is no bus", n)
	}
}
