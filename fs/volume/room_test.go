package volume

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
)

const mib = 1 << 20

// yard is a room whose inputs a test sets.
type yard struct {
	mu      sync.Mutex
	waiting int64
	memory  int64
	oldest  time.Time
	free    int64
	refused bool
	moving  bool
}

func (y *yard) set(fn func()) {
	y.mu.Lock()
	defer y.mu.Unlock()
	fn()
}

// room has a cap of 512 MiB, of which 64 are set aside, on a disk of 1000 MiB,
// of which 100 are.
func (y *yard) room() *room {
	get := func(n *int64) func() int64 {
		return func() int64 { y.mu.Lock(); defer y.mu.Unlock(); return *n }
	}
	is := func(b *bool) func() bool {
		return func() bool { y.mu.Lock(); defer y.mu.Unlock(); return *b }
	}
	return newRoom(roomOptions{
		Limit: 512 * mib, Full: 10 * time.Second,
		Waiting: get(&y.waiting), Memory: get(&y.memory), Refused: is(&y.refused), Moving: is(&y.moving),
		Oldest: func() time.Time { y.mu.Lock(); defer y.mu.Unlock(); return y.oldest },
		Disk:   func() (int64, int64) { y.mu.Lock(); defer y.mu.Unlock(); return y.free, 1000 * mib },
	})
}

func TestRoomLevels(t *testing.T) {
	for _, c := range []struct {
		name          string
		waiting, free int64
		n             int64
		refused       bool
		want          level
	}{
		{name: "empty", free: 1000 * mib, n: mib, want: ample},
		{name: "the last byte that is free", waiting: 447 * mib, free: 1000 * mib, n: mib, want: ample},
		{name: "one more", waiting: 447 * mib, free: 1000 * mib, n: mib + 1, want: tight},
		{name: "the last of the half", waiting: 479 * mib, free: 1000 * mib, n: mib, want: tight},
		{name: "beyond the half", waiting: 480 * mib, free: 1000 * mib, n: mib, want: scarce},
		{name: "the last byte of all", waiting: 511 * mib, free: 1000 * mib, n: mib, want: scarce},
		{name: "no byte", waiting: 512 * mib, free: 1000 * mib, n: 1, want: none},
		{name: "over the cap", waiting: 600 * mib, free: 1000 * mib, want: none},
		{name: "the last byte that is free of the disk", free: 101 * mib, n: mib, want: ample},
		{name: "a small part of the disk", free: 100 * mib, n: mib, want: tight},
		{name: "half of that", free: 50 * mib, n: mib, want: scarce},
		{name: "a full disk", n: 1, want: none},
		{name: "a disk that refuses", free: 1000 * mib, refused: true, want: none},
	} {
		t.Run(c.name, func(t *testing.T) {
			y := &yard{waiting: c.waiting, free: c.free, refused: c.refused}
			if got := y.room().look(c.n); got != c.want {
				t.Errorf("%d, want %d", got, c.want)
			}
		})
	}
}

// What is let in counts before it is measured again.
func TestRoomCountsWhatItLetIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := &yard{free: 1000 * mib, waiting: 446 * mib}
		r := y.room()
		for i, want := range []level{ample, ample, tight} {
			if got := r.look(mib); got != want {
				t.Errorf("MiB %d: %d, want %d", i, got, want)
			}
		}
	})
}

// What was let in and lies in no pack yet counts also when is measured anew: writers wait
// for a buffer there, and the kernel sends many writes at a time.
func TestRoomCountsWhatIsOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := &yard{free: 1000 * mib, waiting: 440 * mib, oldest: time.Now()}
		r := y.room()
		ctx, cancel := context.WithCancel(t.Context())
		var in atomic.Int64
		for range 100 {
			go func() {
				if r.admit(ctx, mib) == nil {
					in.Add(mib)
				}
			}()
		}
		synctest.Wait()
		if got := in.Load(); got != 8*mib {
			t.Errorf("%d MiB were let in at once, want the 8 that are outside of what is set aside", got/mib)
		}
		time.Sleep(time.Hour)
		if got := in.Load(); got != 72*mib {
			t.Errorf("%d MiB were let in, want the 72 that are left", got/mib)
		}
		if r.look(0) != scarce || r.look(1) != none {
			t.Errorf("levels %d, %d", r.look(0), r.look(1))
		}
		// They have come, and wait for the store.
		y.set(func() { y.waiting += in.Load() })
		r.arrived(in.Load())
		time.Sleep(measureFor)
		if left := r.left.cap; r.look(1) != none || left != 0 {
			t.Errorf("%d bytes are left, want none", left)
		}
		y.set(func() { y.waiting = 0 })
		time.Sleep(holdStep)
		if r.look(mib) != ample {
			t.Error("what has come counts twice")
		}
		cancel()
		synctest.Wait()
	})
}

