package sync

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/mem"
)

// trip is how long each request to a slow store takes.
const trip = 40 * time.Millisecond

// slow is a store at the end of a long way.
type slow struct {
	store.Bucket
	get func(ctx context.Context, name string) error // asked first; nil: a trip

	mu   sync.Mutex // guards the fields below
	gets int
	now  int // on their way
	most int // of these
}

func (b *slow) Get(ctx context.Context, name string, off, length int64) ([]byte, error) {
	b.mu.Lock()
	b.gets++
	b.now++
	b.most = max(b.most, b.now)
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.now--
	}()
	if b.get != nil {
		if err := b.get(ctx, name); err != nil {
			return nil, err
		}
	} else {
		time.Sleep(trip)
	}
	return b.Bucket.Get(ctx, name, off, length)
}

// slots is a store with an object in each of the slots from 1 on, its number padded to
// a length.
func slots(t *testing.T, n, length int) (*Syncer, *slow) {
	t.Helper()
	b := &slow{Bucket: mem.New()}
	s := &Syncer{o: Options{Bucket: b, Chain: &chain.State{}, Uptime: uptime}, width: 2}
	for i := range n {
		object := fmt.Appendf(make([]byte, 0, length), "%d", i+1)
		if err := b.PutIfAbsent(t.Context(), chain.SlotName(s.o.Chain.Volume, chain.Slot(i+1)), object[:max(length, len(object))]); err != nil {
			t.Fatal(err)
		}
	}
	return s, b
}

// readAll takes the slots from one on until one is absent, and returns that.
func readAll(t *testing.T, s *Syncer, from chain.Slot, there bool) chain.Slot {
	t.Helper()
	a := s.readAhead(t.Context(), there)
	defer a.end()
	for slot := from; ; slot++ {
		f := a.take(slot)
		if errors.Is(f.err, store.ErrNotExist) {
			return slot
		}
		var no chain.Slot
		if _, err := fmt.Sscanf(string(f.object), "%d", &no); err != nil || f.err != nil || no != slot || f.slot != slot {
			t.Fatalf("slot %d: %q of slot %d, %v", slot, f.object[:min(len(f.object), 16)], f.slot, errors.Join(f.err, err))
		}
	}
}

// Many slots are read in few round trips, and the end of the chain costs few requests for
// what was found.
func TestReadsAhead(t *testing.T) {
	for _, c := range []struct {
		name  string
		n     int // slots
		width int // to begin with, where something is known to be there; 0: it is not
		trips int
		gets  int
	}{
		{"nothing", 0, 0, 1, 1},
		{"one", 1, 0, 2, 4},
		{"one that is known of", 1, 2, 1, 2},
		{"two that are known of", 2, 2, 2, 8},
		{"20", 20, 0, 4, 32},
		{"20 that are known of", 20, 2, 3, 24},
		{"20 after as many", 20, aheadMost, 2, 32},
		{"few after many", 1, aheadMost, 1, aheadMost},
		{"200 after as many", 200, aheadMost, 13, 208},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, b := slots(t, c.n, 0)
				s.width = c.width
				began := time.Now()
				if end := readAll(t, s, 1, c.width > 0); end != chain.Slot(c.n+1) {
					t.Errorf("it ends at slot %d", end)
				}
				if trips := int(time.Since(began) / trip); trips != c.trips {
					t.Errorf("%d round trips, want %d", trips, c.trips)
				}
				if b.gets != c.gets || b.most > aheadMost {
					t.Errorf("%d requests, want %d; %d at a time", b.gets, c.gets, b.most)
				}
			})
		})
	}
}

// Of long commits no more are on their way than one may be long, as far as it is known.
func TestLongCommitsAreReadFewAtATime(t *testing.T) {
	for length, most := range map[int]int{aheadBytes: 2, aheadBytes / 2: 2, aheadBytes / 4: 4, aheadBytes / 16: 16} {
		synctest.Test(t, func(t *testing.T) {
			s, b := slots(t, 40, length)
			readAll(t, s, 1, true)
			readAll(t, s, 2, true) // begins as the first one ended
			if b.most > most {
				t.Errorf("%d of %d bytes at a time, want %d", b.most, length, most)
			}
			b.most = 0
			if readAll(t, s, 3, true); length == aheadBytes && b.most > 1 {
				t.Errorf("%d of the longest at a time, which are known to be long", b.most)
			}
		})
	}
}

