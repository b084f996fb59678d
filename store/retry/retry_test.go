package retry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
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
			wg.Go(func() { b.Get(ctx, "v0/p/old", 0, 16<<20) })
		}
		time.Sleep(16*time.Second - 1) // 8 s, and what half a MiB takes on a slow line
		if err := b.Offline(); err != nil {
			t.Errorf("too early: %v", err)
		}
		time.Sleep(time.Nanosecond)
		if b.Offline() == nil {
			t.Error("three calls hang, and the store is on line")
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

// A store that hangs holds nobody for longer than the bytes explain, and readers only
// until it counts as off line.
func TestHangsEnd(t *testing.T) {
	for _, c := range []struct {
		name        string
		call        func(context.Context, store.Bucket) error
		least, most time.Duration
	}{
		{"get of 64 KiB", func(ctx context.Context, b store.Bucket) error {
			_, err := b.Get(ctx, "v0/p/old", 0, 64<<10)
			return err
		}, 9 * time.Second, 9 * time.Second},
		{"the last 16 KiB", func(ctx context.Context, b store.Bucket) error {
			_, err := b.Get(ctx, "v0/p/old", -16<<10, -1)
			return err
		}, 8250 * time.Millisecond, 8250 * time.Millisecond},
		{"list", calls["list"], 8 * time.Second, 8 * time.Second},
		{"put of a raced name", calls["put of a raced name"], 30 * time.Second, 30 * time.Second},
		{"put of 4 MiB", func(ctx context.Context, b store.Bucket) error {
			return b.PutIfAbsent(ctx, "v0/p/new", make([]byte, 4<<20))
		}, 30*time.Second + 2048*time.Second, 30*time.Second + 2048*time.Second},
		{"delete", calls["delete"], 30 * time.Second, 70 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, b := world(retry.Options{}, always(fault.Hang)...)
				began := time.Now()
				err := c.call(t.Context(), b)
				if took := time.Since(began); !errors.Is(err, store.ErrUnavailable) || took < c.least || took > c.most {
					t.Errorf("%v after %v", err, took)
				}
				var out *retry.Outage
				if err := b.Offline(); !errors.As(err, &out) || !out.Since.Equal(began) {
					t.Errorf("off line since the call that hung: %v", err)
				}
			})
		})
	}
}

// While the store hangs one reader asks now and then whether it is back; the
// others are told at once that it is not.
func TestReadersAreNotHeldByAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, b := world(retry.Options{}, always(fault.Hang)...)
		get := func() (took time.Duration, err error) {
			began := time.Now()
			_, err = b.Get(t.Context(), "v0/p/old", 0, 4)
			return time.Since(began), err
		}
		if took, err := get(); !errors.Is(err, store.ErrUnavailable) || took < 8*time.Second || took > 9*time.Second {
			t.Fatalf("%v after %v", err, took)
		}
		if took, err := get(); !errors.Is(err, store.ErrUnavailable) || took < 3*time.Second || took > 4*time.Second {
			t.Errorf("who asks first: %v after %v", err, took)
		}
		for range 100 {
			if took, err := get(); !errors.Is(err, store.ErrUnavailable) || took != 0 {
				t.Fatalf("who comes after: %v after %v", err, took)
			}
		}
		if n := total(f); n != 2 {
			t.Errorf("%d requests", n)
		}
		f.Clear()
		if took, err := get(); err == nil || took != 0 {
			t.Errorf("in the same second: %v after %v", err, took)
		}
		time.Sleep(time.Second)
		if took, err := get(); err != nil || took != 0 || b.Offline() != nil {
			t.Errorf("back: %v after %v, %v", err, took, b.Offline())
		}
	})
}

// The log has a line when the store goes off line and one when it is back,
// however many calls fail between.
func TestLogIsQuiet(t *testing.T) {
	for name, do := range map[string]fault.Action{"refused": fault.Fail(store.ErrUnavailable), "hangs": fault.Hang} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				f, b := world(retry.Options{Log: slog.New(slog.NewTextHandler(&log, nil))}, always(do)...)
				until := time.Now().Add(10 * time.Minute)
				for time.Now().Before(until) {
					for _, call := range calls {
						call(t.Context(), b)
						time.Sleep(100 * time.Millisecond)
					}
				}
				f.Clear()
				time.Sleep(time.Second)
				if _, err := b.List(t.Context(), "v0/", "", 0); err != nil {
					t.Error(err)
				}
				if s := log.String(); strings.Count(s, "\n") != 2 || !strings.Contains(s, "is off line") || !strings.Contains(s, "answers again") {
					t.Errorf("log:\n%s", s)
				}
			})
		})
	}
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
