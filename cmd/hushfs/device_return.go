package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hushfs/hushfs/fs/volume"
)

func (a *app) deviceExportCommand() *cobra.Command {
	o := deviceFlags{older: true}
	var kept string
	c := &cobra.Command{
		Use:   "export-pending [flags] STORE FOLDER",
		Short: "Write what this machine never sent to a local folder",
		Long: `Write the changes that wait in the journal of this machine to FOLDER, an empty one
of the local disk or one that is made: files with all their bytes, new folders and
symbolic links, each at its path in the drive, readable by you alone or as its mode
says. Nothing is sent, and the journal stays. What no plain folder holds is told: files
that were renamed or removed, other attributes.

It is for a machine that was removed from the drive, whose changes nobody takes any
more; it works on any other that is locked, too. FOLDER is not encrypted.

Where the store was set back as well, changes to what it has no more, or has otherwise,
fit nothing: what these wrote is in files recovered-… of FOLDER itself.

A journal that was set aside in the state folder, as kept-…, is exported by --kept:
of a device that this machine was before, with changes that the drive did not take, or
of which nobody can say whether it has them. They come as they were made, on the state
of the drive that they were made on, also what the drive has by now. hushfs status and
hushfs doctor name such a journal until it is exported.

Ends with 0 when all of it is in FOLDER, or nothing waits; 5 when FOLDER is not empty;
17 when something could not be read.`,
		Example: `  hushfs device export-pending s3://bucket/home ~/rescued`,
		Args:    cobra.ExactArgs(2),
	}
	o.register(c.Flags())
	c.Flags().StringVar(&kept, "kept", "", "export the journal that was set aside as `NAME` in the state folder, instead of what waits")
	return a.command(c, func(ctx context.Context, args []string) error {
		if c.Flags().Changed("kept") && kept == "" {
			return usage("--kept is empty")
		}
		return a.deviceExport(ctx, o, args[0], args[1], kept)
	})
}

// exportResult is what export-pending prints with --json.
type exportResult struct {
	*volume.Exported
	Kept []string `json:"kept"` // journals that were set aside and not exported
}

