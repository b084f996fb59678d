package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/cmd/hushfs/control"
)

// lock is held by the one process that serves a drive for this user: flock on a
// file in the state folder, so that it ends with the process whatever happens.
// It belongs to the open file and is inherited with it: mount takes it and
// hands it to the daemon without a moment in between.
type lock struct{ file *os.File }

// holder is who has the lock, as the file says. It is a remark for people: a
// process that died leaves it behind.
type holder struct {
	PID        int    `json:"pid"`
	Mountpoint string `json:"mountpoint"`
	Socket     string `json:"socket"` // empty until the daemon listens, and when it has ended

	Result *control.Result `json:"result,omitempty"` // how the daemon ended, if in peace
}

// errLocked: another process has the lock.
var errLocked = errors.New("locked by another process")

// takeLock takes the lock of the state folder, without waiting.
func takeLock(state string, me holder) (*lock, error) {
	f, err := os.OpenFile(lockPath(state), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errLocked
		}
		return nil, fmt.Errorf("lock the state folder: %w", err)
	}
	l := &lock{f}
	if err := l.write(me); err != nil {
		f.Close()
		return nil, err
	}
	return l, nil
}

func lockPath(state string) string { return filepath.Join(state, "lock") }

// write notes who holds the lock.
func (l *lock) write(me holder) error {
	b, err := json.Marshal(me)
	if err != nil {
		return err
	}
	// In place first: on a full disk there is no room for what was given away.
	if _, err := l.file.WriteAt(b, 0); err != nil {
		return err
	}
	return l.file.Truncate(int64(len(b)))
}

// release lets go of the lock, unless another process inherited it.
func (l *lock) release() error { return l.file.Close() }

// readHolder is who holds the lock, or held it last; zero when nobody is named.
func readHolder(state string) holder {
	var h holder
	f, err := os.Open(lockPath(state))
	if err != nil {
		return h
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1<<16))
	if err != nil || json.Unmarshal(b, &h) != nil {
		return holder{} // being written at this moment
	}
	return h
}

// free reports whether nobody holds the lock of the state folder.
func free(state string) bool {
	f, err := os.OpenFile(lockPath(state), os.O_RDWR, 0)
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}

// waitFree waits until nobody holds the lock of the state folder: the process
// that did is gone, or past the point where it touches anything.
func waitFree(ctx context.Context, state string) error {
	for !free(state) {
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// pause lets d go by, less when ctx ends.
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

// lockDrive takes the lock of a drive. Where a daemon that has lost its mount
// still drains, it waits for its end, at most timeout (0: as long as it takes);
// a daemon that is mounted is an error that names it.
func (a *app) lockDrive(ctx context.Context, state, mountpoint string, timeout time.Duration) (*lock, error) {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	me := holder{PID: os.Getpid(), Mountpoint: mountpoint}
	var bar *progress
	defer func() { bar.end() }()
	var last *control.Status // of a daemon that still drains
	tooLate := func(err error) error {
		p := explain("the earlier mount has not finished sending", err)
		p.next = fmt.Sprintf("Pid %d goes on to send %s.", last.PID, unsent(last.Volume))
		return p
	}
	for {
		l, err := takeLock(state, me)
		if err == nil || !errors.Is(err, errLocked) {
			return l, err
		}
		s, h, err := a.lockHolder(ctx, state)
		switch {
		case err != nil && last != nil:
			return nil, tooLate(err)
		case err != nil:
			return nil, err
		case s == nil || !s.Phase.Ending():
			return nil, mountedAlready(s, h)
		case bar == nil && s.Phase != control.Done:
			fmt.Fprintf(a.stderr, "The drive was unmounted, and pid %d still sends what waits. Waiting for it.\n", s.PID)
			bar = a.newProgress()
		}
		bar.show(s.Volume)
		last = s
		if err := pause(ctx, 250*time.Millisecond); err != nil {
			return nil, tooLate(err)
		}
	}
}

// lockHolder asks whoever has the lock; nil when it does not answer. One that
// is about to end is an answer as well: it has closed its socket, not yet its
// lock.
func (a *app) lockHolder(ctx context.Context, state string) (*control.Status, holder, error) {
	for range 40 {
		h := readHolder(state)
		if h.Socket != "" {
			c := control.NewClient(h.Socket)
			ask, cancel := context.WithTimeout(ctx, 5*time.Second)
			s, err := c.Status(ask)
			cancel()
			c.Close()
			if err == nil {
				return &s, h, nil
			}
			if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
				return nil, h, nil // it is there, and will not answer the next time either
			}
		}
		if free(state) {
			return &control.Status{PID: h.PID, Phase: control.Done}, h, nil
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return nil, h, err
		}
	}
	return nil, readHolder(state), nil
}

// mountedAlready says who serves the drive.
func mountedAlready(s *control.Status, h holder) error {
	p := &problem{code: codeMounted}
	switch {
	case s != nil && s.Phase == control.Mounted:
		p.what = fmt.Sprintf("the drive is mounted already: at %s, by pid %d", s.Mountpoint, s.PID)
		p.next = "Use it there, or lock it first: hushfs umount " + shellQuote(s.Mountpoint)
	case s == nil && h.PID != 0 && h.Socket != "":
		// It listens, or did: it is no mount that has just begun.
		mute := silent{PID: h.PID, Mountpoint: h.Mountpoint, Stopped: stoppedBySignal(h.PID), socket: h.Socket}
		p.what = "the drive is mounted already, and " + mute.text()
		p.next = mute.next()
	case h.PID != 0:
		p.what = fmt.Sprintf("the drive is being mounted already: at %s, by pid %d", h.Mountpoint, h.PID)
		p.next = "Wait for it, or end that process."
	default:
		p.what = "the drive is being mounted by another process"
		p.next = "Wait for it."
	}
	return p
}
