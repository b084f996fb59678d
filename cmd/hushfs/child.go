package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/fs/drive"
)

// Descriptors that a child of ours finds open.
const (
	fdRequest = 3 // to read the request from
	fdOutcome = 4 // to write the outcome to
	fdLock    = 5 // daemon only: the drive's lock, held
)

// ourselves is the path of this program, by which it starts itself. When the
// file was replaced meanwhile, it is the kernel's link to the running one: the
// two ends of a pipe must be of one version.
func ourselves() (string, error) {
	const link = "/proc/self/exe"
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	there, err := os.Stat(path)
	if err != nil {
		return link, nil
	}
	running, err := os.Stat(link)
	if err != nil || !os.SameFile(there, running) {
		return link, err
	}
	return path, nil
}

// inherited is a descriptor of the given type (unix.S_IFIFO, …) that a parent
// left open for this process. It is not handed on to processes that this one
// starts. The type tells it from what Go's runtime opens for itself.
func inherited(fd int, mode uint32, what string) (*os.File, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != mode {
		return nil, usage("this command is for hushfs itself: it needs %s at descriptor %d", what, fd)
	}
	unix.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), what), nil
}

// child is a hushfs that this process starts: its command, and a pipe in each
// direction.
type child struct {
	*exec.Cmd
	request *os.File // to write to
	outcome *os.File // to read from
	theirs  []*os.File
}

// newChild prepares a child; its further descriptors come after the two pipes.
func newChild(ctx context.Context, name string, more ...*os.File) (*child, error) {
	path, err := ourselves()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	c := &child{Cmd: exec.CommandContext(ctx, path, name)}
	c.Args[0] = "hushfs"
	// It has a terminal's echo to bring back or a mount to take away.
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = 10 * time.Second
	return c, c.pipes(more...)
}

// pipes gives the child its descriptors.
func (c *child) pipes(more ...*os.File) error {
	theirRequest, ourRequest, err := os.Pipe()
	if err != nil {
		return err
	}
	ourOutcome, theirOutcome, err := os.Pipe()
	if err != nil {
		return errors.Join(err, theirRequest.Close(), ourRequest.Close())
	}
	c.request, c.outcome = ourRequest, ourOutcome
	c.theirs = []*os.File{theirRequest, theirOutcome}
	c.ExtraFiles = append([]*os.File{theirRequest, theirOutcome}, more...)
	return nil
}

// alone keeps the descriptors that this process was started with from the child:
// a daemon would hold its caller's locks and pipes until the drive is locked.
func (c *child) alone() error {
	return unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
}

// ask starts the child, sends the request and reads the outcome. errNoParcel
// means that the child ended without one. Wait is the caller's when the child
// was started.
func (c *child) ask(request any, secret []byte) (out outcome, answer []byte, err error) {
	defer c.outcome.Close()
	err = c.Start()
	for _, f := range c.theirs {
		f.Close()
	}
	if err != nil {
		c.request.Close()
		return out, nil, fmt.Errorf("start a process: %w", err)
	}
	sent := make(chan error, 1)
	go func() { sent <- errors.Join(sendParcel(c.request, request, secret), c.request.Close()) }()
	answer, err = receiveParcel(c.outcome, &out)
	if sendErr := <-sent; err != nil && !errors.Is(err, errNoParcel) {
		err = errors.Join(err, sendErr)
	}
	return out, answer, err
}

// unlockRequest is what the helper needs to unlock a drive.
type unlockRequest struct {
	location
	Secret secretFlags `json:"secret"`
	Older  bool        `json:"older"` // see drive.UnlockOptions
}

// toRead unlocks a drive and opens its store, for a command that writes nothing there.
func (a *app) toRead(ctx context.Context, at location, s secretFlags, fn func(u *drive.Unlocked, b opened, log *slog.Logger) error) error {
	if err := harden(); err != nil {
		return err
	}
	if err := a.drivePeeked(ctx, at); err != nil {
		return err
	}
	_, handover, err := a.unlockInChild(ctx, unlockRequest{location: at, Secret: s})
	if err != nil {
		return err
	}
	defer wipe(handover)
	u, err := drive.FromHandover(handover)
	if err != nil {
		return err
	}
	defer u.Wipe()
	log := a.asideLog()
	b, err := a.openStore(ctx, at, true, log)
	if err != nil {
		return err
	}
	defer b.Close()
	return fn(u, b, log)
}

