package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/dir"
)

// opened is a store that was opened here.
type opened interface {
	store.Bucket
	Close() error
}

// openStore opens the store. Close it when done. A nil log discards.
func (a *app) openStore(ctx context.Context, at location, readOnly bool, log *slog.Logger) (opened, error) {
	if at.remote() {
		// Not returned as it is: a nil *bucket would be no nil opened.
		b, err := openBucket(ctx, at, a.env, readOnly, log)
		if err != nil {
			return nil, err
		}
		return b, nil
	}
	b, err := dir.Open(at.Store, dir.Options{ReadOnly: readOnly})
	if err != nil {
		return nil, storeProblem(at.Store, readOnly, err)
	}
	return b, nil
}

// storeProblem says which store was not opened. One that only refuses to be written can be
// looked at.
func storeProblem(name string, readOnly bool, err error) *problem {
	p := *explain("open the store "+name, err)
	if !readOnly && errors.Is(err, store.ErrDenied) {
		p.next += " To look at what it has: hushfs mount --read-only STORE DIR"
	}
	return &p
}

// slowed makes each PUT take delay longer, and wait for as long as the file held is
// there, for tests of what happens while something is on its way.
type slowed struct {
	store.Bucket
	delay time.Duration
	held  string // path; empty: nothing is waited for
}

// heldEvery is how often it is looked whether the file is still there.
const heldEvery = 5 * time.Millisecond

func (s slowed) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	t := time.NewTimer(s.delay)
	defer t.Stop()
	for again := true; again; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		_, err := os.Lstat(s.held)
		again = err == nil
		t.Reset(heldEvery)
	}
	return s.Bucket.PutIfAbsent(ctx, name, data)
}

func (s slowed) Watch(ctx context.Context, prefix string, ready func(), told func(name string)) error {
	return store.Watch(ctx, s.Bucket, prefix, ready, told)
}

// slow wraps b when a test asked for it.
func slow(b store.Bucket, delay time.Duration, held string) store.Bucket {
	if delay <= 0 && held == "" {
		return b
	}
	return slowed{b, delay, held}
}

func entriesIn(n int) string {
	if n == 1 {
		return "1 entry"
	}
	return strconv.Itoa(n) + " entries"
}
