package table

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

var seed = flag.Uint64("seed", 0, "of the random tests; 0 draws one")

func random(t testing.TB) *rand.Rand {
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("-seed=%d", s)
	return rand.New(rand.NewPCG(s, 0))
}

// model is the map that a set must be: ascending, no tombstones.
type model []Entry

func (m model) at(key []byte) int {
	return sort.Search(len(m), func(i int) bool { return bytes.Compare(m[i].Key, key) >= 0 })
}

func (m model) get(key []byte) ([]byte, bool) {
	if i := m.at(key); i < len(m) && bytes.Equal(m[i].Key, key) {
		return m[i].Value, true
	}
	return nil, false
}

func (m model) apply(delta []Entry) model {
	out := make(model, 0, len(m)+len(delta))
	for _, e := range delta {
		i := m.at(e.Key)
		out = append(out, m[:i]...)
		if m = m[i:]; len(m) > 0 && bytes.Equal(m[0].Key, e.Key) {
			m = m[1:]
		}
		if !e.Dead {
			out = append(out, e)
		}
	}
	return append(out, m...)
}

// randomKey is of few enough that they meet: short, long, with long common
// beginnings, of all kinds.
func randomKey(r *rand.Rand) []byte {
	switch r.IntN(12) {
	case 0:
		return []byte{byte(1 + r.IntN(255))}
	case 1:
		return bytes.Repeat([]byte{"dxz\xff"[r.IntN(4)]}, 1+r.IntN(MaxKey))
	case 2:
		k := bytes.Repeat([]byte{'m'}, MaxKey)
		k[MaxKey-1-r.IntN(3)] = byte(r.IntN(256))
		return k
	case 3:
		return meta.PackKey(meta.MakePack(1, uint64(1+r.IntN(500))))
	case 4, 5, 6:
		return meta.InodeKey(meta.Ref{Home: meta.Ino(1 + r.IntN(20)), Ino: meta.Ino(100 + r.IntN(200))})
	default:
		return meta.DirentKey(meta.Ino(1+r.IntN(20)), fmt.Appendf(nil, "name%d", r.IntN(300)))
	}
}

func randomValue(r *rand.Rand) []byte {
	n := r.IntN(60)
	switch r.IntN(400) {
	case 0:
		n = MaxValue
	case 1:
		n = r.IntN(MaxValue)
	case 2, 3, 4:
		n = 0
	}
	v := make([]byte, n)
	if r.IntN(3) > 0 { // does not compress
		for i := range v {
			v[i] = byte(r.Uint32())
		}
	}
	return v
}

// randomDelta has puts, deletes of what is there and of what is not, and
// sometimes nothing, or one whole part of the map deleted.
func randomDelta(r *rand.Rand, m model) []Entry {
	var out []Entry
	if len(m) > 0 && r.IntN(6) == 0 {
		i := r.IntN(len(m))
		for _, e := range m[i:min(len(m), i+1+r.IntN(1+len(m)/2))] {
			out = append(out, Entry{Key: e.Key, Dead: true})
		}
	}
	narrow := r.IntN(2) == 0
	base := randomKey(r)
	for range r.IntN([]int{1, 4, 40, 400}[r.IntN(4)]) {
		k := randomKey(r)
		if narrow {
			k = append(bytes.Clone(base[:min(len(base), 9)]), k[:min(len(k), 12)]...)
		}
		e := Entry{Key: k, Dead: r.IntN(4) == 0}
		if !e.Dead {
			e.Value = randomValue(r)
		}
		out = append(out, e)
	}
	slices.SortStableFunc(out, func(a, b Entry) int { return bytes.Compare(a.Key, b.Key) })
	return slices.CompactFunc(out, func(a, b Entry) bool { return bytes.Equal(a.Key, b.Key) })
}

