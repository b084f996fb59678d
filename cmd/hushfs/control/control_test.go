package control

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hushfs/hushfs/fs/volume"
)

// fake is a daemon whose drain ends when it is told to.
type fake struct {
	phase   Phase
	drained chan struct{}
	how     chan How
}

var errBusy = errors.New("busy")

func (f *fake) Status() Status {
	return Status{PID: 7, Mountpoint: "/d", Phase: f.phase, Volume: volume.Status{PendingOps: 3, Damaged: []string{"v0/x"}}}
}

func (f *fake) WaitStored(ctx context.Context) error {
	select {
	case <-f.drained:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *fake) WaitFile(ctx context.Context, inode uint64) error {
	if inode == 5 {
		return nil // it is in the store
	}
	return f.WaitStored(ctx)
}

func (f *fake) Sync(ctx context.Context, patient bool) (Synced, error) {
	if !patient {
		return Synced{Status: f.Status(), Before: 1, Slot: 3}, nil
	}
	return Synced{}, f.WaitStored(ctx)
}

func (f *fake) Unmount(_ context.Context, lazy bool) error {
	if !lazy {
		return errBusy
	}
	return nil
}

func (f *fake) Shutdown(ctx context.Context, how How) (Result, error) {
	f.how <- how
	if err := f.WaitStored(ctx); err != nil {
		return Result{}, err
	}
	return Result{Stored: true}, nil
}

// serve answers as f at path until the test ends or stop is called.
func serve(t *testing.T, path string, f *fake) (c *Client, stop func()) {
	t.Helper()
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan struct{})
	go func() {
		defer close(served)
		err := Serve(ctx, l, time.Minute, ServerOptions{
			Daemon: f, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
			Explain: func(err error) *Problem {
				return &Problem{Code: 13, Message: err.Error(), Next: "Next.", Busy: errors.Is(err, errBusy)}
			},
		})
		if err != nil {
			t.Error(err)
		}
	}()
	stop = func() { cancel(); <-served }
	t.Cleanup(stop)
	c = NewClient(path)
	t.Cleanup(c.Close)
	return c, stop
}

func newFake() *fake {
	return &fake{phase: Mounted, drained: make(chan struct{}), how: make(chan How, 1)}
}

func TestConversation(t *testing.T) {
	f := newFake()
	c, _ := serve(t, filepath.Join(t.TempDir(), "s"), f)
	ctx := t.Context()
	s, err := c.Status(ctx)
	if err != nil || s.PID != 7 || s.Phase != Mounted || s.Volume.PendingOps != 3 || len(s.Volume.Damaged) != 1 {
		t.Errorf("%+v %v", s, err)
	}
	var p *Problem
	if _, err := c.Wait(ctx, time.Millisecond); !errors.As(err, &p) || p.Code != 13 || p.Next != "Next." || p.Busy {
		t.Errorf("wait: %v", err)
	}
	if _, err := c.Unmount(ctx, false); !errors.As(err, &p) || !p.Busy {
		t.Errorf("unmount: %v", err)
	}
	if _, err := c.Unmount(ctx, true); err != nil {
		t.Errorf("lazy unmount: %v", err)
	}
	close(f.drained)
	if s, err := c.Wait(ctx, 0); err != nil || s.PID != 7 {
		t.Errorf("wait: %+v %v", s, err)
	}
	if r, err := c.Shutdown(ctx, How{Lazy: true, Now: true}); err != nil || !r.Stored || (<-f.how != How{true, true}) {
		t.Errorf("shutdown: %+v %v", r, err)
	}
}

// TestLastAnswerIsGiven: a daemon that ends answers who asked before.
func TestLastAnswerIsGiven(t *testing.T) {
	f := newFake()
	c, stop := serve(t, filepath.Join(t.TempDir(), "s"), f)
	type answer struct {
		r   Result
		err error
	}
	got := make(chan answer, 1)
	go func() {
		r, err := c.Shutdown(context.Background(), How{})
		got <- answer{r, err}
	}()
	<-f.how // it is being answered
	close(f.drained)
	stop()
	if a := <-got; a.err != nil || !a.r.Stored {
		t.Errorf("%+v", a)
	}
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("after the end: %v", err)
	}
}

func TestClientGivesUp(t *testing.T) {
	f := newFake()
	c, _ := serve(t, filepath.Join(t.TempDir(), "s"), f)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-f.how; cancel() }()
	if _, err := c.Shutdown(ctx, How{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestSocket(t *testing.T) {
	for name, length := range map[string]int{"short": 20, "just fits": maxPath, "a byte too long": maxPath + 1, "very long": 400} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(folderFor(t, length), "s")
			c, _ := serve(t, path, newFake())
			if _, err := c.Status(t.Context()); err != nil {
				t.Fatal(err)
			}
			if i, err := os.Stat(path); err != nil || i.Mode().Type() != os.ModeSocket || i.Mode().Perm() != 0o600 {
				t.Errorf("%v %v", i, err)
			}
			if _, err := Listen(path); !errors.Is(err, ErrInUse) {
				t.Errorf("second daemon: %v", err)
			}
		})
	}
}

// folderFor makes a folder in which the path of a file "s" has length bytes,
// or the shortest above that there can be here.
func folderFor(t *testing.T, length int) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "h")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for n := length - len(dir) - len("/s"); n > 0; n = length - len(dir) - len("/s") {
		part := min(n-1, 200)
		if rest := n - 1 - part; rest == 1 {
			part-- // a slash needs a name after it
		}
		if part < 1 {
			break
		}
		dir = filepath.Join(dir, strings.Repeat("d", part))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // as after a crash
	l.Close()
	c := NewClient(path)
	defer c.Close()
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("%v", err)
	}
	live, _ := serve(t, path, newFake())
	if _, err := live.Status(t.Context()); err != nil {
		t.Errorf("%v", err)
	}
}

func TestPeerIsKnown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	for _, c := range []net.Conn{client, server} {
		if uid, err := peer(c); err != nil || uid != os.Geteuid() {
			t.Errorf("%d %v", uid, err)
		}
		if err := checkServer(c); err != nil {
			t.Error(err)
		}
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if _, err := peer(a); err == nil {
		t.Error("a pipe has a peer")
	}
}
