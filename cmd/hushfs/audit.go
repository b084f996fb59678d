package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hushfs/hushfs/fs/audit"
	"github.com/hushfs/hushfs/fs/check"
	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/store"
)

// auditFlags of hushfs audit-bucket.
type auditFlags struct {
	secret  secretFlags
	s3      s3Flags
	data    bool
	sample  percentFlag
	seed    uint64
	explain string
	all     bool
}

func (a *app) auditCommand() *cobra.Command {
	var o auditFlags
	c := &cobra.Command{
		Use:   "audit-bucket [flags] STORE",
		Short: "Show what an outsider sees of a drive, and that it is no more than that",
		Long: `Look at STORE as somebody does who may read it and has no key: no passphrase is
asked for. It says what everybody learns there (how many objects of which kind
and size, when they came, how many ways lead into the drive), and holds each
object to it: a known name, one of few sizes, an envelope, bytes that cannot be
told from chance, nothing kept beside them in headers, tags or attributes.

Of each object the ends and some bytes between are read; --data reads all,
--sample only opens a part of the objects. Tests for chance can cry wolf; the
report says how rarely, which for a whole drive is once in 10^9 audits or so.

With a key it accounts for objects: --explain says of one what it is there for,
and which files have bytes in it; --all does for all. What nothing needs is
garbage, and it says since when. Names of files go to the terminal only.

Nothing is written. Ends with 0 when nothing was found, 20 when something was.`,
		Example: `  hushfs audit-bucket s3://bucket/home
  hushfs audit-bucket --data ~/Cloud/home
  hushfs audit-bucket --sample 5% --json s3://bucket/home > report.json
  hushfs audit-bucket --explain v0/s/5f…/p/ab/ab12… ~/Cloud/home
  hushfs audit-bucket --all --passphrase-file pass ~/Cloud/home`,
		Args: cobra.ExactArgs(1),
	}
	f := c.Flags()
	o.s3.register(f)
	o.secret.registerUnlock(f, "with --explain or --all, ")
	f.BoolVar(&o.data, "data", false, "read every byte of every object")
	f.Var(&o.sample, "sample", "open a random `PART` of the objects, as 5%; names and sizes are looked at of all")
	f.Uint64Var(&o.seed, "seed", 0, "draw what was drawn with `NUMBER` (default: another one each time)")
	f.StringVar(&o.explain, "explain", "", "unlock, and say what the object called `NAME` in the store is there for")
	f.BoolVar(&o.all, "all", false, "unlock, and say it of every object")
	return a.command(c, func(ctx context.Context, args []string) error {
		if err := o.check(); err != nil {
			return err
		}
		if o.explain != "" || o.all {
			return a.account(ctx, o, args[0])
		}
		return a.audit(ctx, o, args[0])
	})
}

func (o *auditFlags) check() error {
	keyed := o.explain != "" || o.all
	switch {
	case o.explain != "" && o.all:
		return usage("--explain is for one object, --all for all: one of them")
	case keyed && (o.data || o.sample > 0 || o.seed != 0):
		return usage("--data, --sample and --seed are for the audit without keys")
	case !keyed && o.secret != (secretFlags{}):
		return usage("no passphrase is needed; it is for --explain and --all")
	}
	return o.secret.check()
}

// audit looks at the store without keys.
func (a *app) audit(ctx context.Context, o auditFlags, storeArg string) error {
	at, err := locate(storeArg, o.s3)
	if err != nil {
		return err
	}
	b, err := a.openStore(ctx, at, true, nil)
	if err != nil {
		return err
	}
	defer b.Close()
	if o.seed == 0 {
		o.seed = rand.Uint64()
	}
	bar := a.newFsckProgress()
	r, err := audit.Run(ctx, audit.Options{
		Place: surveyed(b), Sample: float64(o.sample), Seed: o.seed, Data: o.data,
		Progress: func(p audit.Progress) {
			bar.note(fmt.Sprintf("%s seen, %d looked into, %s read", count(p.Seen, "object"), p.Opened, size(p.Bytes)))
		},
	})
	bar.end()
	if err != nil {
		p := explain("the audit did not come to its end", err)
		if !a.json && len(r.Findings) > 0 {
			a.showFound(r)
		}
		return p
	}
	if r.Learned.Objects == 0 {
		return &problem{code: codeNoDrive, what: "audit-bucket: nothing is at " + storeArg, next: "Check it for a typing error."}
	}
	if a.json {
		a.print(r)
	} else {
		a.showLearned(r)
		a.showFound(r)
		a.showAuditEnd(r)
	}
	if r.Clean() {
		return nil
	}
	return &told{&problem{code: codeFound, what: "something was found"}}
}

