package check

import (
	"context"
	"errors"

	"strings"
	"sync"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/store"
)

// sick is a store that does not give some objects, counts those that it gives, and can
// be away.
type sick struct {
	store.Bucket
	name  string // not given, with err
	err   error
	after int // packs that are given before the store is away; 0: it stays

	mu    sync.Mutex
	packs int
	gone  bool
	puts  int
}

func (b *sick) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	b.mu.Lock()
	if strings.Contains(name, "/p/") {
		if b.packs++; b.after > 0 && b.packs > b.after {
			b.gone = true
		}
	}
	gone := b.gone
	b.mu.Unlock()
	if gone {
		return nil, store.ErrUnavailable
	}
	if name == b.name {
		return nil, b.err
	}
	return b.Bucket.Get(ctx, name, off, n)
}

func (b *sick) List(ctx context.Context, prefix, after string, max int) ([]store.Info, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gone {
		return nil, store.ErrUnavailable
	}
	return b.Bucket.List(ctx, prefix, after, max)
}

func (b *sick) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	b.puts++
	return b.Bucket.PutIfAbsent(ctx, name, data)
}

func (b *sick) Delete(ctx context.Context, name string) error {
	b.puts++
	return b.Bucket.Delete(ctx, name)
}

// An object that the store does not give, while it gives others, is damage and tells
// what the store said; a commit so, too.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	for _, err := range []error{store.ErrUnavailable, store.ErrDenied} {
		w := pieces(t, true)
		ref := w.at("b.bin").Ref
		w.lock()
		b := &sick{Bucket: w.objects, name: w.pack(ref), err: err}
		r, rerr := w.try(b, Options{Data: 1})
		must(t, rerr)
		f := only(t, r)
		if f.Kind != KindPack || f.Cause != Unreadable || f.Object != b.name || !strings.Contains(f.Detail, err.Error()) {
			t.Errorf("%+v", f)
		}
		if r.Mendable() > 0 {
			t.Error("a repair would make zeros of what may be there tomorrow")
		}
		l := w.names("l")
		b.name = l[len(l)-3]
		if r, rerr = w.try(b, Options{}); rerr != nil {
			t.Fatal(rerr)
		}
		if f := only(t, r); f.Kind != KindCommit || f.Cause != Unreadable || f.Object != b.name {
			t.Errorf("%+v", f)
		}
		if b.puts > 0 {
			t.Errorf("%d writes to the store", b.puts)
		}
	}
}

// A store that goes away in the middle is no damage.
func TestStoreAway(t *testing.T) {
	t.Parallel()
	w := pieces(t, true)
	b := &sick{Bucket: w.objects, after: 1}
	r, err := w.try(b, Options{Data: 1})
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
	if r.Has(Lost) || r.Has(Damaged) || r.Whole {
		t.Errorf("whole %v: %+v", r.Whole, r.Findings)
	}
	b = &sick{Bucket: w.objects, gone: true}
	if _, err := w.try(b, Options{}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
}

// A transfer that goes wrong once is asked for again.
type glitch struct {
	store.Bucket
	mu   sync.Mutex
	seen map[string]bool
}

func (b *glitch) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	o, err := b.Bucket.Get(ctx, name, off, n)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil && strings.Contains(name, "/p/") && !b.seen[name] {
		b.seen[name] = true
		o = append([]byte(nil), o...)
		o[len(o)/2] ^= 1
	}
	return o, err
}

func TestTransferGoesWrongOnce(t *testing.T) {
	t.Parallel()
	w := pieces(t, false)
	b := &glitch{Bucket: w.objects, seen: map[string]bool{}}
	r, err := w.try(b, Options{Data: 1})
	must(t, err)
	healthy(t, r)
	if len(b.seen) == 0 {
		t.Error("nothing was read")
	}
}

// A pack above what is got in one piece is read in several.
func TestLargePack(t *testing.T) {
	t.Parallel()
	w := pieces(t, false)
	c := &checker{vol: w.vol, bucket: &steady{Bucket: w.objects}}
	u := w.drive()
	defer u.Wipe()
	c.state = w.load().Chain
	content := pattern(5, 9<<20)
	o, sealed := seal(t, c, content)
	w.objects.Overwrite(o.place, sealed)
	got := make([]byte, len(content))
	d, err := c.verify(t.Context(), o, func(off int64, p []byte) { copy(got[off:], p) })
	if d != nil || err != nil {
		t.Fatalf("%+v, %v", d, err)
	}
	if string(got) != string(content) {
		t.Error("other bytes")
	}
	w.flip(o.place, 100*65552+5)
	if d, err = c.verify(t.Context(), o, nil); err != nil || d == nil || len(d.lost) != 1 || d.lost[0] != (span{100 * 65536, 101 * 65536}) {
		t.Errorf("%+v, %v", d, err)
	}
	w.objects.Overwrite(o.place, w.get(o.place)[:5<<20])
	if d, err = c.verify(t.Context(), o, nil); err != nil || d == nil || d.cause != Truncated {
		t.Errorf("%+v, %v", d, err)
	}
}

// seal makes a pack of a content.
func seal(t *testing.T, c *checker, content []byte) (object, []byte) {
	t.Helper()
	sealed, name, err := crypt.NewSealer(c.state.Key, c.vol, crypt.TypePack, c.state.Epoch).Seal(nil, content)
	must(t, err)
	return object{crypt.TypePack, name, int64(len(content)), c.state.Epoch, chain.PackName(c.vol, name)}, sealed
}
