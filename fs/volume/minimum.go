package volume

import (
	"context"
	"errors"
	"time"

	"github.com/hushfs/hushfs/store"
)

// raiseTime is how long an unmount waits at most for the minimum head to be raised.
const raiseTime = 10 * time.Second

// raiseMinimum writes into the drive's header which state a new machine must be shown at
// least. It is called when all is in the store. Nothing is lost when it fails: the next
// unmount tries again, here or elsewhere.
func (v *Volume) raiseMinimum(ctx context.Context) {
	stopped, _ := v.sync.Trouble()
	head := v.state.Head()
	if stopped != "" || head.Slot == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, raiseTime)
	defer cancel()
	done, err := v.o.Drive.RaiseMinimum(ctx, v.bucket, head, v.gone, v.now(), v.log)
	switch {
	case errors.Is(err, store.ErrDenied):
		v.log.Info("the newest slot is not in the drive's header: this machine may not write one", "err", err)
	case err != nil:
		v.log.Warn("the newest slot is not in the drive's header", "slot", uint64(head.Slot), "err", err)
	case done:
		v.log.Info("the newest slot is in the drive's header", "slot", uint64(head.Slot), "object", v.o.Drive.HeaderName())
		// Else this machine would be shown the old header without a word.
		if err := v.o.Drive.KeepHeader(v.o.State); err != nil {
			v.log.Warn("header not kept", "err", err)
		}
	}
}

// now is the time by the clock that files get theirs from.
func (v *Volume) now() time.Time { return v.o.Clock() }