// admitted runs admit for n bytes and says how long it took.
func admitted(t *testing.T, r *room, n int64) time.Duration {
	t.Helper()
	began := time.Now()
	if err := r.admit(t.Context(), n); err != nil {
		t.Error(err)
	}
	return time.Since(began)
}

func TestRoomSlows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := &yard{free: 1000 * mib, waiting: 450 * mib, oldest: time.Now()}
		r := y.room()
		if d := admitted(t, r, mib); d < holdMax || d > holdMax+2*holdStep {
			t.Errorf("with a little less than enough room a write takes %v", d)
		}
		// Writes are held one after the other, or a hundred would fill the rest in a second.
		var wg sync.WaitGroup
		began := time.Now()
		for range 5 {
			wg.Go(func() { admitted(t, r, mib) })
		}
		wg.Wait()
		if d := time.Since(began); d < 5*holdMax {
			t.Errorf("five writes took %v", d)
		}
		// Uploads that make room end the wait.
		y.set(func() { y.waiting = 490 * mib })
		go func() {
			time.Sleep(3 * time.Second)
			y.set(func() { y.waiting = 100 * mib })
			r.progress()
		}()
		if d := admitted(t, r, mib); d != 3*time.Second {
			t.Errorf("room came after 3 s, and the write after %v", d)
		}
	})
}

func TestRoomRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := &yard{free: 1000 * mib, waiting: 500 * mib}
		r := y.room()
		time.Sleep(tidyFor - 1)
		if err := r.open(); err != nil {
			t.Errorf("what was sent may just be going: %v", err)
		}
		time.Sleep(time.Nanosecond)
		if err := r.open(); !errors.Is(err, ErrNoSpace) {
			t.Errorf("nothing waits whose sending would make room: %v", err)
		}
		y.set(func() { y.oldest = time.Now() })
		time.Sleep(10*time.Second - 1)
		if err := r.open(); err != nil {
			t.Errorf("too early: %v", err)
		}
		time.Sleep(time.Nanosecond)
		if err := r.open(); !errors.Is(err, ErrNoSpace) {
			t.Errorf("no progress for 10 s: %v", err)
		}
		if why, refused := r.state(); why == "" || !refused {
			t.Errorf("state: %q %v", why, refused)
		}
		if err := r.enter(t.Context()); !errors.Is(err, ErrNoSpace) {
			t.Errorf("enter: %v", err)
		}
		y.set(func() { y.waiting = 512 * mib; y.oldest = time.Now() })
		began := time.Now()
		if err := r.enter(t.Context()); !errors.Is(err, ErrNoSpace) || time.Since(began) < 10*time.Second || time.Since(began) > 11*time.Second {
			t.Errorf("enter, with no room at all: %v after %v", err, time.Since(began))
		}
		y.set(func() { y.waiting = 500 * mib })
		// What the kernel has is let in all the same.
		if d := admitted(t, r, mib); d > 2*holdMax {
			t.Errorf("a page that was accepted waits %v", d)
		}
		y.set(func() { y.moving = true })
		if err := r.open(); err != nil {
			t.Errorf("an upload moves: %v", err)
		}
		y.set(func() { y.moving = false })
		r.progress()
		if err := r.open(); err != nil {
			t.Errorf("the store took something: %v", err)
		}
		y.set(func() { y.waiting = 0 })
		time.Sleep(measureFor)
		if why, refused := r.state(); why != "" || refused || r.open() != nil {
			t.Errorf("with room: %q %v", why, refused)
		}
	})
}

