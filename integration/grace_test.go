package integration

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// signalGrace is for how long a program that waits hears nothing of a signal.
const signalGrace = 5 * time.Second

// onThread does something on a thread of its own, which signal gives a signal that the
// runtime takes for one of its own.
func onThread(t *testing.T, call func() error) (signal func(), ended <-chan error) {
	thread, end := make(chan int, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		thread <- unix.Gettid()
		end <- call()
	}()
	tid := <-thread
	return func() { must(t, unix.Tgkill(os.Getpid(), tid, unix.SIGURG)) }, end
}

// A program that waits for the store and gets a signal meanwhile, as runtimes send them to
// themselves, is told what became of what it did: of a name it would take its own for
// another's when it calls again, and of fsync few programs expect EINTR. Only who would wait
// for seconds more hears of it.
func TestSignalWhileTheStoreIsWaitedFor(t *testing.T) {
	t.Parallel()
	m := newDrive(t).enrolled()
	d, let := m.mountHeld("--durability", "remote")
	f, err := os.Create(m.in("f"))
	must(t, err)
	for what, call := range map[string]func(try int) error{
		"mkdir": func(try int) error { return unix.Mkdir(m.in(fmt.Sprint("lock", try)), 0o755) },
		"fsync": func(int) error {
			_, err := f.WriteString("more")
			return errors.Join(err, unix.Fsync(int(f.Fd())))
		},
	} {
		for try := 1; ; try++ {
			signal, ended := onThread(t, func() error { return call(try) })
			eventually(t, "status says that a program waits", time.Minute, func() bool {
				return strings.Contains(m.ok("status"), "1 program")
			})
			since := time.Now()
			signal()
			let()
			err := <-ended
			// The machine is too slow to bring it to the store in that time.
			slow := errors.Is(err, unix.EINTR) && time.Since(since) >= signalGrace && try < 10
			if err != nil && !slow {
				t.Fatalf("%s: %v, %v after the signal, try %d", what, err, time.Since(since), try)
			}
			m.ok("wait", m.mnt)
			must(t, os.WriteFile(m.at("held"), nil, 0o600))
			if err == nil {
				break
			}
		}
	}
	let()
	must(t, f.Close())
	d.umount()
}

// Nor does a program hear of a signal that needs something of the store first: a timer that
// rings is not to make a file seem broken, or a folder read-only.
func TestSignalWhileTheStoreIsAsked(t *testing.T) {
	t.Parallel()
	d, line := farAway(t, 3)
	m := d.m
	for _, c := range []struct {
		name string
		do   func(try int) error
	}{
		{"a read", func(try int) error { // past the page cache, where the kernel does not listen
			fd, err := unix.Open(m.in("far"+itoa(try), "file"), unix.O_RDONLY|unix.O_DIRECT, 0)
			if err != nil {
				return err
			}
			_, err = unix.Pread(fd, make([]byte, 4096), 0)
			return errors.Join(err, unix.Close(fd))
		}},
		{"a first change", func(int) error { return unix.Chmod(m.in("known", "1"), 0o600) }},
	} {
		for try := 0; ; try++ {
			line.set(held)
			signal, ended := onThread(t, func() error { return c.do(try) })
			since := time.Now()
			for range 20 {
				time.Sleep(10 * time.Millisecond) // between two signals; some come while it waits
				signal()
			}
			select {
			case err := <-ended:
				t.Fatalf("%s did not wait: %v", c.name, err)
			default:
			}
			line.set(unlimited)
			err := <-ended
			if err == nil {
				break
			}
			// The machine is too slow to ask the store in that time.
			if !errors.Is(err, unix.EINTR) || time.Since(since) < signalGrace || try == 10 {
				t.Fatalf("%s: %v, %v after the first signal", c.name, err, time.Since(since))
			}
		}
	}
	d.umount()
}
