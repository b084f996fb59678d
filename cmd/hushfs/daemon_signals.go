package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

// signalWatch counts the signals after which this process is to end.
type signalWatch struct {
	first <-chan struct{} // closed at the first
	end   func()
}

// watchSignals: the first signal, which ended ctx, unmounts; the second ends
// the drain; a third does not wait for anything, as kill -9.
func (s *server) watchSignals(ctx context.Context) signalWatch {
	caught := make(chan os.Signal, 4)
	stop := make(chan struct{})
	signal.Notify(caught, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		select {
		case <-ctx.Done():
		case <-stop:
			return
		}
		// What ended ctx may have come before caught listened or be in it.
		select {
		case <-caught:
		case <-time.After(100 * time.Millisecond):
		}
		for n := 2; ; n++ {
			select {
			case <-stop:
				return
			case <-caught:
			}
			if n > 2 {
				s.log.Error("ended at once; what was not sent is in the journal")
				os.Exit(int(codeUndrained))
			}
			s.log.Warn("told to leave the rest in the journal")
			s.hurry()
		}
	}()
	return signalWatch{ctx.Done(), func() { signal.Stop(caught); close(stop) }}
}

// untilUnmounted returns when the kernel has let go of the mount, or, after a
// signal, when enough was done to make it.
func (s *server) untilUnmounted(signal <-chan struct{}) {
	select {
	case <-s.gone:
		return
	case <-signal:
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s.letPass(true)
	err := detach(ctx, s.c.Mountpoint, false)
	if errors.Is(err, errBusy) {
		s.log.Warn("the mount is busy; it is taken from those who use it", "processes", len(users(s.c.Mountpoint)))
		if err := flush(ctx, s.c.Mountpoint); err != nil {
			s.log.Warn("what programs wrote without fsync could not be fetched from the kernel", "err", err)
		}
		err = detach(ctx, s.c.Mountpoint, true)
	}
	if err != nil {
		s.log.Error("unmounting failed; the drain goes on without", "err", err)
	}
	select {
	case <-s.gone:
	case <-time.After(grace):
		s.log.Warn("programs still hold files open; they will see errors")
	}
}

// flush makes the kernel write back what it has of the mount at dir. That must
// be asked for by another process: one that serves a mount and waits for it
// waits for itself. A helper that hangs in the kernel cannot even be killed, so
// that after ctx it is left to itself.
func flush(ctx context.Context, dir string) error {
	path, err := ourselves()
	if err != nil {
		return err
	}
	return answers(ctx, forever, func() error {
		out, err := exec.CommandContext(ctx, path, "flush-helper", "--", dir).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}
