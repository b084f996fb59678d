package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// lockKinds are the ways to lock a file, exclusively or not, and to give it back.
var lockKinds = map[string]func(f *os.File, how int, wait bool) error{
	"flock": func(f *os.File, how int, wait bool) error {
		how = map[int]int{writeLock: unix.LOCK_EX, readLock: unix.LOCK_SH, noLock: unix.LOCK_UN}[how]
		if !wait {
			how |= unix.LOCK_NB
		}
		return again(func() error { return unix.Flock(int(f.Fd()), how) })
	},
	"fcntl": func(f *os.File, how int, wait bool) error {
		return again(func() error {
			return unix.FcntlFlock(f.Fd(), map[bool]int{true: unix.F_SETLKW, false: unix.F_SETLK}[wait], &unix.Flock_t{Type: int16(how), Start: 3, Len: 4})
		})
	},
	"ofd": func(f *os.File, how int, wait bool) error {
		return again(func() error {
			return unix.FcntlFlock(f.Fd(), map[bool]int{true: unix.F_OFD_SETLKW, false: unix.F_OFD_SETLK}[wait], &unix.Flock_t{Type: int16(how)})
		})
	},
}

// again calls fn until no signal ends it: Go's runtime sends some.
func again(fn func() error) error {
	for {
		if err := fn(); err != unix.EINTR {
			return err
		}
	}
}

// sharing are two machines with a folder in which locks are those of both.
func sharing(t *testing.T) (here, there *machine, dHere, dThere *daemon) {
	t.Helper()
	there = newDrive(t)
	here = there.another()
	dThere, dHere = there.mount(), here.mount()
	must(t, os.WriteFile(here.in("mine"), nil, 0o644)) // it is a device from now on
	p := &pair{t, here, there, "locked"}
	must(t, os.MkdirAll(there.in("locked", "deep"), 0o755))
	must(t, unix.Setxattr(there.in("locked"), "user.hushfs.locks", []byte("shared"), 0))
	for kind := range lockKinds {
		must(t, os.WriteFile(there.in("locked", "deep", kind), []byte("0"), 0o644))
	}
	for name, text := range map[string]string{"a": "0\n", "b": "0\n", "lock": ""} {
		must(t, os.WriteFile(there.in("locked", name), []byte(text), 0o644))
	}
	must(t, os.WriteFile(there.in("outside"), nil, 0o644))
	p.synced()
	return here, there, dHere, dThere
}

// TestLocksAcrossCount has two machines count in one file under its lock, with the file
// kept open, and opened anew now and then.
func TestLocksAcrossCount(t *testing.T) {
	t.Parallel()
	rounds := 40
	if s := os.Getenv("HUSHFS_LOCK_ROUNDS"); s != "" {
		var err error
		rounds, err = strconv.Atoi(s)
		must(t, err)
	}
	here, there, dHere, dThere := sharing(t)
	for kind, lock := range lockKinds {
		began := time.Now()
		var g sync.WaitGroup
		for i, m := range []*machine{here, there} {
			g.Go(func() {
				var f *os.File
				for n := range rounds {
					err := error(nil)
					if f == nil {
						f, err = os.OpenFile(m.in("locked", "deep", kind), os.O_RDWR, 0)
					}
					if err == nil {
						err = countUp(f, lock)
					}
					if err != nil {
						t.Errorf("%s: machine %d, round %d: %v", kind, i, n, err)
						return
					}
					if i == 1 && n%3 == 0 {
						if err := f.Close(); err != nil {
							t.Error(err)
						}
						f = nil
					}
				}
				if f != nil {
					f.Close()
				}
			})
		}
		g.Wait()
		t.Logf("%s: %v", kind, time.Since(began))
		(&pair{t, here, there, "locked"}).synced() // what was given back last is on its way
		for _, m := range []*machine{here, there} {
			if got := strings.TrimSpace(string(read(t, m.in("locked", "deep", kind)))); got != fmt.Sprint(2*rounds) {
				t.Errorf("%s: counted %q, want %d", kind, got, 2*rounds)
			}
		}
	}
	if l, err := os.ReadDir(here.in("locked", "deep")); err != nil || len(l) != len(lockKinds) {
		t.Errorf("%d files, %v", len(l), err)
	}
	dHere.umount()
	dThere.umount()
	here.fsck(0, "--data")
}

