package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hushfs/hushfs/cmd/hushfs/control"
	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/history"
)

// logFlags of hushfs log.
type logFlags struct {
	secret       secretFlags
	s3           s3Flags
	verify       bool
	reverse      bool
	most         uint64
	since, until timeFlag
	device       string
	noPager      bool
}

func (a *app) logCommand() *cobra.Command {
	var o logFlags
	c := &cobra.Command{
		Use:   "log [flags] [STORE | DIR] [PATH]",
		Short: "Tell what happened to a drive, who did it, and verify it",
		Long: `Tell the history of a drive, the newest first: which device made each commit, of
which member, and what it created, changed, renamed or removed. The drive is
that of STORE, or the one that is mounted where DIR lies (default: the current
folder). STORE may be a copy of a bucket: nothing else is asked, and nothing is
written.

PATH is a path within the drive: only what concerns the file that has it now,
whatever it was called before, or what was ever in that folder. Nothing having
that path now, it is what was called so, then. DIR may be such a path itself,
below the mountpoint.

Who made a commit is what its signature says. When is what the clock of that
device said, and nobody checks it. What was done between two commits of a device
is told as one: a file that was made and removed again is not there at all.

Commits under a checkpoint are trimmed in time; it is said then where the record
begins. Names of that time that nothing tells any more begin with "?".

With --verify nothing is told, and all that is there is verified: the signature
of each commit by a device that was one then, its place behind the one before
it, its id, the rules that machines hold it to, the ledger from its first
record, and that each checkpoint says what the commits under it do. What has
been cut off at the newest end nobody can tell from a copy alone: compare the
newest commit with what another machine says.

Ends with 0, or with --verify with 23 when something is not as it was signed.`,
		Example: `  hushfs log ~/Drive
  hushfs log -n 20 --device laptop ~/Drive/docs/report.odt
  hushfs log --since 2026-01-01 --json s3://bucket/home docs
  hushfs log --verify /media/copy-of-bucket/home`,
		Args: cobra.MaximumNArgs(2),
	}
	f := c.Flags()
	o.secret.registerUnlock(f, "")
	o.s3.register(f)
	f.BoolVar(&o.verify, "verify", false, "verify the whole history instead of telling it")
	f.BoolVar(&o.reverse, "reverse", false, "the oldest first")
	f.Uint64VarP(&o.most, "max-count", "n", 0, "tell of `NUMBER` commits at most")
	f.Var(&o.since, "since", "only what was made at `TIME` or later, by the device's clock: 2026-11-21, 2026-11-21T18:00, or 3d or 12h for so long ago")
	f.Var(&o.until, "until", "only what was made before `TIME`, by the device's clock")
	f.StringVar(&o.device, "device", "", "only commits of the device with that `NAME` or number")
	f.BoolVar(&o.noPager, "no-pager", false, "do not show it through $PAGER")
	return a.command(c, func(ctx context.Context, args []string) error { return a.log(ctx, o, args) })
}

func (o *logFlags) check(path string) error {
	if o.verify && (o.reverse || o.most > 0 || o.since.set() || o.until.set() || o.device != "" || path != "") {
		return usage("--verify verifies everything: it goes with no other choice and no PATH")
	}
	return o.secret.check()
}

func (a *app) log(ctx context.Context, o logFlags, args []string) error {
	at, path, err := a.whichDrive(ctx, args, o.s3)
	if err != nil {
		return err
	}
	if err := o.check(path); err != nil {
		return err
	}
	return a.onHistory(ctx, at, o.secret, func(h *history.History) error {
		if o.verify {
			return a.verifyHistory(ctx, h)
		}
		return a.tellHistory(ctx, h, o, path)
	})
}

// whichDrive finds out which drive, and which path in it, the arguments of a command
// mean: a store, or a place in what is mounted; and then a path.
func (a *app) whichDrive(ctx context.Context, args []string, f s3Flags) (at location, path string, err error) {
	arg := "."
	if len(args) > 0 {
		arg = args[0]
	}
	if !strings.Contains(arg, "://") {
		status, dir, full, err := a.mountedAt(ctx, arg)
		if err != nil {
			return location{}, "", err
		}
		if status != nil {
			if path, err = filepath.Rel(dir, full); err != nil || path == "." {
				path = ""
			}
			if len(args) > 1 {
				path = filepath.Join(path, args[1])
			}
			if f.Endpoint == "" && strings.Contains(status.Endpoint, "://") {
				f.Endpoint = status.Endpoint
			}
			if !strings.HasPrefix(status.Store, s3Scheme) {
				f = s3Flags{}
			}
			at, err = locate(status.Store, f)
			return at, path, err
		}
	}
	if len(args) == 0 {
		return location{}, "", &problem{code: codeNotMounted, what: "the current folder lies in no mounted drive", next: "Name the STORE, or a folder of a mounted drive. See what is mounted: hushfs status"}
	}
	if len(args) > 1 {
		path = args[1]
	}
	at, err = locate(arg, f)
	return at, path, err
}

