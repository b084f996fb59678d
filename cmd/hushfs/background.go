package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/cmd/hushfs/control"
)

// background starts the daemon and returns when its mount answers.
func (a *app) background(ctx context.Context, c daemonConfig, handover []byte, held *lock) (control.Status, error) {
	log, err := openLog(c.State)
	if err != nil {
		return control.Status{}, &problem{code: codeState, what: "the log cannot be opened", why: err}
	}
	defer log.Close()
	d, err := newChild(ctx, "daemon", held.file)
	if err != nil {
		return control.Status{}, err
	}
	d.Dir, d.Stderr = "/", log.file
	d.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := d.alone(); err != nil {
		return control.Status{}, fmt.Errorf("keep descriptors from the daemon: %w", err)
	}
	started := a.watchStarting(ctx, c)
	out, _, err := d.ask(c, handover)
	started()
	if d.Process == nil {
		return control.Status{}, err
	}
	if err == nil && out.Problem == nil {
		// It is not ours any more, and ctx must not end it: nobody waits for it.
		err = answers(ctx, 30*time.Second, func() error {
			var st unix.Statfs_t
			return unix.Statfs(c.Mountpoint, &st)
		})
		if err != nil {
			return out.Status, explain("the mount does not answer", err)
		}
		return out.Status, d.Process.Release()
	}
	ended := d.Wait()
	if ended == nil {
		ended = err // it sent something that is no answer
	}
	switch {
	case out.Problem != nil:
		return control.Status{}, out.Problem
	case ctx.Err() != nil:
		return control.Status{}, ctx.Err()
	}
	return control.Status{}, &problem{code: codeFailure, what: "the daemon ended before the drive was mounted", why: ended,
		next: fmt.Sprintf("Its log: %s", log.path)}
}

// daemon is the process in the background. It speaks to the one that started
// it through pipes until it is ready, then to everybody through its socket.
func (a *app) daemon(ctx context.Context, _ []string) error {
	if err := harden(); err != nil {
		return err
	}
	in, err := inherited(fdRequest, unix.S_IFIFO, "the request")
	if err != nil {
		return err
	}
	out, err := inherited(fdOutcome, unix.S_IFIFO, "the outcome")
	if err != nil {
		return err
	}
	lockFile, err := inherited(fdLock, unix.S_IFREG, "the drive's lock")
	if err != nil {
		return err
	}
	var c daemonConfig
	handover, err := receiveParcel(in, &c)
	if err != nil {
		return reportTo(out, err)
	}
	in.Close()
	a.verbose, a.json = c.Verbose, c.JSON
	log, err := openLog(c.State)
	if err != nil {
		return reportTo(out, err)
	}
	ready := false
	err = a.serve(ctx, c, handover, &lock{lockFile}, a.logger(log), func(s control.Status) error {
		ready = true
		if err := sendParcel(out, outcome{Status: s}, nil); err != nil && !errors.Is(err, os.ErrClosed) && !errors.Is(err, syscall.EPIPE) {
			return err
		}
		return out.Close()
	})
	if err != nil && !ready {
		return reportTo(out, err)
	}
	return err
}
