package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hushfs/hushfs/cmd/hushfs/control"
	"github.com/hushfs/hushfs/fs/check"
	"github.com/hushfs/hushfs/fs/volume"
)

// statusResult is what status prints with --json.
type statusResult struct {
	Mounts []control.Status `json:"mounts"`
	Silent []silent         `json:"silent"` // daemons that are there and do not answer
	Dead   []string         `json:"dead"`   // mounts whose daemon has died
}

func (a *app) statusCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "status [flags] [DIR]",
		Short: "Show what is mounted and what waits to be sent",
		Long: `Show your mounted drives, or the one at DIR: whether everything is in the store,
what waits and since when, whether the store can be reached, the disk that the
drive takes of what it may (--cache-size), what was sent and received since it
was mounted, damaged objects, warnings. A drive that was unmounted and still
sends is shown as well, and a daemon that does not answer.`,
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
		all, mute, err := a.findDrives(ctx)
		if err != nil {
			return err
		}
		defer closeAll(all)
		for _, d := range all {
			r.Mounts = append(r.Mounts, d.status)
		}
		r.Silent = mute
		living := mountpoints(all)
		for _, s := range mute {
			living = append(living, s.Mountpoint)
		}
		if r.Dead, err = deadMounts(ctx, living); err != nil {
			return err
		}
	}
	if a.json {
		r.Mounts = append([]control.Status{}, r.Mounts...) // [] rather than null
		r.Dead = append([]string{}, r.Dead...)
		r.Silent = append([]silent{}, r.Silent...)
		a.print(r)
		return nil
	}
	for i, s := range r.Mounts {
		if i > 0 {
			a.say("")
		}
		a.say("%s", statusText(s, time.Now()))
	}
	for _, s := range r.Silent {
		a.say("%s. %s", capital(s.text()), s.next())
	}
	for _, dir := range r.Dead {
		a.say("The daemon of the drive at %s has died. Mount it again to send what its journal holds.", dir)
	}
	if len(r.Mounts)+len(r.Silent)+len(r.Dead) == 0 {
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
		if v.Stopped == "" {
			line("All changes are in the store (%s).", now.Format(time.TimeOnly))
		} else {
			line("No change waits to be sent.") // whether the store has what it had is said below
		}
	case v.OldestPending.IsZero():
		line("%s.", capital(waiting(v)))
	default:
		line("%s, the oldest since %s (%s).", capital(waiting(v)), v.OldestPending.Local().Format(time.DateTime), age(now.Sub(v.OldestPending)))
	}
	if v.Offline != "" {
		line("%s.", offlineText(v, now))
		if v.OfflineNext != "" {
			line("What to do: %s.", v.OfflineNext)
		}
	}
	if v.Confirming > 0 {
		line("What they synced is to be in the store before they go on (durability remote): %s, the first for %s.", count(v.Confirming, "program"), age(now.Sub(v.ConfirmSince)))
	}
	switch {
	case v.Refused:
		line("No space is left: %s, and the store has taken nothing for a while. New files are refused (ENOSPC); once it takes what waits, all goes on.", v.Slowed)
	case v.Slowed != "":
		line("Writers are slowed to the speed of the uploads: %s.", v.Slowed)
	}
	if v.Stopped != "" {
		line("Nothing more is sent: %s.", check.Printable(v.Stopped))
	} else if v.NotTaken != "" {
		line("Nothing more is sent: %s.", check.Printable(v.NotTaken))
		line("What to do: %s. It is tried again until then.", v.NotTakenNext)
	}
	if v.Conflicts > 0 {
		line("%s to be resolved: hushfs conflicts %s", capital(count(v.Conflicts, "conflict")), shellQuote(s.Mountpoint))
	}
	line("%s, folders counted as well, %s.", count(v.Files, "file"), size(int64(v.Bytes)))
	line("%s", diskText(v))
	line("%s", trafficText(v.Traffic))
	at := s.Store
	if s.Endpoint != "" {
		at += " at " + s.Endpoint
	}
	line("Store %s, drive %s.", at, v.Drive)
	if s.Probe != nil {
		line("%s", probeText(s.Probe))
	}
	if s.Why != "" {
		line("Mounted read-only: %s.", check.Printable(s.Why))
	}
	if len(s.Hidden) > 0 {
		line("%s.", capital(hiddenText(s.Mountpoint, s.Hidden)))
	}
	for _, w := range v.Warnings {
		line("Warning: %s", check.Printable(w))
	}
	if len(v.Damaged) > 0 {
		line("Damaged in the store, what they hold cannot be read (%s):", count(len(v.Damaged), "object"))
		for _, name := range v.Damaged {
			line("  %s", name)
		}
	}
	if v.DeadSlots > 0 {
		line("Somebody put junk into %s for commits. Everybody skips it, and nothing is lost.", count(int(v.DeadSlots), "slot"))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// offlineText says since when the store cannot be reached, why, and what next.
func offlineText(v volume.Status, now time.Time) string {
	text := "The store cannot be reached: " + v.Offline
	if !v.OfflineSince.IsZero() {
		text += fmt.Sprintf("; since %s (%s)", v.OfflineSince.Local().Format(time.DateTime), age(now.Sub(v.OfflineSince)))
	}
	if v.NextTry.After(now) {
		text += fmt.Sprintf("; next try in %s", age(v.NextTry.Sub(now)))
	}
	return text
}

// diskText is what the drive takes on the local disk. The journal has its room before
// it needs it, and the file spare: neither is something that waits.
func diskText(v volume.Status) string {
	d := v.Disk
	waits := min(v.PendingBytes, d.Journal)
	if v.Stored {
		waits = 0
	}
	return fmt.Sprintf("Local disk: %s of at most %s (journal: %s wait, %s kept ready for sending; cache: names %s, file data %s).",
		size(d.Used), size(d.Limit), size(waits), size(d.Journal-waits), size(d.Meta), size(d.Blocks))
}

// trafficText is what went to the store and came from it, a kind of request after
// the other.
func trafficText(all map[string]volume.Traffic) string {
	var up, down, n, failed int64
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(all)) {
		t := all[kind]
		up, down, n, failed = up+t.Up, down+t.Down, n+t.Requests, failed+t.Failed
		kinds = append(kinds, fmt.Sprintf("%d %s", t.Requests, kind))
	}
	if n == 0 {
		return "No request to the store since it was mounted."
	}
	text := fmt.Sprintf("Since it was mounted: %s sent, %s received, in %s: %s", size(up), size(down), count(n, "request"), strings.Join(kinds, ", "))
	if failed > 0 {
		text += fmt.Sprintf("; %d failed", failed)
	}
	return text + "."
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
