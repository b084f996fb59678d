package view

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// A layer against a plain map: what is said of a key, copies that go their own way, and
// ranges in the order of the keys, of which one may be the beginning of another.
func TestLayerAgainstAModel(t *testing.T) {
	type said struct {
		value      string
		no, filled uint64
		deleted    bool
	}
	type world struct {
		layer layer
		model map[string]said
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	key := func() []byte {
		k := bytes.Repeat([]byte{byte(r.IntN(3))}, r.IntN(3))
		if r.IntN(20) == 0 {
			k = bytes.Repeat([]byte{0xff}, meta.MaxKey)
		}
		return append(k, byte(r.IntN(4)), byte(r.IntN(60)))[:min(len(k)+2, meta.MaxKey)]
	}
	check := func(w world, r record) {
		t.Helper()
		want, ok := w.model[r.key()]
		k, value := r.parts()
		got := said{string(value), r.no(), r.filled(), r.deleted()}
		if !ok || got != want || string(k) != r.key() || string(r.value()) != want.value || r.bytes() != len(k)+len(value) {
			t.Fatalf("%x is %+v, want %+v, %v", k, got, want, ok)
		}
	}
	worlds := []world{{newLayer(), map[string]said{}}}
	for round := range 30_000 {
		i := r.IntN(len(worlds))
		w := worlds[i]
		k := key()
		switch r.IntN(8) {
		case 0, 1, 2:
			s := said{value: fmt.Sprint("value ", r.IntN(3)), no: r.Uint64()}
			w.layer.set(put(k, []byte(s.value), s.no))
			w.model[string(k)] = s
		case 3:
			s := said{no: r.Uint64(), deleted: true}
			w.layer.set(gone(k, s.no))
			w.model[string(k)] = s
		case 4:
			if old, ok := w.layer.get(k); ok {
				s := w.model[string(k)]
				s.filled = r.Uint64N(3)
				filled := old.with(s.filled)
				if !filled.sameAs(old) || !old.sameAs(filled) {
					t.Fatal("it says something else")
				}
				w.layer.set(filled)
				w.model[string(k)] = s
			}
		case 5:
			if old, ok := w.layer.get(k); ok {
				w.layer.forget(old)
				delete(w.model, string(k))
			}
		case 6:
			if r.IntN(100) == 0 {
				other := world{w.layer.copy(), maps.Clone(w.model)}
				worlds = append(worlds[max(0, len(worlds)-3):], other)
			}
		case 7:
			if round%50 == 0 {
				to := key()
				var want, got []string
				for at := range w.model {
					if at >= string(k) && at < string(to) {
						want = append(want, at)
					}
				}
				slices.Sort(want)
				for _, in := range w.layer.in(meta.Range{From: k, To: to}) {
					check(w, in)
					got = append(got, in.key())
				}
				if !slices.Equal(got, want) {
					t.Fatalf("from %x to %x are %x, want %x", k, to, got, want)
				}
			}
		}
		got, ok := w.layer.get(k)
		if _, want := w.model[string(k)]; ok != want || w.layer.len() != len(w.model) {
			t.Fatalf("%x: there is %v, want %v; %d keys, want %d", k, ok, want, w.layer.len(), len(w.model))
		}
		if ok {
			check(w, got)
		}
	}
	for _, w := range worlds {
		n := 0
		w.layer.scan(func(r record) bool { check(w, r); n++; return true })
		if n != len(w.model) {
			t.Errorf("%d keys, want %d", n, len(w.model))
		}
	}
	short := newLayer()
	short.set(put([]byte{1}, nil, 1))
	if r, ok := short.get(bytes.Repeat([]byte{1}, 1<<16+1)); ok {
		t.Errorf("under a key of 64 KiB lies %x", r.key())
	}
	a, b := put([]byte("k"), []byte("v"), 1), put([]byte("k"), []byte("w"), 1)
	if a.sameAs(b) || put([]byte("k"), nil, 1).sameAs(gone([]byte("k"), 1)) || !a.sameAs(put([]byte("k"), []byte("v"), 2)) {
		t.Error("what is the same differs, or the other way round")
	}
}
