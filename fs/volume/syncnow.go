package volume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hushfs/hushfs/store"
)

// syncPatience is how long Sync takes it that no request is answered, where it is not to
// wait for the store to come back.
const syncPatience = 5 * time.Second

// Sync returns when everything that was written before is in the store, and everything
// that was in the store is in the volume; from then on the volume shows slot, and showed
// before when it began. Where patient is false it fails when the store is away, with the
// error of the last request, and when it does not take what is sent, with Refusal; else it
// waits for it. A read-only volume fetches, and then fails with ErrReadOnly if something
// waits for one that is not.
func (v *Volume) Sync(ctx context.Context, patient bool) (before, slot uint64, err error) {
	before = v.view.Slot()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if !patient {
		refusals, _ := v.bucket.refusal()
		go v.giveUp(ctx, cancel, refusals)
	}
	if v.Refusal() != nil {
		v.Resumed() // who asks may have made room: it is tried now, and not when its time comes
	}
	for {
		err = v.sync.FollowNow(ctx)
		if !patient || !errors.Is(err, store.ErrUnavailable) {
			break
		}
		select {
		case <-ctx.Done():
			return before, v.view.Slot(), errors.Join(ctx.Err(), err)
		case <-time.After(syncEvery):
		}
	}
	if err == nil {
		err = v.WaitStored(ctx)
	}
	// Who gave up for ctx says why that ended.
	if why := context.Cause(ctx); err != nil && (errors.Is(why, errAway) || notTaken(why)) {
		err = why
	}
	return before, v.view.Slot(), err
}

// errAway marks what giveUp ends a context with.
var errAway = fmt.Errorf("%w: it does not answer", store.ErrUnavailable)

// giveUp ends a context when no request to the store was answered for a while, or when an
// upload was refused after so many refusals: since the earlier ones there may be room.
func (v *Volume) giveUp(ctx context.Context, cancel context.CancelCauseFunc, refusals int) {
	begin := time.Now()
	tick := time.NewTicker(syncPatience / 20)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if why := v.Refusal(); why != nil {
			if n, _ := v.bucket.refusal(); n > refusals {
				cancel(why)
				return
			}
		}
		since := v.bucket.since()
		if since.IsZero() || time.Since(since) < syncPatience || time.Since(begin) < syncPatience {
			continue
		}
		if _, why := v.sync.Trouble(); why != nil {
			cancel(awayFor{why})
		} else {
			cancel(errAway)
		}
		return
	}
}

// awayFor is an errAway with its reason.
type awayFor struct{ why error }

func (a awayFor) Error() string { return a.why.Error() }

func (a awayFor) Unwrap() []error { return []error{errAway, a.why} }
