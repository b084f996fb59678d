package block

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/store/fault"
)

// A small read of a large object is a tail and a segment, at the same time.
func TestColdReadIsATailAndASegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := random(packSize, 1)
		w := newWorld(t)
		o, r := w.stored(crypt.TypePack, data), w.reader()
		gate := make(chan struct{})
		w.bucket.Add(fault.On(fault.Get, 0, fault.Delay(gate)))
		got := make(chan error, 1)
		go func() { got <- w.read(r, o, data, 20*segmentSize+500, 4096) }()
		synctest.Wait()
		if w.gets() != 2 || len(w.bucket.Log()) != 0 {
			t.Errorf("%d requests began before one ended, want 2", w.gets())
		}
		close(gate)
		must(t, <-got)
		if want := sealedSize + crypt.TailSize(packSize); w.gets() != 2 || w.got() != want {
			t.Errorf("%d requests for %d bytes, want 2 for %d", w.gets(), w.got(), want)
		}
		// The tail is known from now on.
		must(t, w.read(r, o, data, 40*segmentSize, 4096))
		if w.gets() != 3 {
			t.Errorf("%d requests for two places, want 3", w.gets())
		}
	})
}

// How many requests what reading costs.
func TestRequests(t *testing.T) {
	data := random(packSize, 1)
	for _, c := range []struct {
		name   string
		size   int
		reads  [][2]int // off, n
		want   int
		atMost int64 // bytes; 0 is any
	}{
		{"up to the end", packSize, [][2]int{{0, packSize}}, 1, 0},
		{"the last byte", packSize, [][2]int{{packSize - 1, 1}}, 1, 130 << 10},
		{"the last two segments", packSize, [][2]int{{packSize - segmentSize - 1, 2}}, 1, 0},
		{"the first half", packSize, [][2]int{{0, packSize / 2}}, 2, 0},
		{"both halves", packSize, [][2]int{{0, packSize / 2}, {packSize / 2, packSize / 2}}, 3, 0},
		{"forward over segments", packSize, [][2]int{{0, 100}, {100, 100}, {segmentSize - 1, 2}}, 3, 0},
		{"a small object", 2 * segmentSize, [][2]int{{0, 1}, {segmentSize, segmentSize}}, 1, 130 << 10},
		{"a small object from behind", 2 * segmentSize, [][2]int{{2*segmentSize - 1, 1}, {0, 1}}, 1, 130 << 10},
		{"an object of one byte", 1, [][2]int{{0, 1}}, 1, 0},
		{"around what is here", packSize, [][2]int{{5 * segmentSize, 1}, {4 * segmentSize, 3 * segmentSize}}, 4, 0},
	} {
		for _, typ := range []crypt.Type{crypt.TypePack, crypt.TypeTable} {
			w := newWorld(t).cached()
			o, r := w.stored(typ, data[:c.size]), w.reader()
			for range 2 {
				for _, x := range c.reads {
					must(t, w.read(r, o, data, x[0], x[1]))
				}
				// The second time all comes from the cache, which may not take all of a
				// table at once.
				if typ == crypt.TypePack {
					r.Close()
					r = w.reader()
				}
				if w.gets() != c.want || c.atMost > 0 && w.got() > c.atMost {
					t.Errorf("%s, %v: %d requests for %d bytes, want %d", c.name, typ, w.gets(), w.got(), c.want)
				}
			}
		}
	}
}

// What is on this machine in part is not fetched again.
func TestPartsOfTheCache(t *testing.T) {
	data := random(packSize, 1)
	w := newWorld(t).cached()
	o, r := w.stored(crypt.TypePack, data), w.reader()
	must(t, r.Fetch(background, o, 0, 10*segmentSize))
	r.Close()
	before := w.got()
	r = w.reader()
	must(t, w.read(r, o, data, 0, 20*segmentSize))
	if got := w.got() - before; got != 10*sealedSize {
		t.Errorf("%d bytes, want those of ten segments", got)
	}
	r.Close()
	r = w.reader()
	before = w.got()
	if n := r.Prefetch(o, 15*segmentSize, 10*segmentSize); n != 10*segmentSize {
		t.Errorf("prefetch took %d", n)
	}
	must(t, w.read(r, o, data, 15*segmentSize, 10*segmentSize))
	r.Close()
	if got := w.got() - before; got != 5*sealedSize {
		t.Errorf("%d bytes, want those of five segments", got)
	}
}

