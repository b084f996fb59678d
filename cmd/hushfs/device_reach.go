package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/hushfs/hushfs/cmd/hushfs/control"
	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/volume"
)

// deviceFlags of hushfs device: how a drive that is not mounted is opened.
type deviceFlags struct {
	secret  secretFlags
	s3      s3Flags
	timeout time.Duration // for the drain of an earlier mount
	older   bool          // a header that is older than one that this machine saw opens the drive too
}

func (o *deviceFlags) register(f *pflag.FlagSet) {
	o.secret.registerUnlock(f, "")
	o.s3.register(f)
	f.DurationVar(&o.timeout, "timeout", 0, "wait at most this `DURATION`, as 90s, for an earlier mount that still sends (default: as long as it takes)")
}

func (o *deviceFlags) check() error {
	if o.timeout < 0 {
		return usage("--timeout is negative")
	}
	return o.secret.check()
}

// reach has ask asked of the daemon of a drive that is mounted at, or from, arg; where
// none is, the drive in STORE is unlocked, and do called with its volume. write says
// that it is to be changed.
func (a *app) reach(ctx context.Context, o deviceFlags, arg string, write bool, ask func(*control.Client) error, do func(*volume.Volume) error) error {
	if err := o.check(); err != nil {
		return err
	}
	d, err := a.mountedAtOrFrom(ctx, o, arg)
	if err != nil {
		return err
	}
	if d != nil {
		defer d.Close()
		return ask(d.Client)
	}
	return a.unlocked(ctx, o, arg, func(vo *volume.Options) { vo.ReadOnly = !write }, do)
}

// mountedAtOrFrom is the daemon that has a drive mounted at a folder, or from a store;
// nil when none has.
func (a *app) mountedAtOrFrom(ctx context.Context, o deviceFlags, arg string) (*foundDrive, error) {
	all, mute, err := a.findDrives(ctx)
	if err != nil {
		return nil, err
	}
	dir := resolveTo(arg, mountpoints(all))
	at, lerr := locate(arg, o.s3)
	endpoint := ""
	if lerr == nil && at.remote() {
		if so, err := at.options(a.env); err == nil {
			endpoint = endpointText(so)
		}
	}
	var found *foundDrive
	for _, d := range all {
		s := d.status
		if found == nil && s.Phase == control.Mounted && (s.Mountpoint == dir || lerr == nil && s.Store == at.Store && s.Endpoint == endpoint) {
			found = d
			continue
		}
		d.Close()
	}
	if found != nil {
		return found, nil
	}
	if err := stuckAt(mute, dir); err != nil {
		return nil, err
	}
	dead, err := hushMounts()
	if err != nil {
		return nil, err
	}
	if slices.Contains(dead, dir) {
		return nil, a.deadMount(ctx, dir)
	}
	return nil, lerr
}

// unlocked opens the volume of the drive in STORE, as this machine, and calls do. What
// do wrote is in the store when it returns nil.
func (a *app) unlocked(ctx context.Context, o deviceFlags, arg string, set func(*volume.Options), do func(*volume.Volume) error) (err error) {
	at, err := locate(arg, o.s3)
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
	id, err := a.peek(ctx, at, where.state)
	if err != nil {
		return explain("the drive was not opened", err)
	}
	state, err := where.stateDir(id)
	if err != nil {
		return err
	}
	held, err := a.lockDrive(ctx, state, "device", o.timeout)
	if err != nil {
		return explain("lock the drive's state", err)
	}
	defer func() { err = errors.Join(err, held.release()) }()
	vo := volume.Options{
		State: state, Cache: where.cacheDir(id), CacheSize: -1, DeviceName: deviceName(),
		UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), Log: a.asideLog(), Program: runningProgram(),
	}
	set(&vo)
	if !vo.ReadOnly {
		if err := a.ensureTested(ctx, at, state, false); err != nil {
			return err
		}
	}
	got, handover, err := a.unlockInChild(ctx, unlockRequest{location: at, Secret: o.secret, Older: o.older})
	if err != nil {
		return err
	}
	defer wipe(handover)
	if got != id {
		return explain("the drive was not opened", drive.ErrOther)
	}
	if vo.Drive, err = drive.FromHandover(handover); err != nil {
		return explain("take over the unlocked drive", err)
	}
	defer vo.Drive.Wipe()
	vo.Writer = writer(vo.Drive)
	b, err := a.openStore(ctx, at, vo.ReadOnly, vo.Log)
	if err != nil {
		return err
	}
	defer b.Close()
	vo.Bucket = b
	step, err := newSteps(a.env)
	if err != nil {
		return err
	}
	vo.Step = step
	v, err := volume.Open(ctx, vo)
	if err != nil {
		return explain("the drive was not opened", err)
	}
	return errors.Join(do(v), closed(ctx, v, vo.ReadOnly))
}

// closed locks the volume. That something waits in the journal is no failure of a
// command that had nothing to do with it.
func closed(ctx context.Context, v *volume.Volume, readOnly bool) error {
	if readOnly {
		done, end := context.WithCancel(ctx)
		end()
		ctx = done
	}
	err := v.Shutdown(ctx)
	if errors.Is(err, volume.ErrUndrained) {
		return nil
	}
	return err
}
