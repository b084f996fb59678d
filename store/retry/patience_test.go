package retry_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
	"github.com/hushfs/hushfs/store/retry"
)

// Whatever the store does, a reading call is over in its time, and who has waited it
// out hears so. A store that says at once that it cannot is no timeout: it is off line with
// the first failure that comes a fifth of the time after the first one, and the wait before
// that is one and a half times its length at most.
func TestAReadingCallEndsInItsTime(t *testing.T) {
	refused := fault.Fail(fmt.Errorf("%w: refused", store.ErrUnavailable))
	for _, c := range []struct {
		name    string
		reading time.Duration
		bytes   int64
		do      func(f *fault.Bucket) []fault.Rule
		others  bool // other calls are answered meanwhile, so that the store is not off line
		least   time.Duration
		most    time.Duration
		timeout bool
	}{
		{"hangs", 15 * time.Second, 0, nil, false, 8 * time.Second, 8 * time.Second, true},
		{"hangs, and others are answered", 15 * time.Second, 0, nil, true, 15 * time.Second, 15 * time.Second, true},
		{"its bytes are on top", 15 * time.Second, 160 << 10, nil, true, 25 * time.Second, 25 * time.Second, true},
		{"hangs, and nobody waits for long", 3 * time.Second, 0, nil, false, 1600 * time.Millisecond, 1600 * time.Millisecond, true},
		{"hangs, and somebody waits for long", 5 * time.Minute, 0, nil, false, 160 * time.Second, 160 * time.Second, true},
		{"refuses", 15 * time.Second, 0, func(*fault.Bucket) []fault.Rule { return always(refused) }, false, 3 * time.Second, 7800 * time.Millisecond, false},
		{"refuses, and nobody waits for long", 3 * time.Second, 0, func(*fault.Bucket) []fault.Rule { return always(refused) }, false, 600 * time.Millisecond, 1800 * time.Millisecond, false},
		{"refuses this one alone", 15 * time.Second, 0, func(*fault.Bucket) []fault.Rule {
			return []fault.Rule{fault.On(fault.Get, 0, refused)}
		}, true, 7 * time.Second, 15 * time.Second, false},
		{"refuses, then hangs", 15 * time.Second, 0, func(*fault.Bucket) []fault.Rule {
			return []fault.Rule{fault.On(fault.Get, 1, refused), fault.On(fault.Get, 2, refused), fault.On(fault.Get, 3, fault.Hang)}
		}, true, 15 * time.Second, 15 * time.Second, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, b := world(retry.Options{Reading: c.reading})
				if c.do == nil {
					f.Add(fault.On(fault.Get, 0, fault.Hang))
				} else {
					f.Add(c.do(f)...)
				}
				ctx, cancel := context.WithCancel(t.Context())
				var beside sync.WaitGroup
				defer func() {
					cancel()
					beside.Wait()
				}()
				if c.others {
					beside.Go(func() {
						for ctx.Err() == nil {
							_, _ = b.List(ctx, "v0/", "", 0)
							time.Sleep(100 * time.Millisecond)
						}
					})
				}
				began := time.Now()
				_, err := b.Get(t.Context(), "v0/p/old", 0, c.bytes)
				if took := time.Since(began); !errors.Is(err, store.ErrUnavailable) || took < c.least || took > c.most {
					t.Errorf("%v after %v", err, took)
				}
				if errors.Is(err, store.ErrTimeout) != c.timeout {
					t.Errorf("timeout %v: %v", !c.timeout, err)
				}
				// Who is told that the store is off line has waited for nothing, but for a second
				// for the one who asks.
				began = time.Now()
				if b.Offline() != nil {
					beside.Go(func() { _, _ = b.Get(ctx, "v0/p/old", 0, 0) }) // which asks whether it is back
					synctest.Wait()
					if _, err := b.Get(t.Context(), "v0/p/old", 0, 0); !errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrTimeout) || time.Since(began) > time.Second {
						t.Errorf("off line: %v after %v", err, time.Since(began))
					}
				}
			})
		})
	}
}

// A reader is interrupted at once, whatever the store does.
func TestInterruptedReader(t *testing.T) {
	for name, do := range map[string]fault.Action{"hangs": fault.Hang, "refuses": fault.Fail(store.ErrUnavailable)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, b := world(retry.Options{Reading: time.Hour}, always(do)...)
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(2*time.Second, cancel)
				began := time.Now()
				if _, err := b.Get(ctx, "v0/p/old", 0, 0); !errors.Is(err, context.Canceled) || time.Since(began) != 2*time.Second {
					t.Errorf("%v after %v", err, time.Since(began))
				}
			})
		})
	}
}

// The store may be back for long before anybody asks. Who comes while the first one does
// hears what it finds, and is not refused; but nobody waits for longer than a second.
func TestReadersWaitForTheOneWhoAsks(t *testing.T) {
	for _, c := range []struct {
		name        string
		asks        fault.Action
		interrupted bool // the one who asks, after half a second
		fails       bool
		took        time.Duration
	}{
		{"back", fault.Slow(300 * time.Millisecond), false, false, 300 * time.Millisecond},
		{"back, and slow", fault.Slow(1500 * time.Millisecond), false, true, time.Second},
		{"refuses", fault.Fail(store.ErrUnavailable), false, true, 0},
		{"hangs", fault.Hang, false, true, time.Second},
		{"back, and who asked is interrupted", fault.Hang, true, false, 500 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, b := world(retry.Options{}, always(fault.Hang)...)
				_, _ = b.Get(t.Context(), "v0/p/old", 0, 4)
				if b.Offline() == nil {
					t.Fatal("it is on line")
				}
				f.Clear()
				f.Add(fault.On(fault.Get, 1, c.asks))
				time.Sleep(time.Hour)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.interrupted {
					time.AfterFunc(500*time.Millisecond, cancel)
				}
				var all sync.WaitGroup
				all.Go(func() { _, _ = b.Get(ctx, "v0/p/old", 0, 4) })
				synctest.Wait()
				began := time.Now()
				for range 8 {
					all.Go(func() {
						if _, err := b.Get(t.Context(), "v0/p/old", 0, 4); (err != nil) != c.fails || time.Since(began) != c.took {
							t.Errorf("%v after %v", err, time.Since(began))
						}
					})
				}
				all.Go(func() {
					soon, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
					defer cancel()
					if _, err := b.Get(soon, "v0/p/old", 0, 4); c.took > 0 && (!errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 100*time.Millisecond) {
						t.Errorf("interrupted: %v after %v", err, time.Since(began))
					}
				})
				all.Wait()
			})
		})
	}
}
