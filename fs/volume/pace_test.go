package volume

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
)

// A machine that has a backlog of fifty commits lets another in between them, and shows
// what that one made before it is done.
func TestBacklogLetsOthersIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		// The other is farther from the store.
		near, far := fault.Wrap(w.objects, far(20*time.Millisecond)...), fault.Wrap(w.objects, far(25*time.Millisecond)...)
		desk := w.machine("desk")
		w.laptop.bucket, desk.bucket = near, far
		as(w.laptop, mkdir("d"), drained)
		as(desk, write("desk", "0"), drained)
		as(w.laptop, write("laptop", "0"), drained)
		const backlog = 50
		value := strings.Repeat("x", 60<<10)
		for i := range backlog * 9 { // of which 9 fill a commit
			name := fmt.Sprintf("d/%d", i)
			as(w.laptop, write(name, ""), func(m *machine) error {
				_, _, a, err := m.find(name)
				if err != nil {
					return err
				}
				return m.v.SetXattr(t.Context(), a.Ref, []byte("user.x"), []byte(value), 0)
			})
		}
		time.Sleep(10 * time.Second) // that neither takes the other for a rival
		w.laptop.run()
		defer w.laptop.halt()
		desk.run()
		defer desk.halt()
		for w.laptop.v.view.Slot() < 10 {
			time.Sleep(time.Millisecond)
		}
		before := w.laptop.v.view.Slot()
		as(desk, write("desk", "1"))
		if err := desk.v.WaitStored(t.Context()); err != nil {
			t.Fatal(err)
		}
		if after := desk.v.view.Slot(); after-before > 15 {
			t.Errorf("it got in after %d commits", after-before)
		}
		for read("desk", "1")(w.laptop) != nil {
			time.Sleep(time.Millisecond)
			if w.laptop.v.Status().PendingOps == 0 {
				t.Fatal("what the other made is shown when the backlog is done")
			}
		}
		if err := w.laptop.v.WaitStored(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(w.names("l")); n < backlog {
			t.Fatalf("%d commits in all", n)
		}
	})
}

// far has each request take a while.
func far(way time.Duration) (r []fault.Rule) {
	for _, op := range []fault.Op{fault.Get, fault.Put, fault.List} {
		r = append(r, fault.On(op, 0, fault.Slow(way)))
	}
	return r
}

// belated does what was asked after a while.
func belated(d time.Duration) fault.Action {
	return func(ctx context.Context, r fault.Request) fault.Answer {
		select {
		case <-time.After(d):
			return r.Do(ctx)
		case <-ctx.Done():
			return fault.Answer{Err: ctx.Err()}
		}
	}
}

// A machine whose packs are on their way for long shows what others do meanwhile, and
// what it writes itself is not sent twice for it.
func TestFollowsWhilePacksAreSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		as(w.laptop, mkdir("d"), drained)
		desk := w.machine("desk")
		as(desk, write("desk", "0"), drained)
		slow := fault.Wrap(w.objects)
		slow.Add(fault.On(fault.Put, 0, fault.Slow(2*time.Minute)).Prefix(chain.PackPrefix(w.vol)))
		w.laptop.bucket = slow
		w.laptop.crash()
		as(w.laptop, read("desk", "0"))
		for i := range 3 {
			as(w.laptop, write(fmt.Sprintf("d/%d", i), strings.Repeat(big, 8)))
		}
		w.laptop.run()
		defer w.laptop.halt()
		end := w.laptop.using(t, time.Second)
		defer end()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		for i := range 5 {
			as(desk, write("desk", fmt.Sprint(i)), drained)
			time.Sleep(pollBound)
			synctest.Wait()
			as(w.laptop, read("desk", fmt.Sprint(i)))
		}
		if s := w.laptop.v.Status(); s.PendingOps == 0 {
			t.Fatal("it was sent before others were followed")
		}
		if err := w.laptop.v.WaitStored(t.Context()); err != nil {
			t.Fatal(err)
		}
		seen := map[string]int{}
		for _, c := range slow.Log() {
			if c.Op == fault.Put && strings.HasPrefix(c.Name, chain.PackPrefix(w.vol)) {
				seen[c.Name]++
			}
		}
		for n, times := range seen {
			if times > 1 {
				t.Errorf("%s was sent %d times", n, times)
			}
		}
		if len(seen) == 0 {
			t.Fatal("no packs were sent")
		}
		end()
		as(w.machine("late"), read("desk", "4"), read("d/2", strings.Repeat(big, 8)))
	})
}

