package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/cmd/hushfs/control"
)

// waitResult is what wait prints with --json.
type waitResult struct {
	Stored control.Status `json:"stored"`
}

func (a *app) waitCommand() *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "wait [flags] PATH",
		Short: "Wait until a file, or everything, is in the store",
		Long: `Wait until what was written so far to the file PATH is in the store: its bytes,
its attributes, its name, and whatever was done on this machine before the
newest of these. What comes after, and what is still being written to other
files, is not waited for.

Where PATH is a folder, everything written so far to the drive that it lies in
is waited for, in that folder and elsewhere.`,
		Example: `  cp report.odt ~/Drive/ && hushfs wait ~/Drive/report.odt
  hushfs wait --timeout 10m ~/Drive || echo "still sending"`,
		Args: cobra.ExactArgs(1),
	}
	c.Flags().DurationVar(&timeout, "timeout", 0, "wait at most this `DURATION`, as 90s (default: as long as it takes)")
	return a.command(c, func(ctx context.Context, args []string) error { return a.wait(ctx, timeout, args[0]) })
}

func (a *app) wait(ctx context.Context, timeout time.Duration, arg string) error {
	if timeout < 0 {
		return usage("--timeout is negative")
	}
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	all, mute, err := a.findDrives(ctx)
	if err != nil {
		return err
	}
	defer closeAll(all)
	d, path, err := a.driveWith(ctx, arg, all, mute)
	if err != nil {
		return err
	}
	var file uint64 // inode number; 0: everything is waited for
	err = answers(ctx, forever, func() (err error) {
		file, err = writeBack(d.status.Mountpoint, path)
		return err
	})
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return &problem{code: codeUsage, what: "wait: nothing is at " + path, next: "Check it for a typing error."}
	case err != nil:
		return a.notHanded(ctx, d, err)
	}
	left := time.Duration(0)
	if until, ok := ctx.Deadline(); ok {
		left = max(time.Until(until), time.Millisecond)
	}
	s, err := a.waitShowing(ctx, d, file, left)
	if before := d.status.Volume; before.ReadOnly && !before.Stored && (file == 0 && err == nil || err != nil && explain("", err).code == codeFailure) {
		return heldBack("not everything is in the store", before)
	}
	if err != nil {
		return a.notStored(ctx, d, err)
	}
	if a.json {
		a.print(waitResult{s})
		return nil
	}
	if file != 0 {
		a.say("What was written so far to %s is in the store.", path)
		return nil
	}
	a.say("Everything written so far is in the store.")
	return nil
}

// driveWith is the mounted drive, one of all, that arg lies in, and what arg stands for.
func (a *app) driveWith(ctx context.Context, arg string, all []*foundDrive, mute []silent) (d *foundDrive, path string, err error) {
	dead, err := hushMounts()
	if err != nil {
		return nil, "", err
	}
	path = resolveTo(arg, append(mountpoints(all), dead...))
	dir := mountOf(path, append(mountpoints(all), dead...))
	for _, one := range all {
		if one.status.Mountpoint == dir && one.status.Phase == control.Mounted {
			return one, path, nil
		}
	}
	switch {
	case stuckAt(mute, dir) != nil:
		return nil, path, stuckAt(mute, dir)
	case dir != "" && isHushMount(dir):
		return nil, path, a.deadMount(ctx, dir)
	}
	return nil, path, &problem{code: codeNotMounted, what: path + " lies in no mounted drive", next: "See what is mounted: hushfs status"}
}

// forever is a limit for what another limit ends.
const forever = 100 * 365 * 24 * time.Hour

// waitShowing waits for the store with a bar, for an inode or (0) for everything.
func (a *app) waitShowing(ctx context.Context, d *foundDrive, inode uint64, timeout time.Duration) (control.Status, error) {
	return awaited(ctx, a, d, timeout, func(patient context.Context) (control.Status, error) {
		if inode == 0 {
			return d.Wait(patient, timeout)
		}
		return d.WaitFile(patient, inode, timeout)
	})
}

// awaited asks a daemon for something that takes it up to timeout (0: as long as it
// takes), and shows a bar meanwhile.
func awaited[T any](ctx context.Context, a *app, d *foundDrive, timeout time.Duration, ask func(patient context.Context) (T, error)) (T, error) {
	type answer struct {
		result T
		err    error
	}
	// The daemon ends the wait by itself; ctx is a little later, for one that
	// does not answer.
	patient := context.WithoutCancel(ctx)
	if timeout > 0 {
		var cancel context.CancelFunc
		patient, cancel = context.WithTimeout(patient, timeout+askTimeout)
		defer cancel()
	}
	patient, cancel := context.WithCancel(patient)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.Canceled) {
			cancel()
		}
	})
	defer stop()
	done := make(chan answer, 1)
	go func() {
		r, err := ask(patient)
		done <- answer{r, err}
	}()
	bar := a.newProgress()
	defer bar.end()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case e := <-done:
			return e.result, e.err
		case <-tick.C:
			if s, err := d.Status(patient); err == nil {
				bar.show(s.Volume)
			}
		}
	}
}

func (a *app) notStored(ctx context.Context, d *foundDrive, err error) error {
	switch {
	case errors.Is(err, control.ErrNoDaemon):
		return &problem{code: codeUndrained, what: fmt.Sprintf("the daemon (pid %d) ended while it was waited for", d.status.PID),
			next: "What fsync acknowledged is safe in the journal of this machine; mount the drive again to send it: hushfs mount STORE DIR"}
	case errors.Is(ctx.Err(), context.Canceled):
		return &problem{code: codeUndrained, what: "interrupted; not everything is in the store yet", next: "It goes on to be sent; look with: hushfs status"}
	}
	return mountedStill(explain("wait for the store", err))
}

// mountedStill takes out of the advice what holds for a mount that was refused.
func mountedStill(p *problem) *problem {
	p.next = strings.TrimPrefix(p.next, "Nothing was mounted. ")
	return p
}

// writeBack makes the kernel hand what it keeps of the file path to the daemon, and
// returns its inode number; where path is a directory, 0 and everything that it keeps
// of the mount at dir.
func writeBack(dir, path string) (inode uint64, err error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return 0, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	const flags = unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return 0, errors.Join(syncMount(dir), syncOpen(dir))
	case unix.S_IFREG:
	default:
		return st.Ino, nil // it has no bytes
	}
	fd, err := openToSync(path, flags)
	if errors.Is(err, unix.EACCES) {
		return st.Ino, syncMount(dir) // a file without rights
	}
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	return st.Ino, again(func() error { return unix.Fsync(fd) })
}

// syncMount is syncfs(2) of the mount at dir.
func syncMount(dir string) error {
	fd, err := openAgain(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return again(func() error { return unix.Syncfs(fd) })
}

// flushHelper is the process by which a daemon has its own mount written back.
func (a *app) flushHelper(ctx context.Context, args []string) error {
	return answers(ctx, forever, func() error { return errors.Join(syncMount(args[0]), syncOpen(args[0])) })
}
