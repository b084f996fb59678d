package volume

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
)

// using is a program that looks at something again and again, answered by the daemon.
func (m *machine) using(t *testing.T, every time.Duration) (end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	v := m.v
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			v.Used()
			select {
			case <-ctx.Done():
				return
			case <-time.After(every):
			}
		}
	}()
	return func() { cancel(); <-ended }
}

// asked counts the requests for commits and their bytes since it was called last.
func (w *world) asked() (n int, bytes int64) {
	log := w.faults.Log()
	for _, c := range log[w.seen:] {
		if c.Op == fault.Get {
			n++
			bytes += c.Size
		}
	}
	w.seen = len(log)
	return n, bytes
}

func TestFollowsWhileInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		desk := w.machine("desktop")
		as(w.laptop, write("a", "0"), drained)
		desk.run()
		defer desk.halt()
		end := desk.using(t, 5*time.Second) // as the kernel asks when it knows the answers
		defer end()
		for i := range 20 {
			as(w.laptop, write("a", fmt.Sprint(i)), drained)
			time.Sleep(pollBound)
			synctest.Wait()
			as(desk, read("a", fmt.Sprint(i)))
			time.Sleep(time.Duration(i) * 317 * time.Millisecond)
		}
	})
}

// pollBound is how old what a machine in use shows may be.
const pollBound = 2*time.Second + 10*time.Millisecond

func TestReadOnlyMountFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		as(w.laptop, write("a", "0"), drained)
		desk := w.machine("desktop")
		desk.ro = true
		desk.run()
		defer desk.halt()
		end := desk.using(t, time.Second)
		defer end()
		as(w.laptop, write("a", "1"), drained)
		time.Sleep(pollBound)
		synctest.Wait()
		as(desk, read("a", "1"))
	})
}

func TestIdleMountAsksLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		as(w.laptop, write("a", "0"), drained)
		desk := w.machine("desktop")
		desk.run()
		defer desk.halt()
		time.Sleep(2 * time.Minute)
		w.asked()
		time.Sleep(10 * time.Minute)
		n, bytes := w.asked()
		if n < 9 || n > 11 || bytes > 64 { // one of them looks for the newest slot
			t.Errorf("%d requests, %d bytes in ten idle minutes", n, bytes)
		}
		as(w.laptop, write("a", "1"), drained)
		w.asked()
		time.Sleep(61 * time.Second)
		synctest.Wait()
		as(desk, read("a", "1"))
		// Who comes back to it is not answered from a minute ago for long.
		as(w.laptop, write("a", "2"), drained)
		time.Sleep(10 * time.Second)
		desk.v.Used()
		synctest.Wait()
		as(desk, read("a", "2"))
	})
}

func TestFollowerLeavesAnAwayStoreAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		as(w.laptop, write("a", "0"), drained)
		desk := w.machine("desktop")
		desk.run()
		defer desk.halt()
		end := desk.using(t, time.Second)
		defer end()
		w.faults.Add(fault.On(fault.Get, 0, fault.Fail(store.ErrUnavailable)))
		time.Sleep(time.Minute)
		w.asked()
		time.Sleep(10 * time.Minute)
		if n, _ := w.asked(); n < 50 || n > 61 {
			t.Errorf("%d requests in ten minutes without a store", n)
		}
		if s := desk.v.Status(); s.Offline == "" {
			t.Error("status says nothing of it")
		}
		w.faults.Clear()
		as(w.laptop, write("a", "1"), drained)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		as(desk, read("a", "1"))
		if s := desk.v.Status(); s.Offline != "" {
			t.Errorf("status: %s", s.Offline)
		}
	})
}

func TestResumedLooksAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		as(w.laptop, write("a", "0"), drained)
		desk := w.machine("desktop")
		desk.run()
		defer desk.halt()
		w.faults.Add(fault.On(fault.Get, 0, fault.Fail(store.ErrUnavailable)))
		time.Sleep(10 * time.Minute)
		w.faults.Clear()
		as(w.laptop, write("a", "1"), drained)
		desk.v.Resumed()
		synctest.Wait()
		as(desk, read("a", "1"))
	})
}

// teller is a store that tells of new objects.
type teller struct {
	store.Bucket

	mu      sync.Mutex // guards the fields below
	told    map[int]func(string)
	next    int
	stop    chan struct{} // closed when it ceases to
	watches int
}

