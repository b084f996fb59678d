package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/fs/drive"
)

// initFlags of hushfs init.
type initFlags struct {
	secret    secretFlags
	s3        s3Flags
	recovery  string // file to write the recovery words to
	name      string
	kdfMemory sizeFlag
	kdfPasses uint16
	single    bool // one machine alone can change the drive: this one
}

// initResult is what init prints with --json. The words are not in it.
type initResult struct {
	Drive        string `json:"drive"` // id, all 52 characters
	Name         string `json:"name"`
	Store        string `json:"store"`
	RecoveryFile string `json:"recovery_file,omitempty"`
	SingleWriter bool   `json:"single_writer,omitempty"`
}

func (a *app) initCommand() *cobra.Command {
	var o initFlags
	c := &cobra.Command{
		Use:   "init [flags] STORE",
		Short: "Make a new drive",
		Long: `Make a new drive in STORE: a directory that is empty or not there yet, or
s3://bucket/prefix, a place in a bucket that is there. Settings and keys of a
bucket are taken from where other programs for S3 have them: AWS_ENDPOINT_URL,
AWS_REGION, AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or
~/.aws. Whether its server keeps racing writers apart is tested first; one that
does not is refused, unless --single-writer is given: then this machine alone can
change the drive, and all others mount it read-only, until it hands that on with
hushfs handover. Only it can: without this machine's state folder the drive can
be read and copied, and changed no more.

You are asked for a passphrase, twice; press Enter alone to have one made for
you. Then 24 recovery words are shown, once: write them down. They open the
drive when the passphrase is lost. Without either, nobody can open it.

A place that holds anything is refused and not touched.`,
		Example: `  hushfs init ~/Cloud/home
  hushfs init --name photos --recovery-file /media/stick/photos.words file:///srv/photos
  pass show hushfs | hushfs init --passphrase-file - --recovery-file words /srv/drive
  AWS_PROFILE=backup hushfs init --s3-endpoint https://minio.example.org s3://bucket/home`,
		Args: cobra.ExactArgs(1),
	}
	f := c.Flags()
	o.secret.register(f)
	o.s3.register(f)
	f.StringVar(&o.recovery, "recovery-file", "", "write the recovery words to the new `FILE` (mode 0600) instead of showing them")
	f.StringVar(&o.name, "name", "", "what you call the drive (default: the last part of STORE)")
	f.BoolVar(&o.single, "single-writer", false, "only this machine will be able to change the drive; for a store that does not keep writers apart")
	f.Var(&o.kdfMemory, "kdf-memory", "memory that a try at the passphrase costs, as `SIZE` (default 256MiB)")
	f.Uint16Var(&o.kdfPasses, "kdf-passes", 0, "`PASSES` of the key derivation over that memory (default 3)")
	return a.command(c, func(ctx context.Context, args []string) error { return a.init(ctx, o, args[0]) })
}

func (a *app) init(ctx context.Context, o initFlags, arg string) (err error) {
	at, err := locate(arg, o.s3)
	if err != nil {
		return err
	}
	if err := o.secret.check(); err != nil {
		return err
	}
	params, err := o.params()
	if err != nil {
		return err
	}
	if o.name == "" {
		o.name = filepath.Base(at.Store)
	}
	if err := harden(); err != nil {
		return err
	}
	where, err := findPlaces(a.env)
	if err != nil {
		return err
	}
	var g ground = folder{at.Store}
	if at.remote() {
		b, err := openBucket(ctx, at, a.env, false, nil)
		if err != nil {
			return err
		}
		defer b.Close()
		g = &plot{app: a, bucket: b, store: at.Store}
	}
	past, err := g.empty(ctx)
	if err != nil {
		return err
	}
	if past.objects > 0 {
		fmt.Fprintf(a.stderr, "An init that was interrupted has left %s there. They are of no use, and stay.\n", count(past.objects, "object"))
	}

	if err := where.trial(); err != nil {
		return err
	}

	// Where the words go is settled before there are any.
	words, err := a.openWords(o.recovery, at.Store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, words.close()) }()
	if err := g.fit(ctx, o.single); err != nil {
		return err
	}
	pass, err := a.newPassphrase(ctx, o.secret)
	if err != nil {
		return err
	}
	defer wipe(pass)

	created, err := g.create(ctx, past, drive.CreateOptions{
		Passphrase: pass, KDF: params, Name: o.name, DeviceName: deviceName(),
		UID: uint32(os.Getuid()), GID: uint32(os.Getgid()),
		SingleWriter: o.single, Program: runningProgram(),
		StateDir: where.stateDir, Log: a.logger(a.stderr),
	})
	if err != nil {
		p := explain("no drive was made", err)
		_, lerr := g.empty(ctx)
		if left := explain("", lerr); p.code != codeNotEmpty && left != nil && left.code == codeNotEmpty {
			p.next += " What init has left in " + shellQuote(at.Store) + " is of no use; remove it before you try again."
		}
		return p
	}
	if err := words.give(created.ID, created.Words); err != nil {
		return &problem{code: codeFailure, what: "the drive was made, but its recovery words could not be kept", why: err,
			next: "The drive is empty: remove " + shellQuote(at.Store) + " and run init again."}
	}
	if a.json {
		a.print(initResult{created.ID.String(), o.name, at.Store, o.recovery, o.single})
		return nil
	}
	a.say("Drive %q made.", o.name)
	if o.recovery != "" {
		a.say("Its recovery words are in %s: keep them away from this machine.", o.recovery)
	}
	if o.single {
		a.say("Only this machine can change it; others show it read-only. Keep this machine: it alone can hand that on (hushfs handover).")
	}
	a.say("Next:\n  hushfs mount %s ~/Drive", shellQuote(arg))
	return nil
}

// params are the key derivation's, zero for the default. What is out of bounds
// is a mistake in the command line here.
func (o *initFlags) params() (keyslot.Params, error) {
	if o.kdfMemory == 0 && o.kdfPasses == 0 {
		return keyslot.Params{}, nil
	}
	p := keyslot.DefaultParams
	if o.kdfMemory != 0 {
		p.MemoryKiB = uint32(min(o.kdfMemory>>10, math.MaxUint32))
	}
	if o.kdfPasses != 0 {
		p.Passes = o.kdfPasses
	}
	if err := p.Check(math.MaxUint64); err != nil {
		return p, &problem{code: codeUsage, what: "--kdf-memory or --kdf-passes", why: err, next: "See: hushfs init --help"}
	}
	return p, nil
}

// deviceName is what this machine is called in the drive.
func deviceName() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "unnamed"
	}
	return name[:min(len(name), 64)]
}
