package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"
)

// level says how bad a finding is.
type level string

const (
	fine    level = "ok"
	warning level = "warning" // mounting works, something else may not
	trouble level = "problem" // it stands in the way of a mount
)

// finding is what one check found. Its words can be shown to anybody: see scrub.
type finding struct {
	Area  string `json:"area"`
	Check string `json:"check"` // for programs; docs/commands.md lists them
	Level level  `json:"level"`
	Found string `json:"found"`
	Why   string `json:"why,omitempty"`  // it matters
	Next  string `json:"next,omitempty"` // step to take
}

// doctorResult is what doctor prints with --json.
type doctorResult struct {
	Version  string    `json:"version"`
	Platform string    `json:"platform"`
	Kernel   string    `json:"kernel"`
	Problems int       `json:"problems"`
	Warnings int       `json:"warnings"`
	Checks   []finding `json:"checks"`
}

// doctorFlags of hushfs doctor.
type doctorFlags struct {
	s3         s3Flags
	allowOther bool
	writeTest  bool
	reprobe    bool
	timeout    time.Duration
}

func (a *app) doctorCommand() *cobra.Command {
	var o doctorFlags
	c := &cobra.Command{
		Use:   "doctor [flags] [STORE] [DIR]",
		Short: "Find out why a drive cannot be mounted",
		Long: `Look at everything that a mount needs, and say of each what was found, why it
matters and what to do next: FUSE, the folders of hushfs, what lies in them, its
daemons, memory and swap, the clock; with STORE the way to it, credentials,
permissions and what lies there; with DIR whether a drive could appear there. Of
a DIR where a drive is mounted the store is looked at, too. A folder alone is
taken for STORE when a drive lies in it, else for DIR.

It asks for no passphrase and changes nothing, but with --write-test: then an
object is put into the store under a name of its own and removed again; and with
--reprobe, which tests anew how the server treats writers that race for a name,
and remembers what came of it.

What it prints can go into a bug report: no secret is in it, no name of a file,
of a server or a bucket; your home is ~, a drive the first letters of its id.
With -v servers and buckets are named; look at it before you show it around.

It ends with 0 when nothing stands in the way (there may be warnings), else
with 16.`,
		Example: `  hushfs doctor
  hushfs doctor ~/Cloud/home ~/Drive
  hushfs doctor --json ~/Drive
  AWS_PROFILE=backup hushfs doctor --write-test s3://bucket/home`,
		Args: cobra.MaximumNArgs(2),
	}
	f := c.Flags()
	o.s3.register(f)
	f.BoolVar(&o.allowOther, "allow-other", false, "look also at what mount --allow-other needs")
	f.BoolVar(&o.writeTest, "write-test", false, "put, race for and delete a small object in the store")
	f.BoolVar(&o.reprobe, "reprobe", false, "test again how the server treats writers that race for a name")
	f.DurationVar(&o.timeout, "timeout", 30*time.Second, "give the store at most this `DURATION`")
	return a.command(c, func(ctx context.Context, args []string) error { return a.doctor(ctx, o, args) })
}

func (a *app) doctor(ctx context.Context, o doctorFlags, args []string) error {
	if o.timeout <= 0 {
		return usage("--timeout is not positive")
	}
	e := &examination{app: a, flags: o, root: "/", now: time.Now(), home: a.env("HOME"), names: a.verbose}
	if err := e.read(ctx, args); err != nil {
		return err
	}
	e.all(ctx)
	if err := ctx.Err(); err != nil {
		return explain("look at this machine", err)
	}
	r := e.result()
	if a.json {
		a.print(r)
	} else {
		a.say("%s", r.text())
	}
	if r.Problems > 0 {
		// What is wrong was just said, with what to do about it.
		return &told{&problem{code: codeDoctor, what: count(r.Problems, "problem")}}
	}
	return nil
}

// examination is one run of doctor.
type examination struct {
	app   *app
	flags doctorFlags
	root  string // below which /proc, /sys, /etc and /run lie
	now   time.Time
	home  string // of the user; "" when it is not known
	names bool   // of servers, buckets and profiles may be told

	at  *location // of STORE; nil when it was not given and cannot be known
	dir string    // DIR; "" when it was not given

	where  places
	placed bool // where was found
	living []*foundDrive
	mute   []silent
	kdf    uint64 // bytes of memory that a passphrase costs, as far as the header was seen

	area  string
	found []finding
}

// read finds out which argument is what.
func (e *examination) read(ctx context.Context, args []string) error {
	storeArg, dirArg := "", ""
	switch {
	case len(args) == 2:
		storeArg, dirArg = args[0], args[1]
	case len(args) == 1 && isStore(ctx, args[0]):
		storeArg = args[0]
	case len(args) == 1:
		dirArg = args[0]
	}
	if len(args) > 0 && storeArg == "" && dirArg == "" {
		return usage("STORE or DIR is empty")
	}
	if storeArg != "" {
		at, err := locate(storeArg, e.flags.s3)
		if err != nil {
			return err
		}
		e.at = &at
	}
	if dirArg != "" {
		var err error
		e.dir, err = filepath.Abs(dirArg)
		return err
	}
	return nil
}

