package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hushfs/hushfs/cmd/hushfs/control"
	"github.com/hushfs/hushfs/fs/check"
	"github.com/hushfs/hushfs/fs/volume"
)

// removeFlags of hushfs device remove.
type removeFlags struct {
	deviceFlags
	leaked string // yes, no, or empty: it is asked
	yes    bool
}

// What removing a device does, and what it does not. Both stand in the help as well.
const (
	removedMeans = `From now on nothing that it writes counts, for any machine, and what it has not
sent is not accepted. What is written from now on is under a new key.`

	// A device of the same member has the keys by which new ones are handed out.
	leakedMeans = `Removing is not enough against whoever got into that machine while the drive was
unlocked there, or knows the passphrase or the recovery words: they have the keys of
the drive's owner. They can read what is written from now on as well, as long as
they reach the store; they can join as a new machine, and remove others. What helps
is a rotation of these keys (hushfs rotate), which this version does not have yet.
Until then: take the store's credentials away from that machine; watch hushfs device
list; if that is not enough, make a new drive and copy the files there.`

	lockedMeans = `A machine that is locked or off, with a passphrase that nobody knows, opens nothing.
The passphrase and the recovery words stay as they are, and open the drive as before,
also its state of today in old copies of the store.`
)

func (a *app) deviceRemoveCommand() *cobra.Command {
	var o removeFlags
	c := &cobra.Command{
		Use:   "remove [flags] DIR|STORE NUMBER...",
		Short: "Take the right to write away from machines",
		Long: `Remove devices of a drive: machines that were lost, sold, or are not to write any
more. A machine cannot remove itself.

` + removedMeans + ` The number
is never used again. That machine is told at its next mount (exit code 21), and can
write what it had not sent to a local folder; mounted at that moment it stops sending.

You are asked whether somebody else may have got into it.
` + leakedMeans + `

` + lockedMeans,
		Example: `  hushfs device remove ~/Drive 2
  hushfs device remove --leaked no --yes s3://bucket/home 2 3`,
		Args: cobra.MinimumNArgs(2),
	}
	o.register(c.Flags())
	c.Flags().StringVar(&o.leaked, "leaked", "", "whether somebody may have got into that machine, `yes or no`, instead of being asked")
	c.Flags().BoolVar(&o.yes, "yes", false, "do not ask whether to remove them")
	return a.command(c, func(ctx context.Context, args []string) error { return a.deviceRemove(ctx, o, args[0], args[1:]) })
}

func (a *app) deviceRemove(ctx context.Context, o removeFlags, arg string, numbers []string) error {
	var remove []int
	for _, text := range numbers {
		n, err := deviceNumber(text)
		if err != nil {
			return err
		}
		remove = append(remove, n)
	}
	if o.leaked != "" && o.leaked != "yes" && o.leaked != "no" {
		return usage("--leaked is yes or no")
	}
	if o.leaked == "" && o.yes {
		return usage("--yes needs --leaked yes or --leaked no: what removing is worth depends on it")
	}
	var after []volume.Device
	work := func(list func() ([]volume.Device, error), do func() error) error {
		l, err := list()
		if err != nil {
			return err
		}
		if remove = a.notRemoved(l, remove); len(remove) == 0 {
			after = l
			return nil
		}
		if err := a.confirmRemoval(ctx, &o, l, remove); err != nil {
			return err
		}
		if err := do(); err != nil {
			return err
		}
		after, err = list()
		return err
	}
	err := a.reach(ctx, o.deviceFlags, arg, true, func(c *control.Client) error {
		return work(func() ([]volume.Device, error) { return c.Devices(ctx) }, func() error {
			_, err := c.RemoveDevices(ctx, remove)
			return err
		})
	}, func(v *volume.Volume) error {
		return work(func() ([]volume.Device, error) { return v.Devices(ctx) }, func() error {
			return deviceProblem("no device was removed", v.RemoveDevices(ctx, remove))
		})
	})
	if err != nil {
		return err
	}
	if a.json {
		a.print(devicesResult{Devices: after, Removed: remove})
		return nil
	}
	if len(remove) == 0 {
		a.say("Nothing was to be done.")
		return nil
	}
	a.say("%s removed.", capital(count(len(remove), "device")))
	if o.leaked == "yes" {
		a.say("%s", leakedMeans)
	} else {
		a.say("%s", lockedMeans)
	}
	return nil
}

// notRemoved leaves out, and names, those that were removed before. A number that is
// given twice is meant once.
func (a *app) notRemoved(l []volume.Device, remove []int) (left []int) {
	for _, n := range remove {
		i := slices.IndexFunc(l, func(d volume.Device) bool { return d.No == n })
		switch {
		case slices.Contains(left, n):
		case i >= 0 && l[i].Removed > 0:
			a.warn("device %d (%s) was removed before, in slot %d", n, l[i].Name, l[i].Removed)
		default:
			left = append(left, n)
		}
	}
	return left
}

// confirmRemoval asks what is to be known before a device is removed.
func (a *app) confirmRemoval(ctx context.Context, o *removeFlags, l []volume.Device, remove []int) error {
	var names []string
	for _, n := range remove {
		i := slices.IndexFunc(l, func(d volume.Device) bool { return d.No == n })
		switch {
		case i < 0:
			return &problem{code: codeUsage, what: fmt.Sprintf("the drive has no device %d", n), next: "See: hushfs device list"}
		case l[i].This:
			return &problem{code: codeUsage, what: fmt.Sprintf("device %d is this machine, which cannot remove itself", n), next: "Remove it on another one."}
		}
		seen := "never seen"
		if l[i].Seen > 0 {
			seen = "seen " + seenText(l[i].SeenAt, time.Now())
		}
		names = append(names, fmt.Sprintf("%d (%s, %s)", n, check.Printable(l[i].Name), seen))
	}
	if o.yes {
		return nil
	}
	t, err := a.openTerminal()
	if err != nil {
		return &problem{code: codeUsage, what: "nothing was removed: the answer to a question is needed", why: err, next: "Without being asked: --leaked yes|no --yes"}
	}
	defer t.Close()
	t.printf("To be removed: device %s.\n%s\n", strings.Join(names, ", "), removedMeans)
	for o.leaked != "yes" && o.leaked != "no" {
		answer, err := t.line(ctx, "May somebody else have got into it while the drive was unlocked there, or know the passphrase? Type yes or no: ")
		if err != nil {
			return err
		}
		o.leaked = strings.TrimSpace(answer)
	}
	if o.leaked == "yes" {
		t.printf("%s\n", leakedMeans)
	}
	answer, err := t.line(ctx, "To remove it, type remove: ")
	if err != nil {
		return err
	}
	if strings.TrimSpace(answer) != "remove" {
		return &problem{code: codeFailure, what: "nothing was removed"}
	}
	return nil
}
