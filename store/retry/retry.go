// Package retry is a store that tries again.
//
// It repeats what may be repeated: Get, List and Delete, and PutIfAbsent of
// names that say what the object holds (packs, ledgers), where the answer "the
// name is taken" to a second try can only mean that the first arrived. A name
// that several writers race for is put once, whatever comes back: whose object
// is there is for the caller to find out, as store.Bucket says. Options.Once
// tells the two apart.
//
// Only store.ErrUnavailable is worth another try; all else is an answer. Tries
// are spread by chance and get rarer, and a call that has used up its budget
// returns the last error.
//
// On the way the package learns whether the store can be reached at all. When
// it cannot, reading calls, for which a program is waiting, are tried once and
// fail at once; writing calls, for which nobody waits, keep their patience.
package retry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/hushfs/hushfs/store"
)

var _ store.Bucket = (*Bucket)(nil)

// Options of a store that tries again. The zero value is usable where nobody
// races for a name.
type Options struct {
	Once   func(name string) bool // PutIfAbsent of such a name is not repeated; nil: of none
	First  time.Duration          // wait before the second try, give or take a half; 0: 100 ms
	Max    time.Duration          // longest wait, as they double; 0: 5 s
	Budget time.Duration          // no try begins later than this after the first; 0: 30 s

	// When the store is off line: until it answers, after calls that went on
	// failing for so long, or while calls wait for so long and none is answered.
	Failing time.Duration // 0: 3 s
	Silent  time.Duration // 0: 15 s

	Log *slog.Logger // nil discards
}

// Prefixes returns an Options.Once for the names that begin with any of p.
func Prefixes(p ...string) func(name string) bool {
	return func(name string) bool {
		for _, prefix := range p {
			if strings.HasPrefix(name, prefix) {
				return true
			}
		}
		return false
	}
}

// A Bucket is a store that tries again. Use Wrap.
type Bucket struct {
	store store.Bucket
	opts  Options
	state state
}

// Wrap returns a bucket that keeps its objects in b. It starts nothing.
func Wrap(b store.Bucket, o Options) *Bucket {
	def := func(d *time.Duration, value time.Duration) {
		if *d <= 0 {
			*d = value
		}
	}
	def(&o.First, 100*time.Millisecond)
	def(&o.Max, 5*time.Second)
	def(&o.Budget, 30*time.Second)
	def(&o.Failing, 3*time.Second)
	def(&o.Silent, 15*time.Second)
	if o.Once == nil {
		o.Once = func(string) bool { return false }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Bucket{store: b, opts: o, state: state{failingFor: o.Failing, silentFor: o.Silent, apart: 2 * o.Max}}
}

// Offline returns nil, or an error that says since when the store does not
// answer and why. It asks the store nothing: it knows from the calls that were
// made, and when none are, from the last ones.
func (b *Bucket) Offline() error {
	return b.state.offline(time.Now())
}

// PutIfAbsent implements store.Bucket. ErrExist may be the echo of an earlier
// try of the same call.
func (b *Bucket) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	tries := again
	if b.opts.Once(name) {
		tries = once
	}
	_, err := call(ctx, b, "put", name, tries, func() (struct{}, error) {
		return struct{}{}, b.store.PutIfAbsent(ctx, name, data)
	})
	return err
}

// Get implements store.Bucket.
func (b *Bucket) Get(ctx context.Context, name string, off, length int64) ([]byte, error) {
	return call(ctx, b, "get", name, whileOnline, func() ([]byte, error) {
		return b.store.Get(ctx, name, off, length)
	})
}

// List implements store.Bucket.
func (b *Bucket) List(ctx context.Context, prefix, after string, max int) ([]store.Info, error) {
	return call(ctx, b, "list", prefix, whileOnline, func() ([]store.Info, error) {
		return b.store.List(ctx, prefix, after, max)
	})
}

// Delete implements store.Bucket.
func (b *Bucket) Delete(ctx context.Context, name string) error {
	_, err := call(ctx, b, "delete", name, again, func() (struct{}, error) {
		return struct{}{}, b.store.Delete(ctx, name)
	})
	return err
}

// patience is how a call takes failures.
type patience uint8

const (
	once        patience = iota
	again                // until the budget is used up
	whileOnline          // the same, but no longer when the store is off line
)

// call makes tries of do until one is answered, or patience ends.
func call[T any](ctx context.Context, b *Bucket, op, name string, p patience, do func() (T, error)) (T, error) {
	if err := ctx.Err(); err != nil {
		var zero T
		return zero, err
	}
	waits := backoff.NewExponentialBackOff()
	waits.InitialInterval, waits.MaxInterval, waits.Multiplier = b.opts.First, b.opts.Max, 2
	tries := 0
	result, err := backoff.Retry(ctx, func() (T, error) {
		tries++
		t := b.state.begin(time.Now())
		result, err := do()
		b.state.end(t, time.Now(), outcome(ctx, err))
		if err != nil && (!errors.Is(err, store.ErrUnavailable) || p == once || p == whileOnline && b.Offline() != nil) {
			err = backoff.Permanent(err)
		}
		return result, err
	}, backoff.WithBackOff(waits), backoff.WithMaxElapsedTime(b.opts.Budget), backoff.WithNotify(func(err error, wait time.Duration) {
		b.opts.Log.Warn("store call fails, another try follows", "op", op, "object", name, "try", tries, "wait", wait, "err", err)
	}))
	if err != nil && ctx.Err() != nil {
		return result, ctx.Err()
	}
	if err != nil && tries > 1 && errors.Is(err, store.ErrUnavailable) {
		err = fmt.Errorf("%d tries: %w", tries, err)
	}
	return result, err
}

// outcome tells what a try says about the store: nil that it is there, the
// error that it is not, errCancelled nothing.
func outcome(ctx context.Context, err error) error {
	switch {
	case err != nil && ctx.Err() != nil:
		return errCancelled
	case errors.Is(err, store.ErrUnavailable):
		return err
	}
	return nil
}
