package main

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/hushfs/hushfs/cmd/hushfs/control"
	"github.com/hushfs/hushfs/fs/check"
	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/volume"
)

// mountFlags of hushfs mount.
type mountFlags struct {
	secret       secretFlags
	s3           s3Flags
	foreground   bool
	readOnly     bool
	older        bool
	noAtime      bool
	reprobe      bool
	autoUnmount  bool
	allowOther   bool
	owner        string // ownerMe, ownerStored; empty: whichever fits who mounts
	cacheSize    sizeFlag
	timeout      time.Duration // for the drain of an earlier mount; 0: no limit
	drainTimeout time.Duration
	fullTimeout  time.Duration
	durability   string        // volume.DurabilityLocal or volume.DurabilityRemote
	remote       time.Duration // how long programs wait for the store then; 0: no limit
	ioTimeout    time.Duration
	poll         time.Duration
	storeDelay   time.Duration
}

// Whom files are shown to belong to, by --owner.
const (
	ownerMe     = "me"
	ownerStored = "stored"
)

// leastPatience is the least --io-timeout.
const leastPatience = time.Second

// --poll if nothing is said, and the least.
const (
	defaultPoll = 1500 * time.Millisecond
	leastPoll   = 100 * time.Millisecond
)

// mountResult is what mount prints with --json.
type mountResult struct {
	Mounted control.Status `json:"mounted"`
}

func (a *app) mountCommand() *cobra.Command {
	var o mountFlags
	c := &cobra.Command{
		Use:   "mount [flags] STORE DIR",
		Short: "Unlock a drive and mount it",
		Long: `Unlock the drive in STORE and mount it at DIR, an empty folder of yours that
is made when it is missing.

The command returns when the mount answers; a daemon in the background then
serves it and sends what you write to the store. With -f the command itself is
the daemon: SIGINT or SIGTERM unmounts and sends the rest, a second one leaves
the rest in the local journal, for the next mount.

A drive can be mounted once by a user. If an earlier mount of it still sends,
mount says so and waits for it. A mount whose daemon died stays, so that programs
go on to get errors, until the drive is open and takes its place.`,
		Example: `  hushfs mount ~/Cloud/home ~/Drive
  hushfs mount --passphrase-command 'pass show hushfs' file:///srv/photos ~/Photos
  hushfs mount --recovery-file words ~/Cloud/home ~/Drive
  AWS_PROFILE=backup hushfs mount s3://bucket/home ~/Drive
  hushfs mount -f --drain-timeout 5m /srv/drive /mnt/drive`,
		Args: cobra.ExactArgs(2),
	}
	f := c.Flags()
	o.secret.registerUnlock(f, "")
	o.s3.register(f)
	f.BoolVarP(&o.foreground, "foreground", "f", false, "stay in the foreground and log to standard error")
	f.BoolVar(&o.readOnly, "read-only", false, "change nothing")
	f.BoolVar(&o.reprobe, "reprobe", false, "test again how the store treats writers that race for a name")
	f.BoolVar(&o.older, "older", false, "show the store read-only although it is behind what this machine saw; what waits in the journal is left as it is, and not shown")
	f.BoolVar(&o.noAtime, "noatime", false, "reading changes no access times; without, they change by the rule of relatime")
	f.BoolVar(&o.autoUnmount, "auto-unmount", false, "take the mount away when its daemon dies. Programs then find the empty folder that lies underneath, and may write there unnoticed; without, they get errors (ENOTCONN) until the drive is mounted again")
	f.BoolVar(&o.allowOther, "allow-other", false, "let other users of this machine in, as far as the files' modes do")
	f.StringVar(&o.owner, "owner", "", "whom files are shown to belong to, as `WHO`: me, or as stored (default: me; stored when root mounts or with --allow-other)")
	f.Var(&o.cacheSize, "cache-size", "disk for the cache and for what is not in the store yet, as `SIZE`, at least 64MiB (default: 10GiB, or 20 % of the free disk when that is less)")
	f.DurationVar(&o.timeout, "timeout", 0, "wait at most this `DURATION`, as 90s, for an earlier mount that still sends (default: as long as it takes)")
	f.DurationVar(&o.drainTimeout, "drain-timeout", time.Hour, "after unmounting send for at most this `DURATION`, then leave the rest for the next mount; 0 leaves it at once")
	f.DurationVar(&o.fullTimeout, "full-timeout", volume.DefaultFull, "when the disk of --cache-size is full and the store has taken nothing for this `DURATION`, refuse new files (ENOSPC); before, writers are slowed")
	f.StringVar(&o.durability, "durability", volume.DurabilityLocal, "what fsync and its like promise where no directory says otherwise, as `WHAT`: local, the journal of this machine has it; or remote, the store has it")
	f.DurationVar(&o.remote, "remote-timeout", 0, "after waiting for the store for this `DURATION` an fsync of --durability remote fails (ETIMEDOUT); what was written stays in the journal (default: it waits as long as it takes)")
	f.DurationVar(&o.poll, "poll", defaultPoll, "while programs use the mount, ask the store this often, as `DURATION`, for what other machines did; when none does, less and less often, down to once a minute. A store that tells of it by itself (MinIO) is heard besides")
	f.DurationVar(&o.ioTimeout, "io-timeout", volume.DefaultPatience, "a program waits for the store for at most this `DURATION`, and for its bytes at 16 KiB/s, then gets an error (ETIMEDOUT); for a bucket")
	a.testFlags(c, &o.storeDelay)
	return a.command(c, func(ctx context.Context, args []string) error { return a.mount(ctx, o, args[0], args[1]) })
}

