package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/state"
	"github.com/hushfs/hushfs/fs/volume"
)

// A drive of a single writer, for stores that let several who race for a name
// win: its keyring, which nobody can change without the root key, names the one
// device that may write. That device needs no referee. All others mount the drive
// read-only, also where the store keeps writers apart by now, or at another
// endpoint: the writer relies on being alone wherever it is.

// singleName is the file in the state folder that says that the drive is one of a
// single writer, for the time before it is unlocked. It is a remark: what counts
// is the keyring.
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
// error is a problem with a mount that was to write and cannot at all.
func (a *app) mayWrite(u *drive.Unlocked, c daemonConfig) (why string, err error) {
	writer, single := u.Writer()
	if !single {
		if !c.remote() {
			return "", nil
		}
		o, err := c.options(a.env)
		if err != nil {
			return "", explain("the settings for STORE", err)
		}
		if v := readVerdict(c.State, endpointText(o), o.Bucket); v != nil {
			return "", refusal(v)
		}
		return "", nil
	}
	if err := noteSingle(c.State); err != nil {
		a.warn("the store is tested again by the next mount: %v", err)
	}
	number, err := deviceNumber(u, c)
	switch {
	case err != nil:
		return "", explain("the drive was not mounted", fmt.Errorf("%w: %w", volume.ErrState, err))
	case number == writer:
		return "", nil
	case writer == 0:
		return "the drive was made for a single writer, in a way that this hushfs does not know", nil
	case number == 0:
		return fmt.Sprintf("the drive was made for a single writer, device %d, and this machine is another", writer), nil
	}
	return fmt.Sprintf("the drive was made for a single writer, device %d, and this machine is device %d", writer, number), nil
}

// deviceNumber is which device of the drive this machine is, 0 when it is none or
// is about to become another, since its state was copied or moved.
func deviceNumber(u *drive.Unlocked, c daemonConfig) (meta.Device, error) {
	st, fresh, err := state.Open(c.State, u.Root(), u.ID, c.DeviceName, u.Previous()...)
	if err != nil {
		return 0, err
	}
	defer st.Wipe()
	_, number, _ := st.Device()
	if fresh != state.NotFresh {
		number = 0
	}
	return number, nil
}

// stillWriter is a problem when the volume found out, as it was opened, that this
// machine is not the device that its state says: a clone of it was at work.
func stillWriter(u *drive.Unlocked, v *volume.Volume) error {
	writer, single := u.Writer()
	if got := meta.Device(v.Status().Device); !single || got == writer {
		return nil
	}
	return &problem{code: codeState, what: "the drive was not mounted",
		why:  errors.New("a copy of this machine has written to the drive, which was made for a single writer"),
		next: "End the copy, and keep what is in this machine's state folder. To look at the drive: hushfs mount --read-only STORE DIR"}
}

// writer is the one device that may write to the drive; 0 when any may.
func writer(u *drive.Unlocked) meta.Device {
	only, single := u.Writer()
	if single && only == 0 {
		return math.MaxUint16 // said in a way that this program does not know: nobody's number
	}
	return only
}
