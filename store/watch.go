package store

import "context"

// A Watcher is a Bucket that tells of new objects by itself. Nothing may rely on being
// told: what it says is a hint that a look is worth it.
type Watcher interface {
	// Watch calls told with the name of each object that is made under prefix, until
	// ctx ends or the store stops telling; ready is called each time when it begins
	// to, and what was made before is not told. Neither may block. The error is never
	// nil: ErrNoWatch where the store tells nothing, else as for Bucket.
	Watch(ctx context.Context, prefix string, ready func(), told func(name string)) error
}

// Watch is b.Watch where b is a Watcher, else ErrNoWatch. Who wraps a bucket implements
// Watch by it.
func Watch(ctx context.Context, b Bucket, prefix string, ready func(), told func(name string)) error {
	if w, ok := b.(Watcher); ok {
		return w.Watch(ctx, prefix, ready, told)
	}
	return ErrNoWatch
}