// drivePeeked fails where no drive is, before anybody is asked for its passphrase.
func (a *app) drivePeeked(ctx context.Context, at location) error {
	where, err := findPlaces(a.env)
	if err != nil {
		return err
	}
	if _, err := a.peek(ctx, at, where.state); err != nil {
		return explain("the drive stays locked", err)
	}
	return nil
}

// unlockInChild unlocks in a process of its own, which asks at our terminal:
// the memory of the key derivation never becomes ours.
func (a *app) unlockInChild(ctx context.Context, r unlockRequest) (id drive.ID, handover []byte, err error) {
	// The child is to go when this process is killed; the kernel watches the
	// thread that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c, err := newChild(ctx, "unlock-helper")
	if err != nil {
		return id, nil, err
	}
	c.Stdin, c.Stdout, c.Stderr = a.stdin, a.stderr, a.stderr
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	out, handover, err := c.ask(r, nil)
	if c.Process == nil {
		return id, nil, err
	}
	ended := c.Wait()
	switch {
	case ctx.Err() != nil:
		wipe(handover)
		return id, nil, ctx.Err()
	case out.Problem != nil:
		return id, nil, out.Problem
	case err != nil:
		return id, nil, &problem{code: codeFailure, what: "the process that unlocks ended without an answer", why: errors.Join(err, ended),
			next: "If the system ran out of memory: the drive's key derivation needs what init was given with --kdf-memory."}
	}
	if id, err = drive.ParseID(out.Drive); err != nil {
		wipe(handover)
	}
	return id, handover, err
}

// unlockHelper is that process.
func (a *app) unlockHelper(ctx context.Context, _ []string) error {
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
	var r unlockRequest
	if _, err := receiveParcel(in, &r); err != nil {
		return err
	}
	u, err := a.unlock(ctx, r)
	if err != nil {
		return reportTo(out, err)
	}
	defer u.Wipe()
	secret := u.Handover()
	defer wipe(secret)
	return errors.Join(sendParcel(out, outcome{Drive: u.ID.String()}, secret), out.Close())
}

// reportTo sends err to the parent, who tells the user; this process only ends
// with it.
func reportTo(out io.Writer, err error) error {
	p := explain("hushfs", err)
	if err := sendParcel(out, outcome{Problem: p.wire()}, nil); err != nil {
		return p // nobody to tell but stderr
	}
	return &told{p}
}

// told is a problem that the user hears of from somebody else.
type told struct{ *problem }

// unlock opens the drive with the secret that the flags or the user give.
func (a *app) unlock(ctx context.Context, r unlockRequest) (*drive.Unlocked, error) {
	where, err := findPlaces(a.env)
	if err != nil {
		return nil, err
	}
	b, err := a.openStore(ctx, r.location, true, nil)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	o := drive.UnlockOptions{StateRoot: where.state, Older: r.Older, Log: a.logger(a.stderr)}
	if o.Expect, err = r.Secret.expected(); err != nil {
		return nil, err
	}
	if r.Secret.Recovery != "" {
		var paper *drive.ID
		if o.Recovery, paper, err = a.recovery(r.Secret.Recovery); err != nil {
			return nil, err
		}
		defer o.Recovery.Wipe()
		if o.Expect == nil {
			o.Expect = paper
		}
		o.Confirm = func(id drive.ID) bool { return a.confirm(ctx, id) }
	} else {
		if o.Passphrase, err = a.passphrase(ctx, r.Secret); err != nil {
			return nil, err
		}
		defer wipe(o.Passphrase)
	}
	u, err := drive.Unlock(ctx, b, o)
	if err != nil {
		return nil, explain("the drive stays locked", err)
	}
	return u, nil
}
