package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/hushfs/hushfs/fs/check"
	"github.com/hushfs/hushfs/fs/history"
	"github.com/hushfs/hushfs/fs/volume"
)

// conflictsFlags of hushfs conflicts and of conflicts resolve.
type conflictsFlags struct {
	secret    secretFlags
	s3        s3Flags
	check     bool
	keep      string
	identical bool
	yes       bool
}

func (a *app) conflictsCommand() *cobra.Command {
	var o conflictsFlags
	c := &cobra.Command{
		Use:   "conflicts [flags] [STORE | DIR] [PATH]",
		Short: "List what two machines changed at the same time",
		Long: `List the conflicts that nobody has resolved: where two machines changed the same
and both changes could not stand as they were meant. Nothing is ever dropped for
that: both are there, and this says where. Mine is what the machine did that is
named, theirs what it met when it came to the others. Of both the paths are
those of now.

The drive is that which is mounted where DIR lies (default: the current folder),
and is asked, or that of STORE, which is read. With PATH, or a DIR below the
mountpoint, only what concerns it or what lies below is listed. In the drive the
same can be read as .hushfs/conflicts.

With --check it ends with 22 when there are any.`,
		Example: `  hushfs conflicts ~/Drive
  hushfs conflicts resolve 2-15 --keep theirs ~/Drive
  hushfs conflicts resolve --all-identical ~/Drive
  hushfs conflicts --check ~/Drive || mail -s "conflicts" me`,
		Args: cobra.MaximumNArgs(2),
	}
	f := c.Flags()
	o.secret.registerUnlock(f, "of STORE: ")
	o.s3.register(f)
	f.BoolVar(&o.check, "check", false, "end with 22 when there are any")
	c.AddCommand(a.resolveCommand())
	return a.command(c, func(ctx context.Context, args []string) error { return a.conflicts(ctx, o, args) })
}

func (a *app) resolveCommand() *cobra.Command {
	var o conflictsFlags
	c := &cobra.Command{
		Use:   "resolve [flags] ID [DIR]",
		Short: "Decide what is kept of a conflict",
		Long: `Decide what is kept of the conflict ID, of the drive that is mounted where DIR
lies (default: the current folder). conflicts shows the ids.

  --keep mine     what is called mine takes the name that both wanted
  --keep theirs   what is called theirs stays, and mine goes
  --keep both     all stays as it is

What would be gone is named, and asked about first. A folder in which something
lies is never removed. Afterwards the conflict is no more listed, here and, once
it is in the store, elsewhere.

--all-identical resolves those whose sides hold the same bytes: one of the two
goes, and nothing is asked.`,
		Example: `  hushfs conflicts resolve 2-15 --keep mine
  hushfs conflicts resolve 2-15 --keep both ~/Drive
  hushfs conflicts resolve --all-identical ~/Drive`,
		Args: cobra.MaximumNArgs(2),
	}
	f := c.Flags()
	f.StringVar(&o.keep, "keep", "", "`WHICH` is kept: mine, theirs or both")
	f.BoolVar(&o.identical, "all-identical", false, "resolve all whose sides hold the same bytes")
	f.BoolVar(&o.yes, "yes", false, "do not ask")
	return a.command(c, func(ctx context.Context, args []string) error { return a.resolve(ctx, o, args) })
}

// conflictsResult is what conflicts prints with --json, and resolve --all-identical of
// those that it resolved.
type conflictsResult struct {
	Conflicts []volume.Conflict `json:"conflicts"`
}

func (a *app) conflicts(ctx context.Context, o conflictsFlags, args []string) error {
	if err := o.secret.check(); err != nil {
		return err
	}
	all, path, there, err := a.listConflicts(ctx, o, args)
	if err != nil {
		return err
	}
	if all = concerning(all, path); len(all) == 0 && !there {
		return &problem{code: codeUsage, what: "the drive has nothing at " + check.Printable(path) + ", and no conflict concerns it", next: "Check PATH for a typing error. It is a path in the drive, from its root."}
	}
	if a.json {
		a.print(conflictsResult{all})
	} else {
		a.say("%s", strings.TrimSuffix(volume.ConflictsText(all), "\n"))
	}
	if o.check && len(all) > 0 {
		return &told{&problem{code: codeConflicts, what: "there are conflicts"}}
	}
	return nil
}

// listConflicts asks the daemon, or reads the store. there says whether something lies at
// the path.
func (a *app) listConflicts(ctx context.Context, o conflictsFlags, args []string) (all []volume.Conflict, path string, there bool, err error) {
	at, path, err := a.whichDrive(ctx, args, o.s3)
	if err != nil {
		return nil, "", false, err
	}
	arg := "."
	if len(args) > 0 {
		arg = args[0]
	}
	if !strings.Contains(arg, "://") {
		d, err := a.daemonAt(ctx, arg)
		if err != nil {
			return nil, "", false, err
		}
		if d != nil {
			defer d.Close()
			if all, err = d.Conflicts(ctx); err != nil {
				return nil, "", false, err
			}
			err = answers(ctx, forever, func() error {
				_, err := os.Lstat(filepath.Join(d.status.Mountpoint, path))
				return err
			})
			if there = !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR); there {
				err = nil // that it cannot be looked at is no matter
			}
			return all, path, there, nil
		}
	}
	err = a.onHistory(ctx, at, o.secret, func(h *history.History) error {
		standing, names, err := h.Conflicts(ctx)
		for i := range standing {
			all = append(all, volume.TellConflict(&standing[i], names))
		}
		if err == nil {
			there, err = h.Has(ctx, path)
		}
		return err
	})
	return all, path, there, err
}

