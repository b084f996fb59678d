package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hushfs/hushfs/cmd/hushfs/control"
)

// statusResult is what status prints with --json.
type statusResult struct {
	Mounts []control.Status `json:"mounts"`
	Dead   []string         `json:"dead"` // mounts whose daemon has died
}

func (a *app) statusCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "status [flags] [DIR]",
		Short: "Show what is mounted and what waits to be sent",
		Long: `Show your mounted drives, or the one at DIR: whether everything is in the store,
what waits and since when, damaged objects, warnings. A drive that was
unmounted and still sends is shown as well.`,
		Example: `  hushfs status
  hushfs status --json ~/Drive`,
		Args: cobra.MaximumNArgs(1),
	}
	return a.command(c, a.status)
}

func (a *app) status(ctx context.Context, args []string) error {
	var r statusResult
	if len(args) == 1 {
		d, err := a.findDrive(ctx, args[0])
		if err != nil {
			return err
		}
		defer d.Close()
		r.Mounts = []control.Status{d.status}
	} else {
		all, err := a.findDrives(ctx)
		if err != nil {
			return err
		}
		defer closeAll(all)
		for _, d := range all {
			r.Mounts = append(r.Mounts, d.status)
		}
		if r.Dead, err = deadMounts(ctx, mountpoints(all)); err != nil {
			return err
		}
	}
	if a.json {
		r.Mounts = append([]control.Status{}, r.Mounts...) // [] rather than null
		r.Dead = append([]string{}, r.Dead...)
		a.print(r)
		return nil
	}
	for i, s := range r.Mounts {
		if i > 0 {
			a.say("")
		}
		a.say("%s", statusText(s, time.Now()))
	}
	for _, dir := range r.Dead {
		a.say("The daemon of the drive at %s has died. Mount it again to send what its journal holds.", dir)
	}
	if len(r.Mounts)+len(r.Dead) == 0 {
		a.say("No drive is mounted.")
	}
	return nil
}

// deadMounts are the mounts of hushfs that answer nobody, beside those of living.
func deadMounts(ctx context.Context, living []string) ([]string, error) {
	mounts, err := hushMounts()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(mounts, func(dir string) bool {
		return slices.Contains(living, dir) || answering(ctx, dir)
	}), nil
}

// statusText is one drive on a screen.
func statusText(s control.Status, now time.Time) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, "  "+format+"\n", args...) }
	v := s.Volume
	fmt.Fprintf(&b, "%s  %q  %s\n", s.Mountpoint, v.Name, phaseText(s, now))
	switch {
	case v.Stored:
		line("All changes are in the store (%s).", now.Format(time.TimeOnly))
	case v.OldestPending.IsZero():
		line("%s.", capital(waiting(v)))
	default:
		line("%s, the oldest since %s (%s).", capital(waiting(v)), v.OldestPending.Local().Format(time.DateTime), age(now.Sub(v.OldestPending)))
	}
	if v.Offline != "" {
		line("The store cannot be reached: %s.", v.Offline)
	}
	if v.Stopped != "" {
		line("Nothing more is sent: %s.", v.Stopped)
	}
	line("%s, %s. Journal %s.", count(v.Files, "file"), size(int64(v.Bytes)), size(v.JournalBytes))
	at := s.Store
	if s.Endpoint != "" {
		at += " at " + s.Endpoint
	}
	line("Store %s, drive %s.", at, v.Drive)
	if s.Probe != nil {
		line("%s", probeText(s.Probe))
	}
	for _, w := range v.Warnings {
		line("Warning: %s", w)
	}
	if len(v.Damaged) > 0 {
		line("Damaged in the store, what they hold cannot be read (%s):", count(len(v.Damaged), "object"))
		for _, name := range v.Damaged {
			line("  %s", name)
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func phaseText(s control.Status, now time.Time) string {
	who := fmt.Sprintf("pid %d", s.PID)
	switch s.Phase {
	case control.Mounted:
		mode := "mounted"
		if s.Volume.ReadOnly {
			mode = "mounted read-only"
		}
		return fmt.Sprintf("%s since %s, %s", mode, s.Since.Local().Format(time.DateTime), who)
	case control.Detached:
		return "unmounted, but programs still have files open, " + who
	case control.Draining:
		return fmt.Sprintf("unmounted, sending for at most another %s, %s", age(s.DrainUntil.Sub(now)), who)
	}
	return string(s.Phase) + ", " + who
}

// age is a duration for people.
func age(d time.Duration) string {
	if d > time.Minute {
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
	return max(d, 0).Round(time.Second).String()
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
