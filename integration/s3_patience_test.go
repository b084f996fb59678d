package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/store/s3/s3test"
)

// farAway is a machine that never saw the drive, mounted over a line, and has looked at
// nothing but the folder known, of n files.
func farAway(t testing.TB, n int, flags ...string) (*daemon, *line) {
	t.Helper()
	server := s3test.Start(t, s3test.MinIO)
	m := driveAt(t, server)
	d := m.mount()
	must(t, os.Mkdir(m.in("known"), 0o755))
	for i := range n {
		must(t, os.WriteFile(m.in("known", fmt.Sprint(i)), []byte("x"), 0o644))
	}
	for i := range 12 {
		must(t, os.Mkdir(m.in("far"+itoa(i)), 0o755))
		must(t, os.WriteFile(m.in("far"+itoa(i), "file"), pattern(uint64(i), 0, 200_000), 0o644))
		m.ok("wait", m.mnt) // and so it is folded at the end
	}
	d.umount()
	a := m.another()
	l := newLine(t, server, a)
	e := a.mount(flags...)
	eventually(t, "the folder is listed", time.Minute, func() bool { // which may take longer than a limit among flags
		n, err := list(a.in("known"))
		return err == nil && n > 0
	})
	return e, l
}

// list lists a folder with all that it says of its files.
func list(dir string) (n int, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if err == nil {
			_, err = e.Info()
		}
	}
	return len(entries), err
}

// listed is list of a folder that is near.
func listed(t testing.TB, dir string) int {
	t.Helper()
	n, err := list(dir)
	must(t, err)
	return n
}

// A program that needs a store which answers nothing gets an error when its time is
// over, not before others are listed, and what is known is there all the time.
func TestAReadIsOverInItsTime(t *testing.T) {
	t.Parallel()
	d, line := farAway(t, 20, "--io-timeout", "2s")
	m := d.m
	line.set(held)
	began := time.Now()
	_, err := os.ReadFile(m.in("far3", "file"))
	took := time.Since(began)
	if !errors.Is(err, unix.ETIMEDOUT) && !errors.Is(err, unix.EIO) || took > 40*time.Second {
		t.Errorf("a file: %v after %v", err, took)
	}
	t.Logf("a file that is far: %v after %v", err, took)
	if n := listed(t, m.in("known")); n != 20 {
		t.Errorf("%d files are known, want 20", n)
	}
	line.set(unlimited)
	eventually(t, "it reads when the line is back", time.Minute, func() bool {
		b, err := os.ReadFile(m.in("far3", "file"))
		return err == nil && string(b) == string(pattern(3, 0, 200_000))
	})
	m.refused(2, []string{"--io-timeout is at least 1s"}, m.mountArgs("--io-timeout", "10ms")...)
	d.umount()
}

// Whatever a program waits for, Ctrl-C ends it at once, although the store says nothing
// and the limit is far; and the signal that cannot be caught does too.
func TestAProgramThatWaitsIsInterrupted(t *testing.T) {
	t.Parallel()
	d, line := farAway(t, 3, "--io-timeout", "1h")
	m := d.m
	line.set(held)
	for i, c := range []struct {
		name string
		args []string
	}{
		{"read", []string{"cat", m.in("far0", "file")}},
		{"first change", []string{"mkdir", m.in("known", "new")}},
		{"a first change of an attribute", []string{"chmod", "600", m.in("known", "2")}},
		{"a first write", []string{"dd", "of=" + m.in("known", "1"), "if=/dev/zero", "bs=1", "count=1", "conv=notrunc,fsync"}},
	} {
		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
			ctx, cancel := context.WithCancel(t.Context())
			p := m.command(ctx, c.args[0], c.args[1:]...)
			must(t, p.Start())
			ended := make(chan error, 1)
			go func() { ended <- p.Wait() }()
			waits := 0
			eventually(t, c.name+" waits", time.Minute, func() bool {
				where, _ := os.ReadFile(fmt.Sprintf("/proc/%d/wchan", p.Process.Pid))
				if w := string(where); strings.Contains(w, "fuse") || strings.Contains(w, "request_wait") || strings.Contains(w, "folio") || strings.Contains(w, "page") || strings.Contains(w, "rwsem") || strings.Contains(w, "d_alloc") || w == "0" {
					waits++
				}
				return waits > 20
			})
			began := time.Now()
			must(t, p.Process.Signal(sig))
			select {
			case <-ended:
				t.Logf("%s: ended %v after signal %d", c.name, time.Since(began), sig)
			case <-time.After(30 * time.Second):
				t.Errorf("%d %s: still there 30 s after signal %d", i, c.name, sig)
				line.set(unlimited)
				<-ended
				line.set(held)
			}
			cancel()
		}
	}
	if n := listed(t, m.in("known")); n != 3 {
		t.Errorf("%d files are known, want 3", n)
	}
	line.set(unlimited)
	eventually(t, "it goes on", time.Minute, func() bool { return os.MkdirAll(m.in("known", "after"), 0o755) == nil })
	d.umount()
}

// How long a listing of 1,000 known files takes, with what they are, in each state that
// a network can be in. Run it on a machine that does nothing else.
func BenchmarkListOfWhatIsKnown(b *testing.B) {
	d, line := farAway(b, 1000)
	m := d.m
	for _, c := range []struct {
		name string
		do   func()
	}{
		{"well", func() { line.set(unlimited) }},
		{"a byte a second", func() { line.set(1) }},
		{"silent", func() { line.set(held) }},
		{"cut off", line.down},
	} {
		b.Run(c.name, func(b *testing.B) {
			c.do()
			stop := make(chan struct{})
			var beside []func()
			for i := range 3 { // programs that want what is far
				done := make(chan struct{})
				beside = append(beside, func() { <-done })
				go func() {
					defer close(done)
					for {
						select {
						case <-stop:
							return
						default:
							_, _ = os.ReadFile(filepath.Join(m.in("far"+itoa(i)), "file"))
							time.Sleep(10 * time.Millisecond)
						}
					}
				}()
			}
			var all []time.Duration
			for b.Loop() {
				began := time.Now()
				listed(b, m.in("known"))
				all = append(all, time.Since(began))
			}
			b.StopTimer()
			slices.Sort(all)
			ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
			b.ReportMetric(ms(all[len(all)/2]), "p50-ms")
			b.ReportMetric(ms(all[len(all)*99/100]), "p99-ms")
			b.ReportMetric(ms(all[len(all)-1]), "max-ms")
			close(stop)
			line.set(unlimited)
			for _, wait := range beside {
				wait()
			}
		})
	}
	line.set(unlimited)
	d.umount()
}