// mountedAt finds the drive that a path lies in, and where it is mounted; nil: in none.
func (a *app) mountedAt(ctx context.Context, arg string) (s *control.Status, dir, full string, err error) {
	all, mute, err := a.findDrives(ctx)
	if err != nil {
		return nil, "", "", err
	}
	defer closeAll(all)
	dead, err := hushMounts()
	if err != nil {
		return nil, "", "", err
	}
	mounts := append(mountpoints(all), dead...)
	full = resolveTo(arg, mounts)
	dir = mountOf(full, mounts)
	if dir == "" {
		return nil, "", full, nil
	}
	for _, d := range all {
		if d.status.Mountpoint == dir && d.status.Phase == control.Mounted {
			return &d.status, dir, full, nil
		}
	}
	if err := stuckAt(mute, dir); err != nil {
		return nil, "", "", err
	}
	if isHushMount(dir) {
		return nil, "", "", a.deadMount(ctx, dir)
	}
	return nil, "", full, nil
}

// onHistory unlocks a drive and opens its history.
func (a *app) onHistory(ctx context.Context, at location, s secretFlags, fn func(*history.History) error) error {
	return a.toRead(ctx, at, s, func(u *drive.Unlocked, b opened, log *slog.Logger) error {
		h, err := history.Open(ctx, history.Options{Bucket: b, Drive: u, Log: log})
		if err != nil {
			return err
		}
		defer h.Close()
		return fn(h)
	})
}

// tellHistory prints what is asked for.
func (a *app) tellHistory(ctx context.Context, h *history.History, o logFlags, path string) error {
	end := a.page(!o.noPager)
	n := uint64(0)
	err := h.Each(ctx, history.Walk{Path: path, Onward: o.reverse}, func(e history.Entry) bool {
		if !o.wants(e) {
			return true
		}
		n++
		if a.json {
			a.print(e)
		} else {
			a.showEntry(e, n == 1)
		}
		return (o.most == 0 || n < o.most) && a.unwritten == nil
	})
	stopped := end()
	switch {
	case errors.Is(err, history.ErrPath):
		return &problem{code: codeUsage, what: "PATH", why: err, next: "Write it as it is below the mountpoint: docs/report.odt"}
	case err != nil:
		return err
	case stopped:
		a.unwritten = nil // who reads has seen enough
	}
	if why := h.Trouble(); why != nil {
		a.warn("the history goes no further than slot %d: %v. What is wrong: hushfs log --verify", h.Head(), why)
	}
	if n == 0 && !a.json {
		fmt.Fprintln(a.stderr, "No commit is of what was asked for.")
	}
	if b := h.Begins(); b > 1 && (o.most == 0 || n < o.most) {
		fmt.Fprintf(a.stderr, "The record begins at slot %d: what was before lies under a checkpoint, and its commits are trimmed.\n", b)
	}
	return nil
}

// wants says whether an entry is asked for.
func (o *logFlags) wants(e history.Entry) bool {
	switch {
	case o.device != "" && o.device != e.DeviceName && o.device != strconv.Itoa(e.Device):
		return false
	case o.since.set() && e.Claimed.Before(o.since.Time):
		return false
	}
	return !o.until.set() || e.Claimed.Before(o.until.Time)
}

// timeFlag is a point in time on the command line.
type timeFlag struct{ time.Time }

func (t *timeFlag) set() bool { return !t.IsZero() }

func (t *timeFlag) String() string {
	if !t.set() {
		return ""
	}
	return t.Format(time.RFC3339)
}

func (t *timeFlag) Type() string { return "time" }

func (t *timeFlag) Set(text string) error {
	for _, form := range []string{time.DateOnly, "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02T15:04:05", time.DateTime} {
		if at, err := time.ParseInLocation(form, text, time.Local); err == nil {
			t.Time = at
			return nil
		}
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		t.Time = at
		return nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			t.Time = time.Now().AddDate(0, 0, -int(n))
			return nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		t.Time = time.Now().Add(-d)
		return nil
	}
	return errors.New("a time is needed, as 2026-11-21, 2026-11-21T18:00, 3d or 12h")
}