// testFlags are for tests only.
func (a *app) testFlags(c *cobra.Command, storeDelay *time.Duration) {
	const name = "test-store-delay"
	c.Flags().DurationVar(storeDelay, name, 0, "each PUT to the store takes this much longer")
	c.Flags().Lookup(name).Hidden = true
}

func (o *mountFlags) check() error {
	for name, d := range map[string]time.Duration{"--timeout": o.timeout, "--drain-timeout": o.drainTimeout, "--full-timeout": o.fullTimeout, "--remote-timeout": o.remote, "--test-store-delay": o.storeDelay} {
		if d < 0 {
			return usage("%s is negative", name)
		}
	}
	if o.poll != 0 && o.poll < leastPoll {
		return usage("--poll is at least %s: the store is asked all the time otherwise", leastPoll)
	}
	if o.ioTimeout != 0 && o.ioTimeout < leastPatience {
		return usage("--io-timeout is at least %s: the store's answer takes its time", leastPatience)
	}
	if o.durability != volume.DurabilityLocal && o.durability != volume.DurabilityRemote {
		return usage("--durability is local or remote")
	}
	switch o.owner {
	case "", ownerMe, ownerStored:
	default:
		return usage("--owner is me or stored")
	}
	if o.cacheSize != 0 && o.cacheSize < volume.LeastCache {
		return usage("--cache-size is at least %s: what waits for the store needs so much", size(volume.LeastCache))
	}
	return o.secret.check()
}

// ownFiles says whether all files are shown as those of the mounting user, uid.
// By default they are where nobody else looks: the numbers of users differ
// between machines.
func (o *mountFlags) ownFiles(uid int) bool {
	if o.owner == "" {
		return uid != 0 && !o.allowOther
	}
	return o.owner == ownerMe
}

func (a *app) mount(ctx context.Context, o mountFlags, storeArg, dirArg string) (err error) {
	at, err := locate(storeArg, o.s3)
	if err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	at.Patience = o.ioTimeout
	o.readOnly = o.readOnly || o.older
	if dirArg == "" {
		return usage("DIR is empty")
	}
	dir, err := filepath.Abs(dirArg)
	if err != nil {
		return err
	}
	if err := harden(); err != nil {
		return err
	}
	where, err := findPlaces(a.env)
	if err != nil {
		return err
	}

	// All that can be wrong without the passphrase is found before it is asked for.
	id, err := a.identify(ctx, at, where.state)
	if err != nil {
		return explain("no drive was mounted", err)
	}
	if err := checkFUSE(o.allowOther); err != nil {
		return err
	}
	state, err := where.stateDir(id)
	if err != nil {
		return err
	}
	held, err := a.lockDrive(ctx, state, dir, o.timeout)
	if err != nil {
		return explain("lock the drive's state", err)
	}
	defer func() { held.release() }()
	avoid := map[string]string{"the state folder": where.state, "the cache folder": where.cache}
	if !at.remote() {
		avoid["the store"] = at.Store
	}
	m, err := a.prepareMountpoint(ctx, dir, avoid)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			m.undo()
			a.sayDead(m)
		}
	}()

	if !o.readOnly {
		if err := a.ensureTested(ctx, at, state, o.reprobe); err != nil {
			return err
		}
	}
	u, handover, err := a.unlockFor(ctx, o, at)
	if err != nil {
		return err
	}
	defer wipe(handover)
	if u != id {
		// The newest header was no header of the drive that opened.
		if state, err = where.stateDir(u); err != nil {
			return err
		}
		other, err := a.lockDrive(ctx, state, dir, o.timeout)
		if err != nil {
			return explain("lock the drive's state", err)
		}
		held.release()
		held = other
		if !o.readOnly {
			if err := a.ensureTested(ctx, at, state, o.reprobe); err != nil {
				return err
			}
		}
	}
	if kind, err := fsKind(state); err == nil && kind == memoryFS {
		a.warn("the state folder is in memory: what is not in the store yet is lost when this machine stops. Set XDG_STATE_HOME to a folder on a disk.")
	}
	c := daemonConfig{
		location: at, Mountpoint: m.dir, State: state, Cache: where.cacheDir(u), Sockets: where.sockets(u),
		ReadOnly: o.readOnly, Older: o.older, NoAtime: o.noAtime, AutoUnmount: o.autoUnmount, AllowOther: o.allowOther, OwnFiles: o.ownFiles(os.Getuid()), CacheSize: int64(o.cacheSize),
		DrainTimeout: o.drainTimeout, FullTimeout: o.fullTimeout, Remote: o.durability == volume.DurabilityRemote, RemoteTimeout: o.remote, Poll: o.poll,
		StoreDelay: o.storeDelay, DeviceName: deviceName(),
		Verbose: a.verbose, JSON: a.json,
	}
	if o.foreground {
		return a.serve(ctx, c, handover, held, a.logger(a.stderr), func(s control.Status) error {
			m.made, m.dead = nil, false
			a.mounted(s)
			a.unwritten = nil // the code is about how it ends, hours from now
			return nil
		})
	}
	s, err := a.background(ctx, c, handover, held)
	if err != nil {
		return err
	}
	a.mounted(s)
	return nil
}

