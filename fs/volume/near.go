package volume

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/store"
)

// DefaultPatience is for how long a program waits for the store, but for the bytes.
const DefaultPatience = 15 * time.Second

// near calls fn until the metadata that it reads is here. A lookup under v's lock
// takes what memory and cache hold and otherwise fails, with what was to be done not
// done; what is missing is fetched with no lock held, and fn begins anew. Where the
// store cannot be reached the error is meta.ErrUnknown: never does a name seem absent
// because it could not be looked up.
//
// fn may have changed something before it found that it needs more, as a write that
// became an operation; the second call then finds that done.
func (v *Volume) near(ctx context.Context, fn func() error) error {
	return publish.Retry(ctx, fn)
}

// locked is near with v locked during each call.
func (v *Volume) locked(ctx context.Context, fn func() error) error {
	return v.near(ctx, func() error {
		v.mu.Lock()
		defer v.mu.Unlock()
		return fn()
	})
}

// changing is near with v locked for a change during each call.
func (v *Volume) changing(ctx context.Context, fn func() error) error {
	return v.near(ctx, func() error {
		unlock, err := v.change(ctx)
		if err != nil {
			return err
		}
		defer unlock()
		return fn()
	})
}

// known returns when the inode of a file that is to be written is near, so that
// nothing is held while the store is asked for it.
func (v *Volume) known(ctx context.Context, ref meta.Ref) error {
	return v.locked(ctx, func() error {
		if ref := v.at(ref); v.dirty[ref.Ino] != nil || v.orphans[ref.Ino] != nil {
			return nil
		}
		_, err := v.inode(ref)
		return err
	})
}

// patient ends with ctx, with the volume, and when a program has waited for the
// store for as long as it may.
func (v *Volume) patient(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := v.o.Patience
	if limit <= 0 {
		limit = DefaultPatience
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	stop := context.AfterFunc(v.life, cancel)
	return ctx, func() { stop(); cancel() }
}

// sendLimit is for how long a mount waits for the store to take what must be there
// first: a commit of up to 1 MiB that was on its way, or the machine's own number.
const sendLimit = 2 * time.Minute

// sending calls fn, which sends until ctx ends, and ends it in its time: whoever mounts
// is told then why it does not go on.
func (v *Volume) sending(ctx context.Context, fn func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, sendLimit)
	defer cancel()
	err := fn(limited)
	late := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, store.ErrUnavailable)
	if !late || limited.Err() == nil || ctx.Err() != nil {
		return err // what else failed is told as what it is, however long the line took before
	}
	_, why := v.sync.Trouble()
	if why == nil {
		why = store.ErrUnavailable
	}
	return fmt.Errorf("%w after %s: %w", store.ErrTimeout, sendLimit, why)
}

// door is a mutex at which nobody has to wait: who does can give up. The zero value
// is unlocked.
type door struct {
	made  sync.Once
	taken chan struct{} // of capacity 1
}

func (d *door) lock(ctx context.Context) error {
	d.made.Do(func() { d.taken = make(chan struct{}, 1) })
	select {
	case d.taken <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// try locks the door if nobody has it.
func (d *door) try() bool {
	d.made.Do(func() { d.taken = make(chan struct{}, 1) })
	select {
	case d.taken <- struct{}{}:
		return true
	default:
		return false
	}
}

func (d *door) unlock() { <-d.taken }