// Packs that went to a store that was without what it had, while they were on their way,
// are sent again.
func TestPacksSentToAStoreThatWasSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		as(w.laptop, mkdir("d"), drained)
		other := w.objects.Clone()
		as(w.laptop, write("d/a", "1"), drained)
		b := &either{one: w.objects, other: other}
		slow := fault.Wrap(b, fault.On(fault.Put, 0, belated(time.Minute)).Prefix(chain.PackPrefix(w.vol)))
		w.laptop.bucket = slow
		w.laptop.crash()
		as(w.laptop, write("d/b", strings.Repeat(big, 8)))
		w.laptop.run()
		defer w.laptop.halt()
		time.Sleep(10 * time.Second) // they are on their way
		b.swapped.Store(true)
		w.laptop.v.Resumed() // the follower finds out
		time.Sleep(55 * time.Second)
		if s := w.laptop.v.Status(); !strings.Contains(s.Stopped, "missing commits") {
			t.Fatalf("status says %q", s.Stopped)
		}
		b.swapped.Store(false)
		time.Sleep(10 * time.Minute)
		if err := w.laptop.v.WaitStored(t.Context()); err != nil {
			t.Fatal(err)
		}
		as(w.machine("late"), read("d/b", strings.Repeat(big, 8)))
	})
}

// Packs are sent, and the store is set back to before these, where the newest slot is what it
// was: they are sent again before their commit is.
func TestPacksAreGoneBeforeTheirCommit(t *testing.T) {
	content := strings.Repeat(big, 8)
	start := func(t *testing.T) (w *world, b *either) {
		w = newWorld(t)
		as(w.laptop, write("a", "1"), drained)
		w.laptop.crash()
		return w, &either{one: w.objects, other: w.objects.Clone()}
	}
	end := func(w *world, b *either) {
		if err := w.laptop.v.WaitStored(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
		late := w.machine("late")
		late.bucket = b
		as(late, read("b", content))
	}
	t.Run("it is on its way", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, b := start(t)
			line := fault.Wrap(b, fault.On(fault.Put, 0, fault.Fail(store.ErrUnavailable)).Prefix(strings.TrimSuffix(chain.SlotPrefix(w.vol), "/")))
			w.laptop.bucket = line
			as(w.laptop, write("b", content))
			w.laptop.run()
			defer w.laptop.halt()
			time.Sleep(time.Minute)
			if packs := len(w.names("p")); packs < 2 {
				t.Fatalf("%d packs are sent", packs)
			}
			b.swapped.Store(true)
			line.Clear()
			end(w, b)
		})
	})
	t.Run("it is not made yet", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, b := start(t)
			line := fault.Wrap(b)
			w.laptop.bucket = line
			w.laptop.step = func(name string) {
				if name == "sync.build" && !b.swapped.Load() {
					time.Sleep(time.Minute)
					b.swapped.Store(true)
					line.Add(fault.On(fault.Put, 1, fault.Fail(store.ErrUnavailable)).Prefix(strings.TrimSuffix(chain.PackPrefix(w.vol), "/"))) // and again it takes two
				}
			}
			as(w.laptop, write("b", content))
			w.laptop.run()
			defer w.laptop.halt()
			end(w, b)
			if !b.swapped.Load() {
				t.Error("the store was not set back")
			}
		})
	})
}

