package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/cmd/hushfs/control"
	"github.com/hushfs/hushfs/fs/volume"
)

// quiet is an app whose messages go to a file; said reads them.
func quiet(t *testing.T) (a *app, said func() string) {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &app{stdin: f, stdout: f, stderr: f, env: func(string) string { return "" }}, func() string {
		b, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
}

// phaseDaemon is a daemon that only has a status.
type phaseDaemon struct {
	mu     sync.Mutex
	status control.Status
	asked  chan struct{} // closed at the first question
	once   sync.Once
	again  func() // called at each later question, before it is answered; may be nil
}

func (d *phaseDaemon) Status() control.Status {
	first := false
	d.once.Do(func() { first = true; close(d.asked) })
	if !first && d.again != nil {
		d.again()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.status
}
func (d *phaseDaemon) WaitStored(context.Context) error       { return nil }
func (d *phaseDaemon) WaitFile(context.Context, uint64) error { return nil }
func (d *phaseDaemon) Unmount(context.Context, bool) error    { return nil }
func (d *phaseDaemon) Sync(context.Context, bool) (control.Synced, error) {
	return control.Synced{}, nil
}
func (d *phaseDaemon) Shutdown(context.Context, control.How) (control.Result, error) {
	return control.Result{}, nil
}

// holding takes the lock of a new state folder and answers as a daemon in phase.
func holding(t *testing.T, phase control.Phase) (state string, l *lock, d *phaseDaemon) {
	t.Helper()
	state = t.TempDir()
	l, err := takeLock(state, holder{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.release() })
	d = &phaseDaemon{asked: make(chan struct{}), status: control.Status{PID: 4711, Mountpoint: "/their/drive", Phase: phase,
		Volume: volume.Status{PendingOps: 3, PendingBytes: 2048}}}
	socket := filepath.Join(state, "control.sock")
	listener, err := control.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan struct{})
	go func() {
		defer close(served)
		o := control.ServerOptions{Daemon: d, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
			Explain: func(err error) *control.Problem { return explain("", err).wire() }}
		if err := control.Serve(ctx, listener, time.Minute, o); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { stop(); <-served })
	if err := l.write(holder{PID: 4711, Mountpoint: "/their/drive", Socket: socket}); err != nil {
		t.Fatal(err)
	}
	return state, l, d
}

// lockDrive takes the lock of a drive for another folder, in virtual time, beside which the
// daemon answers: it is as long over a question as the machine is slow, and no time goes by.
func lockDrive(t *testing.T, a *app, state string, timeout time.Duration) (l *lock, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { l, err = a.lockDrive(t.Context(), state, "/my/drive", timeout) })
	return l, err
}

func TestLockIsOne(t *testing.T) {
	state := t.TempDir()
	if !free(state) {
		t.Error("a state without a lock is not free")
	}
	l, err := takeLock(state, holder{PID: 1, Mountpoint: "/a/long/mountpoint"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := takeLock(state, holder{PID: 2}); !errors.Is(err, errLocked) {
		t.Errorf("second lock: %v", err)
	}
	if free(state) {
		t.Error("free while it is held")
	}
	if err := l.write(holder{PID: 1, Mountpoint: "/b"}); err != nil {
		t.Fatal(err)
	}
	if h := readHolder(state); h.PID != 1 || h.Mountpoint != "/b" {
		t.Errorf("%+v", h)
	}
	if err := l.release(); err != nil {
		t.Fatal(err)
	}
	l, err = takeLock(state, holder{PID: 3})
	if err != nil {
		t.Fatal(err)
	}
	if h := readHolder(state); h.PID != 3 || h.Mountpoint != "" {
		t.Errorf("%+v", h)
	}
	if err := l.release(); err != nil {
		t.Fatal(err)
	}
}

func TestMountOfAMountedDriveNamesIt(t *testing.T) {
	a, _ := quiet(t)
	state, _, _ := holding(t, control.Mounted)
	_, err := lockDrive(t, a, state, 0)
	p := explain("", err)
	if p == nil || p.code != codeMounted || !strings.Contains(p.text(), "4711") || !strings.Contains(p.text(), "/their/drive") {
		t.Errorf("%v", err)
	}
}

// One that is about to be mounted is told from one that is, and from one whose daemon
// is gone from its socket though not from its lock.
func TestMountOfADriveThatIsBeingMounted(t *testing.T) {
	a, _ := quiet(t)
	state, l, _ := holding(t, control.Starting)
	_, err := lockDrive(t, a, state, 0)
	if p := explain("", err); p == nil || p.code != codeMounted || !strings.Contains(p.text(), "is being mounted already: at /their/drive, by pid 4711") {
		t.Errorf("%v", err)
	}
	if err := l.write(holder{PID: 4711, Mountpoint: "/their/drive", Socket: filepath.Join(state, "gone.sock")}); err != nil {
		t.Fatal(err)
	}
	_, err = lockDrive(t, a, state, 0)
	if p := explain("", err); p == nil || p.code != codeMounted || !strings.Contains(p.text(), "the daemon (pid 4711) of the drive at /their/drive does not answer") {
		t.Errorf("%v", err)
	}
}

func TestMountJoinsADrain(t *testing.T) {
	for _, phase := range []control.Phase{control.Draining, control.Detached} {
		t.Run(string(phase), func(t *testing.T) {
			a, said := quiet(t)
			state, l, d := holding(t, phase)
			go func() {
				<-d.asked
				l.release()
			}()
			got, err := lockDrive(t, a, state, 0)
			if err != nil {
				t.Fatal(err)
			}
			if h := readHolder(state); h.PID != os.Getpid() || h.Mountpoint != "/my/drive" {
				t.Errorf("%+v", h)
			}
			if err := got.release(); err != nil {
				t.Fatal(err)
			}
			if s := said(); !strings.Contains(s, "4711") || !strings.Contains(s, "3 changes (2.0 KiB) wait") {
				t.Errorf("said %q", s)
			}
		})
	}
}

// Also who gives up while he asks hears what is on its way.
func TestJoiningADrainIsGivenUp(t *testing.T) {
	a, _ := quiet(t)
	state, _, d := holding(t, control.Draining)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	d.again = func() {
		cancel()
		<-t.Context().Done()
	}
	_, err := a.lockDrive(ctx, state, "/my/drive", 0)
	if p := explain("", err); p == nil || !strings.Contains(p.text(), "3 changes (2.0 KiB)") {
		t.Errorf("%v", err)
	}
}

func TestJoiningADrainTimesOut(t *testing.T) {
	a, _ := quiet(t)
	state, _, _ := holding(t, control.Draining)
	_, err := lockDrive(t, a, state, 30*time.Millisecond)
	p := explain("", err)
	if p == nil || p.code != codeTimeout || !strings.Contains(p.text(), "3 changes (2.0 KiB)") {
		t.Errorf("%v", err)
	}
}
