package integration

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	readLock  = unix.F_RDLCK
	writeLock = unix.F_WRLCK
	noLock    = unix.F_UNLCK
)

// open has a puppet open path to read and write, as number id.
func (p *puppet) open(id int, path string) {
	p.t.Helper()
	p.want(0, order{Do: "open", ID: id, Path: path, N: []int64{unix.O_RDWR | unix.O_CREAT, 0o644}})
}

func flock(id int, how int64) order { return order{Do: "flock", ID: id, N: []int64{how}} }

func fcntl(id int, cmd, typ, start, length int64) order {
	return order{Do: "fcntl", ID: id, N: []int64{cmd, typ, start, length}}
}

const busy = syscall.EAGAIN

// flock(2): by open file, shared by duplicates, given back with the last close or
// the process.
func TestFlock(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	a, b := m.puppet(-1), m.puppet(-1)
	for _, p := range []*puppet{a, b} {
		p.open(1, m.in("file"))
		p.open(2, m.in("file"))
	}
	const sh, ex, un, nb = unix.LOCK_SH, unix.LOCK_EX, unix.LOCK_UN, unix.LOCK_NB

	a.want(0, flock(1, sh))
	b.want(0, flock(1, sh|nb))
	b.want(busy, flock(2, ex|nb))
	a.want(0, flock(1, un))
	b.want(0, flock(1, ex|nb)) // upgraded: nobody else is left
	a.want(busy, flock(1, sh|nb))
	b.want(busy, flock(2, sh|nb)) // another open file, though of the same process
	b.want(0, flock(1, sh))
	a.want(0, flock(1, sh|nb))
	a.want(0, flock(1, un))

	// A duplicate is the same open file.
	b.want(0, flock(1, ex))
	b.want(0, order{Do: "dup", ID: 1, To: 3})
	b.want(0, order{Do: "close", ID: 1})
	a.want(busy, flock(1, ex|nb))
	b.want(0, flock(3, ex|nb))
	b.want(0, order{Do: "close", ID: 3})
	a.want(0, flock(1, ex|nb)) // the last close has given it back, at once

	// One who waits gets it in the end, and one who is killed waits no more.
	c := m.puppet(-1)
	c.open(1, m.in("file"))
	b.open(1, m.in("file"))
	b.begin(flock(1, ex))
	b.waits(unix.SYS_FLOCK)
	c.begin(flock(1, ex))
	c.waits(unix.SYS_FLOCK)
	b.end()
	a.end() // its locks go with it
	if got := c.outcome(); got.Errno != 0 {
		t.Errorf("the one who waits gets %v", error(got.Errno))
	}

	// A signal ends the wait.
	start := time.Now()
	err := exec.Command("flock", "-w", "0.3", "-E", "75", m.in("file"), "true").Run()
	if code := exitCode(err); code != 75 || time.Since(start) < 300*time.Millisecond {
		t.Errorf("flock with a limit ended with %v after %v", err, time.Since(start))
	}
	c.want(0, flock(1, un))
	must(t, exec.Command("flock", "-n", m.in("file"), "true").Run())
	c.end()
	d.umount()
}

func exitCode(err error) int {
	if e, ok := err.(*exec.ExitError); ok {
		return e.ExitCode()
	}
	return 0
}

// The usual shell idiom, again and again: flock -n never fails because the one
// before has only just ended.
func TestFlockOneAfterTheOther(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	out, err := exec.Command("sh", "-c", `for i in $(seq 100); do flock -n "$1" true || echo "$i failed"; ( flock -n 9 || echo "$i failed in a subshell" ) 9>>"$1"; done`, "-", m.in("lock")).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
	d.umount()
}

