package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/hushfs/hushfs/cmd/hushfs/control"
	"github.com/hushfs/hushfs/fs/volume"
)

// umountFlags of hushfs umount.
type umountFlags struct {
	lazy    bool
	noWait  bool
	timeout time.Duration
}

// umountResult is what umount prints with --json.
type umountResult struct {
	Locked control.Result `json:"locked"`
}

func (a *app) umountCommand() *cobra.Command {
	var o umountFlags
	c := &cobra.Command{
		Use:     "umount [flags] DIR",
		Aliases: []string{"lock", "unmount"},
		Short:   "Unmount a drive and lock it",
		Long: `Unmount the drive at DIR, send what is not in the store yet, wipe the keys.

The mount is gone at once; then the command waits for the rest to be sent. When
it returns 0, everything is in the store and the machine can be thrown away.
A bar shows how far it is, and why it does not move if it does not; without a
terminal it is a line now and then, with --json nothing.

Interrupt it (Ctrl-C), or give --timeout or --no-wait, and the daemon goes on to
send by itself. How much is left is said; it lies sealed in the journal of this
machine, also when that is switched off now. The exit code is then not 0.

Plain umount and fusermount3 -u lock a drive as well: they return at once, and
the daemon sends the rest in the background.`,
		Example: `  hushfs umount ~/Drive
  hushfs lock --timeout 30s ~/Drive`,
		Args: cobra.ExactArgs(1),
	}
	f := c.Flags()
	f.BoolVar(&o.lazy, "lazy", false, "take the mount away also when programs use it; sending ends when the last of them has closed its files")
	f.BoolVar(&o.noWait, "no-wait", false, "do not wait until everything is sent")
	f.DurationVar(&o.timeout, "timeout", 0, "wait at most this `DURATION`, as 90s (default: as long as it takes)")
	return a.command(c, func(ctx context.Context, args []string) error { return a.umount(ctx, o, args[0]) })
}

func (a *app) umount(ctx context.Context, o umountFlags, arg string) error {
	if o.timeout < 0 {
		return usage("--timeout is negative")
	}
	if o.noWait && o.timeout > 0 {
		return usage("--no-wait and --timeout exclude each other")
	}
	waitCtx := ctx
	if o.timeout > 0 {
		var cancel context.CancelFunc
		waitCtx, cancel = context.WithTimeout(ctx, o.timeout)
		defer cancel()
	}
	d, err := a.findDrive(waitCtx, arg)
	if errors.Is(err, errDied) {
		return a.clearDied(waitCtx, err)
	}
	if err != nil {
		return err
	}
	defer d.Close()
	if !o.noWait {
		return a.awaitLock(ctx, waitCtx, d, o.lazy)
	}
	s, err := d.Unmount(ctx, o.lazy)
	if err != nil {
		return a.refused(err, d.status)
	}
	if !s.Volume.Stored {
		return stillWaiting(codeUndrained, "not waited for", s)
	}
	a.locked(control.Result{Stored: true}, "Unmounted. "+leftBehind(s.Volume))
	return nil
}

// clearDied takes away the mount of a daemon that has died. What it had not
// sent is not known here, so this is no success.
func (a *app) clearDied(ctx context.Context, died error) error {
	p := explain("unmount", died)
	if err := takeDead(ctx, p.dir); err != nil {
		return errors.Join(died, err)
	}
	return &problem{code: codeUndrained, what: "the daemon of the drive at " + p.dir + " has died; the dead mount was taken away",
		next: "What fsync acknowledged is safe in the journal of this machine. To send it, mount the drive again: hushfs mount STORE DIR"}
}

