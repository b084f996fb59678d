package retry_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
	"github.com/hushfs/hushfs/store/mem"
	"github.com/hushfs/hushfs/store/retry"
	"github.com/hushfs/hushfs/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Bucket {
		return retry.Wrap(mem.New(), retry.Options{Once: retry.Prefixes("v0/l/")})
	})
}

// The calls of a store, each on an object that is there or may be made.
var calls = map[string]func(context.Context, store.Bucket) error{
	"put": func(ctx context.Context, b store.Bucket) error { return b.PutIfAbsent(ctx, "v0/p/new", nil) },
	"put of a raced name": func(ctx context.Context, b store.Bucket) error {
		return b.PutIfAbsent(ctx, "v0/l/new", nil)
	},
	"get":    func(ctx context.Context, b store.Bucket) error { _, err := b.Get(ctx, "v0/p/old", 0, -1); return err },
	"list":   func(ctx context.Context, b store.Bucket) error { _, err := b.List(ctx, "v0/", "", 0); return err },
	"delete": func(ctx context.Context, b store.Bucket) error { return b.Delete(ctx, "v0/p/old") },
}

func world(o retry.Options, rules ...fault.Rule) (*fault.Bucket, *retry.Bucket) {
	m := mem.New()
	m.Overwrite("v0/p/old", []byte("data"))
	f := fault.Wrap(m, rules...)
	if o.Once == nil {
		o.Once = retry.Prefixes("v0/l/")
	}
	return f, retry.Wrap(f, o)
}

// always lets every operation fail.
func always(do fault.Action) []fault.Rule {
	return []fault.Rule{fault.On(fault.Put, 0, do), fault.On(fault.Get, 0, do), fault.On(fault.List, 0, do), fault.On(fault.Delete, 0, do)}
}

func total(f *fault.Bucket) (n int) {
	for _, c := range f.Counts() {
		n += c
	}
	return n
}

func TestFailuresAreMended(t *testing.T) {
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fail := fault.Fail(fmt.Errorf("here: %w", store.ErrUnavailable))
				var rules []fault.Rule
				for _, op := range []fault.Op{fault.Put, fault.Get, fault.List, fault.Delete} {
					rules = append(rules, fault.On(op, 1, fail), fault.On(op, 2, fail))
				}
				f, b := world(retry.Options{}, rules...)
				began := time.Now()
				err := call(t.Context(), b)
				if name == "put of a raced name" {
					if !errors.Is(err, store.ErrUnavailable) || total(f) != 1 || time.Since(began) != 0 {
						t.Errorf("%v after %d tries, %v", err, total(f), time.Since(began))
					}
					return
				}
				if took := time.Since(began); err != nil || total(f) != 3 || took < 150*time.Millisecond || took > 450*time.Millisecond+time.Microsecond {
					t.Errorf("%v after %d tries, %v", err, total(f), took)
				}
			})
		})
	}
}

func TestAnswersAreFinal(t *testing.T) {
	for _, want := range []error{store.ErrNotExist, store.ErrExist, store.ErrDenied, store.ErrFull, store.ErrName, store.ErrRange,
		store.ErrTooLarge, errors.New("another")} {
		for name, call := range calls {
			f, b := world(retry.Options{}, always(fault.Fail(want))...)
			if err := call(t.Context(), b); !errors.Is(err, want) || total(f) != 1 {
				t.Errorf("%s: %v after %d tries", name, err, total(f))
			}
			if err := b.Offline(); err != nil {
				t.Errorf("%s: an answer, and yet %v", name, err)
			}
		}
	}
}

