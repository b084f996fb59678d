package integration

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/store/s3/s3test"
)

// The server is killed while programs write. They go on, what is in memory is
// listed quickly, status says what is the matter; when the server is back,
// everything gets there by itself.
func TestServerKilledWhileProgramsWrite(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	m := driveAt(t, server)
	d := m.mount()
	s := m.squad("w", 3, 11)
	wait := s.start(300)
	eventually(t, "all programs are at work", time.Minute, func() bool {
		for i := range s.notes {
			if acknowledged(t, &squad{notes: s.notes[i : i+1]}) < 20 {
				return false
			}
		}
		return true
	})
	server.Kill()
	before := acknowledged(t, s)
	if !wait() {
		t.Error("a program failed while the server was away")
	}
	after := acknowledged(t, s)
	t.Logf("%d things acknowledged before the server was killed, %d in all", before, after)
	if after <= before {
		t.Error("the programs had ended before the server was killed")
	}
	must(t, os.WriteFile(m.in("while it is away"), []byte("x"), 0o644))
	within(t, "status says that the server is away", 30*time.Second, func() bool {
		offline := m.status()[0].Volume.Offline
		return offline == "connection refused"
	})
	if out := m.ok("status"); !strings.Contains(out, "The store cannot be reached: ") || !strings.Contains(out, "wait, the oldest since") {
		t.Errorf("status says\n%s", out)
	}
	began := time.Now()
	entries, err := os.ReadDir(m.mnt)
	took := time.Since(began)
	if err != nil || len(entries) != 4 || took > 2*time.Second {
		t.Errorf("ls without the server: %d entries in %v, %v", len(entries), took, err)
	}
	t.Logf("ls without the server: %v", took)
	handOver(t, m)
	m.refused(13, []string{"not everything is in the store yet"}, "wait", "--timeout", "5s", m.mnt)

	must(t, server.Run(t.Context()))
	m.ok("wait", m.mnt)
	if st := m.status()[0].Volume; st.Offline != "" || !st.Stored || st.Stopped != "" || len(st.Damaged)+len(st.Warnings) > 0 {
		t.Errorf("status when the server is back: %+v", st)
	}
	s.verify(m)
	d = d.remount()
	s.verify(d.m)
	d.umount()
}

// handOver makes the kernel hand over what it keeps of the mount. It asks also for
// the times of files that were replaced meanwhile, and tells whoever asks first
// that one of them was gone: ESTALE, which is no loss and would make wait fail.
func handOver(t *testing.T, m *machine) {
	t.Helper()
	f, err := os.Open(m.mnt)
	must(t, err)
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil && !errors.Is(err, unix.ESTALE) {
		t.Error(err)
	}
}

// acknowledged is how much fsync has acknowledged to the squad so far.
func acknowledged(t *testing.T, s *squad) (n int) {
	t.Helper()
	for _, path := range s.notes {
		b, err := os.ReadFile(path)
		if !errors.Is(err, os.ErrNotExist) { // it has not begun
			must(t, err)
		}
		n += strings.Count(string(b), "ok\n")
	}
	return n
}

// Daemon and server are killed in turn, and together, while programs write.
func TestKilledWithABucket(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	m := driveAt(t, server)
	d := m.mount()
	var all []*squad
	for round := range 6 {
		s := m.squad("round"+itoa(round), 2, uint64(1000*round))
		all = append(all, s)
		wait := s.start(1 << 30)
		eventually(t, "a program is at work", time.Minute, func() bool {
			return acknowledged(t, &squad{notes: s.notes[:1]}) > 10*round
		})
		if round%3 > 0 {
			server.Kill()
		}
		if round%3 == 2 {
			had := acknowledged(t, &squad{notes: s.notes[:1]})
			eventually(t, "it goes on without the server", time.Minute, func() bool {
				return acknowledged(t, &squad{notes: s.notes[:1]}) > had+20
			})
		}
		d.kill()
		wait()
		if round%3 > 0 {
			m.refused(11, []string{"cannot be reached"}, m.mountArgs()...)
			must(t, server.Run(t.Context()))
		}
		d = m.mount()
		for _, s := range all {
			s.verify(m)
		}
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
	d = d.remount()
	acked := 0
	for _, s := range all {
		acked += s.verify(d.m)
	}
	t.Logf("%d things acknowledged and found", acked)
	d.umount()
}

// Keys that stop being good are said so, and new ones in the file are taken
// without a remount.
func TestKeysChangeWhileMounted(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	m := machineAt(t, server)
	m.keysInFile(server, server.Secret)
	m.init()
	d := m.mount()
	must(t, writeSynced(m.in("a"), os.O_CREATE, []byte("a")))
	m.ok("wait", m.mnt)
	m.keysInFile(server, "not-"+server.Secret)
	must(t, writeSynced(m.in("b"), os.O_CREATE, []byte("b")))
	within(t, "status says what is wrong", 30*time.Second, func() bool {
		v := m.status()[0].Volume
		return !v.Stored && strings.Contains(v.Offline, "credentials are not accepted")
	})
	m.keysInFile(server, server.Secret)
	m.ok("wait", m.mnt)
	if v := m.status()[0].Volume; v.Offline != "" || !v.Stored {
		t.Errorf("%+v", v)
	}
	d.umount()
	m.nowhere(server.Secret, m.at(".aws", "credentials"))
}

// A server that is stopped, and answers nothing, holds up no program that asks
// for what is in memory; status says so.
func TestServerHangs(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, s3test.MinIO)
	m := driveAt(t, server)
	d := m.mount()
	must(t, writeSynced(m.in("a"), os.O_CREATE, []byte("a")))
	m.ok("wait", m.mnt)
	must(t, server.Pause())
	must(t, writeSynced(m.in("b"), os.O_CREATE, []byte("b")))
	eventually(t, "status says that nothing answers", time.Minute, func() bool {
		return m.status()[0].Volume.Offline != ""
	})
	began := time.Now()
	if _, err := os.ReadDir(m.mnt); err != nil || time.Since(began) > hangs {
		t.Errorf("ls: %v, %v", time.Since(began), err)
	}
	must(t, server.Resume())
	m.ok("wait", m.mnt)
	d = d.remount()
	if b := read(t, d.m.in("b")); string(b) != "b" {
		t.Errorf("%q", b)
	}
	d.umount()
}
