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
fit nothing: what these wrote is in files recovered-… of FOLDER itself.`,
		Example: `  hushfs device export-pending s3://bucket/home ~/rescued`,
		Args:    cobra.ExactArgs(2),
	}
	o.register(c.Flags())
	return a.command(c, func(ctx context.Context, args []string) error { return a.deviceExport(ctx, o, args[0], args[1]) })
}

func (a *app) deviceExport(ctx context.Context, o deviceFlags, storeArg, folder string) error {
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
	var x *volume.Exported
	err = a.unlocked(ctx, o, storeArg, func(vo *volume.Options) { vo.ReadOnly = true }, func(v *volume.Volume) error {
		var err error
		if x, err = v.ExportPending(ctx, to); err != nil {
			return explain("not everything was exported", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if a.json {
		a.print(x)
	} else {
		a.showExport(x, to)
	}
	if len(x.Failed) > 0 {
		return &told{&problem{code: codeDamaged, what: "not everything was exported"}}
	}
	return nil
}

func (a *app) showExport(x *volume.Exported, to string) {
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
that stays in the state folder, sealed, in a folder kept-….

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
		err = a.unlocked(ctx, o, args[0], func(vo *volume.Options) {
			opened = vo
			vo.Rejoin = &volume.Rejoin{Discard: discard}
			vo.Accept = func(s *volume.Setback) error { return a.confirmRollback(ctx, vo.Drive, s, words) }
		}, func(v *volume.Volume) (err error) {
			if number, err = v.Join(ctx); err != nil {
				return explain("this machine did not join the drive", err)
			}
			// It was opened by its own copy of the header where the store shows an older
			// one, which the next mount refuses.
			if _, err := opened.Drive.PutBack(ctx, opened.Bucket); err != nil {
				return headerMissing("this machine joined the drive, and the store shows an older header than it saw", err)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if a.json {
			a.print(map[string]int{"device": number})
			return nil
		}
		a.say("This machine is device %d of the drive now.", number)
		return nil
	})
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