// Many who want one segment wait for one request.
func TestSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := random(5*segmentSize, 1)
		w := newWorld(t)
		o, r := w.stored(crypt.TypePack, data), w.reader()
		gate := make(chan struct{})
		w.bucket.Add(fault.On(fault.Get, 0, fault.Delay(gate)))
		var all sync.WaitGroup
		for n := range 16 {
			all.Go(func() {
				if err := w.read(r, o, data, n, 100); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if w.gets() != 2 {
			t.Errorf("%d requests, want the tail and the segment", w.gets())
		}
		close(gate)
		all.Wait()

		// Those who want what comes along with others wait for that.
		w.bucket.Clear()
		gate = make(chan struct{})
		w.bucket.Add(fault.On(fault.Get, 0, fault.Delay(gate)))
		for _, n := range []int{3 * segmentSize, 10, segmentSize} {
			all.Go(func() {
				if err := w.read(r, o, data, segmentSize, n); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		if w.gets() != 3 {
			t.Errorf("%d requests, want one more", w.gets())
		}
		close(gate)
		all.Wait()
		if len(r.flights) != 0 {
			t.Errorf("%d segments are still on their way", len(r.flights))
		}
	})
}

// Who gives up goes at once; the request ends with the last of them.
func TestReadCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := random(segmentSize, 1)
		w := newWorld(t)
		o, r := w.stored(crypt.TypePack, data), w.reader()
		gate := make(chan struct{})
		w.bucket.Add(fault.On(fault.Get, 0, fault.Delay(gate)))
		read := func(ctx context.Context) chan error {
			got := make(chan error, 1)
			go func() { got <- r.ReadAt(ctx, o, 0, make([]byte, 10)) }()
			synctest.Wait()
			return got
		}
		one, cancelOne := context.WithCancel(background)
		two, cancelTwo := context.WithCancel(background)
		first, second := read(one), read(two)
		cancelOne()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Errorf("the first: %v", err)
		}
		synctest.Wait()
		if len(w.bucket.Log()) != 0 {
			t.Fatal("the request ended although somebody waits")
		}
		cancelTwo()
		if err := <-second; !errors.Is(err, context.Canceled) {
			t.Errorf("the second: %v", err)
		}
		synctest.Wait()
		if len(w.bucket.Log()) != w.gets() {
			t.Error("requests go on for nobody")
		}
		// Who comes afterwards is not told of it.
		third := read(background)
		close(gate)
		if err := <-third; err != nil {
			t.Error(err)
		}
		if err := r.ReadAt(one, o, 0, make([]byte, 10)); err != nil {
			t.Errorf("what is in memory needs no waiting: %v", err)
		}
		if len(w.damaged()) > 0 {
			t.Errorf("damaged: %v", w.damaged())
		}
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := random(10*segmentSize, 1)
		w := newWorld(t)
		o, r := w.stored(crypt.TypePack, data), w.reader()
		w.bucket.Add(fault.On(fault.Get, 0, fault.Hang))
		got := make(chan error, 1)
		go func() { got <- r.ReadAt(background, o, 0, make([]byte, 10)) }()
		r.Prefetch(o, 5*segmentSize, segmentSize)
		synctest.Wait()
		r.Close()
		r.Close()
		if err := <-got; !errors.Is(err, ErrClosed) {
			t.Errorf("who waited: %v", err)
		}
		if err := r.ReadAt(background, o, 0, make([]byte, 10)); !errors.Is(err, ErrClosed) {
			t.Errorf("who came late: %v", err)
		}
		if n := r.Prefetch(o, 0, 1); n != 0 || len(w.bucket.Log()) != w.gets() {
			t.Error("something goes on")
		}
	})
}

// The budget bounds what is on its way, and what finds no room is dropped.
func TestPrefetchBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := random(packSize, 1)
		w := newWorld(t)
		w.flight = 10 * segmentSize
		o, other, r := w.stored(crypt.TypePack, data), w.stored(crypt.TypePack, data), w.reader()
		gate := make(chan struct{})
		w.bucket.Add(fault.On(fault.Get, 0, fault.Delay(gate)))
		for _, c := range []struct {
			o            Object
			off, n, want int64
		}{
			{o, 0, 0, 0},
			{o, 0, 100, 100},                                              // 1
			{o, 50, segmentSize, segmentSize},                             // 2
			{o, 0, 2 * segmentSize, 2 * segmentSize},                      // on its way already
			{o, 5*segmentSize + 3, packSize, 8*segmentSize - 3},           // 10, and full
			{other, 0, 1, 0},                                              // no room
			{o, 13*segmentSize + 1, 1, 0},                                 // nor for this
			{o, 6 * segmentSize, 2 * segmentSize, 2 * segmentSize},        // needs none
			{o, packSize, 1, 0}, {o, packSize - 1, -5, 0}, {o, -1, 10, 0}, // nothing there
		} {
			if got := r.Prefetch(c.o, c.off, c.n); got != c.want {
				t.Errorf("%d bytes at %d: %d, want %d", c.n, c.off, got, c.want)
			}
		}
		synctest.Wait()
		began := w.gets()
		if r.under != w.flight {
			t.Errorf("%d bytes under way, want %d", r.under, w.flight)
		}
		// Who reads is not held up by a full budget.
		got := make(chan error, 1)
		go func() { got <- r.ReadAt(background, other, 0, make([]byte, 10)) }()
		synctest.Wait()
		if w.gets() != began+2 {
			t.Error("a read waits for what was only prefetched")
		}
		close(gate)
		must(t, <-got)
		synctest.Wait()
		if r.under != 0 {
			t.Errorf("%d bytes are under way for ever", r.under)
		}
		asked := w.gets()
		must(t, w.read(r, o, data, 0, 2*segmentSize))
		must(t, w.read(r, o, data, 5*segmentSize, 8*segmentSize))
		if w.gets() != asked {
			t.Error("fetched once more")
		}
	})
}