// At the end of the room writes wait, and do not fail; an unmount lets them pass.
func TestRoomIsAtItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := &yard{free: 1000 * mib, waiting: 512 * mib, oldest: time.Now()}
		r := y.room()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		began := time.Now()
		if err := r.admit(ctx, mib); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Hour {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		let := make(chan time.Duration)
		go func() { let <- admitted(t, r, mib) }()
		synctest.Wait()
		// Who waits behind one that waits is interrupted as well.
		behind, leave := context.WithCancel(t.Context())
		left := make(chan error)
		go func() { left <- r.admit(behind, mib) }()
		synctest.Wait()
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		r.letAll(true)
		if d := <-let; d != 0 {
			t.Errorf("after %v", d)
		}
		r.letAll(false)
		if r.look(mib) != none {
			t.Error("all pass still")
		}
	})
}

// A change that takes no room worth the name does not wait behind a write for which too
// little is left, which waits for as long as the store is away.
func TestRoomOfAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := &yard{free: 1000 * mib, waiting: 512*mib - mib/2, oldest: time.Now()}
		r := y.room()
		ctx, cancel := context.WithCancel(t.Context())
		write := make(chan error)
		go func() { write <- r.admit(ctx, mib) }()
		synctest.Wait()
		limit, end := context.WithTimeout(t.Context(), time.Hour)
		defer end()
		began := time.Now()
		if err := r.change(limit); err != nil || time.Since(began) > 10*time.Second+holdMax {
			t.Errorf("%v after %v, with little left and no progress for 10 s", err, time.Since(began))
		}
		began = time.Now()
		if err := r.change(limit); err != nil || time.Since(began) < holdMax || time.Since(began) > 2*holdMax {
			t.Errorf("the next one: %v after %v", err, time.Since(began))
		}
		y.set(func() { y.waiting = 512*mib + 1 })
		time.Sleep(measureFor)
		if err := r.change(limit); !errors.Is(err, ErrNoSpace) {
			t.Errorf("with nothing left: %v", err)
		}
		cancel()
		if err := <-write; !errors.Is(err, context.Canceled) {
			t.Errorf("the write: %v", err)
		}
	})
}

// The kernel tells the times of a file from within unlink, link and rename, and the
// program waits for that: it must not wait for room.
func TestTimesToldWithoutRoom(t *testing.T) {
	w := newWorld(t)
	m := w.laptop
	m.mustOpen()
	as(m, write("one", "1"), write("two", "2"), write("open", "3"))
	refs := map[string]meta.Ref{}
	times := map[string]meta.Setattr{}
	for _, name := range []string{"one", "two", "open"} {
		a, err := m.v.Lookup(t.Context(), meta.RootRef, []byte(name))
		if err != nil {
			t.Fatal(err)
		}
		refs[name] = a.Ref
		times[name] = meta.Setattr{Valid: meta.SetMtime | meta.SetCtime, Mtime: a.Inode.Mtime, Ctime: now()}
	}
	if _, err := m.v.Open(t.Context(), refs["open"], true); err != nil {
		t.Fatal(err)
	}
	as(m, links("two", "second"))
	m.v.room.o.Waiting = func() int64 { return 1 << 50 }
	m.v.room.again()
	as(m, unlink("one"), unlink("second"))

	pending := m.v.view.Pending().Len()
	limit, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := m.v.Setattr(limit, refs["one"], times["one"]); !errors.Is(err, ErrStale) {
		t.Errorf("times of a file that was removed: %v", err)
	}
	if err := m.v.Setattr(limit, refs["two"], times["two"]); err != nil {
		t.Errorf("times of a file that has lost one of its names: %v", err)
	}
	if n := m.v.view.Pending().Len(); n != pending {
		t.Errorf("%d operations came of that, with no room for any", n-pending)
	}
	if err := m.v.Setattr(limit, refs["open"], times["open"]); err != nil {
		t.Errorf("times of an open file: %v", err)
	}
	// A time that the file does not have is a change as others, which waits.
	held, cancel := context.WithTimeout(t.Context(), 2*holdStep)
	defer cancel()
	other := times["two"]
	other.Mtime.Sec++
	if err := m.v.Setattr(held, refs["two"], other); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("another mtime, with no room: %v", err)
	}
}