// either is one of two stores, which one changes while it is used.
type either struct {
	one, other store.Bucket
	swapped    atomic.Bool
}

func (b *either) now() store.Bucket {
	if b.swapped.Load() {
		return b.other
	}
	return b.one
}

func (b *either) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	return b.now().PutIfAbsent(ctx, name, data)
}

func (b *either) Get(ctx context.Context, name string, off, length int64) ([]byte, error) {
	return b.now().Get(ctx, name, off, length)
}

func (b *either) List(ctx context.Context, prefix, after string, max int) ([]store.Info, error) {
	return b.now().List(ctx, prefix, after, max)
}

func (b *either) Delete(ctx context.Context, name string) error { return b.now().Delete(ctx, name) }

// What happens while packs are on their way, without who publishes: the epoch turns, the
// machine is removed, files are changed elsewhere or here, the mount ends. What waited is
// in the store once, under the key of the day, or waits still.
func TestWhilePacksAreSent(t *testing.T) {
	content := strings.Repeat(big, 8)
	sent := func(t *testing.T, w *world) {
		if err := w.laptop.v.WaitStored(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		do   func(t *testing.T, w *world, desk *machine)
	}{
		{"the epoch turns", func(t *testing.T, w *world, desk *machine) {
			as(desk, remove(3))
			before := desk.v.view.Slot()
			time.Sleep(pollBound)
			sent(t, w)
			if n := w.packsUnder(2, chain.Slot(before)); n == 0 {
				t.Error("no pack was published")
			}
			w.headersOnce()
			as(w.machine("late"), read("d/0", content), read("d/2", content))
		}},
		{"this machine is removed", func(t *testing.T, w *world, desk *machine) {
			as(desk, remove(1))
			if err := w.laptop.v.WaitStored(t.Context()); !errors.Is(err, publish.ErrRemoved) {
				t.Errorf("it waits: %v", err)
			}
			as(w.laptop, read("d/2", content))
			as(w.machine("late"), refuses(read("d/0", content), meta.ErrNotExist))
		}},
		{"a file is removed here", func(t *testing.T, w *world, desk *machine) {
			as(w.laptop, unlink("d/0"), write("d/1", "short"))
			sent(t, w)
			as(w.machine("late"), refuses(read("d/0", content), meta.ErrNotExist), read("d/1", "short"), read("d/2", content))
		}},
		{"the folder is renamed elsewhere", func(t *testing.T, w *world, desk *machine) {
			as(desk, rename("d", "e"), drained)
			sent(t, w)
			as(w.machine("late"), read("e/0", content), read("e/2", content))
		}},
		{"the mount ends, and comes back", func(t *testing.T, w *world, desk *machine) {
			if err := w.laptop.shut(time.Second); !errors.Is(err, ErrUndrained) {
				t.Errorf("shut: %v", err)
			}
			w.laptop.bucket = w.objects
			as(desk, remove(3))
			as(w.laptop, read("d/1", content), drained)
			as(w.machine("late"), read("d/0", content), read("d/2", content))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				as(w.laptop, mkdir("d"), drained)
				desk, third := w.machine("desk"), w.machine("third")
				as(desk, write("desk", "0"), drained)
				as(third, write("third", "0"), drained, lock)
				slow := fault.Wrap(w.objects, fault.On(fault.Put, 0, fault.Slow(2*time.Minute)).Prefix(chain.PackPrefix(w.vol)))
				w.laptop.bucket = slow
				w.laptop.crash()
				as(w.laptop, read("desk", "0"))
				for i := range 3 {
					as(w.laptop, write(fmt.Sprintf("d/%d", i), content))
				}
				w.laptop.run()
				defer w.laptop.halt()
				time.Sleep(10 * time.Second)
				synctest.Wait()
				if s := w.laptop.v.Status(); s.PendingOps == 0 {
					t.Fatal("nothing is on its way")
				}
				c.do(t, w, desk)
			})
		})
	}
}