// fcntl(2): by process, and for each byte.
func TestFcntlLocks(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	a, b := m.puppet(-1), m.puppet(-1)
	for _, p := range []*puppet{a, b} {
		p.open(1, m.in("file"))
		p.open(2, m.in("file"))
	}
	set := func(typ, start, length int64) order { return fcntl(1, unix.F_SETLK, typ, start, length) }
	// held asks b what there is between 0 and 100, all of a's.
	held := func() string {
		var out []string
		for at := int64(0); at < 100; {
			got := b.want(0, fcntl(1, unix.F_GETLK, writeLock, at, 100-at)).N
			if got[0] == noLock {
				break
			}
			if int(got[3]) != a.pid {
				t.Errorf("the holder is pid %d, want %d", got[3], a.pid)
			}
			out = append(out, fmt.Sprintf("%c%d+%d", "rw"[got[0]], got[1], got[2]))
			at = got[1] + got[2]
		}
		return strings.Join(out, " ")
	}
	for _, c := range []struct {
		name string
		o    order
		want string
	}{
		{"one", set(writeLock, 10, 20), "w10+20"},
		{"touching", set(writeLock, 30, 10), "w10+30"},
		{"shared in the middle", set(readLock, 20, 5), "w10+10 r20+5 w25+15"},
		{"given back in the middle", set(noLock, 15, 15), "w10+5 w30+10"},
		{"all over", set(readLock, 0, 90), "r0+90"},
		{"a last byte", set(noLock, 89, 1), "r0+89"},
		{"to the end of time", set(noLock, 50, 0), "r0+50"},
	} {
		a.want(0, c.o)
		if got := held(); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	b.want(0, set(readLock, 0, 10))
	b.want(busy, set(writeLock, 49, 1))
	b.want(0, set(writeLock, 50, 1))
	a.want(busy, set(readLock, 45, 10))
	if got := a.want(0, fcntl(1, unix.F_GETLK, readLock, 0, 0)).N; !slices.Equal(got, []int64{writeLock, 50, 1, int64(b.pid)}) {
		t.Errorf("in the way is %v", got)
	}
	b.want(0, set(noLock, 0, 0))
	a.want(0, set(noLock, 0, 0))

	// Its own locks are in nobody's way but others', and any close gives all back.
	a.want(0, set(writeLock, 0, 0))
	a.want(0, fcntl(2, unix.F_SETLK, writeLock, 5, 5))
	a.want(0, order{Do: "close", ID: 2})
	b.want(0, set(writeLock, 0, 0))

	// Waiting, through to the end of the holder.
	a.begin(fcntl(1, unix.F_SETLKW, writeLock, 7, 1))
	a.waits(unix.SYS_FCNTL)
	b.end()
	if got := a.outcome(); got.Errno != 0 {
		t.Errorf("the one who waits gets %v", error(got.Errno))
	}

	// Two who wait for one another: the second hears of it.
	c := m.puppet(-1)
	c.open(1, m.in("file"))
	c.want(0, set(writeLock, 8, 1))
	a.begin(fcntl(1, unix.F_SETLKW, writeLock, 8, 1))
	a.waits(unix.SYS_FCNTL)
	eventually(t, "EDEADLK", patience, func() bool { // the first may not be there yet
		c.begin(fcntl(1, unix.F_SETLK, writeLock, 7, 1))
		return c.outcome().Errno == busy
	})
	c.want(syscall.EDEADLK, fcntl(1, unix.F_SETLKW, writeLock, 7, 1))
	c.want(0, set(noLock, 8, 1))
	if got := a.outcome(); got.Errno != 0 {
		t.Errorf("the other one gets %v", error(got.Errno))
	}

	// Killed while it waits, and nobody is hurt.
	c.begin(fcntl(1, unix.F_SETLKW, writeLock, 7, 1))
	c.waits(unix.SYS_FCNTL)
	c.end()
	a.want(0, set(noLock, 0, 0))
	e := m.puppet(-1)
	e.open(1, m.in("file"))
	e.want(0, set(writeLock, 0, 0))
	a.end()
	e.end()
	d.umount()
}

// Locks of open files (F_OFD_SETLK): as fcntl's, by open file as flock's.
func TestOFDLocks(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	a, b := m.puppet(-1), m.puppet(-1)
	a.open(1, m.in("file"))
	a.open(2, m.in("file"))
	b.open(1, m.in("file"))
	set := func(id int, typ, start, length int64) order { return fcntl(id, unix.F_OFD_SETLK, typ, start, length) }

	a.want(0, set(1, writeLock, 0, 10))
	a.want(busy, set(2, readLock, 5, 1))
	a.want(0, set(2, writeLock, 10, 10))
	b.want(busy, fcntl(1, unix.F_SETLK, writeLock, 0, 1)) // both kinds of fcntl see each other
	if got := b.want(0, fcntl(1, unix.F_OFD_GETLK, writeLock, 0, 5)).N; !slices.Equal(got, []int64{writeLock, 0, 10, -1}) {
		t.Errorf("in the way is %v", got)
	}
	// Closing another descriptor, or a duplicate, gives nothing back.
	a.want(0, order{Do: "dup", ID: 1, To: 3})
	a.want(0, order{Do: "close", ID: 1})
	a.want(0, order{Do: "close", ID: 2})
	b.want(busy, set(1, writeLock, 0, 1))
	b.want(0, set(1, writeLock, 10, 10))
	a.want(0, order{Do: "close", ID: 3})
	b.want(0, set(1, writeLock, 0, 10))

	a.open(1, m.in("file"))
	a.begin(fcntl(1, unix.F_OFD_SETLKW, readLock, 0, 1))
	a.waits(unix.SYS_FCNTL)
	b.end()
	if got := a.outcome(); got.Errno != 0 {
		t.Errorf("the one who waits gets %v", error(got.Errno))
	}
	a.end()
	d.umount()
}

// Many processes count in one file under a lock: nothing is lost.
func TestLocksKeepWritersApart(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	must(t, os.WriteFile(m.in("counter"), []byte("000000"), 0o644))
	const processes, each = 6, 40
	lockings := map[string][2]order{
		"flock": {flock(1, unix.LOCK_EX), flock(1, unix.LOCK_UN)},
		"fcntl": {fcntl(1, unix.F_SETLKW, writeLock, 100, 1), fcntl(1, unix.F_SETLK, noLock, 100, 1)},
		"ofd":   {fcntl(1, unix.F_OFD_SETLKW, writeLock, 0, 0), fcntl(1, unix.F_OFD_SETLK, noLock, 0, 0)},
	}
	total := 0
	for name, lock := range lockings {
		total += processes * each
		done := make(chan struct{})
		for range processes {
			p := m.puppet(-1)
			p.open(1, m.in("counter"))
			go func() {
				defer func() { p.end(); done <- struct{}{} }()
				for range each {
					var n int
					p.want(0, lock[0])
					if _, err := fmt.Sscanf(string(p.want(0, order{Do: "pread", ID: 1, N: []int64{0, 6}}).Text), "%d", &n); err != nil {
						t.Error(err)
					}
					p.want(0, order{Do: "pwrite", ID: 1, Text: octets(fmt.Sprintf("%06d", n+1))})
					p.want(0, lock[1])
				}
			}()
		}
		for range processes {
			<-done
		}
		if got := string(read(t, m.in("counter"))); got != fmt.Sprintf("%06d", total) {
			t.Errorf("%s: counted to %s, want %d", name, got, total)
		}
	}
	d.umount()
}

// A file that another machine changed has a new node in the kernel for those who
// open it now. They still share its locks with those who have it open from before.
func TestLocksAcrossVersions(t *testing.T) {
	t.Parallel()
	m := newDrive(t)
	d := m.mount()
	must(t, os.WriteFile(m.in("file"), []byte("old"), 0o644))
	must(t, os.WriteFile(m.in("other"), nil, 0o644))
	m.ok("wait", m.mnt)
	before := m.puppet(-1)
	before.open(1, m.in("file"))
	before.open(2, m.in("file"))
	before.want(0, flock(1, unix.LOCK_EX))
	before.want(0, fcntl(2, unix.F_OFD_SETLK, writeLock, 0, 1))

	far := m.another().mount()
	must(t, os.WriteFile(far.m.in("file"), []byte("new and longer"), 0o644))
	far.umount()
	// What this machine writes next loses its slot to that.
	must(t, os.WriteFile(m.in("other"), []byte("x"), 0o644))
	m.ok("wait", m.mnt)
	eventually(t, "the change of the other machine is seen", patience, func() bool {
		return string(read(t, m.in("file"))) == "new and longer"
	})

	after := m.puppet(-1)
	after.open(1, m.in("file"))
	if got := after.want(0, order{Do: "pread", ID: 1, N: []int64{0, 99}}).Text; got != "new and longer" {
		t.Fatalf("the new descriptor reads %q", got)
	}
	after.want(busy, flock(1, unix.LOCK_SH|unix.LOCK_NB))
	after.want(busy, fcntl(1, unix.F_SETLK, readLock, 0, 1))
	after.want(0, fcntl(1, unix.F_SETLK, writeLock, 5, 1))
	before.want(busy, fcntl(1, unix.F_SETLK, writeLock, 5, 1))
	after.begin(flock(1, unix.LOCK_EX))
	after.waits(unix.SYS_FLOCK)
	before.end()
	if got := after.outcome(); got.Errno != 0 {
		t.Errorf("the one who waits gets %v", error(got.Errno))
	}
	after.want(0, fcntl(1, unix.F_SETLK, writeLock, 0, 1))
	after.end()
	d.umount()
}
