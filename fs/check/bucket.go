package check

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/store"
)

// steady is a store that is asked twice. An object that cannot be got while others can
// is unreadable, which is damage: it is then told as one that does not exist, and why
// remembers what the store said. When the store gives nothing else either, it is away,
// and its error is returned as it is.
type steady struct {
	store.Bucket

	mu  sync.Mutex // guards why
	why map[string]error
}

// Get is that of store.Bucket.
func (b *steady) Get(ctx context.Context, name string, off, length int64) ([]byte, error) {
	var err error
	for range 2 {
		var o []byte
		if o, err = b.Bucket.Get(ctx, name, off, length); err == nil || errors.Is(err, store.ErrNotExist) || ctx.Err() != nil {
			return o, err
		}
		if b.away(ctx) {
			return nil, err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.why == nil {
		b.why = map[string]error{}
	}
	b.why[name] = err
	return nil, fmt.Errorf("%w: it is listed and cannot be read: %v", store.ErrNotExist, err)
}

// away says that the store answers nothing now: neither a listing nor a read of
// another object.
func (b *steady) away(ctx context.Context) bool {
	page, err := b.Bucket.List(ctx, keyslot.Prefix, "", 1)
	if err != nil || len(page) == 0 {
		return true
	}
	_, err = b.Bucket.Get(ctx, page[0].Name, 0, 1)
	return err != nil && !errors.Is(err, store.ErrNotExist)
}

// absent is the cause, with words, of an object that Get did not find.
func (b *steady) absent(name string) (Cause, string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.why[name]; err != nil {
		return Unreadable, fmt.Sprintf("it cannot be read; the store says: %v", err)
	}
	return Missing, "it is not in the store"
}

// each calls fn for what the store lists below a prefix, ascending.
func (b *steady) each(ctx context.Context, prefix string, fn func(store.Info) error) error {
	for after := ""; ; {
		page, err := b.Bucket.List(ctx, prefix, after, 0)
		if err != nil {
			return fmt.Errorf("list %s: %w", prefix, err)
		}
		for _, i := range page {
			if i.Name <= after {
				return fmt.Errorf("list %s: the store repeats itself: %w", prefix, store.ErrUnavailable)
			}
			after = i.Name
			if err := fn(i); err != nil {
				return err
			}
		}
		if len(page) < store.DefaultList {
			return nil
		}
	}
}