func TestLostAnswerOfAHashedName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, b := world(retry.Options{}, fault.On(fault.Put, 1, fault.LostAnswer))
		if err := b.PutIfAbsent(t.Context(), "v0/p/new", []byte("x")); !errors.Is(err, store.ErrExist) {
			t.Error(err)
		}
		if got, err := f.Get(t.Context(), "v0/p/new", 0, -1); err != nil || string(got) != "x" {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, b := world(retry.Options{Budget: 20 * time.Second}, always(fault.Fail(store.ErrUnavailable))...)
		began := time.Now()
		err := b.PutIfAbsent(t.Context(), "v0/p/new", nil)
		took := time.Since(began)
		// 0.1+0.2+0.4+0.8+1.6+3.2 = 6.3, then 5 each, give or take a half.
		if !errors.Is(err, store.ErrUnavailable) || took > 20*time.Second || took < 12*time.Second || total(f) < 7 || total(f) > 14 {
			t.Errorf("%v after %d tries, %v", err, total(f), took)
		}
	})
}

func TestContextEndsAWait(t *testing.T) {
	for _, do := range []fault.Action{fault.Fail(store.ErrUnavailable), fault.Hang} {
		for name, call := range calls {
			if name == "put of a raced name" {
				continue
			}
			synctest.Test(t, func(t *testing.T) {
				_, b := world(retry.Options{}, always(do)...)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				began := time.Now()
				if err := call(ctx, b); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
					t.Errorf("%s: %v after %v", name, err, time.Since(began))
				}
			})
		}
	}
}

func TestOfflineWithinSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, b := world(retry.Options{}, always(fault.Fail(fmt.Errorf("%w: refused", store.ErrUnavailable)))...)
		var wg sync.WaitGroup
		wg.Go(func() { b.PutIfAbsent(t.Context(), "v0/p/new", nil) })
		began := time.Now()
		for b.Offline() == nil {
			time.Sleep(100 * time.Millisecond)
		}
		if d := time.Since(began); d < 3*time.Second || d > 6*time.Second {
			t.Errorf("off line after %v", d)
		}
		if err := b.Offline(); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "refused") {
			t.Errorf("the reason is lost: %v", err)
		}
		// Who reads is not kept waiting.
		began = time.Now()
		if _, err := b.Get(t.Context(), "v0/p/old", 0, -1); !errors.Is(err, store.ErrUnavailable) || time.Since(began) != 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		f.Clear()
		wg.Wait()
		if err := b.Offline(); err != nil {
			t.Errorf("after the put has succeeded: %v", err)
		}
	})
}

func TestSilenceIsOffline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, b := world(retry.Options{}, always(fault.Hang)...)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { b.Get(ctx, "v0/p/old", 0, -1) })
		}
		time.Sleep(15*time.Second - 1)
		if err := b.Offline(); err != nil {
			t.Errorf("too early: %v", err)
		}
		time.Sleep(time.Nanosecond)
		if b.Offline() == nil {
			t.Error("three calls hang for 15 s, and the store is on line")
		}
		f.Clear() // the calls that hang go on hanging
		if _, err := b.Get(ctx, "v0/p/old", 0, -1); err != nil || b.Offline() != nil {
			t.Errorf("another call was answered: %v, %v", err, b.Offline())
		}
		cancel()
		wg.Wait()
		time.Sleep(time.Hour)
		if err := b.Offline(); err != nil {
			t.Errorf("nothing was asked: %v", err)
		}
	})
}

// A caller that gives up says nothing about the store.
func TestCancelledIsNotOffline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, b := world(retry.Options{}, always(fault.Hang)...)
		for range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			b.Get(ctx, "v0/p/old", 0, -1)
			cancel()
		}
		if err := b.Offline(); err != nil {
			t.Error(err)
		}
	})
}

// Accidents that are far apart are not an outage, and each is mended.
func TestSingleFailuresAreNotOffline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, b := world(retry.Options{})
		for range 5 {
			f.Clear()
			f.Add(fault.On(fault.Put, 1, fault.Fail(store.ErrUnavailable)), fault.On(fault.Get, 1, fault.Fail(store.ErrUnavailable)))
			b.PutIfAbsent(t.Context(), "v0/l/new", nil) // fails, once
			time.Sleep(time.Hour)
			if err := b.Offline(); err != nil {
				t.Error(err)
			}
			if _, err := b.Get(t.Context(), "v0/p/old", 0, -1); err != nil {
				t.Error(err)
			}
		}
	})
}
