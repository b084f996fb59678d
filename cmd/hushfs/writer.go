package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
)

// A drive of a single writer, for stores that let several who race for a name
// win: its keyring, which nobody can change without the root key, names the one
// device that may write, until that hands it on to another (see handover.go); from
// then on the ledger does. That device needs no referee. All others mount the drive
// read-only, also where the store keeps writers apart by now, or at another
// endpoint: the writer relies on being alone wherever it is.

// singleName is the file in the state folder that says that the drive is one of a
// single writer, for the time before it is unlocked. It is a remark: what counts
// is keyring and ledger.
const singleName = "single-writer"

func knownSingle(state string) bool {
	_, err := os.Lstat(filepath.Join(state, singleName))
	return err == nil
}

// noteSingle leaves the remark, as far as it can.
func noteSingle(state string) error {
	return os.WriteFile(filepath.Join(state, singleName), []byte("one device alone writes to this drive\n"), 0o600)
}

// mayWrite says why this machine must not write to the drive, "" when it may. The
// error is a problem with a mount that was to write and cannot at all. Where one device
// alone may write, the drive is looked at for that: it may have been handed on.
func (a *app) mayWrite(ctx context.Context, u *drive.Unlocked, c daemonConfig) (why string, err error) {
	if _, single := u.Writer(); !single {
		if !c.remote() {
			return "", nil
		}
		o, err := c.options(a.env)
		if err != nil {
			return "", explain("the settings for STORE", err)
		}
		if v := readVerdict(c.State, place(o)); v != nil {
			return "", refusal(v)
		}
		return "", nil
	}
	if err := noteSingle(c.State); err != nil {
		a.warn("the store is tested again by the next mount: %v", err)
	}
	b, err := a.openStore(ctx, c.location, true, nil)
	if err != nil {
		return "", err
	}
	defer b.Close()
	err = volume.MayWrite(ctx, volume.Options{
		Bucket: b, Drive: u, State: c.State, Cache: c.Cache, CacheSize: -1, DeviceName: c.DeviceName, Writer: writer(u),
	})
	var not *volume.NotWriter
	if errors.As(err, &not) {
		return not.Error(), nil
	}
	if err != nil {
		return "", explain("the drive was not mounted", err)
	}
	return "", nil
}

// writer is the device that the drive was made for, which alone may write to it unless
// it was handed on; 0 when any may.
func writer(u *drive.Unlocked) meta.Device {
	only, single := u.Writer()
	if single && only == 0 {
		return volume.NoWriter
	}
	return only
}
