package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/fs/check"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
)

// leaseFlags of hushfs lease.
type leaseFlags struct {
	release bool
	list    bool
	locks   bool
	steal   string // name of the device that has it
}

func (a *app) leaseCommand() *cobra.Command {
	var o leaseFlags
	c := &cobra.Command{
		Use:   "lease [flags] PATH",
		Short: "Have a file or folder of a mounted drive for this machine alone",
		Long: `Give this machine a lease of PATH, a file or folder in a mounted drive: for a
database, say, which no two machines may write at once. As soon as it returns,
what another machine changes in it does not count, whatever that machine knows.
Others can read, and get EROFS when they open something in it for writing; what
they wrote before they knew becomes a conflict copy. New files may come into a
leased folder.

A lease covers what lies in the folder when it is taken, and what this machine
makes or moves there afterwards; take it again after another machine, or a move
of a whole folder, has brought something in. It is held as long as this machine
takes part: after 256 commits of others without one of its own it runs out.

With --release it is given back. With --list the leases of the drive that PATH is
in are shown, with --locks the locks (flock, fcntl) that its machines have of files
in folders where these are those of all machines. A lease of another machine can be taken away with its name typed,
or given to --steal: that machine's unsent changes then become conflict copies.

Needs the store. Ends with 10 when PATH is in no mount, 24 when another machine
has a lease.`,
		Example: `  hushfs lease ~/Drive/books.sqlite
  hushfs lease ~/Drive/postgres
  hushfs lease --release ~/Drive/postgres
  hushfs lease --list ~/Drive
  hushfs lease --locks ~/Drive
  hushfs lease --steal "old laptop" ~/Drive/postgres`,
		Args: cobra.ExactArgs(1),
	}
	f := c.Flags()
	f.BoolVar(&o.release, "release", false, "give the lease of PATH back")
	f.BoolVar(&o.list, "list", false, "show the leases of the drive")
	f.BoolVar(&o.locks, "locks", false, "show the locks of files that machines share, and who waits for one")
	f.StringVar(&o.steal, "steal", "", "take the lease away from the machine called `NAME`, without asking")
	return a.command(c, func(ctx context.Context, args []string) error {
		asked := 0
		for _, is := range []bool{o.release, o.list, o.locks, o.steal != ""} {
			if is {
				asked++
			}
		}
		if asked > 1 {
			return usage("--release, --list, --locks and --steal exclude each other")
		}
		path, err := filepath.Abs(args[0])
		if err != nil {
			return err
		}
		if err := inDrive(path); err != nil {
			return leaseError("lease", path, err)
		}
		switch {
		case o.list:
			return a.listLeases(path)
		case o.locks:
			return a.listLocks(path)
		case o.release:
			return a.releaseLease(path)
		}
		return a.takeLease(o, path)
	})
}

// inDrive fails where path is in no mounted drive: another file system would keep what
// is said to it as an attribute of a file, and nobody would be told.
func inDrive(path string) error {
	root, err := rootOf(path)
	if err == nil {
		_, err = getXattr(root, volume.LeasesAttr)
	}
	if errors.Is(err, unix.ENODATA) {
		return unix.EOPNOTSUPP
	}
	return err
}