// TestLocksAcrossShell has the shells of two machines count by the usual idiom, with a
// lock file of its own and a file that is replaced.
func TestLocksAcrossShell(t *testing.T) {
	t.Parallel()
	here, there, dHere, dThere := sharing(t)
	const rounds = 20
	var g sync.WaitGroup
	for _, m := range []*machine{here, there} {
		g.Go(func() {
			out, err := exec.Command("sh", "-c", `cd "$1" && for i in $(seq `+strconv.Itoa(rounds)+`); do
	( flock 9 || exit 3; n=$(cat a) && echo $((n + 1)) > a; n=$(cat b) && echo $((n + 1)) > b.new && mv b.new b ) 9>lock || exit 4
done`, "-", m.in("locked")).CombinedOutput()
			if err != nil || len(out) > 0 {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	g.Wait()
	(&pair{t, here, there, "locked"}).synced()
	for _, m := range []*machine{here, there} {
		for _, name := range []string{"a", "b"} {
			if got := strings.TrimSpace(string(read(t, m.in("locked", name)))); got != fmt.Sprint(2*rounds) {
				t.Errorf("%s: counted %q, want %d", name, got, 2*rounds)
			}
		}
	}
	if l, err := os.ReadDir(here.in("locked")); err != nil || len(l) != 4 {
		t.Errorf("%v, %v", l, err)
	}
	dHere.umount()
	dThere.umount()
}

// countUp adds one to the number in a file.
func countUp(f *os.File, lock func(*os.File, int, bool) error) error {
	if err := lock(f, writeLock, true); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	b := make([]byte, 20)
	n, _ := f.ReadAt(b, 0)
	k, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(k+1)), 0)
	}
	if uerr := lock(f, noLock, true); err == nil && uerr != nil {
		err = fmt.Errorf("unlock: %w", uerr)
	}
	return err
}

// TestLocksAcross tells who gets a lock, and when.
func TestLocksAcross(t *testing.T) {
	t.Parallel()
	here, there, dHere, dThere := sharing(t)
	for kind, lock := range lockKinds {
		a, err := os.OpenFile(here.in("locked", "deep", kind), os.O_RDWR, 0)
		must(t, err)
		b, err := os.OpenFile(there.in("locked", "deep", kind), os.O_RDWR, 0)
		must(t, err)
		blocked := func(what string, f *os.File, how int) {
			t.Helper()
			if err := lock(f, how, false); !errors.Is(err, syscall.EAGAIN) {
				t.Errorf("%s: %s: %v", kind, what, err)
			}
		}
		must(t, lock(a, readLock, false))
		must(t, lock(b, readLock, false))
		blocked("exclusive beside shared", b, writeLock)
		must(t, lock(b, noLock, false))
		must(t, lock(a, writeLock, true)) // when b has given it back
		blocked("shared beside exclusive", b, readLock)
		blocked("exclusive beside exclusive", b, writeLock)
		if _, err := b.WriteAt([]byte("x"), 0); err == nil {
			t.Errorf("%s: written under another machine's lock", kind)
		}

		if kind != "flock" {
			cmd := map[string]int{"fcntl": unix.F_GETLK, "ofd": unix.F_OFD_GETLK}[kind]
			k := unix.Flock_t{Type: readLock}
			if err := again(func() error { return unix.FcntlFlock(b.Fd(), cmd, &k) }); err != nil || k.Type != writeLock {
				t.Errorf("%s: asked, it is %d, %v", kind, k.Type, err)
			}
		}

		// One who waits gets it, and sees what was written.
		got := make(chan error, 1)
		go func() { got <- lock(b, writeLock, true) }()
		_, err = a.WriteAt([]byte("news"), 0)
		must(t, err)
		select {
		case err := <-got:
			t.Errorf("%s: got while another had it: %v", kind, err)
			got <- err
		case <-time.After(300 * time.Millisecond):
		}
		must(t, lock(a, noLock, true))
		must(t, <-got)
		news := make([]byte, 4)
		if _, err := b.ReadAt(news, 0); err != nil || string(news) != "news" {
			t.Errorf("%s: reads %q, %v", kind, news, err)
		}
		must(t, b.Close()) // gives it back
		must(t, lock(a, writeLock, true))
		must(t, a.Close())
	}

	// Outside of the folder each machine has locks of its own.
	a, err := os.OpenFile(here.in("outside"), os.O_RDWR, 0)
	must(t, err)
	b, err := os.OpenFile(there.in("outside"), os.O_RDWR, 0)
	must(t, err)
	must(t, lockKinds["flock"](a, writeLock, false))
	must(t, lockKinds["flock"](b, writeLock, false))
	must(t, a.Close())
	must(t, b.Close())
	for _, bad := range []string{"", "yes"} {
		if err := unix.Setxattr(here.in("locked"), "user.hushfs.locks", []byte(bad), 0); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("marked with %q: %v", bad, err)
		}
	}
	dHere.umount()
	dThere.umount()
	here.fsck(0, "--data")
}

// TestLocksAcrossKilled has the holder of a lock be killed.
func TestLocksAcrossKilled(t *testing.T) {
	t.Parallel()
	here, there, dHere, dThere := sharing(t)
	a, err := os.OpenFile(here.in("locked", "deep", "flock"), os.O_RDWR, 0)
	must(t, err)
	defer a.Close()
	must(t, lockKinds["flock"](a, writeLock, true))
	dHere.kill()
	b, err := os.OpenFile(there.in("locked", "deep", "flock"), os.O_RDWR, 0)
	must(t, err)
	defer b.Close()
	if err := lockKinds["flock"](b, writeLock, false); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("at once: %v", err)
	}
	// It runs out as others commit.
	must(t, unix.Setxattr(there.mnt, "user.hushfs.durability", []byte("remote"), 0))
	n := 0
	for ; ; n++ {
		if n > 400 {
			t.Fatal("a machine that is gone holds it for ever")
		}
		must(t, os.MkdirAll(there.in(fmt.Sprint("d", n)), 0o755)) // a signal may have it made twice
		if n%8 == 0 && lockKinds["flock"](b, writeLock, false) == nil {
			break
		}
	}
	if n < 32 {
		t.Errorf("it ran out after %d commits", n)
	}
	must(t, b.Close())
	dThere.umount()
}
