package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hushfs/hushfs/fs/check"
	"github.com/hushfs/hushfs/fs/drive"
)

// fsckFlags of hushfs fsck.
type fsckFlags struct {
	secret  secretFlags
	s3      s3Flags
	data    bool
	sample  percentFlag
	seed    uint64
	restart bool
	repair  bool
	yes     bool
	timeout time.Duration // for the drain of an earlier mount, with --repair
}

// fsckResult is what fsck prints with --json.
type fsckResult struct {
	Check  *check.Report   `json:"check"`
	Repair *check.Repaired `json:"repair,omitempty"` // with --repair, when something was done
	After  *check.Report   `json:"after,omitempty"`  // a quick check after that
}

func (a *app) fsckCommand() *cobra.Command {
	var o fsckFlags
	c := &cobra.Command{
		Use:   "fsck [flags] STORE",
		Short: "Check a drive, and save what can be saved",
		Long: `Check the drive in STORE: every commit, every table, every name, count and
reference, and that each object which files need is there and has its size.
Nothing is written, and no cache is believed. The drive may be mounted, here or
elsewhere: the check is of one moment.

With --data every byte of every file is read and verified, with --sample a part
of them. Such a check that was interrupted goes on where it was when it is
started again within a week.

For each loss it says which file, which of its bytes, which object, and why. A
store that cannot be reached is no damage: that ends with 11.

With --repair what can be saved of damaged files comes to the folder lost+found
in the drive, with a text that says what is missing; counts and names are put
right, damaged metadata is written anew where the rest tells what it held. No
object is deleted. Objects that can be brought back from a copy of the store
should be brought back first.

Ends with 0 when nothing is damaged, 17 when something is, 18 when it was and
all of it is repaired.`,
		Example: `  hushfs fsck ~/Cloud/home
  hushfs fsck --data s3://bucket/home
  hushfs fsck --sample 5% --json /srv/drive > report.json
  hushfs fsck --data --repair ~/Cloud/home`,
		Args: cobra.ExactArgs(1),
	}
	f := c.Flags()
	o.secret.registerUnlock(f, "")
	o.s3.register(f)
	f.BoolVar(&o.data, "data", false, "read every byte of every file")
	f.Var(&o.sample, "sample", "read a random `PART` of the packs that files lie in, as 5%")
	f.Uint64Var(&o.seed, "seed", 0, "draw the sample that was drawn with `NUMBER` (default: another one each time)")
	f.BoolVar(&o.restart, "restart", false, "read everything, also what an interrupted check has read")
	f.BoolVar(&o.repair, "repair", false, "save what can be saved, after asking; not while this machine has the drive mounted")
	f.BoolVar(&o.yes, "yes", false, "do not ask")
	f.DurationVar(&o.timeout, "timeout", 0, "with --repair, wait at most this `DURATION`, as 90s, for an earlier mount that still sends (default: as long as it takes)")
	return a.command(c, func(ctx context.Context, args []string) error { return a.fsck(ctx, o, args[0]) })
}

func (o *fsckFlags) check() error {
	switch {
	case o.data && o.sample > 0:
		return usage("--data reads everything, --sample a part: one of them")
	case o.seed != 0 && o.sample == 0:
		return usage("--seed is for --sample")
	case o.restart && !o.data && o.sample == 0:
		return usage("--restart is for --data and --sample")
	case o.yes && !o.repair:
		return usage("--yes is for --repair")
	case o.timeout < 0:
		return usage("--timeout is negative")
	}
	return o.secret.check()
}

// part is how much of the packs is read.
func (o *fsckFlags) part() float64 {
	if o.data {
		return 1
	}
	return float64(o.sample)
}

func (a *app) fsck(ctx context.Context, o fsckFlags, storeArg string) error {
	at, err := locate(storeArg, o.s3)
	if err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	if err := harden(); err != nil {
		return err
	}
	where, err := findPlaces(a.env)
	if err != nil {
		return err
	}
	id, err := a.peek(ctx, at, where.state)
	if err != nil {
		return explain("nothing was checked", err)
	}
	var held *heldDrive
	if o.repair {
		if held, err = a.holdDrive(ctx, where, at, id, o.timeout); err != nil {
			return err
		}
		defer func() { held.release() }()
	}
	got, handover, err := a.unlockInChild(ctx, unlockRequest{location: at, Secret: o.secret})
	if err != nil {
		return err
	}
	defer wipe(handover)
	if o.repair && got != id {
		// The newest header was no header of the drive that opened.
		other, err := a.holdDrive(ctx, where, at, got, o.timeout)
		if err != nil {
			return err
		}
		held.release()
		held = other
	}
	r, err := a.checkDrive(ctx, o, at, where, handover)
	if err != nil {
		return a.unfinished(o, r, err)
	}
	result := fsckResult{Check: r}
	if !a.json {
		a.showReport(r)
	}
	if !o.repair || r.Mendable() == 0 {
		return a.fsckEnd(result)
	}
	if err := a.confirmRepair(ctx, o, r); err != nil {
		return err
	}
	if result.Repair, err = a.repair(ctx, at, held.state, where.cacheDir(got), handover, r); err != nil {
		return err
	}
	if result.After, err = a.checkDrive(ctx, fsckFlags{}, at, where, handover); err != nil {
		return a.unfinished(fsckFlags{}, result.After, err)
	}
	return a.fsckEnd(result)
}

