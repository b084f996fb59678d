// Package logind asks systemd-logind for a moment before the machine stops or
// sleeps.
//
// A program that holds a delay lock is told before either happens, and logind
// waits for it to let go: five seconds unless the administrator gave more
// (InhibitDelayMaxSec). It can delay, and refuse nothing: a lid that is closed on
// a machine that goes into a bag must put it to sleep, and an empty battery does
// not ask. So the lock is for bringing what is in memory to the disk, and for
// sending while there is time; it is no promise that everything is sent.
//
// Where there is no system bus, or no logind on it, nothing is asked for and
// nothing fails. Interface: org.freedesktop.login1(5), "Inhibitor locks" at
// https://systemd.io/INHIBITOR_LOCKS.
package logind

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

// DefaultAddress is where the system bus listens when nobody says otherwise.
const DefaultAddress = "unix:path=/run/dbus/system_bus_socket"

const (
	service   = "org.freedesktop.login1"
	path      = dbus.ObjectPath("/org/freedesktop/login1")
	manager   = "org.freedesktop.login1.Manager"
	shutdown  = "PrepareForShutdown"
	sleep     = "PrepareForSleep"
	callLimit = 10 * time.Second // for an answer of the bus or of logind

	// A bus that is away is looked for again, less and less often.
	againFirst = time.Second
	againLast  = 5 * time.Minute
)

// Handler is told what the machine is about to do. While one of its methods runs
// the machine waits, if it has the patience. They are called one at a time.
type Handler interface {
	// Stopping is called before a shutdown; logind waits for at most limit. ctx
	// ends early when the shutdown is called off or Watch ends.
	Stopping(ctx context.Context, limit time.Duration)
	// Sleeping is called before the machine sleeps.
	Sleeping(ctx context.Context, limit time.Duration)
	// Resumed is called when it is awake again.
	Resumed()
}

// Options of Watch. Handler must be set.
type Options struct {
	Address string // of the bus; empty: DefaultAddress
	Who     string // holds the lock, as systemd-inhibit --list shows it
	Why     string // it is held
	Handler Handler
	Log     *slog.Logger // nil discards
}

var (
	errAddress = errors.New("the address of the system bus is none of a socket") // of another transport, which may start programs
	errGone    = errors.New("the system bus has closed the connection")
	errNoLock  = errors.New("logind gave no lock")
)

// Watch holds a delay lock until ctx ends, but for the moments in which the
// machine stops or sleeps. When the bus is not there it is looked for now and then.
func Watch(ctx context.Context, o Options) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	said := false
	for wait := againFirst; ; wait = min(2*wait, againLast) {
		began := time.Now()
		err := o.watch(ctx)
		if ctx.Err() != nil {
			return
		}
		if !said {
			o.Log.Debug("no word will come before this machine stops or sleeps", "err", err)
			said = true
		}
		if time.Since(began) > againLast {
			wait = againFirst // it worked for long
		}
		if pause(ctx, wait) != nil {
			return
		}
	}
}

// Reach says whether logind can be asked: nil when it can.
func Reach(ctx context.Context, address string) (delay time.Duration, err error) {
	c, err := connect(ctx, address)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return delayLimit(ctx, c)
}

// watch is Watch for one connection.
func (o *Options) watch(ctx context.Context) error {
	c, err := connect(ctx, o.Address)
	if err != nil {
		return err
	}
	defer c.Close()
	// Before the lock is taken: what happens in between is not missed.
	signals := make(chan *dbus.Signal, 16)
	c.Signal(signals)
	for _, name := range []string{shutdown, sleep} {
		if err := c.AddMatchSignalContext(ctx, dbus.WithMatchSender(service), dbus.WithMatchObjectPath(path), dbus.WithMatchInterface(manager), dbus.WithMatchMember(name)); err != nil {
			return fmt.Errorf("listen to logind: %w", err)
		}
	}
	limit, err := delayLimit(ctx, c)
	if err != nil {
		return err
	}
	w := &watcher{Options: o, conn: c, limit: limit}
	defer w.release()
	if err := w.take(ctx); err != nil {
		return err
	}
	return w.listen(ctx, signals)
}

// connect speaks to the bus at a socket.
func connect(ctx context.Context, address string) (*dbus.Conn, error) {
	if address == "" {
		address = DefaultAddress
	}
	address, _, _ = strings.Cut(address, ";") // the rest is for those who insist
	if !strings.HasPrefix(address, "unix:") {
		return nil, errAddress
	}
	c, err := dbus.Dial(address)
	if err != nil {
		return nil, fmt.Errorf("reach the system bus: %w", err)
	}
	// Neither of the two takes a context: a bus that says nothing is hung up on.
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	err = c.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Geteuid()))})
	if err == nil {
		err = c.Hello()
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("greet the system bus: %w", err)
	}
	return c, nil
}

// delayLimit is how long logind waits for those who delay.
func delayLimit(ctx context.Context, c *dbus.Conn) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	var v dbus.Variant
	call := c.Object(service, path).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, manager, "InhibitDelayMaxUSec")
	if err := call.Store(&v); err != nil {
		return 0, fmt.Errorf("ask logind how long it waits: %w", err)
	}
	us, ok := v.Value().(uint64)
	if !ok || us > uint64(24*time.Hour/time.Microsecond) {
		return 0, fmt.Errorf("ask logind how long it waits: %w", errNoLock)
	}
	return time.Duration(us) * time.Microsecond, nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