// leaseError explains what the mount answered of a path.
func leaseError(what, path string, err error) error {
	path = shellQuote(path)
	var told *problem
	switch {
	case errors.As(err, &told):
		return told
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOTSUP):
		return &problem{code: codeNotMounted, what: what + ": " + path + " is not in a mounted drive", next: "Mount the drive first: hushfs mount STORE DIR"}
	case errors.Is(err, unix.ENODATA):
		return &problem{code: codeFailure, what: what + ": this machine has no lease of " + path + " itself, or none any more", next: "See: hushfs lease --list " + path}
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return &problem{code: codeUsage, what: what + ": nothing is at " + path, next: "Check it for a typing error."}
	case errors.Is(err, unix.EPERM):
		return &problem{code: codeFailure, what: what + ": only files and folders can be leased", next: "Lease the folder that it is in."}
	case errors.Is(err, unix.EACCES):
		return &problem{code: codeFailure, what: what + ": " + path + " may not be changed by you", why: err, next: "Whoever may write to it can lease it."}
	case errors.Is(err, unix.ENOTCONN):
		return &problem{code: codeNotMounted, what: what + ": the daemon of the drive has died", next: "Mount the drive again: hushfs mount STORE DIR"}
	case errors.Is(err, unix.EBUSY):
		return &problem{code: codeLeased, what: what + ": another machine has a lease", next: "See: hushfs lease --list " + path}
	case errors.Is(err, unix.EEXIST):
		return &problem{code: codeFailure, what: what + ": this machine has leased a folder around it, or a part of it, already", next: "See: hushfs lease --list " + path}
	case errors.Is(err, unix.EFBIG), errors.Is(err, unix.E2BIG):
		return &problem{code: codeFailure, what: fmt.Sprintf("%s: more than %d files and folders lie in it", what, meta.MaxLeased), next: "Lease the folders in it that need it."}
	case errors.Is(err, unix.EROFS):
		return &problem{code: codeFailure, what: what + ": the drive is mounted read-only", next: "Why: hushfs status"}
	case errors.Is(err, unix.EIO), errors.Is(err, unix.ETIMEDOUT), errors.Is(err, unix.EHOSTDOWN), errors.Is(err, unix.ENETUNREACH):
		return &problem{code: codeStore, what: what, why: err, next: "A lease needs the store. See: hushfs status"}
	}
	return &problem{code: codeFailure, what: what, why: err}
}

// leaseAt reads the lease that a path is under; nil: none.
func leaseAt(path string) (*volume.Leased, error) {
	b, err := getXattr(path, volume.LeaseAttr)
	if errors.Is(err, unix.ENODATA) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var l volume.Leased
	if err := json.Unmarshal(b, &l); err != nil {
		return nil, fmt.Errorf("the mount's answer: %w", err)
	}
	return &l, nil
}

func getXattr(path, name string) ([]byte, error) {
	b := make([]byte, meta.MaxXattr)
	n, err := unix.Getxattr(path, name, b)
	if err != nil {
		return nil, err
	}
	return b[:n], nil
}

// takeLease takes a lease; from another machine only when its name was typed.
func (a *app) takeLease(o leaseFlags, path string) error {
	const what = "lease"
	// First as if nobody had it: what this machine knows may be old, and a mount that is to
	// take a lease asks the store what is so now.
	err := unix.Setxattr(path, volume.LeaseAttr, []byte("take"), 0)
	if errors.Is(err, unix.EBUSY) {
		err = a.stealLease(o, path)
	}
	if err != nil {
		return leaseError(what, path, err)
	}
	now, err := leaseAt(path)
	if err != nil {
		return leaseError(what, path, err)
	}
	if now == nil || !now.This {
		return &problem{code: codeLeased, what: what + ": another machine was faster", next: "See: hushfs lease --list " + shellQuote(path)}
	}
	if a.json {
		a.print(now)
		return nil
	}
	a.say("Leased to this machine: %s. To give it back: hushfs lease --release %s", check.Printable(now.Path), shellQuote(path))
	return nil
}

// stealLease takes a lease away from the machine that has it, when its name was given.
func (a *app) stealLease(o leaseFlags, path string) error {
	have, err := leaseAt(path)
	if err != nil {
		return err
	}
	if have == nil || have.This {
		return unix.EBUSY // of a part of it, or it was taken and given back meanwhile
	}
	named := fmt.Sprintf("%s is leased by %s (device %d)", check.Printable(have.Path), check.Printable(have.Name), have.Device)
	if o.steal == "" {
		if o.steal, err = a.askHolder(named, path); err != nil {
			return err
		}
	}
	if o.steal != have.Name {
		return &problem{code: codeLeased, what: "lease: " + named, next: "To take it away, its name must be given: hushfs lease --steal NAME " + shellQuote(path)}
	}
	return unix.Setxattr(path, volume.LeaseAttr, []byte("steal "+have.Number), 0)
}