// TestModel folds at random and compares every answer with a map's.
func TestModel(t *testing.T) {
	r := random(t)
	reused, gone, most, looked := 0, 0, 0, 0
	for range 24 {
		b := newBucket()
		var m model
		var runs []Run
		mem := NewMemory([]int64{0, 40 << 10, 1 << 20}[r.IntN(3)])
		targets := []int64{1, 600, 4 << 10, 64 << 10, 0}
		for range 40 {
			d := randomDelta(r, m)
			o := b.options()
			o.Target = targets[r.IntN(len(targets))]
			switch o.Plan = MakePlan(runs, size(d)); r.IntN(8) {
			case 0, 1, 2, 3:
				o.Plan.Merge = 0
			case 4, 5:
				o.Plan.Merge = r.IntN(len(runs) + 1)
			}
			if len(runs) > 10 {
				o.Plan.Merge = len(runs) - r.IntN(4)
			}
			if r.IntN(3) == 0 {
				b.forget()
			}
			merged := slices.Concat(runs[:o.Plan.Merge]...)
			runs = b.fold(t, runs, d, o)
			m = m.apply(d)
			for _, table := range merged {
				if slices.Contains(names(runs), table.Name.String()) {
					reused++
				}
			}
			for i, run := range runs {
				for j, table := range run {
					if i == len(runs)-1 && table.Dead > 0 {
						t.Fatalf("%d tombstones over nothing", table.Dead)
					}
					if j > 0 && bytes.Compare(run[j-1].Last, table.First) >= 0 {
						t.Fatal("tables of a run meet")
					}
				}
			}
			if most = max(most, len(runs)); len(runs) == 0 {
				gone++
			}
			s := NewSet(runs, b, mem)
			if r.IntN(2) == 0 {
				b.forget()
			}
			for range 30 {
				k := randomKey(r)
				if len(m) > 0 && r.IntN(2) == 0 {
					k = m[r.IntN(len(m))].Key
				}
				want, ok := m.get(k)
				v, _, err := get(t, s, k)
				if ok && (err != nil || !bytes.Equal(v, want)) || !ok && !errors.Is(err, meta.ErrAbsent) {
					t.Fatalf("get %x: %x, %v; want %x, %v", k, v, err, want, ok)
				}
				looked++
			}
			for range 6 {
				from, to := randomRange(r, m, runs)
				compareScan(t, s, m, from, to)
			}
			if used := mem.Used(); used > mem.limit {
				t.Fatalf("%d bytes kept of %d", used, mem.limit)
			}
		}
	}
	t.Logf("%d tables used again, %d times nothing left, %d runs at most, %d lookups", reused, gone, most, looked)
	if reused == 0 || most < 3 {
		t.Error("the test does not reach what it is for")
	}
}

// randomRange has ends anywhere, on keys and on the borders of tables.
func randomRange(r *rand.Rand, m model, runs []Run) (from, to []byte) {
	end := func() []byte {
		switch run := r.IntN(len(runs) + 3); {
		case run < len(runs):
			table := runs[run][r.IntN(len(runs[run]))]
			k := table.First
			if r.IntN(2) == 0 {
				k = table.Last
			}
			if r.IntN(2) == 0 && len(k) < MaxKey {
				return append(bytes.Clone(k), 0)
			}
			return k
		case run == len(runs) && len(m) > 0:
			return m[r.IntN(len(m))].Key
		}
		return randomKey(r)
	}
	if r.IntN(3) == 0 {
		ino := uint64(1 + r.IntN(20))
		return meta.DirentKey(meta.Ino(ino), nil), meta.DirentKey(meta.Ino(ino+1), nil)
	}
	if from, to = end(), end(); bytes.Compare(from, to) > 0 {
		from, to = to, from
	}
	return from, to
}

func compareScan(t *testing.T, s *Set, m model, from, to []byte) {
	t.Helper()
	keys, values, _, err := scan(t, s, from, to)
	if err != nil {
		t.Fatal(err)
	}
	want := m[m.at(from):m.at(to)]
	if len(want) != len(keys) {
		t.Fatalf("scan of [%x, %x): %d keys, want %d", from, to, len(keys), len(want))
	}
	for i := range want {
		if !bytes.Equal(want[i].Key, keys[i]) || !bytes.Equal(want[i].Value, values[i]) {
			t.Fatalf("scan of [%x, %x): number %d is %x, want %x, or has another value", from, to, i, keys[i], want[i].Key)
		}
	}
}

func size(delta []Entry) (n uint64) {
	for _, e := range delta {
		n += uint64(len(e.Key) + len(e.Value))
	}
	return n
}

func names(runs []Run) (out []string) {
	for _, r := range runs {
		for _, t := range r {
			out = append(out, t.Name.String())
		}
	}
	return out
}
