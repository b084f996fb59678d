package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// guard starts the process that takes the mount at dir away when this one dies. It
// holds the end of a pipe whose other end is ours, and closes with us, however we end.
func guard(dir string) error {
	self, err := ourselves()
	if err != nil {
		return err
	}
	theirs, ours, err := os.Pipe()
	if err != nil {
		return err
	}
	defer theirs.Close()
	c := exec.Command(self, "unmount-helper", dir)
	c.Dir, c.Stdin = "/", theirs
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := c.Start(); err != nil {
		return errors.Join(err, ours.Close())
	}
	go func() {
		_ = c.Wait()     // it ends before us only if somebody kills it
		_ = ours.Close() // and until then ours stays open
	}()
	return nil
}

// unmountHelper is the process that guard starts.
func (a *app) unmountHelper(ctx context.Context, args []string) error {
	var st unix.Stat_t
	if err := unix.Fstat(0, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return usage("this command is for hushfs itself: it needs a pipe as its standard input")
	}
	// Whatever ends the daemon may be meant for all that belongs to it.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return fmt.Errorf("watch the daemon: %w", err)
	}
	return clearWhenDead(context.WithoutCancel(ctx), args[0])
}

// clearWhenDead takes away the mount at dir, whose daemon has just ended. The kernel
// may need a moment to see that it is gone; one that answers is somebody else's by now.
func clearWhenDead(ctx context.Context, dir string) error {
	const moment = 50 * time.Millisecond
	for range 200 {
		if !isHushMount(dir) {
			return nil
		}
		var fs unix.Statfs_t
		err := answers(ctx, statTimeout, func() error { return unix.Statfs(dir, &fs) })
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.ENOTCONN):
			return takeDead(ctx, dir)
		}
		time.Sleep(moment)
	}
	return &problem{code: codeMountpoint, what: "a dead mount does not let itself be taken away", next: "Try: fusermount3 -u -z " + shellQuote(dir)}
}
