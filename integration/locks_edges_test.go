package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// rw opens a file to read and write.
func rw(t *testing.T, path string, flags int) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|flags, 0o644)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

// What is appended goes to the true end, which the kernel of a file that is kept open
// does not know.
func TestLocksAcrossAppend(t *testing.T) {
	t.Parallel()
	here, there, dHere, dThere := sharing(t)
	must(t, os.WriteFile(there.in("locked", "deep", "log"), nil, 0o644))
	(&pair{t, here, there, "locked"}).synced()
	a, b := rw(t, here.in("locked", "deep", "log"), os.O_APPEND), rw(t, there.in("locked", "deep", "log"), os.O_APPEND)
	want := ""
	for i := range 12 {
		for _, f := range []*os.File{a, b} {
			must(t, lockKinds["flock"](f, writeLock, true))
			line := fmt.Sprintf("line %d of %p\n", i, f)
			_, err := f.WriteString(line)
			must(t, err)
			want += line
			must(t, lockKinds["flock"](f, noLock, true))
		}
	}
	must(t, errors.Join(a.Close(), b.Close()))
	(&pair{t, here, there, "locked"}).synced()
	for _, m := range []*machine{here, there} {
		if got := string(read(t, m.in("locked", "deep", "log"))); got != want {
			t.Errorf("appended\n%swant\n%s", got, want)
		}
	}
	dHere.umount()
	dThere.umount()
}

// Where a lock would be known to this machine alone there is none.
func TestLocksAcrossNone(t *testing.T) {
	t.Parallel()
	here, there, _, _ := sharing(t)
	p := &pair{t, here, there, "locked"}
	viewer := there.another()
	viewer.mount("--read-only")
	must(t, os.Mkdir(there.in("late"), 0o755))
	must(t, os.WriteFile(there.in("late", "f"), nil, 0o644))
	p.synced()
	early := rw(t, here.in("late", "f"), 0)
	lock := lockKinds["flock"]
	must(t, lock(early, writeLock, false))
	must(t, lock(early, noLock, false))
	must(t, unix.Setxattr(there.in("late"), "user.hushfs.locks", []byte("shared"), 0))
	p.synced()
	none := func(what string, f *os.File, how int) {
		t.Helper()
		if err := lock(f, how, false); !errors.Is(err, syscall.ENOLCK) {
			t.Errorf("%s: %v", what, err)
		}
	}
	none("opened before it was marked", early, writeLock)
	must(t, lock(rw(t, here.in("late", "f"), 0), writeLock, false))
	only, err := os.Open(viewer.in("locked", "deep", "flock"))
	must(t, err)
	defer only.Close()
	none("read-only", only, readLock)

	// Taken out again, and opened anew.
	must(t, unix.Setxattr(there.in("late"), "user.hushfs.locks", []byte("local"), 0))
	p.synced()
	must(t, lock(rw(t, there.in("late", "f"), 0), writeLock, false))

	// The store is away.
	held := rw(t, there.in("locked", "deep", "ofd"), 0)
	must(t, lock(held, readLock, true))
	asked := rw(t, here.in("locked", "deep", "flock"), 0)
	must(t, os.Rename(there.store, there.store+".away"))
	for _, wait := range []bool{true, false} {
		began := time.Now()
		if err := lock(asked, writeLock, wait); !errors.Is(err, syscall.ENOLCK) {
			t.Errorf("off line: %v", err)
		}
		if d := time.Since(began); d > 30*time.Second {
			t.Errorf("off line: told after %v", d)
		}
	}
	if err := lock(held, writeLock, true); !errors.Is(err, syscall.ENOLCK) {
		t.Errorf("off line, more of a lock that this machine has: %v", err)
	}
	must(t, os.Rename(there.store+".away", there.store))
	eventually(t, "a lock when the store is back", time.Minute, func() bool {
		return lock(asked, writeLock, false) == nil
	})
}