// awaitLock shows the drain and returns when the daemon has ended, or with what
// waits when the user does not.
func (a *app) awaitLock(ctx, waitCtx context.Context, d *foundDrive, lazy bool) error {
	s := d.status
	type answer struct {
		result control.Result
		err    error
	}
	ended := make(chan answer, 1)
	go func() {
		r, err := d.Shutdown(waitCtx, control.How{Lazy: lazy})
		ended <- answer{r, err}
	}()
	bar := a.newProgress()
	defer bar.end()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	said := false
	for {
		select {
		case e := <-ended:
			bar.end()
			if errors.Is(e.err, control.ErrNoDaemon) {
				e.result, e.err = lastWords(waitCtx, s, e.err)
			}
			if e.err != nil && waitCtx.Err() != nil {
				// What is said last is how it is now.
				last, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
				defer cancel()
				if now, err := d.Status(last); err == nil {
					s = now
				}
			}
			return a.concluded(ctx, waitCtx, s, e.result, e.err)
		case <-tick.C:
		}
		now, err := d.Status(waitCtx)
		if err != nil {
			continue // Shutdown knows why
		}
		s = now
		if s.Phase == control.Detached && !said {
			said = true
			fmt.Fprintf(a.stderr, "Unmounted; programs still have files open. Waiting for them.\n")
		}
		bar.show(s.Volume)
	}
}

// lastWords is what a daemon left behind that ended in peace before it was
// asked; err if it did not.
func lastWords(ctx context.Context, s control.Status, err error) (control.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*grace)
	defer cancel()
	if werr := waitFree(ctx, s.State); werr != nil {
		return control.Result{}, err
	}
	if h := readHolder(s.State); h.PID == s.PID && h.Result != nil {
		return *h.Result, nil
	}
	return control.Result{}, err
}

// concluded says how a drain ended.
func (a *app) concluded(ctx, waitCtx context.Context, s control.Status, r control.Result, err error) error {
	switch {
	case err != nil && ctx.Err() != nil:
		return stillWaiting(codeUndrained, "interrupted", s)
	case err != nil && waitCtx.Err() != nil:
		return stillWaiting(codeTimeout, "the time is over", s)
	case errors.Is(err, control.ErrNoDaemon):
		return &problem{code: codeUndrained, what: fmt.Sprintf("the daemon (pid %d) died before it had sent everything", s.PID),
			next: "What fsync acknowledged is safe in the journal of this machine; mount the drive again to send it: hushfs mount STORE DIR"}
	case err != nil:
		return a.refused(err, s)
	case !r.Stored:
		return &problem{code: codeUndrained, what: r.Message, next: r.Next}
	}
	// Its files are its own until it is gone.
	wait, cancel := context.WithTimeout(waitCtx, 2*grace)
	defer cancel()
	if err := waitFree(wait, s.State); err != nil {
		a.warn("everything is in the store, but pid %d has not ended yet", s.PID)
	}
	a.locked(r, "Locked. "+leftBehind(s.Volume))
	return nil
}

// leftBehind says of a volume that holds nothing back where everything is.
func leftBehind(v volume.Status) string {
	switch {
	case v.Older:
		return "It showed what the store has, and sent nothing. The store is still without what this machine knows of; see what: hushfs heads STORE"
	case v.ReadOnly:
		return "It was read-only, and sent nothing."
	}
	return "Everything is in the store."
}

func (a *app) locked(r control.Result, text string) {
	if a.json {
		a.print(umountResult{r})
		return
	}
	a.say("%s", text)
}

// refused adds to a busy mount who uses it.
func (a *app) refused(err error, s control.Status) error {
	p := explain("unmount", err)
	if p.busy {
		p.why = errors.New(busyText(s.Mountpoint))
	}
	return p
}

// heldBack says of a mount that sends nothing that an earlier one has left something.
func heldBack(what string, v volume.Status) error {
	return &problem{code: codeUndrained, what: what, why: fmt.Errorf("%s in the sealed journal of this machine, and a read-only mount sends nothing", waiting(v)),
		next: "It is safe there; the next mount that may write sends it."}
}

// stillWaiting says what a drain that is not waited for has left to do, and that
// it may be left alone.
func stillWaiting(c code, why string, s control.Status) error {
	next := fmt.Sprintf("Pid %d goes on to send it; look with: hushfs status. If this machine stops before, the next mount on it sends the rest.", s.PID)
	if s.Volume.ReadOnly {
		return heldBack(fmt.Sprintf("%s is unmounted, not everything is in the store", s.Mountpoint), s.Volume)
	}
	if stuck := hindrance(s.Volume); stuck != "" {
		why += "; " + stuck
	}
	return &problem{code: c, what: fmt.Sprintf("%s is unmounted, not everything is in the store", s.Mountpoint),
		why: fmt.Errorf("%s; %s in the sealed journal of this machine", why, waiting(s.Volume)), next: next}
}