// Nobody hears of what was prefetched in vain; who reads then hears the truth.
func TestPrefetchFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := random(10*segmentSize, 1)
		w := newWorld(t)
		o, r := w.stored(crypt.TypePack, data), w.reader()
		gate := make(chan struct{})
		w.bucket.Add(fault.On(fault.Get, 1, func(ctx context.Context, q fault.Request) fault.Answer {
			<-gate
			return fault.Missing(ctx, q)
		}), fault.On(fault.Get, 2, fault.Missing))
		r.Prefetch(o, 0, o.Length)
		synctest.Wait()
		got := make(chan error, 1)
		go func() { got <- w.read(r, o, data, 0, 100) }()
		synctest.Wait()
		close(gate)
		if err := <-got; err != nil || len(w.damaged()) > 0 {
			t.Errorf("%v, damaged: %v", err, w.damaged())
		}
		missing, _ := w.seal(crypt.TypePack, data)
		r.Prefetch(missing, 0, missing.Length)
		synctest.Wait()
		if len(w.damaged()) > 0 {
			t.Errorf("damaged: %v", w.damaged())
		}
		if err := r.ReadAt(background, missing, 0, make([]byte, 1)); !errors.Is(err, ErrDamaged) || len(w.damaged()) != 1 {
			t.Errorf("%v, damaged: %v", err, w.damaged())
		}
	})
}

// A whole pack of which parts are here already comes in one request.
func TestPrefetchWhole(t *testing.T) {
	data := random(packSize, 1)
	w := newWorld(t).cached()
	o, r := w.stored(crypt.TypePack, data), w.reader()
	for _, s := range []int{0, 7, 9} {
		must(t, w.read(r, o, data, s*segmentSize, 100))
	}
	asked := w.gets()
	if n := r.Prefetch(o, 0, 1<<40); n != packSize {
		t.Errorf("took %d", n)
	}
	must(t, w.read(r, o, data, 0, packSize))
	if w.gets() != asked+1 {
		t.Errorf("%d requests, want 1", w.gets()-asked)
	}
	r.Close()
	r = w.reader()
	must(t, w.read(r, o, data, 0, packSize))
	if n := r.Prefetch(o, 0, packSize); n != packSize || w.gets() != asked+1 {
		t.Errorf("fetched once more: %d requests", w.gets()-asked)
	}
}

// Readers, readers ahead, and somebody who drops what is cached.
func TestManyAtOnce(t *testing.T) {
	data := random(1<<20+77, 1)
	w := newWorld(t).cached()
	w.memory, w.flight = 6*segmentSize, 4*segmentSize
	stored, table, local, r := w.stored(crypt.TypePack, data), w.stored(crypt.TypeTable, data), w.local(crypt.TypePack, data), w.reader()
	var all sync.WaitGroup
	for g := range 6 {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 1))
			for range 150 {
				o := []Object{stored, table, local}[rng.IntN(3)]
				off := rng.IntN(len(data))
				n := rng.IntN(min(len(data)-off, 1<<(4+rng.IntN(15)))) + 1
				switch rng.IntN(8) {
				case 0:
					w.cache.DropObject(o.Name.String())
					w.cache.Drop(cacheKey(o, rng.IntN(17)))
				case 1:
					r.Prefetch(o, int64(off), int64(n))
				case 2:
					if err := w.near(r, o, data, off, n); err != nil && !errors.Is(err, ErrFar) {
						t.Error(err)
					}
				case 3:
					ctx, cancel := context.WithCancel(background)
					go cancel()
					if err := r.ReadAt(ctx, o, int64(off), make([]byte, n)); err != nil && !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
				default:
					if err := w.read(r, o, data, off, n); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
	r.Close()
	if len(r.flights) != 0 || r.under != 0 || r.writing != 0 || len(w.damaged()) > 0 {
		t.Errorf("%d flights, %d bytes under way, %d to the cache, damaged %v", len(r.flights), r.under, r.writing, w.damaged())
	}
	for k, s := range r.shelf.at {
		if s.refs != 0 {
			t.Errorf("segment %d is referred to %d times", k.index, s.refs)
		}
	}
}