// deviceExport exports what waits, or the journal kept.
func (a *app) deviceExport(ctx context.Context, o deviceFlags, storeArg, folder, kept string) error {
	if err := o.check(); err != nil {
		return err
	}
	to, err := filepath.Abs(folder)
	if err != nil {
		return err
	}
	// Looked at before a passphrase is asked for.
	if there, err := os.ReadDir(to); err == nil && len(there) > 0 {
		n := fmt.Sprintf("%d entries", len(there))
		if len(there) == 1 {
			n = "1 entry"
		}
		return &problem{code: codeNotEmpty, what: "nothing was exported: FOLDER is not empty (" + n + ")", next: "Choose an empty folder, or one that is not there yet."}
	}
	if kept != "" {
		if err := a.keptThere(ctx, o, storeArg, kept); err != nil {
			return err
		}
	}
	var x *volume.Exported
	var state string
	err = a.unlocked(ctx, o, storeArg, func(vo *volume.Options) { vo.ReadOnly, state = true, vo.State }, func(v *volume.Volume) error {
		var err error
		if kept != "" {
			err = v.ShowKept(ctx, kept)
		}
		if err != nil {
			return explain("nothing was exported", err)
		}
		if x, err = v.ExportPending(ctx, to); err != nil {
			return explain("not everything was exported", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	left := keptLeft(state)
	if a.json {
		a.print(exportResult{x, left})
	} else {
		a.showExport(x, to, kept != "")
		a.showKept(left, storeArg)
	}
	if len(x.Failed) > 0 {
		return &told{&problem{code: codeDamaged, what: "not everything was exported"}}
	}
	return nil
}

func (a *app) showExport(x *volume.Exported, to string, kept bool) {
	if x.Changes == 0 && kept {
		a.say("The drive has all that was set aside.")
		return
	}
	if x.Changes == 0 {
		a.say("Nothing waits on this machine.")
		return
	}
	a.say("Of %s: %s with %s, and %s, are in %s.", count(x.Changes, "change"), count(x.Files, "file"), size(x.Bytes), count(x.Folders, "new folder"), to)
	if x.Unfit > 0 {
		a.say("The store was set back, and %s of it no more; what was written by that is in files recovered-….", fitNothing(x.Unfit))
	}
	for _, part := range []struct {
		what  string
		paths []string
	}{
		{"Renamed or linked here, with the content that all have", x.Renamed},
		{"Removed here", x.Removed},
		{"With other attributes, or things that are no files", x.Others},
	} {
		if len(part.paths) == 0 {
			continue
		}
		a.say("%s:", part.what)
		for _, p := range part.paths {
			a.say("  %s", visible(p))
		}
	}
	for _, f := range x.Failed {
		a.warn("%s was not exported: %s", visible(f.Path), f.Why)
	}
}

func fitNothing(n int) string {
	if n == 1 {
		return "1 change fits what it has"
	}
	return fmt.Sprintf("%d changes fit what it has", n)
}

func (a *app) deviceRejoinCommand() *cobra.Command {
	o := deviceFlags{older: true}
	var yes, discard bool
	var confirm string
	c := &cobra.Command{
		Use:   "rejoin [flags] STORE",
		Short: "Join a drive anew with a machine that was removed",
		Long: `Make this machine, which was removed from the drive in STORE, a device of it again:
a new one, under a new number. You are asked first, since somebody decided that it
was not to write any more; all machines see the new device in their lists.

What the old device had not sent stays out of the drive. While there is something
that was not exported (hushfs device export-pending) it is refused; with --discard
that stays in the state folder, sealed, in a folder kept-…, from which hushfs device
export-pending --kept still exports it.

Where the store was set back as well, you are shown what is missing, and asked whether
to give that up, as by hushfs accept-rollback; without a terminal, --yes and --confirm
take the place of the answers; --confirm takes the words of the state that is to be gone
on with.`,
		Example: `  hushfs device rejoin s3://bucket/home`,
		Args:    cobra.ExactArgs(1),
	}
	o.register(c.Flags())
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.Flags().StringVar(&confirm, "confirm", "", "where the store was set back: accept, without being asked, the state whose `WORDS` hushfs heads shows for the store")
	c.Flags().BoolVar(&discard, "discard", false, "also when there are changes that nobody has exported")
	return a.command(c, func(ctx context.Context, args []string) error {
		if err := o.check(); err != nil {
			return err
		}
		words, err := spoken("confirm", confirm)
		if err != nil {
			return err
		}
		at, err := locate(args[0], o.s3)
		if err != nil {
			return err
		}
		if err := a.drivePeeked(ctx, at); err != nil {
			return err
		}
		if err := a.confirmRejoin(ctx, yes); err != nil {
			return err
		}
		var number int
		var opened *volume.Options
		left := []string{}
		err = a.unlocked(ctx, o, args[0], func(vo *volume.Options) {
			opened = vo
			vo.Rejoin = &volume.Rejoin{Discard: discard}
			vo.Accept = func(s *volume.Setback) error { return a.confirmRollback(ctx, vo.Drive, s, words) }
		}, func(v *volume.Volume) (err error) {
			if number, err = v.Join(ctx); err != nil {
				return explain("this machine did not join the drive", err)
			}
			left = keptLeft(opened.State)
			// It was opened by its own copy of the header where the store shows an older
			// one, which the next mount refuses.
			if _, err := a.putBack(ctx, opened.Drive, opened.Bucket); err != nil {
				return headerMissing("this machine joined the drive, and the store shows an older header than it saw", err)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if a.json {
			a.print(rejoinResult{number, left})
			return nil
		}
		a.say("This machine is device %d of the drive now.", number)
		a.showKept(left, args[0])
		return nil
	})
}

// rejoinResult is what rejoin prints with --json.
type rejoinResult struct {
	Device int      `json:"device"`
	Kept   []string `json:"kept"` // journals that were set aside and not exported
}

func (a *app) confirmRejoin(ctx context.Context, yes bool) error {
	if yes {
		return nil
	}
	t, err := a.openTerminal()
	if err != nil {
		return &problem{code: codeUsage, what: "the machine did not join: the answer to a question is needed", why: err, next: "To join without being asked: --yes"}
	}
	defer t.Close()
	t.printf("Somebody removed this machine from the drive. Joining anew makes it a new device, which\nmay write again; all machines will see it.\n")
	answer, err := t.line(ctx, "To join, type join: ")
	if err != nil {
		return err
	}
	if strings.TrimSpace(answer) != "join" {
		return &problem{code: codeRemoved, what: "this machine did not join the drive", next: "To join, join is to be typed."}
	}
	return nil
}

// visible is a path as a terminal may print it.
func visible(path string) string {
	for _, r := range path {
		if r < ' ' || r == 0x7f || r == '\ufffd' {
			return fmt.Sprintf("%q", path)
		}
	}
	return path
}