// Two machines have a lock shared, and want more.
func TestLocksAcrossUpgrade(t *testing.T) {
	t.Parallel()
	here, there, _, _ := sharing(t)
	for kind, lock := range lockKinds {
		a, b := rw(t, here.in("locked", "deep", kind), 0), rw(t, there.in("locked", "deep", kind), 0)
		must(t, lock(a, readLock, false))
		must(t, lock(b, readLock, false))
		if kind != "flock" {
			// Who does not get more keeps what it has.
			for _, f := range []*os.File{a, b} {
				if err := lock(f, writeLock, false); !errors.Is(err, syscall.EAGAIN) {
					t.Errorf("%s: %v", kind, err)
				}
			}
			must(t, lock(b, noLock, true))
			if err := lock(b, writeLock, false); !errors.Is(err, syscall.EAGAIN) {
				t.Errorf("%s: beside what is to be kept: %v", kind, err)
			}
			must(t, lock(b, readLock, false))
		}
		got := make(chan error, 1)
		go func() {
			err := lock(b, writeLock, true)
			if kind == "flock" && err == nil { // either may be the first
				err = lock(b, noLock, true)
			}
			got <- err
		}()
		err := lock(a, writeLock, true)
		switch {
		case kind == "flock": // gives the old one back first: there is no circle
			must(t, err)
			must(t, lock(a, noLock, true))
		case !errors.Is(err, syscall.EDEADLK): // here is the younger device
			t.Errorf("%s: both want more: %v", kind, err)
		default:
			select {
			case err := <-got:
				t.Errorf("%s: got beside a shared one: %v", kind, err)
				got <- err
			case <-time.After(300 * time.Millisecond):
			}
		}
		must(t, lock(a, noLock, true))
		must(t, <-got)
		must(t, errors.Join(a.Close(), b.Close()))
	}
}

// A lock file that two machines make at once is one. Where both have written into it before
// they lock it there are two, and who has the lock has that of the file of that name.
func TestLocksAcrossTwins(t *testing.T) {
	t.Parallel()
	here, there, _, _ := sharing(t)
	for i := range 6 {
		name, empty := fmt.Sprintf("made%d", i), i%2 == 0
		files := map[*machine]*os.File{}
		for _, m := range []*machine{here, there} {
			files[m] = rw(t, m.in("locked", name), os.O_CREATE)
			if !empty {
				_, err := files[m].WriteString(m.mnt)
				must(t, err)
			}
		}
		var g sync.WaitGroup
		var busy atomic.Bool
		for m, f := range files {
			g.Go(func() {
				err := lockKinds["flock"](f, writeLock, true)
				if !empty && errors.Is(err, syscall.ENOLCK) {
					return // it is told that its file is another one
				}
				if empty && !busy.CompareAndSwap(false, true) {
					t.Errorf("file %d: both have it", i)
				}
				mine, ferr := f.Stat()
				named, nerr := os.Stat(m.in("locked", name))
				if err := errors.Join(err, ferr, nerr); err != nil {
					t.Errorf("file %d: %v", i, err)
				} else if !os.SameFile(mine, named) {
					t.Errorf("file %d: it has the lock of one that has another name", i)
				}
				time.Sleep(300 * time.Millisecond) // so long the other one, were it let in, would find it busy
				busy.Store(false)
				if err := lockKinds["flock"](f, noLock, true); err != nil {
					t.Error(err)
				}
			})
		}
		g.Wait()
	}
}

// A program that waits for another machine is ended by a signal, and wants nothing any
// more.
func TestLocksAcrossEnded(t *testing.T) {
	t.Parallel()
	here, there, _, _ := sharing(t)
	b := rw(t, there.in("locked", "deep", "flock"), 0)
	must(t, lockKinds["flock"](b, writeLock, true))
	p := here.puppet(-1)
	p.open(1, here.in("locked", "deep", "flock"))
	p.begin(flock(1, unix.LOCK_EX))
	p.waits(unix.SYS_FLOCK)
	began := time.Now()
	p.end()
	if d := time.Since(began); d > 20*time.Second {
		t.Errorf("ended after %v", d)
	}
	began = time.Now()
	err := exec.Command("flock", "-w", "0.5", "-E", "75", here.in("locked", "deep", "flock"), "true").Run()
	if code := exitCode(err); code != 75 || time.Since(began) < 500*time.Millisecond {
		t.Errorf("flock with a limit ended with %v after %v", err, time.Since(began))
	}
	must(t, b.Close())
	eventually(t, "the lock is free", time.Minute, func() bool {
		return exec.Command("flock", "-n", here.in("locked", "deep", "flock"), "true").Run() == nil
	})
}
