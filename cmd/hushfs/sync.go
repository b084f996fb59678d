package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/hushfs/hushfs/cmd/hushfs/control"
)

// syncResult is what sync prints with --json.
type syncResult struct {
	Synced []control.Synced `json:"synced"`
}

func (a *app) syncCommand() *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "sync [flags] [PATH]",
		Short: "Send and fetch now",
		Long: `Send what was written on this machine, and fetch what others wrote, now. When it
ends, everything written so far to the drive that PATH lies in, or to all your
mounted drives, is in the store, and everything that was in the store when it
began is what programs see: what the kernel kept of older versions is dropped.
A file that a program has open stays as it is there until it is opened again.

A mount sends within seconds by itself, and fetches within seconds while it is in
use; sync is for when that must be certain: before a laptop is closed, after the
other one was.

When the store cannot be reached, refuses or is full, sync fails at once; with
--timeout it waits for it that long. What was written stays in the journal of this machine, and is sent
when the store is back.`,
		Example: `  hushfs sync ~/Drive && systemctl suspend
  ssh desk hushfs sync /home/ann/Drive && hushfs sync ~/Drive
  hushfs sync --json --timeout 10m`,
		Args: cobra.MaximumNArgs(1),
	}
	c.Flags().DurationVar(&timeout, "timeout", 0, "wait at most this `DURATION`, as 90s, also for a store that is away (default: as long as it takes while the store answers)")
	return a.command(c, func(ctx context.Context, args []string) error { return a.sync(ctx, timeout, args) })
}

func (a *app) sync(ctx context.Context, timeout time.Duration, args []string) error {
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
	var chosen []*foundDrive
	if len(args) == 1 {
		d, _, err := a.driveWith(ctx, args[0], all, mute)
		if err != nil {
			return err
		}
		chosen = []*foundDrive{d}
	} else {
		for _, d := range all {
			if d.status.Phase == control.Mounted {
				chosen = append(chosen, d)
			}
		}
		for _, s := range mute {
			return &problem{code: codeFailure, what: s.text(), next: s.next()}
		}
		if len(chosen) == 0 {
			return &problem{code: codeNotMounted, what: "no drive is mounted", next: "Mount one: hushfs mount STORE DIR"}
		}
	}
	r := syncResult{Synced: []control.Synced{}}
	var failed []error
	for _, d := range chosen {
		s, err := a.syncDrive(ctx, d)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		r.Synced = append(r.Synced, s)
		a.say("%s", syncText(s))
	}
	if len(failed) > 0 {
		for _, err := range failed[1:] {
			a.warn("%s", explain("sync", err).text())
		}
		return failed[0]
	}
	if a.json {
		a.print(r)
	}
	return nil
}

// syncText says what a sync has done.
func syncText(s control.Synced) string {
	text := s.Status.Mountpoint + ": everything written so far is in the store"
	if s.Status.Volume.ReadOnly {
		text = s.Status.Mountpoint + ": it is read-only, and sends nothing"
	}
	if s.Slot == s.Before {
		return text + "; nothing new is there."
	}
	// Who wrote them is not counted: what was just sent is one of them.
	return fmt.Sprintf("%s; the drive is %s further, this machine's own included.", text, count(s.Slot-s.Before, "commit"))
}

// syncDrive syncs one mounted drive, with a bar.
func (a *app) syncDrive(ctx context.Context, d *foundDrive) (control.Synced, error) {
	dir := d.status.Mountpoint
	err := answers(ctx, forever, func() error {
		_, err := writeBack(dir, dir)
		return err
	})
	if err != nil {
		return control.Synced{}, a.notHanded(ctx, d, err)
	}
	left := time.Duration(0)
	if until, ok := ctx.Deadline(); ok {
		left = max(time.Until(until), time.Millisecond)
	}
	s, err := awaited(ctx, a, d, left, func(patient context.Context) (control.Synced, error) { return d.Sync(patient, left) })
	switch {
	case err == nil:
		return s, nil
	case errors.Is(err, control.ErrNoDaemon), errors.Is(ctx.Err(), context.Canceled):
		return s, a.notStored(ctx, d, err)
	}
	p := mountedStill(explain("sync "+dir, err))
	if p.code == codeStore && d.status.Volume.PendingOps > 0 {
		p.next += " What was written stays in the journal of this machine until then."
	}
	return s, p
}