// checkDrive checks the drive as the store shows it.
func (a *app) checkDrive(ctx context.Context, o fsckFlags, at location, where places, handover []byte) (*check.Report, error) {
	log := a.asideLog() // what it would say the report says
	u, err := drive.FromHandover(handover)
	if err != nil {
		return nil, err
	}
	defer u.Wipe()
	b, err := a.openStore(ctx, at, true, log)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	c := check.Options{Bucket: b, Drive: u, Data: o.part(), Seed: o.seed, Log: log}
	if c.Data > 0 {
		n, err := openNotebook(where.cacheDir(u.ID), u, o)
		if err != nil {
			a.warn("an interruption is not remembered: %v", err)
		} else if c.Seed = n.Title().Seed; n.Known() > 0 {
			fmt.Fprintf(a.stderr, "Going on with a check that was begun on %s: %s are known to be whole. To read all again: --restart\n",
				time.Unix(n.Title().Begun, 0).Format(time.DateTime), count(n.Known(), "pack"))
		}
		c.Notebook = n
	}
	if c.Seed == 0 {
		c.Seed = uint64(time.Now().Unix()) // the notebook had one to offer
	}
	bar := a.newFsckProgress()
	c.Progress = bar.show
	r, err := check.Run(ctx, c)
	bar.end()
	if nerr := c.Notebook.Close(err == nil); nerr != nil && err == nil {
		a.warn("the notes of this check stay: %v", nerr)
	}
	return r, err
}

// openNotebook opens what remembers the packs that an interrupted check has read.
func openNotebook(cache string, u *drive.Unlocked, o fsckFlags) (*check.Notebook, error) {
	if err := makePrivate(cache); err != nil {
		return nil, err
	}
	t := check.Title{Begun: time.Now().Unix(), Parts: uint32(math.Ceil(o.part() * check.AllParts)), Seed: o.seed}
	n, err := check.OpenNotebook(filepath.Join(cache, "fsck"), u.Root(), u.ID, t, o.restart)
	if err != nil {
		return nil, err
	}
	return n, nil
}

// unfinished says why a check did not come to its end, and what it had found by then.
func (a *app) unfinished(o fsckFlags, r *check.Report, err error) error {
	p := explain("the check did not come to its end", err)
	if r != nil && r.Has(check.Lost) && !a.json {
		a.showReport(r)
	}
	switch {
	case o.part() > 0 && (p.code == codeStore || errors.Is(err, context.Canceled)):
		p.next = strings.TrimSpace(p.next + " Started again it goes on where it was.")
	case errors.Is(err, context.Canceled):
		p.next = "Nothing was changed."
	}
	return p
}

// fsckEnd prints the result, and makes it an exit code.
func (a *app) fsckEnd(r fsckResult) error {
	last, c := r.Check, codeOK
	if r.After != nil {
		last, c = r.After, codeMended
	}
	if !last.Healthy() || r.Repair != nil && len(r.Repair.Skipped) > 0 {
		c = codeDamaged
	}
	if r.Repair != nil && r.Check.Healthy() && c == codeMended {
		c = codeOK // notes alone
	}
	if a.json {
		a.print(r)
	} else {
		a.showEnd(r, c)
	}
	if c == codeOK {
		return nil
	}
	return &told{&problem{code: c, what: "damage was found"}}
}

// percentFlag is a part of a whole on the command line, as 5%.
type percentFlag float64

func (p *percentFlag) String() string {
	if *p == 0 {
		return ""
	}
	return strconv.FormatFloat(float64(*p)*100, 'g', -1, 64) + "%"
}

func (p *percentFlag) Type() string { return "percent" }

func (p *percentFlag) Set(text string) error {
	number, ok := strings.CutSuffix(text, "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if !ok || err != nil || !(v >= 0.0001 && v <= 100) {
		return errors.New("a part from 0.0001% to 100% is needed, as 5%")
	}
	*p = percentFlag(v / 100)
	return nil
}

// heldDrive is a drive that no other process of this user mounts meanwhile.
type heldDrive struct {
	*lock
	state string
}

// holdDrive takes the lock of a drive that is to be written to.
func (a *app) holdDrive(ctx context.Context, where places, at location, id drive.ID, timeout time.Duration) (*heldDrive, error) {
	state, err := where.stateDir(id)
	if err != nil {
		return nil, err
	}
	l, err := a.lockDrive(ctx, state, "fsck --repair", timeout)
	if err != nil {
		return nil, explain("lock the drive's state", err)
	}
	if err := a.ensureTested(ctx, at, state, false); err != nil {
		return nil, errors.Join(err, l.release())
	}
	if kind, err := fsKind(state); err == nil && kind == memoryFS {
		a.warn("the state folder is in memory: what is not in the store yet is lost when this machine stops. Set XDG_STATE_HOME to a folder on a disk.")
	}
	return &heldDrive{l, state}, nil
}