// isStore tells a STORE from a DIR: a URL, or a folder in which a drive lies.
func isStore(ctx context.Context, arg string) bool {
	if strings.Contains(arg, "://") {
		return true
	}
	err := answers(ctx, statTimeout, func() error {
		_, err := os.Lstat(filepath.Join(arg, "v0"))
		return err
	})
	// A drive may hold a folder of that name.
	return err == nil && !isHushMount(resolveTo(arg, nil))
}

// all makes the checks. The store comes before memory: its header says how much
// of that a passphrase costs.
func (e *examination) all(ctx context.Context) {
	defer func() { closeAll(e.living) }()
	e.fuse(ctx)
	e.folders(ctx)
	e.daemons(ctx)
	e.states(ctx)
	e.mountpoint(ctx)
	e.store(ctx)
	e.memory()
	e.clock()
	e.session(ctx)
}

// patiently makes checks that may hang, on a disk that does not answer. What they
// found counts when they end within limit; else the error is the context's, and what
// they find later is nobody's.
func (e *examination) patiently(ctx context.Context, limit time.Duration, look func(e *examination)) error {
	own := *e
	own.found = nil
	if err := answers(ctx, limit, func() error { look(&own); return nil }); err != nil {
		return err
	}
	own.found = append(e.found, own.found...)
	*e = own
	return nil
}

// The checks say what they found by these. An area is the heading of those that
// follow it.

func (e *examination) begin(area string) { e.area = area }

func (e *examination) ok(check, format string, args ...any) {
	e.add(finding{Check: check, Level: fine, Found: fmt.Sprintf(format, args...)})
}

func (e *examination) warn(check, found, why, next string) {
	e.add(finding{Check: check, Level: warning, Found: found, Why: why, Next: next})
}

func (e *examination) problem(check, found, why, next string) {
	e.add(finding{Check: check, Level: trouble, Found: found, Why: why, Next: next})
}

// refused is a problem that mount would have, too.
func (e *examination) refused(check string, err error, why string) {
	p := explain("", err)
	e.problem(check, strings.TrimPrefix(p.Error(), ": "), why, p.next)
}

func (e *examination) add(f finding) {
	f.Area = e.area
	for _, s := range []*string{&f.Found, &f.Why, &f.Next} {
		*s = e.scrub(*s)
	}
	e.found = append(e.found, f)
}

// driveIDs are those in paths, whole or short.
var driveIDs = regexp.MustCompile(`\b([a-z2-7]{8})[a-z2-7]{18}(?:[a-z2-7]{26})?\b`)

// scrub makes a text fit to be shown to strangers and on a terminal.
func (e *examination) scrub(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '\n' {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	if h := filepath.Clean(e.home); filepath.IsAbs(h) && h != "/" {
		at := regexp.MustCompile(regexp.QuoteMeta(h) + `($|[^A-Za-z0-9._-])`)
		s = at.ReplaceAllString(s, "~$1")
	}
	return driveIDs.ReplaceAllString(s, "$1…")
}

// named is a name that only those see who asked for it.
func (e *examination) named(name, instead string) string {
	if e.names {
		return name
	}
	return instead
}

// file reads a small file of the system, "" when it cannot be.
func (e *examination) file(path string) string {
	b, err := os.ReadFile(filepath.Join(e.root, path))
	if err != nil {
		return ""
	}
	return string(b)
}

func (e *examination) result() doctorResult {
	v := buildVersion()
	r := doctorResult{Version: v.Version, Platform: v.Platform, Kernel: kernelRelease(), Checks: e.found}
	for _, f := range e.found {
		switch f.Level {
		case trouble:
			r.Problems++
		case warning:
			r.Warnings++
		}
	}
	return r
}

// text is the result on a screen.
func (r doctorResult) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "hushfs %s, %s, Linux %s\n", r.Version, r.Platform, r.Kernel)
	area := ""
	for _, f := range r.Checks {
		if f.Area != area {
			area = f.Area
			fmt.Fprintf(&b, "\n%s\n", area)
		}
		mark := string(f.Level)
		if f.Level == trouble {
			mark = strings.ToUpper(mark)
		}
		fmt.Fprintf(&b, "  %-7s  %s\n", mark, capital(sentence(f.Found)))
		if f.Why != "" {
			fmt.Fprintf(&b, "           Why: %s\n", sentence(f.Why))
		}
		if f.Next != "" {
			fmt.Fprintf(&b, "           Next: %s\n", sentence(f.Next))
		}
	}
	switch {
	case r.Problems == 0 && r.Warnings == 0:
		b.WriteString("\nAll that can be seen without the passphrase is well. Whether the store was set back is seen with it: hushfs heads STORE, or a mount.")
	case r.Problems == 0:
		fmt.Fprintf(&b, "\nNothing that can be seen without the passphrase stands in the way of a mount; %s.", count(r.Warnings, "warning"))
	default:
		fmt.Fprintf(&b, "\n%s, %s.", capital(count(r.Problems, "problem")), count(r.Warnings, "warning"))
	}
	return b.String()
}

// sentence gives s its full stop.
func sentence(s string) string {
	s = strings.TrimRight(s, " ")
	if s == "" || strings.ContainsAny(s[len(s)-1:], ".:!?") {
		return s
	}
	return s + "."
}