// daemonAt is the daemon of the drive that a path lies in; nil: it lies in none.
func (a *app) daemonAt(ctx context.Context, arg string) (*foundDrive, error) {
	_, dir, _, err := a.mountedAt(ctx, arg)
	if err != nil || dir == "" {
		return nil, err
	}
	return a.findDrive(ctx, dir)
}

// concerning keeps the conflicts that concern a path in the drive.
func concerning(all []volume.Conflict, path string) []volume.Conflict {
	out := []volume.Conflict{}
	path = "/" + strings.Trim(path, "/")
	in := func(p string) bool {
		return path == "/" || p == path || strings.HasPrefix(p, path+"/")
	}
	for _, c := range all {
		keep := in(c.Meant)
		for _, p := range append(append([]string{}, c.Mine.Paths...), c.Theirs.Paths...) {
			keep = keep || in(p)
		}
		if keep {
			out = append(out, c)
		}
	}
	return out
}

func (o *conflictsFlags) which(args []string) (id, dir string, err error) {
	switch {
	case o.identical && (o.keep != "" || len(args) > 1):
		return "", "", usage("--all-identical decides by itself: it takes no ID and no --keep")
	case o.identical:
		dir = "."
		if len(args) == 1 {
			dir = args[0]
		}
		return "", dir, nil
	case len(args) == 0:
		return "", "", &problem{code: codeUsage, what: "the ID of a conflict is needed", next: "See: hushfs conflicts"}
	case o.keep != string(volume.KeepMine) && o.keep != string(volume.KeepTheirs) && o.keep != string(volume.KeepBoth):
		return "", "", usage("--keep mine, --keep theirs or --keep both is needed")
	}
	id, dir = args[0], "."
	if len(args) == 2 {
		dir = args[1]
	}
	return id, dir, nil
}

func (a *app) resolve(ctx context.Context, o conflictsFlags, args []string) error {
	id, dir, err := o.which(args)
	if err != nil {
		return err
	}
	d, err := a.daemonAt(ctx, dir)
	if err != nil {
		return err
	}
	if d == nil {
		return &problem{code: codeNotMounted, what: "the drive must be mounted to resolve a conflict", next: "Name a folder of it: hushfs conflicts resolve ID --keep WHICH DIR"}
	}
	defer d.Close()
	if o.identical {
		return a.resolveIdentical(ctx, d)
	}
	all, err := d.Conflicts(ctx)
	if err != nil {
		return err
	}
	var c *volume.Conflict
	for i := range all {
		if all[i].ID == id {
			c = &all[i]
		}
	}
	if c == nil {
		return explain("resolve "+id, volume.ErrNoConflict)
	}
	choice := c.Choices[volume.Keep(o.keep)]
	if choice.Refused != "" {
		return explain("resolve "+id, fmt.Errorf("%w: %s", volume.ErrUnresolved, choice.Refused))
	}
	if err := a.confirmLoss(ctx, o, c, choice); err != nil {
		return err
	}
	if _, err := d.Resolve(ctx, id, volume.Keep(o.keep), c.Token); err != nil {
		return explain("resolve "+id, err)
	}
	if a.json {
		a.print(conflictsResult{[]volume.Conflict{*c}})
		return nil
	}
	a.say("Resolved: %s.", id)
	return nil
}

// confirmLoss asks before something goes.
func (a *app) confirmLoss(ctx context.Context, o conflictsFlags, c *volume.Conflict, choice volume.Choice) error {
	if len(choice.Deletes) == 0 || o.yes {
		return nil
	}
	t, err := a.openTerminal()
	if errors.Is(err, errNoTerminal) {
		return &problem{code: codeUsage, what: "something would be deleted, and nobody can be asked", next: "Without a terminal: --yes"}
	}
	if err != nil {
		return err
	}
	defer t.Close()
	t.printf("%s\n", strings.TrimSuffix(c.Text(), "\n"))
	for _, p := range choice.Deletes {
		t.printf("This will be deleted: %s\n", check.Printable(p))
	}
	answer, err := t.line(ctx, "Go on? [y/N] ")
	if err != nil {
		return err
	}
	if text := strings.ToLower(strings.TrimSpace(answer)); text != "y" && text != "yes" {
		return &problem{code: codeFailure, what: "nothing was changed"}
	}
	return nil
}

func (a *app) resolveIdentical(ctx context.Context, d *foundDrive) error {
	done, err := d.Identical(ctx)
	if err != nil {
		return explain("resolve what is identical", err)
	}
	if a.json {
		a.print(conflictsResult{done})
		return nil
	}
	for _, c := range done {
		if len(c.Mine.Paths) > 0 {
			a.say("%s: the same as %s, and deleted", check.Printable(c.Mine.Paths[0]), check.Printable(strings.Join(c.Theirs.Paths[:min(1, len(c.Theirs.Paths))], "")))
		}
	}
	a.say("Resolved: %s.", count(len(done), "conflict"))
	return nil
}