func newTeller(b store.Bucket) *teller {
	return &teller{Bucket: b, told: map[int]func(string){}, stop: make(chan struct{})}
}

func (b *teller) Watch(ctx context.Context, prefix string, ready func(), told func(string)) error {
	b.mu.Lock()
	b.watches++
	no := b.next
	b.next++
	b.told[no] = told
	stop := b.stop
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.told, no)
	}()
	ready()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-stop:
		return store.ErrUnavailable
	}
}

func (b *teller) tell(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, told := range b.told {
		told(name)
	}
}

func (b *teller) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	err := b.Bucket.PutIfAbsent(ctx, name, data)
	if err == nil {
		b.tell(name)
	}
	return err
}

func TestStoreTellsOfCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := newTeller(w.faults)
		w.laptop.bucket = b
		as(w.laptop, write("a", "0"), drained)
		desk := w.machine("desktop")
		desk.bucket = b
		desk.run()
		defer desk.halt()
		time.Sleep(10 * time.Minute) // nobody uses it
		for i := range 5 {
			as(w.laptop, write("a", fmt.Sprint(i)), drained)
			synctest.Wait()
			as(desk, read("a", fmt.Sprint(i)))
			time.Sleep(time.Second)
		}
		// It ceases to tell: the follower asks.
		b.mu.Lock()
		close(b.stop)
		b.mu.Unlock()
		as(w.laptop, write("a", "late"), drained)
		time.Sleep(61 * time.Second)
		synctest.Wait()
		as(desk, read("a", "late"))
		b.mu.Lock()
		watches := b.watches
		b.mu.Unlock()
		if watches < 2 || watches > 70 {
			t.Errorf("it was asked %d times to tell", watches)
		}
	})
}

// A store that tells of what is not there, all the time, is not asked all the time.
func TestStoreThatTellsLies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := newTeller(w.faults)
		as(w.laptop, write("a", "0"), drained)
		desk := w.machine("desktop")
		desk.bucket = b
		desk.run()
		defer desk.halt()
		synctest.Wait()
		lie := w.names("l")[0]
		lie = lie[:len(lie)-16] + "0000000000000000"
		w.asked()
		for range 100_000 {
			b.tell(lie)
			b.tell("v0/no name of ours")
			time.Sleep(time.Millisecond)
		}
		if n, _ := w.asked(); n > 90 {
			t.Errorf("%d requests in 100 s", n)
		}
		as(w.laptop, write("a", "1"), drained)
		b.tell(lie)
		time.Sleep(pollBound)
		synctest.Wait()
		as(desk, read("a", "1"))
	})
}

// While a mount publishes it follows, and what it publishes costs no looks.
func TestOwnCommitsAreNotFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := newTeller(w.faults)
		w.laptop.bucket = b
		w.laptop.run()
		defer w.laptop.halt()
		as(w.laptop, write("a", "0"))
		if err := w.laptop.v.WaitStored(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		w.asked()
		for i := range 20 {
			as(w.laptop, write("a", fmt.Sprint(i)))
			if err := w.laptop.v.WaitStored(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		looks := 0
		for _, c := range w.faults.Log()[w.seen:] {
			if c.Op == fault.Get && c.Err != nil {
				looks++ // for a slot that is not there
			}
		}
		if looks > 1 {
			t.Errorf("%d looks during 20 commits", looks)
		}
	})
}

// Many commits are followed with as much memory as few, and all of them.
func TestFollowsManyCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		as(w.laptop, mkdir("d"), drained)
		desk := w.machine("desktop")
		seen := map[string]bool{}
		desk.mustOpen()
		desk.v.Watch(ear(func(c Change) {
			for _, n := range c.Names {
				seen[string(n.Name)] = true
			}
		}))
		const many = 150
		for i := range many {
			as(w.laptop, write(fmt.Sprintf("d/%d", i), "x"), drained)
		}
		desk.run()
		defer desk.halt()
		desk.v.Used()
		time.Sleep(pollBound)
		synctest.Wait()
		list, err := desk.v.List(t.Context(), mustFind(t, desk, "d"))
		if err != nil || len(list) != many || len(seen) != many {
			t.Errorf("%d names, %d told: %v", len(list), len(seen), err)
		}
	})
}

func mustFind(t *testing.T, m *machine, path string) meta.Ref {
	t.Helper()
	_, _, a, err := m.find(path)
	if err != nil {
		t.Fatal(err)
	}
	return a.Ref
}
