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
// it cannot, reading calls, for which a program is waiting, fail at once, but for
// one every second or so that asks whether it is back; who comes while it does waits
// a second at most for what it finds. Writing calls, for which nobody waits, keep their
// patience. A reading call with all its tries, and each try of a writing one, has a
// time by which it is over, which depends on its bytes, so that a store that hangs, or
// gives a byte now and then, holds nobody for long. Whose time is over gets
// store.ErrTimeout.
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

	// A reading call that has not ended after so long, tries and waits included, and
	// a try of a writing one, has failed; its bytes come on top, at 16 KiB/s for
	// reading and at 2 KiB/s for writing.
	Reading time.Duration // 0: DefaultReading
	Writing time.Duration // 0: 30 s
	Asking  time.Duration // the same for a reader who asks whether the store is back; 0: a fifth of Reading

	// When the store is off line: until it answers, after calls that went on
	// failing for so long, or while calls wait for so long and none is answered.
	Failing time.Duration // 0: a fifth of Reading
	Silent  time.Duration // 0: 8/15 of Reading; what its bytes take on a slow line comes on top

	Log *slog.Logger // nil discards
}

// DefaultReading is how long a program waits for the store, but for its bytes.
const DefaultReading = 15 * time.Second

// Bytes a second: on a line that is slower than fast nothing of so many bytes is
// silent; at reading and writing a try is given up.
const (
	fast    = 64 << 10
	reading = 16 << 10
	writing = 2 << 10
)

// askEvery is how often a reader may ask whether the store is back, and how long others
// wait for what it finds.
const askEvery = time.Second

// unknown is how many bytes a part of unknown length counts for; most that is
// asked for so is far shorter. A reader who waits for more than shortRead is
// silent as if it were that; who asks whether the store is back waits no longer than
// for shortAsk.
const (
	unknown   = 1 << 20
	shortRead = 512 << 10
	shortAsk  = 32 << 10
)

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
	def(&o.Reading, DefaultReading)
	def(&o.Writing, 30*time.Second)
	def(&o.Failing, o.Reading/5)
	def(&o.Silent, o.Reading/15*8)
	def(&o.Asking, o.Reading/5)
	if o.Once == nil {
		o.Once = func(string) bool { return false }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Bucket{store: b, opts: o, state: state{failingFor: o.Failing, silentFor: o.Silent, apart: 2 * o.Max}}
}

// Offline returns nil, or an *Outage that says since when the store does not
// answer and why. It asks the store nothing: it knows from the calls that were
// made, and when none are, from the last ones.
func (b *Bucket) Offline() error {
	if out := b.state.offline(time.Now()); out != nil {
		return out
	}
	return nil
}

// PutIfAbsent implements store.Bucket. ErrExist may be the echo of an earlier
// try of the same call.
func (b *Bucket) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	tries := again
	if b.opts.Once(name) {
		tries = once
	}
	_, err := call(ctx, b, what{"put", name, int64(len(data))}, tries, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, b.store.PutIfAbsent(ctx, name, data)
	})
	return err
}

// Get implements store.Bucket.
func (b *Bucket) Get(ctx context.Context, name string, off, length int64) ([]byte, error) {
	n := length
	if off < 0 {
		n = -off
	} else if n < 0 {
		n = unknown
	}
	return call(ctx, b, what{"get", name, min(n, store.MaxObject)}, whileOnline, func(ctx context.Context) ([]byte, error) {
		return b.store.Get(ctx, name, off, length)
	})
}

// List implements store.Bucket.
func (b *Bucket) List(ctx context.Context, prefix, after string, max int) ([]store.Info, error) {
	return call(ctx, b, what{"list", prefix, 0}, whileOnline, func(ctx context.Context) ([]store.Info, error) {
		return b.store.List(ctx, prefix, after, max)
	})
}

// Delete implements store.Bucket.
func (b *Bucket) Delete(ctx context.Context, name string) error {
	_, err := call(ctx, b, what{"delete", name, 0}, again, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, b.store.Delete(ctx, name)
	})
	return err
}

// Watch implements store.Watcher where the store does. It is not repeated: who watches
// begins anew after a while, and asks meanwhile.
func (b *Bucket) Watch(ctx context.Context, prefix string, ready func(), told func(name string)) error {
	return store.Watch(ctx, b.store, prefix, ready, told)
}

