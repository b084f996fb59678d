package logind

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

// The address of the bus comes from the environment: it must not start a program,
// nor lead to another machine.
func TestOnlySockets(t *testing.T) {
	for _, address := range []string{"unixexec:path=/bin/false", "tcp:host=127.0.0.1,port=1", "autolaunch:", "nonsense"} {
		if _, err := connect(t.Context(), address); !errors.Is(err, errAddress) {
			t.Errorf("%s: %v", address, err)
		}
	}
	missing := "unix:path=" + filepath.Join(t.TempDir(), "bus")
	if _, err := connect(t.Context(), missing+";unixexec:path=/bin/false"); err == nil || errors.Is(err, errAddress) {
		t.Errorf("a socket that is not there: %v", err)
	}
}

// A bus that takes connections and says nothing holds nobody.
func TestSilentBus(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "bus")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := Reach(ctx, "unix:path="+socket); err == nil {
		t.Error("it was reached")
	}
}

func TestAnnounced(t *testing.T) {
	for _, c := range []struct {
		name   string
		signal dbus.Signal
		kind   string
		before bool
		ok     bool
	}{
		{"shutdown", dbus.Signal{Path: path, Name: manager + ".PrepareForShutdown", Body: []any{true}}, shutdown, true, true},
		{"called off", dbus.Signal{Path: path, Name: manager + ".PrepareForShutdown", Body: []any{false}}, shutdown, false, true},
		{"sleep", dbus.Signal{Path: path, Name: manager + ".PrepareForSleep", Body: []any{true}}, sleep, true, true},
		{"another signal", dbus.Signal{Path: path, Name: manager + ".SessionNew", Body: []any{true}}, "", true, false},
		{"another object", dbus.Signal{Path: "/", Name: manager + ".PrepareForSleep", Body: []any{true}}, "", false, false},
		{"no body", dbus.Signal{Path: path, Name: manager + ".PrepareForSleep"}, "", false, false},
		{"a body of another type", dbus.Signal{Path: path, Name: manager + ".PrepareForSleep", Body: []any{"true"}}, sleep, false, false},
	} {
		kind, before, ok := announced(&c.signal)
		if ok != c.ok || ok && (kind != c.kind || before != c.before) {
			t.Errorf("%s: %q %v %v", c.name, kind, before, ok)
		}
	}
}

// recorder is a handler that waits where it is told to.
type recorder struct {
	did  chan string
	hold chan struct{} // Stopping and Sleeping wait for it, or for their context
}

func (r *recorder) wait(ctx context.Context, what string) {
	r.did <- what
	select {
	case <-ctx.Done():
		r.did <- what + ", called off"
	case <-r.hold:
		r.did <- what + ", done"
	}
}
func (r *recorder) Stopping(ctx context.Context, _ time.Duration) { r.wait(ctx, "stop") }
func (r *recorder) Sleeping(ctx context.Context, _ time.Duration) { r.wait(ctx, "sleep") }
func (r *recorder) Resumed()                                      { r.did <- "resume" }

// What is announced while something is prepared: the end of it ends the work, the
// other announcement comes after it, and a bus that goes away changes nothing.
func TestPrepare(t *testing.T) {
	signal := func(name string, before bool) *dbus.Signal {
		return &dbus.Signal{Path: path, Name: manager + "." + name, Body: []any{before}}
	}
	for _, c := range []struct {
		name  string
		then  func(signals chan *dbus.Signal, r *recorder)
		ended string
		next  string
	}{
		{"nothing", func(_ chan *dbus.Signal, r *recorder) { close(r.hold) }, "sleep, done", ""},
		{"awake before it was done", func(s chan *dbus.Signal, _ *recorder) { s <- signal(sleep, false) }, "sleep, called off", sleep},
		{"a shutdown", func(s chan *dbus.Signal, r *recorder) { s <- signal(shutdown, true); close(r.hold) }, "sleep, done", shutdown},
		{"the bus is gone", func(s chan *dbus.Signal, r *recorder) { close(s); close(r.hold) }, "sleep, done", ""},
		{"something else", func(s chan *dbus.Signal, r *recorder) { s <- signal("SessionNew", false); close(r.hold) }, "sleep, done", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &recorder{did: make(chan string, 4), hold: make(chan struct{})}
			w := &watcher{Options: &Options{Handler: r}}
			signals := make(chan *dbus.Signal) // what is sent was taken
			got := make(chan *dbus.Signal, 1)
			go func() { got <- w.prepare(t.Context(), sleep, signals) }()
			if did := <-r.did; did != "sleep" {
				t.Fatal(did)
			}
			c.then(signals, r)
			if did := <-r.did; did != c.ended {
				t.Errorf("%s, want %s", did, c.ended)
			}
			next := ""
			if s := <-got; s != nil {
				next, _, _ = announced(s)
			}
			if next != c.next {
				t.Errorf("next is %q, want %q", next, c.next)
			}
		})
	}
}