// askHolder has the name of the machine typed from which a lease is taken away.
func (a *app) askHolder(named, path string) (string, error) {
	if !isTerminal(a.stdin) || a.json {
		return "", &problem{code: codeLeased, what: "lease: " + named, next: "To take it away, its name must be given: hushfs lease --steal NAME " + shellQuote(path)}
	}
	fmt.Fprintf(a.stderr, "%s.\nTaken away from it, what it has not sent yet becomes conflict copies, and a program that\nworks with it there will fail. To take it away, type the name of that machine: ", named)
	line, err := bufio.NewReader(a.stdin).ReadString('\n')
	return strings.TrimSpace(line), err
}

func (a *app) releaseLease(path string) error {
	if err := unix.Removexattr(path, volume.LeaseAttr); err != nil {
		return leaseError("give the lease back", path, err)
	}
	if a.json {
		a.print(struct{}{})
	}
	a.say("Given back.")
	return nil
}

// listLeases shows the leases of the drive.
func (a *app) listLeases(path string) error {
	var all []volume.Leased
	if err := askRoot(path, volume.LeasesAttr, &all); err != nil {
		return leaseError("list leases", path, err)
	}
	if a.json {
		a.print(all)
		return nil
	}
	for _, l := range all {
		who := fmt.Sprintf("%s (device %d)", check.Printable(l.Name), l.Device)
		if l.This {
			who += ", this machine"
		}
		taken := ""
		if l.Taken {
			taken = ", taken away from another"
		}
		a.say("%s: %s, since %s%s; unless it takes part, until %d more commits", check.Printable(l.Path), who, stamp(l.Since), taken, l.Until-l.Slot)
	}
	if len(all) == 0 {
		a.say("Nothing is leased.")
	}
	return nil
}

// listLocks shows the locks of files that machines share.
func (a *app) listLocks(path string) error {
	var all []volume.Locked
	if err := askRoot(path, volume.LockedAttr, &all); err != nil {
		return leaseError("list locks", path, err)
	}
	if a.json {
		a.print(all)
		return nil
	}
	for _, l := range all {
		a.say("%s", lockText(l))
	}
	if len(all) == 0 {
		a.say("No file is locked for other machines.")
	}
	return nil
}

// lockText is what a machine has of a lock, in a line.
func lockText(l volume.Locked) string {
	who := fmt.Sprintf("%s (device %d)", check.Printable(l.Name), l.Device)
	if l.This {
		who += ", this machine"
	}
	has := ""
	switch {
	case l.Waits == "":
		has = "has it " + l.Mode
	case l.Mode == "":
		has = "waits for it " + l.Waits
	default:
		has = "has it " + l.Mode + ", waits for it " + l.Waits
	}
	return fmt.Sprintf("%s: %s, %s; unless it takes part, until %d more commits", check.Printable(l.Path), who, has, l.Until-l.Slot)
}

// askRoot reads an attribute of the root of the drive that a path is in, which is JSON.
func askRoot(path, attr string, into any) error {
	root, err := rootOf(path)
	if err != nil {
		return err
	}
	b, err := getXattr(root, attr)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("the mount's answer: %w", err)
	}
	return nil
}

// rootOf is the root of the file system that a path is in.
func rootOf(path string) (string, error) {
	var st, up syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return "", err
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		path = filepath.Dir(path)
	}
	for path != "/" {
		above := filepath.Dir(path)
		if err := syscall.Stat(above, &up); err != nil {
			return "", err
		}
		if up.Dev != st.Dev {
			return path, nil
		}
		path = above
	}
	return path, nil
}