// identify finds the drive's id without a secret. A drive that is mounted from
// there already is an error that says so, also when its store cannot be reached.
func (a *app) identify(ctx context.Context, at location, states string) (drive.ID, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	served := make(chan *control.Status, 1)
	go func() { served <- a.servedFrom(ctx, at) }()
	var id drive.ID
	peeked := make(chan error, 1)
	go func() {
		found, err := a.peek(ctx, at, states)
		if err == nil {
			id = found
		}
		peeked <- err
	}()
	select {
	case s := <-served:
		if s != nil {
			return drive.ID{}, mountedAlready(s, holder{})
		}
		err := <-peeked
		return id, err
	case err := <-peeked:
		if err == nil {
			return id, nil // the lock says the rest
		}
		if s := <-served; s != nil {
			return drive.ID{}, mountedAlready(s, holder{})
		}
		return drive.ID{}, err
	}
}

// peek finds the drive's id without a secret.
func (a *app) peek(ctx context.Context, at location, states string) (drive.ID, error) {
	b, err := a.openStore(ctx, at, true, nil) // what is no drive is not touched
	if err != nil {
		return drive.ID{}, err
	}
	defer b.Close()
	ids, err := drive.Peek(ctx, b, states)
	if err != nil {
		return drive.ID{}, err
	}
	if len(ids) == 0 {
		return drive.ID{}, drive.ErrNoDrive
	}
	return ids[0], nil
}

// unlockFor unlocks the drive: here when this process is about to end, in a
// child when it is to be the daemon. The handover is the caller's to wipe.
func (a *app) unlockFor(ctx context.Context, o mountFlags, at location) (drive.ID, []byte, error) {
	// Who only looks may do so by this machine's own header: the older one does not open.
	r := unlockRequest{location: at, Secret: o.secret, Older: o.readOnly}
	if !o.foreground {
		u, err := a.unlock(ctx, r)
		if err != nil {
			return drive.ID{}, nil, err
		}
		defer u.Wipe()
		return u.ID, u.Handover(), nil
	}
	id, handover, err := a.unlockInChild(ctx, r)
	if err != nil {
		return drive.ID{}, nil, err
	}
	return id, handover, nil
}

// mounted tells the user that the drive is there.
func (a *app) mounted(s control.Status) {
	if a.json {
		a.print(mountResult{s})
		return
	}
	a.say("Mounted at %s. %s waiting. Lock with: hushfs umount %s", s.Mountpoint, count(s.Volume.PendingOps, "change"), shellQuote(s.Mountpoint))
	if s.Why != "" {
		a.warn("mounted read-only: %s", s.Why)
	}
	if len(s.Hidden) > 0 {
		a.warn("%s", hiddenText(s.Mountpoint, s.Hidden))
	}
	if s.Volume.Stopped != "" {
		a.warn("what is mounted may be old, and nothing is sent: %s", check.Printable(s.Volume.Stopped))
	}
	if n := len(s.Volume.Damaged); n > 0 {
		are, them := "are", "them"
		if n == 1 {
			are, them = "is", "it"
		}
		a.warn("%s of the store %s missing or damaged; hushfs status names %s", count(n, "object"), are, them)
	}
	for _, w := range s.Volume.Warnings {
		a.warn("%s", check.Printable(w))
	}
}
