package volume

import (
	"context"

	publish "github.com/hushfs/hushfs/fs/sync"
)

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
