package volume

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/store"
)

// afar is a store at the end of a long way: each request takes so long.
type afar struct {
	store.Bucket
	way    time.Duration
	hidden func(name string) bool // such objects are not there; nil: none

	mu   sync.Mutex // guards the fields below
	gets int
	now  int // on their way
	most int // of these
}

func (b *afar) Get(ctx context.Context, name string, off, length int64) ([]byte, error) {
	b.mu.Lock()
	b.gets++
	b.now++
	b.most = max(b.most, b.now)
	b.mu.Unlock()
	time.Sleep(b.way)
	b.mu.Lock()
	b.now--
	b.mu.Unlock()
	if b.hidden != nil && b.hidden(name) {
		return nil, store.ErrNotExist
	}
	return b.Bucket.Get(ctx, name, off, length)
}

// What others write, one commit after the other, is seen within 2 s although the store is
// far away, as far as is promised: 0.1 s a request. So is what they begin with after a pause,
// when nothing tells how much it will be. It costs little more than a request a commit.
func TestFollowsFromAfar(t *testing.T) {
	for _, c := range []struct{ way, every, during time.Duration }{
		{40 * time.Millisecond, 90 * time.Millisecond, 7 * time.Second}, // as fast as one machine there makes them
		{40 * time.Millisecond, 45 * time.Millisecond, 7 * time.Second}, // as fast as many do
		{100 * time.Millisecond, 110 * time.Millisecond, 4 * time.Second},
		{100 * time.Millisecond, 210 * time.Millisecond, 4 * time.Second},
		{100 * time.Millisecond, 700 * time.Millisecond, 4 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			as(w.laptop, mkdir("d"), drained)
			desk := w.machine("desktop")
			desk.ro = true
			far := &afar{Bucket: w.faults, way: c.way}
			desk.bucket = far
			desk.mustOpen()
			var mu sync.Mutex // guards seen
			seen := map[string]time.Time{}
			desk.v.Watch(ear(func(c Change) {
				mu.Lock()
				defer mu.Unlock()
				for _, n := range c.Names {
					seen[string(n.Name)] = time.Now()
				}
			}))
			desk.run()
			defer desk.halt()
			end := desk.using(t, time.Second)
			defer end()
			far.mu.Lock()
			far.gets, far.most = 0, 0
			far.mu.Unlock()
			began := time.Now()
			stored := map[string]time.Time{}
			for k := 0; time.Since(began) < c.during; k++ {
				name := fmt.Sprintf("file %d", k)
				as(w.laptop, write("d/"+name, "x"), drained)
				stored[name] = time.Now()
				time.Sleep(c.every)
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			oldest := time.Duration(0)
			for name, at := range stored {
				if seen[name].IsZero() {
					t.Fatalf("%s was not seen", name)
				}
				oldest = max(oldest, seen[name].Sub(at))
			}
			if oldest > 2*time.Second {
				t.Errorf("a request takes %v, a commit comes every %v: seen after %v", c.way, c.every, oldest)
			}
			if far.most > 16 || far.gets > 2*len(stored)+10 {
				t.Errorf("%d requests for %d commits, %d at a time", far.gets, len(stored), far.most)
			}
		})
	}
}

// A slot that is not there ends what is shown, whatever was read ahead behind it.
func TestReadsAheadUpToAHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		as(w.laptop, mkdir("d"), drained)
		desk := w.machine("desktop")
		far := &afar{Bucket: w.faults, way: time.Millisecond}
		desk.bucket = far
		as(desk, caughtUp)
		far.most = 0
		for i := range 20 {
			as(w.laptop, write(fmt.Sprintf("d/%d", i), "x"), drained)
		}
		hole := w.names("l")[19-5] // the newest come first
		far.hidden = func(name string) bool { return name == hole }
		for range 3 {
			as(desk, caughtUp)
			if list, err := desk.v.List(t.Context(), mustFind(t, desk, "d")); err != nil || len(list) != 5 {
				t.Errorf("%d names below the hole: %v", len(list), err)
			}
		}
		if far.most < 2 {
			t.Error("nothing was read ahead: this shows nothing")
		}
		far.hidden = nil
		as(desk, caughtUp)
		if list, err := desk.v.List(t.Context(), mustFind(t, desk, "d")); err != nil || len(list) != 20 {
			t.Errorf("%d names: %v", len(list), err)
		}
	})
}
