package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hushfs/hushfs/cmd/hushfs/control"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/check"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/volume"
)

// devicesResult is what the device commands print with --json.
type devicesResult struct {
	Devices []volume.Device `json:"devices"`
	Removed []int           `json:"removed,omitempty"` // by this command
}

// deviceCommand has the commands about the machines of a drive below it.
func (a *app) deviceCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "device",
		Short: "List, rename and remove the machines of a drive",
		Long: `A machine becomes a device of a drive with its first change, under a number of its
own. These commands list them, call one another name, and remove one that was lost,
sold, or is not to write any more. A machine that was removed has commands of its own.`,
		Example: `  hushfs device list ~/Drive
  hushfs device remove ~/Drive 2`,
		Args: cobra.NoArgs,
		// Without one of its own cobra shows help, and success, for any word after it.
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.deviceListCommand(), a.deviceRenameCommand(), a.deviceRemoveCommand(), a.deviceExportCommand(), a.deviceRejoinCommand())
	return c
}

func (a *app) deviceListCommand() *cobra.Command {
	var o deviceFlags
	var all bool
	c := &cobra.Command{
		Use:   "list [flags] DIR|STORE",
		Short: "Show which machines write to a drive",
		Long: `Show the devices of the drive that is mounted at DIR, or lies in STORE: number and
name, since when, when it was seen last (its newest commit, by its own clock), and
the version of hushfs that it wrote with last, with the beginning of the SHA-256 of
that executable. What a device says of itself proves nothing: but an executable
that differs from all others of the same version is marked as odd, and worth a
look. Machines that only read are no devices.`,
		Example: `  hushfs device list ~/Drive
  hushfs device list --all --json s3://bucket/home`,
		Args: cobra.ExactArgs(1),
	}
	o.register(c.Flags())
	c.Flags().BoolVar(&all, "all", false, "also those that were removed")
	return a.command(c, func(ctx context.Context, args []string) error {
		l, err := a.devices(ctx, o, args[0])
		if err != nil {
			return err
		}
		shown := []volume.Device{}
		for _, d := range l {
			if all || d.Removed == 0 {
				shown = append(shown, d)
			}
		}
		if a.json {
			a.print(devicesResult{Devices: shown})
			return nil
		}
		a.say("%s", devicesText(shown, time.Now()))
		return nil
	})
}

// devices lists the devices of a drive.
func (a *app) devices(ctx context.Context, o deviceFlags, arg string) (l []volume.Device, err error) {
	err = a.reach(ctx, o, arg, false, func(c *control.Client) error {
		l, err = c.Devices(ctx)
		return err
	}, func(v *volume.Volume) error {
		l, err = v.Devices(ctx)
		return err
	})
	return l, err
}

func (a *app) deviceRenameCommand() *cobra.Command {
	var o deviceFlags
	c := &cobra.Command{
		Use:   "rename [flags] DIR|STORE NUMBER NAME",
		Short: "Call a machine another name",
		Long: `Call the device NUMBER of a drive NAME: in lists, and in the names of files of which
two machines wrote a version each. The name is in the drive, and all machines learn
it. At most 64 bytes, without control characters and slashes, and none that another
machine of the drive has.`,
		Example: `  hushfs device rename ~/Drive 2 kitchen`,
		Args:    cobra.ExactArgs(3),
	}
	o.register(c.Flags())
	return a.command(c, func(ctx context.Context, args []string) error {
		no, err := deviceNumber(args[1])
		if err != nil {
			return err
		}
		if err := chain.CheckDeviceName(args[2]); err != nil || args[2] == "" {
			return usage("NAME is 1 to %d bytes, without control characters and slashes", chain.MaxDeviceName)
		}
		var l []volume.Device
		err = a.reach(ctx, o, args[0], true, func(c *control.Client) error {
			l, err = c.RenameDevice(ctx, no, args[2])
			return err
		}, func(v *volume.Volume) error {
			if err := v.RenameDevice(ctx, no, args[2]); err != nil {
				return deviceProblem("the device was not renamed", err)
			}
			l, err = v.Devices(ctx)
			return err
		})
		if err != nil {
			return err
		}
		if a.json {
			a.print(devicesResult{Devices: l})
			return nil
		}
		a.say("Device %d is called %s now.", no, args[2])
		return nil
	})
}

// deviceNumber reads a number as a person writes it.
func deviceNumber(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, usage("NUMBER is the number of a device, as hushfs device list shows it")
	}
	return int(n), nil
}

// deviceProblem explains why a device was not changed; nil stays nil.
func deviceProblem(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, publish.ErrDevice):
		return &problem{code: codeUsage, what: what, why: err, next: "See: hushfs device list"}
	case errors.Is(err, publish.ErrNamed):
		return &problem{code: codeUsage, what: what, why: err, next: "Choose another one. See: hushfs device list"}
	case errors.Is(err, chain.ErrRefused):
		return &problem{code: codeUsage, what: what, why: err, next: "See: hushfs device list --all"}
	}
	return explain(what, err)
}

// devicesText is the list on a screen.
func devicesText(l []volume.Device, now time.Time) string {
	if len(l) == 0 {
		return "No machine has written to the drive."
	}
	width := 4
	for _, d := range l {
		width = max(width, len([]rune(check.Printable(d.Name))))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%6s  %-*s  %-16s  %-24s  %s\n", "NUMBER", width, "NAME", "SINCE", "SEEN", "PROGRAM")
	for _, d := range l {
		since := "init"
		if !d.EnrolledAt.IsZero() {
			since = d.EnrolledAt.Local().Format("2006-01-02 15:04")
		} else if d.Enrolled > 0 {
			since = fmt.Sprintf("slot %d", d.Enrolled)
		}
		seen := "never"
		if d.Seen > 0 {
			seen = fmt.Sprintf("%s (slot %d)", seenText(d.SeenAt, now), d.Seen)
		}
		program := "not known"
		if d.Program != "" {
			program = check.Printable(d.Program) + " " + d.Hash[:min(12, len(d.Hash))]
		}
		fmt.Fprintf(&b, "%6d  %-*s  %-16s  %-24s  %s", d.No, width, check.Printable(d.Name), since, seen, program)
		for _, m := range marks(d) {
			b.WriteString("  (" + m + ")")
		}
		b.WriteByte('\n')
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// marks is what is remarkable about a device.
func marks(d volume.Device) (m []string) {
	if d.This {
		m = append(m, "this machine")
	}
	if d.Odd {
		m = append(m, "odd: not the executable that others of this version have")
	}
	if d.Removed > 0 {
		at := fmt.Sprintf("slot %d", d.Removed)
		if !d.RemovedAt.IsZero() {
			at = d.RemovedAt.Local().Format("2006-01-02 15:04")
		}
		m = append(m, "removed, "+at)
	}
	return m
}

// seenText is how long ago something was; clocks differ, and what is to come is now.
func seenText(at, now time.Time) string {
	d := now.Sub(at)
	switch {
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return at.Local().Format(time.DateOnly)
}