// patience is how a call takes failures.
type patience uint8

const (
	once        patience = iota
	again                // until the budget is used up
	whileOnline          // the same, but no longer when the store is off line
)

// what is a call: its kind, the object, and how many bytes go either way.
type what struct {
	op, name string
	bytes    int64
}

// call makes tries of do until one is answered, or patience ends.
func call[T any](ctx context.Context, b *Bucket, w what, p patience, do func(context.Context) (T, error)) (T, error) {
	if err := ctx.Err(); err != nil {
		var zero T
		return zero, err
	}
	waits := backoff.NewExponentialBackOff()
	waits.InitialInterval, waits.MaxInterval, waits.Multiplier = b.opts.First, b.opts.Max, 2
	tries, began, budget := 0, time.Now(), b.opts.Budget
	limit := b.opts.Writing + span(w.bytes, writing)
	if p == whileOnline {
		limit = b.opts.Reading + span(w.bytes, reading)
		budget = min(budget, limit)
	}
	result, err := backoff.Retry(ctx, func() (T, error) {
		tries++
		rest := limit
		if p == whileOnline {
			rest -= time.Since(began)
		}
		result, err := try(ctx, b, w, p, rest, do)
		if err != nil && (!errors.Is(err, store.ErrUnavailable) || p == once || p == whileOnline && b.Offline() != nil) {
			err = backoff.Permanent(err)
		}
		return result, err
	}, backoff.WithBackOff(waits), backoff.WithMaxElapsedTime(budget), backoff.WithNotify(func(err error, wait time.Duration) {
		b.opts.Log.Debug("store call fails, another try follows", "op", w.op, "object", w.name, "try", tries, "wait", wait, "err", err)
	}))
	if err != nil && ctx.Err() != nil {
		return result, ctx.Err()
	}
	if err != nil && tries > 1 && errors.Is(err, store.ErrUnavailable) {
		err = fmt.Errorf("%d tries: %w", tries, err)
	}
	return result, err
}

// try makes one try of do, within limit.
func try[T any](ctx context.Context, b *Bucket, w what, p patience, limit time.Duration, do func(context.Context) (T, error)) (T, error) {
	if p == whileOnline {
		came := time.Now()
		probe, err := b.state.askOrWait(ctx, askEvery)
		if err != nil {
			var none T
			return none, err
		}
		limit -= time.Since(came)
		if probe {
			limit = min(limit, b.opts.Asking+span(min(w.bytes, shortAsk), reading))
			defer func() { b.state.asks(time.Now(), ctx.Err() != nil) }()
		}
	}
	open, cut := context.WithCancelCause(ctx)
	timed, cancel := context.WithTimeoutCause(open, limit, errSlow)
	defer cancel()
	defer cut(nil)
	began := time.Now()
	grace := span(w.bytes, fast)
	if p == whileOnline {
		grace = span(min(w.bytes, shortRead), fast)
	}
	call := b.state.begin(time.Now(), grace)
	// Nothing else may happen while it hangs, and the log is to be told. A reader is
	// told too: a program waits for it, and others fail at once by now.
	silent := time.AfterFunc(b.opts.Silent+grace, func() {
		b.tell()
		if p == whileOnline && b.Offline() != nil {
			cut(errSlow)
		}
	})
	result, err := do(timed)
	silent.Stop()
	if err != nil && ctx.Err() == nil && timed.Err() != nil {
		err = fmt.Errorf("%w after %s", context.Cause(timed), time.Since(began).Round(time.Second))
	}
	b.state.end(call, time.Now(), outcome(ctx, err))
	b.tell()
	return result, err
}

// errSlow is the error of a try whose time is over.
var errSlow = fmt.Errorf("%w: %w", store.ErrUnavailable, store.ErrTimeout)

// span is the time that so many bytes take at so many a second.
func span(bytes, speed int64) time.Duration {
	return time.Duration(bytes) * time.Second / time.Duration(speed)
}

// tell writes one line to the log when the store goes off line, and one when it
// is back.
func (b *Bucket) tell() {
	switch out, changed := b.state.change(time.Now()); {
	case !changed:
	case out != nil:
		b.opts.Log.Warn("the store is off line; it is tried again", "since", out.Since, "err", out.Err)
	default:
		b.opts.Log.Info("the store answers again")
	}
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
