package logind

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/godbus/dbus/v5"
)

// watcher holds the lock of one connection.
type watcher struct {
	*Options
	conn  *dbus.Conn
	limit time.Duration
	lock  *os.File // nil while it is let go of
}

// take asks for the lock, unless it is held.
func (w *watcher) take(ctx context.Context) error {
	if w.lock != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	var fd dbus.UnixFD
	call := w.conn.Object(service, path).CallWithContext(ctx, manager+".Inhibit", 0, "shutdown:sleep", w.Who, w.Why, "delay")
	if err := call.Store(&fd); err != nil {
		return fmt.Errorf("ask logind for a delay: %w", err)
	}
	if w.lock = os.NewFile(uintptr(fd), "logind's lock"); w.lock == nil {
		return errNoLock
	}
	w.Log.Debug("told before this machine stops or sleeps", "limit", w.limit)
	return nil
}

// release lets the machine go on.
func (w *watcher) release() {
	if w.lock != nil {
		w.lock.Close()
		w.lock = nil
	}
}

// listen answers what logind announces until ctx ends or the bus is gone.
func (w *watcher) listen(ctx context.Context, signals <-chan *dbus.Signal) error {
	for {
		var s *dbus.Signal
		select {
		case <-ctx.Done():
			return ctx.Err()
		case s = <-signals:
		}
		if s == nil {
			return errGone
		}
		for s != nil {
			kind, before, ok := announced(s)
			s = nil
			if !ok {
				continue
			}
			if before {
				s = w.prepare(ctx, kind, signals)
				continue
			}
			if kind == sleep {
				w.Handler.Resumed()
			}
			if err := w.take(ctx); err != nil {
				return err
			}
		}
	}
}

// announced reads a signal: before is true when it is about to happen, false when
// it is over or called off.
func announced(s *dbus.Signal) (kind string, before, ok bool) {
	if s.Path != path || len(s.Body) != 1 {
		return "", false, false
	}
	before, ok = s.Body[0].(bool)
	switch s.Name {
	case manager + "." + shutdown:
		return shutdown, before, ok
	case manager + "." + sleep:
		return sleep, before, ok
	}
	return "", false, false
}

// prepare has the handler do what is to be done before the machine stops or sleeps,
// then lets go of the lock. The news that it is over ends the work: the shutdown
// was called off, or the machine slept before it was done. It is returned, as is the
// other announcement, if that came meanwhile: then the lock is still held. A bus that
// goes away stops nothing.
func (w *watcher) prepare(ctx context.Context, kind string, signals <-chan *dbus.Signal) (next *dbus.Signal) {
	work, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if kind == shutdown {
			w.Handler.Stopping(work, w.limit)
		} else {
			w.Handler.Sleeping(work, w.limit)
		}
	}()
	for {
		select {
		case <-done:
			if next == nil {
				w.release()
			}
			return next
		case s := <-signals:
			if s == nil {
				signals = nil
				continue
			}
			switch k, before, ok := announced(s); {
			case ok && k == kind && !before:
				cancel()
				<-done
				w.release()
				return s
			case ok && k != kind && before:
				next = s
			}
		}
	}
}
