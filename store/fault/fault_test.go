package fault_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
	"github.com/hushfs/hushfs/store/mem"
	"github.com/hushfs/hushfs/store/storetest"
)

func TestConformance(t *testing.T) {
	t.Run("no rules", func(t *testing.T) {
		storetest.Run(t, func(*testing.T) store.Bucket { return fault.Wrap(mem.New()) })
	})
	t.Run("rules that never fire", func(t *testing.T) {
		storetest.Run(t, func(*testing.T) store.Bucket {
			return fault.Wrap(mem.New(),
				fault.On(fault.Put, 1<<40, fault.Missing),
				fault.On(fault.Get, 0, fault.Missing).Prefix("no such prefix"),
				fault.On(fault.List, 0, fault.Pass))
		})
	})
}

var errTest = errors.New("test")

// world is a store with two objects, and rules around it.
func world(t *testing.T, rules ...fault.Rule) (inner *mem.Bucket, b *fault.Bucket) {
	t.Helper()
	inner = mem.New()
	inner.Overwrite("v0/a", []byte("aaaa"))
	inner.Overwrite("v0/b", []byte("bb"))
	return inner, fault.Wrap(inner, rules...)
}

func read(t *testing.T, b store.Bucket, name string) string {
	t.Helper()
	data, err := b.Get(t.Context(), name, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestWhichCallFires(t *testing.T) {
	for _, c := range []struct {
		fact string
		rule fault.Rule
		want string // of six gets, alternating between two names: x failed
	}{
		{"every call", fault.On(fault.Get, 0, fault.Fail(errTest)), "xxxxxx"},
		{"the first", fault.On(fault.Get, 1, fault.Fail(errTest)), "x....."},
		{"the third", fault.On(fault.Get, 3, fault.Fail(errTest)), "..x..."},
		{"from the third onwards", fault.On(fault.Get, 3, fault.Fail(errTest)).Onwards(), "..xxxx"},
		{"every call with a prefix", fault.On(fault.Get, 0, fault.Fail(errTest)).Prefix("v0/b"), ".x.x.x"},
		{"the second with a prefix", fault.On(fault.Get, 2, fault.Fail(errTest)).Prefix("v0/b"), "...x.."},
		{"another operation", fault.On(fault.Put, 0, fault.Fail(errTest)), "......"},
		{"every second", fault.On(fault.Get, 2, fault.Fail(errTest)).Each(2), ".x.x.x"},
		{"every third from the first on", fault.On(fault.Get, 1, fault.Fail(errTest)).Each(3), "x..x.."},
		{"the seventh", fault.On(fault.Get, 7, fault.Fail(errTest)), "......"},
	} {
		_, b := world(t, c.rule)
		got := ""
		for i := range 6 {
			_, err := b.Get(t.Context(), []string{"v0/a", "v0/b"}[i%2], 0, -1)
			if errors.Is(err, errTest) {
				got += "x"
			} else {
				got += "."
			}
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.fact, got, c.want)
		}
	}
}

func TestRulesWhileRunning(t *testing.T) {
	_, b := world(t)
	get := func() error { _, err := b.Get(t.Context(), "v0/a", 0, -1); return err }
	if err := get(); err != nil {
		t.Fatal(err)
	}
	b.Add(fault.On(fault.Get, 2, fault.Fail(errTest)), fault.On(fault.Get, 0, fault.Fail(store.ErrDenied)))
	if err := get(); !errors.Is(err, store.ErrDenied) {
		t.Errorf("first call after Add: %v", err)
	}
	if err := get(); !errors.Is(err, errTest) {
		t.Errorf("second call after Add: %v, want that of the first rule that fires", err)
	}
	b.Clear()
	if err := get(); err != nil {
		t.Errorf("after Clear: %v", err)
	}
}

func TestPutActions(t *testing.T) {
	for _, c := range []struct {
		fact string
		do   fault.Action
		err  error
		want string // what then lies under the name; "-" for nothing
	}{
		{"pass", fault.Pass, nil, "data"},
		{"fail", fault.Fail(store.ErrFull), store.ErrFull, "-"},
		{"lost answer", fault.LostAnswer, store.ErrUnavailable, "data"},
		{"late", fault.Late, store.ErrUnavailable, "-"},
		{"twice", fault.Twice, store.ErrExist, "data"},
		{"missing", fault.Missing, nil, "-"},
		{"flip the first bit", fault.FlipBit(0), nil, "eata"},
		{"flip the last bit", fault.FlipBit(-1), nil, "dat\xe1"},
		{"flip a bit behind the end", fault.FlipBit(4*8 + 1), nil, "fata"},
		{"truncate to 1", fault.Truncate(1), nil, "d"},
		{"truncate by 1", fault.Truncate(-1), nil, "dat"},
		{"truncate by more than there is", fault.Truncate(-5), nil, ""},
		{"truncate to more than there is", fault.Truncate(5), nil, "data"},
		{"swap", fault.Swap("v0/other"), nil, "-"},
		{"stale", fault.Stale(1), nil, "data"},
		{"reset", fault.Reset, store.ErrUnavailable, "-"},
		{"500", fault.ServerError, store.ErrUnavailable, "-"},
		{"503", fault.SlowDown, store.ErrUnavailable, "-"},
		{"403", fault.Forbidden, store.ErrDenied, "-"},
		{"404", fault.NoBucket, store.ErrUnavailable, "-"},
		{"412", fault.Taken, store.ErrExist, "-"},
		{"507", fault.Full, store.ErrFull, "-"},
		{"partial", fault.Partial, store.ErrUnavailable, "da"},
		{"duplicate", fault.Duplicate, nil, "data"},
		{"backwards", fault.Backwards, nil, "data"},
	} {
		inner, b := world(t, fault.On(fault.Put, 0, c.do))
		data := []byte("data")
		if err := b.PutIfAbsent(t.Context(), "v0/new", data); !errors.Is(err, c.err) {
			t.Errorf("%s: error %v, want %v", c.fact, err, c.err)
		}
		got := "-"
		if slices.Contains(inner.Names(), "v0/new") {
			got = read(t, inner, "v0/new")
		}
		if got != c.want {
			t.Errorf("%s: store holds %q, want %q", c.fact, got, c.want)
		}
		if string(data) != "data" {
			t.Errorf("%s: the caller's slice became %q", c.fact, data)
		}
	}
}

func TestGetActions(t *testing.T) {
	for _, c := range []struct {
		fact string
		do   fault.Action
		err  error
		want string
	}{
		{"pass", fault.Pass, nil, "aaaa"},
		{"lost answer", fault.LostAnswer, store.ErrUnavailable, ""},
		{"twice", fault.Twice, nil, "aaaa"},
		{"missing", fault.Missing, store.ErrNotExist, ""},
		{"flip", fault.FlipBit(9), nil, "acaa"},
		{"truncate", fault.Truncate(-1), nil, "aaa"},
		{"swap", fault.Swap("v0/b"), nil, "bb"},
		{"swap with nothing", fault.Swap("v0/none"), store.ErrNotExist, ""},
		{"stale", fault.Stale(1), nil, "aaaa"},
		{"reset", fault.Reset, store.ErrUnavailable, ""},
		{"500", fault.ServerError, store.ErrUnavailable, ""},
		{"503", fault.SlowDown, store.ErrUnavailable, ""},
		{"403", fault.Forbidden, store.ErrDenied, ""},
		{"404", fault.NoBucket, store.ErrUnavailable, ""},
		{"partial", fault.Partial, store.ErrUnavailable, ""},
		{"duplicate", fault.Duplicate, nil, "aaaa"},
		{"backwards", fault.Backwards, nil, "aaaa"},
	} {
		inner, b := world(t, fault.On(fault.Get, 0, c.do))
		got, err := b.Get(t.Context(), "v0/a", 0, -1)
		if !errors.Is(err, c.err) || string(got) != c.want {
			t.Errorf("%s: got %q, %v; want %q, %v", c.fact, got, err, c.want, c.err)
		}
		if now := read(t, inner, "v0/a"); now != "aaaa" {
			t.Errorf("%s: the object became %q", c.fact, now)
		}
	}
}

func TestListAndDeleteActions(t *testing.T) {
	_, b := world(t, fault.On(fault.List, 1, fault.Missing), fault.On(fault.List, 2, fault.Truncate(1)),
		fault.On(fault.List, 3, fault.Swap("v0/b")), fault.On(fault.List, 4, fault.FlipBit(3)),
		fault.On(fault.List, 6, fault.Duplicate), fault.On(fault.List, 7, fault.Backwards),
		fault.On(fault.List, 8, fault.Without(1)), fault.On(fault.List, 9, fault.Without(3)),
		fault.On(fault.Delete, 1, fault.Missing), fault.On(fault.Delete, 2, fault.LostAnswer))
	want := [][]string{nil, {"v0/a"}, {"v0/b"}, {"v0/a", "v0/b"}, {"v0/a", "v0/b"},
		{"v0/a", "v0/a", "v0/b", "v0/b"}, {"v0/b", "v0/a"}, {"v0/b"}, nil}
	for i := range want {
		infos, err := b.List(t.Context(), "v0/", "", 0)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, i := range infos {
			got = append(got, i.Name)
		}
		if !slices.Equal(got, want[i]) {
			t.Errorf("list %d: got %q, want %q", i+1, got, want[i])
		}
	}
	if err := b.Delete(t.Context(), "v0/a"); err != nil || read(t, b, "v0/a") != "aaaa" {
		t.Errorf("a delete that does not happen: %v", err)
	}
	err := b.Delete(t.Context(), "v0/a")
	if _, gerr := b.Get(t.Context(), "v0/a", 0, -1); !errors.Is(err, store.ErrUnavailable) || !errors.Is(gerr, store.ErrNotExist) {
		t.Errorf("a delete whose answer is lost: %v, then get: %v", err, gerr)
	}
}

func TestStaleList(t *testing.T) {
	_, b := world(t, fault.On(fault.Put, 3, fault.Fail(store.ErrFull)), fault.On(fault.List, 0, fault.Stale(2)))
	list := func(after string, limit int) string {
		t.Helper()
		infos, err := b.List(t.Context(), "v0/", after, limit)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, i := range infos {
			got += i.Name[len("v0/"):]
		}
		return got
	}
	for i, c := range []struct{ put, all, first, behindA string }{
		{"", "ab", "a", "b"}, // nothing came through the bucket
		{"c", "ab", "a", "b"},
		{"_", "ab", "a", "b"}, // '_' comes before the letters
		{"d", "ab", "a", "b"}, // which fails, and does not count
		{"e", "abc", "a", "b"},
		{"f", "_abc", "_", "b"},
	} {
		if c.put != "" {
			if err := b.PutIfAbsent(t.Context(), "v0/"+c.put, nil); (err != nil) != (c.put == "d") {
				t.Fatal(err)
			}
		}
		if all, first, behindA := list("", 0), list("", 1), list("v0/a", 1); all != c.all || first != c.first || behindA != c.behindA {
			t.Errorf("%d: all %q, first %q, first behind a %q; want %+v", i, all, first, behindA, c)
		}
	}
}

func TestLateRequestArrivesAfterAnotherWon(t *testing.T) {
	inner, b := world(t, fault.On(fault.Put, 1, fault.Late))
	data := []byte("first")
	if err := b.PutIfAbsent(t.Context(), "v0/new", data); !errors.Is(err, store.ErrUnavailable) {
		t.Fatal(err)
	}
	clear(data)
	if err := b.PutIfAbsent(t.Context(), "v0/new", []byte("second")); err != nil {
		t.Fatal(err)
	}
	calls := b.Deliver(t.Context())
	if len(calls) != 1 || calls[0].Name != "v0/new" || calls[0].Size != 5 || !errors.Is(calls[0].Err, store.ErrExist) {
		t.Errorf("delivered %+v", calls)
	}
	if got := read(t, inner, "v0/new"); got != "second" {
		t.Errorf("store holds %q", got)
	}
	if calls := b.Deliver(t.Context()); len(calls) != 0 {
		t.Errorf("delivered again: %+v", calls)
	}
}

func TestLateRequestArrivesFirst(t *testing.T) {
	_, b := world(t, fault.On(fault.Put, 1, fault.Late))
	data := []byte("first")
	b.PutIfAbsent(t.Context(), "v0/new", data)
	clear(data) // the bucket must not have kept it
	b.Deliver(t.Context())
	if err := b.PutIfAbsent(t.Context(), "v0/new", nil); !errors.Is(err, store.ErrExist) {
		t.Error(err)
	}
	if got := read(t, b, "v0/new"); got != "first" {
		t.Errorf("store holds %q", got)
	}
}

func TestHangEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, b := world(t, fault.On(fault.Put, 0, fault.Hang))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.PutIfAbsent(ctx, "v0/new", nil) }()
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("did not hang: %v", err)
		default:
		}
		if b.Counts()[fault.Put] != 1 || len(b.Log()) != 0 {
			t.Errorf("while it hangs: counts %v, log %v", b.Counts(), b.Log())
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if slices.Contains(inner.Names(), "v0/new") {
			t.Error("it was done")
		}
	})
}

func TestDelayWaitsForItsGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		_, b := world(t, fault.On(fault.Get, 0, fault.Delay(gate)))
		got := make(chan string, 1)
		go func() { got <- read(t, b, "v0/a") }()
		gone, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() { _, err := b.Get(gone, "v0/a", 0, -1); failed <- err }()
		synctest.Wait()
		if len(b.Log()) != 0 {
			t.Errorf("before the gate opened: %v", b.Log())
		}
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		close(gate)
		if g := <-got; g != "aaaa" {
			t.Errorf("got %q", g)
		}
	})
}

func TestLog(t *testing.T) {
	_, b := world(t, fault.On(fault.Get, 2, fault.Fail(errTest)))
	ctx := t.Context()
	b.PutIfAbsent(ctx, "v0/new", []byte("data"))
	b.PutIfAbsent(ctx, "v0/new", []byte("da"))
	b.Get(ctx, "v0/a", 1, 2)
	b.Get(ctx, "v0/a", 0, -1)
	b.List(ctx, "v0/", "", 2)
	b.Delete(ctx, "v0/b")
	want := []string{
		"put v0/new 4 <nil>", "put v0/new 2 put v0/new: object exists already",
		"get v0/a 2 <nil>", "get v0/a 0 test", "list v0/ 2 <nil>", "delete v0/b 0 <nil>",
	}
	var got []string
	for _, c := range b.Log() {
		got = append(got, fmt.Sprint(c.Op, " ", c.Name, " ", c.Size, " ", c.Err))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if c := b.Counts(); c[fault.Put] != 2 || c[fault.Get] != 2 || c[fault.List] != 1 || c[fault.Delete] != 1 {
		t.Errorf("counts %v", c)
	}
}

// Many callers while rules come and go: for the race detector, and no call is
// lost or counted twice.
func TestConcurrentUse(t *testing.T) {
	_, b := world(t)
	const callers, calls = 8, 50
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for j := range calls {
				switch j % 4 {
				case 0:
					b.Add(fault.On(fault.Put, 1, fault.Late), fault.On(fault.Get, 0, fault.FlipBit(j)))
				case 1:
					b.Clear()
				case 2:
					b.Deliver(t.Context())
				}
				b.PutIfAbsent(t.Context(), fmt.Sprintf("v0/c/%d/%d", i, j), []byte("data"))
				b.Get(t.Context(), "v0/a", 0, -1)
				b.Log()
				b.Counts()
			}
		})
	}
	wg.Wait()
	if c := b.Counts(); c[fault.Put] != callers*calls || c[fault.Get] != callers*calls || len(b.Log()) != 2*callers*calls {
		t.Errorf("counts %v, %d lines in the log", c, len(b.Log()))
	}
}

func TestSlowTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, b := world(t, fault.On(fault.Put, 0, fault.Slow(time.Minute)), fault.On(fault.Get, 0, fault.Slow(time.Minute)))
		began := time.Now()
		if got := read(t, b, "v0/a"); got != "aaaa" || time.Since(began) != time.Minute {
			t.Errorf("%q after %v", got, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.PutIfAbsent(ctx, "v0/new", []byte("data")); !errors.Is(err, context.DeadlineExceeded) || read(t, inner, "v0/new") != "data" {
			t.Error(err)
		}
	})
}
