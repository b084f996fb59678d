package table

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

// TestGrown folds at random, rightly and wrongly: what is said of it must be what a
// comparison of all that the two hold says.
func TestGrown(t *testing.T) {
	r := random(t)
	right, wrong := 0, 0
	for range 60 {
		b := newBucket()
		var runs []Run
		var m model
		mem := NewMemory(1 << 20)
		for range 1 + r.IntN(12) {
			d := randomDelta(r, m)
			o := b.options()
			o.Plan, o.Target = Plan{Merge: r.IntN(len(runs) + 1)}, int64(1+r.IntN(64<<10))
			next := m.apply(d)
			after := b.fold(t, runs, d, o)

			// Somebody else folds as the delta does not say.
			base, forged := runs, slices.Clone(d)
			switch i := r.IntN(max(1, len(forged))); {
			case len(forged) == 0 || r.IntN(4) == 0:
				k := randomKey(r)
				if len(m) > 0 && r.IntN(2) == 0 {
					k = m[r.IntN(len(m))].Key
				}
				forged = delta(map[string][]byte{string(k): []byte("not written")})
				if r.IntN(2) == 0 {
					forged = dead(string(k))
				}
				base = after
			case r.IntN(3) == 0:
				forged[i].Dead = !forged[i].Dead
			case r.IntN(3) == 0 && len(runs) > 1:
				base = slices.Clone(runs)
				base[0], base[len(base)-1] = base[len(base)-1], base[0]
			case r.IntN(3) == 0 && len(runs) > 0:
				base = runs[1:]
			default:
				forged = slices.Delete(forged, i, i+1)
			}
			o.Plan.Merge = r.IntN(len(base) + 1)
			other, err := Fold(t.Context(), base, entries(forged), o)
			if err != nil {
				t.Fatal(err)
			}

			if r.IntN(2) == 0 {
				b.forget()
			}
			truth := all(t, NewSet(after, b, NewMemory(1<<20)))
			for _, claim := range [][]Run{after, other} {
				err := Grown(t.Context(), NewSet(runs, b, mem), NewSet(claim, b, mem), entries(d), bringer(t), nil)
				same := all(t, NewSet(claim, b, NewMemory(1<<20))) == truth
				switch {
				case same && err == nil:
					right++
				case !same && errors.Is(err, ErrWrong):
					wrong++
				default:
					t.Fatalf("equal %v, and it says %v", same, err)
				}
			}
			b.all = true
			runs, m = after, next
		}
	}
	if right < 100 || wrong < 50 {
		t.Errorf("%d right and %d wrong folds prove little", right, wrong)
	}
}

// bringer fetches what a lookup misses.
func bringer(t *testing.T) func(error) error {
	return func(err error) error {
		var far *Far
		if !errors.As(err, &far) {
			return err
		}
		return far.Fetch(t.Context())
	}
}

// What is in both is not read.
func TestGrownReadsLittle(t *testing.T) {
	b := newBucket()
	var keys []string
	for i := range 30000 {
		keys = append(keys, string([]byte{'i', byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	o := b.options()
	o.Target = 64 << 10
	runs := b.fold(t, nil, puts(string(bytes.Repeat([]byte("long "), 20)), keys...), o)
	after := b.fold(t, runs, puts("new", keys[7], keys[29000]), o)
	b.forget()
	mem := NewMemory(1 << 20)
	if err := Grown(t.Context(), NewSet(runs, b, mem), NewSet(after, b, mem), entries(puts("new", keys[7], keys[29000])), bringer(t), nil); err != nil {
		t.Fatal(err)
	}
	var read, whole int64
	for _, f := range b.fetches() {
		read += f.n
	}
	for _, r := range runs {
		whole += r.length()
	}
	if read > whole/5 {
		t.Errorf("%d bytes were read of %d", read, whole)
	}
}

func (r Run) length() (n int64) {
	for i := range r {
		n += r[i].Length
	}
	return n
}