// surveyed is the place behind an opened store, calls to which are not repeated but
// for those of Get.
func surveyed(b opened) audit.Place {
	if remote, ok := b.(*bucket); ok {
		return struct {
			store.Surveyor
			getter
		}{remote.plain, remote}
	}
	return b.(audit.Place)
}

// getter gets objects.
type getter interface {
	Get(ctx context.Context, name string, off, length int64) ([]byte, error)
}

// account unlocks the drive, and says what objects are there for.
func (a *app) account(ctx context.Context, o auditFlags, storeArg string) error {
	at, err := locate(storeArg, o.s3)
	if err != nil {
		return err
	}
	sum := accounted{}
	err = a.toRead(ctx, at, o.secret, func(u *drive.Unlocked, b opened, log *slog.Logger) error {
		bar := a.newFsckProgress()
		defer bar.end()
		return check.Explain(ctx, check.Options{Bucket: b, Drive: u, Log: log, Progress: bar.show},
			strings.TrimPrefix(o.explain, "/"), func(one check.Account) error {
				bar.end()
				sum.add(one)
				if a.json {
					a.print(one)
				} else {
					a.showAccount(one)
				}
				return a.unwritten
			})
	})
	if errors.Is(err, check.ErrNoObject) {
		return &problem{code: codeNoDrive, what: "audit-bucket", why: fmt.Errorf("%w: %s", check.ErrNoObject, o.explain), next: "Give its name as the audit shows it, below STORE: v0/…"}
	}
	if a.unwritten != nil {
		return nil // which each command says at its end
	}
	if err != nil {
		return err
	}
	if o.all {
		sum.show(a)
	}
	return nil
}

// accounted adds up what objects are there for.
type accounted struct {
	objects, unknown map[check.Purpose]int
	bytes            map[check.Purpose]int64
	used             uint64
}

func (s *accounted) add(one check.Account) {
	if s.objects == nil {
		s.objects, s.unknown, s.bytes = map[check.Purpose]int{}, map[check.Purpose]int{}, map[check.Purpose]int64{}
	}
	s.objects[one.State]++
	s.bytes[one.State] += one.Size
	s.used += one.Used
	if one.Kind == "unknown" {
		s.unknown[one.State]++
	}
}

func (s *accounted) show(a *app) {
	for _, p := range []check.Purpose{check.InUse, check.Kept, check.Unneeded} {
		line := fmt.Sprintf("%-8s %s, %s", p, count(s.objects[p], "object"), size(s.bytes[p]))
		switch {
		case p == check.InUse:
			line += fmt.Sprintf("; files have %s in packs", size(int64(s.used)))
		case s.unknown[p] > 0:
			line += fmt.Sprintf("; %d of them nothing of this drive", s.unknown[p])
		}
		a.say("%s", line)
	}
}

// showAccount prints what an object is there for.
func (a *app) showAccount(one check.Account) {
	a.say("%-8s %s (%s)", one.State, one.Object, size(one.Size))
	a.say("         %s", one.Detail)
	if s := one.Since; s != nil {
		when := "since " + stamp(s.Time)
		if s.Slot > 0 {
			when = fmt.Sprintf("since slot %d, %s", s.Slot, stamp(s.Time))
		}
		if s.Before {
			when = fmt.Sprintf("before slot %d, %s", s.Slot, stamp(s.Time))
		}
		a.say("         garbage %s", when)
	}
	for i, f := range one.Files {
		if i == shownFiles {
			a.say("         and %s more; --json names all", count(len(one.Files)-i, "file"))
			break
		}
		var names, runs []string
		for _, p := range f.Paths {
			names = append(names, check.Printable(p))
		}
		if len(names) == 0 {
			names = append(names, fmt.Sprintf("inode %d, without a name", f.Inode))
		}
		for j, r := range f.Bytes {
			if j == 10 {
				runs = append(runs, fmt.Sprintf("and %d more runs", len(f.Bytes)-j))
				break
			}
			runs = append(runs, fmt.Sprintf("%d to %d", r.Offset, r.Offset+r.Length-1))
		}
		a.say("         %s: bytes %s", strings.Join(names, " = "), strings.Join(runs, ", "))
	}
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "at a time that the store does not tell any more"
	}
	return t.Local().Format(time.DateTime)
}