// What comes sooner than what lies before it waits for that.
func TestReadAheadKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, b := slots(t, 50, 0)
		b.get = func(_ context.Context, name string) error {
			slot, _ := chain.ParseSlotName(s.o.Chain.Volume, name)
			time.Sleep(time.Duration(1000-slot*13%37) * time.Millisecond)
			return nil
		}
		readAll(t, s, 1, true)
	})
}

// A store that fails is asked for one after the other the next time: a slow line may get
// no more through.
func TestReadAheadAfterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, b := slots(t, 20, 0)
		s.width = aheadMost
		b.get = func(_ context.Context, name string) error {
			if slot, _ := chain.ParseSlotName(s.o.Chain.Volume, name); slot < 3 {
				return nil
			}
			time.Sleep(trip)
			return store.ErrUnavailable
		}
		a := s.readAhead(t.Context(), true)
		for _, slot := range []chain.Slot{1, 2} {
			if f := a.take(slot); f.err != nil {
				t.Errorf("slot %d: %v", slot, f.err)
			}
		}
		time.Sleep(2 * trip)
		if _, offline := s.Trouble(); offline != nil {
			t.Errorf("off line by a slot that nobody needs yet: %v", offline)
		}
		if f := a.take(3); !errors.Is(f.err, store.ErrUnavailable) {
			t.Error(f.err)
		}
		if _, offline := s.Trouble(); offline == nil {
			t.Error("not off line")
		}
		a.end()
		b.get = nil
		a = s.readAhead(t.Context(), true)
		b.gets = 0
		if f := a.take(3); f.err != nil || b.gets != 1 {
			t.Errorf("%d requests, %v", b.gets, f.err)
		}
		a.end()
	})
}

// Where the chain goes on somewhere else, what was read for nothing is waited for, but
// not for ever.
func TestReadAheadElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, b := slots(t, 40, 0)
		s.width = aheadMost
		b.get = func(ctx context.Context, name string) error {
			if slot, _ := chain.ParseSlotName(s.o.Chain.Volume, name); slot != 7 {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}
		a := s.readAhead(t.Context(), true)
		a.take(1)
		began := time.Now()
		for _, slot := range []chain.Slot{20, 21, 22, 30, 41} {
			f := a.take(slot)
			if f.slot != slot || f.err != nil && slot < 41 {
				t.Errorf("slot %d, and %v, for slot %d", f.slot, f.err, slot)
			}
		}
		a.end()
		if took := time.Since(began); took > aheadLate {
			t.Errorf("it took %v", took)
		}
		if b.now > 0 || b.most > aheadMost {
			t.Errorf("%d requests on their way at the end, %d at most", b.now, b.most)
		}
	})
}

// Who puts an object into the next slot now and then, and no commit, has a few requests
// made for each, however many slots were found before.
func TestReadAheadOverJunk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, b := slots(t, 0, 0)
		s.width = aheadMost
		for slot := chain.Slot(1); slot <= 3; slot++ {
			if err := b.PutIfAbsent(t.Context(), chain.SlotName(s.o.Chain.Volume, slot), []byte("junk")); err != nil {
				t.Fatal(err)
			}
			b.gets = 0
			a := s.readAhead(t.Context(), true)
			if f := a.take(slot); f.err != nil {
				t.Fatal(f.err)
			}
			a.alone() // which is what becomes of it
			if f := a.take(slot + 1); !errors.Is(f.err, store.ErrNotExist) {
				t.Fatal(f.err)
			}
			a.end()
			if slot > 1 && b.gets > 2 {
				t.Errorf("%d requests for the junk in slot %d", b.gets, slot)
			}
		}
	})
}
