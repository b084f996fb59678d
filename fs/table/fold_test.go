package table

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// script folds deltas, each with the number of runs that take part.
type script struct {
	merge int
	delta []Entry
}

func (b *bucket) play(t *testing.T, steps ...script) []Run {
	t.Helper()
	var runs []Run
	for _, s := range steps {
		o := b.options()
		o.Plan.Merge = s.merge
		runs = b.fold(t, runs, s.delta, o)
	}
	return runs
}

func TestTombstones(t *testing.T) {
	oldest := script{0, puts("old", "b", "d", "f")}
	for _, c := range []struct {
		name  string
		steps []script
		runs  int
		dead  uint64
		all   string
	}{
		{"over nothing", []script{{0, dead("a", "b")}}, 0, 0, ""},
		{"between the keys of an older run", []script{oldest, {0, dead("c")}}, 2, 1, "b = old b\nd = old d\nf = old f\n"},
		{"beside the keys of an older run", []script{oldest, {0, dead("a", "g")}}, 1, 0, "b = old b\nd = old d\nf = old f\n"},
		{"of the first key and the last", []script{oldest, {0, dead("b", "f")}}, 2, 2, "d = old d\n"},
		{"merged with its key", []script{oldest, {1, dead("b")}}, 1, 0, "d = old d\nf = old f\n"},
		{"merged with all there is", []script{oldest, {1, dead("b", "d", "f")}}, 0, 0, ""},
		{"the oldest run stays out", []script{oldest, {0, puts("mid", "d")}, {1, dead("d")}}, 2, 1, "b = old b\nf = old f\n"},
		{"then it takes part", []script{oldest, {0, puts("mid", "d")}, {1, dead("d")}, {2, puts("new", "z")}}, 1, 0, "b = old b\nf = old f\nz = new z\n"},
		{"put again above it", []script{oldest, {0, dead("d")}, {0, puts("new", "d")}}, 3, 1, "b = old b\nd = new d\nf = old f\n"},
		{"put again, merged", []script{oldest, {0, dead("d")}, {1, puts("new", "d")}}, 2, 0, "b = old b\nd = new d\nf = old f\n"},
		{"deleted twice, merged", []script{oldest, {0, dead("d")}, {1, dead("d")}}, 2, 1, "b = old b\nf = old f\n"},
		{"a fold of nothing takes them away", []script{oldest, {0, dead("d")}, {2, nil}}, 1, 0, "b = old b\nf = old f\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBucket()
			s := NewSet(b.play(t, c.steps...), b, NewMemory(1<<20))
			if got := all(t, s); got != c.all {
				t.Errorf("holds:\n%swant:\n%s", got, c.all)
			}
			if len(s.Runs()) != c.runs || s.Dead() != c.dead {
				t.Errorf("%d runs, %d tombstones", len(s.Runs()), s.Dead())
			}
		})
	}
}

// filled has a key for each number from from to below to, with values that do
// not compress, 1 KiB each.
func filled(word string, from, to int) []Entry {
	m := map[string][]byte{}
	for i := from; i < to; i++ {
		var v []byte
		for j := range 32 {
			h := hashOf(fmt.Appendf(nil, "%s %d %d", word, i, j))
			for _, w := range h {
				v = append(v, byte(w), byte(w>>8), byte(w>>16), byte(w>>24))
			}
		}
		m[fmt.Sprintf("k%05d", i)] = v
	}
	return delta(m)
}

func TestReuse(t *testing.T) {
	const target = 64 << 10
	b := newBucket()
	o := b.options()
	o.Target = target
	base := b.fold(t, nil, filled("base", 0, 1000), o)
	if len(base) != 1 || len(base[0]) < 10 {
		t.Fatalf("%d tables", len(base[0]))
	}
	third := base[0][3]
	for _, c := range []struct {
		name  string
		delta []Entry
		runs  []Run
		kept  int // tables used again
	}{
		{"nothing to add", nil, base, len(base[0])},
		{"before all", puts("new", "a"), base, len(base[0]) - 1}, // one small table goes into the next
		{"much before all", filled("new", -1000, -900), base, len(base[0])},
		{"behind all", puts("new", "z"), base, len(base[0])},
		{"the first key of a table", puts("new", string(third.First)), base, len(base[0]) - 1},
		{"the last key of a table", puts("new", string(third.Last)), base, len(base[0]) - 1},
		{"below the first key", puts("new", string(third.First[:len(third.First)-1])), base, len(base[0]) - 1},
		{"above the last key", puts("new", string(third.Last)+"0"), base, len(base[0]) - 1},
		{"the first and the last", puts("new", "k00000", "k00999"), base, len(base[0]) - 2},
		{"tombstones", dead(string(third.First)), base, len(base[0]) - 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var want model
			for _, r := range slices.Backward(c.runs) {
				for _, e := range r {
					want = want.apply(decoded(t, b, e))
				}
			}
			want = want.apply(c.delta)
			o := b.options()
			o.Target, o.Plan.Merge = target, len(c.runs)
			runs := b.fold(t, c.runs, c.delta, o)
			had, kept := names(c.runs), 0
			for _, n := range names(runs) {
				if slices.Contains(had, n) {
					kept++
				}
			}
			if last := c.runs[0][len(c.runs[0])-1]; last.Length < target/smallPart {
				c.kept-- // which is short by chance
			}
			if kept != c.kept {
				t.Errorf("%d tables used again, want %d", kept, c.kept)
			}
			compareScan(t, NewSet(runs, b, NewMemory(1<<20)), want, []byte{0}, []byte{0xff})
		})
	}
}

// decoded is what stands in a table.
func decoded(t testing.TB, b *bucket, table Table) (out []Entry) {
	s := NewSet([]Run{{table}}, b, NewMemory(1<<20))
	err := s.Scan([]byte{0}, bytes.Repeat([]byte{0xff}, MaxKey+1), func(k, v []byte) bool {
		out = append(out, Entry{Key: bytes.Clone(k), Value: v})
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestNoSmallTables folds keys into the gaps between tables again and again.
func TestNoSmallTables(t *testing.T) {
	b := newBucket()
	var runs []Run
	o := b.options()
	o.Target = 32 << 10
	for i := range 60 {
		o.Plan.Merge = len(runs)
		var d []Entry
		for j := range 20 {
			d = append(d, filled("x", j*1000+i, j*1000+i+1)...)
		}
		runs = b.fold(t, runs, d, o)
	}
	small := 0
	for _, table := range runs[0] {
		if table.Length < o.Target/smallPart {
			small++
		}
	}
	if s := NewSet(runs, b, NewMemory(0)); small > 1 || int64(s.Tables()) > 8*s.Bytes()/o.Target {
		t.Errorf("%d small ones of %d tables, of %d bytes", small, s.Tables(), s.Bytes())
	}
}

func TestLargestEntries(t *testing.T) {
	b := newBucket()
	key := func(c byte) []byte { return append(bytes.Repeat([]byte{'a'}, MaxKey-1), c) }
	value := make([]byte, MaxValue)
	for i := range value {
		value[i] = byte(i * i >> 7)
	}
	d := []Entry{{Key: []byte{'a'}, Value: []byte{}}, {Key: key(1), Value: value}, {Key: key(2), Value: value}, {Key: key(3), Value: make([]byte, MaxValue)}, {Key: []byte("b"), Value: nil}}
	runs := b.fold(t, nil, d, b.options())
	compareScan(t, NewSet(runs, b, NewMemory(1<<20)), model(d), []byte{0}, []byte{0xff})
	for _, e := range d {
		if v, _, err := get(t, NewSet(runs, b, NewMemory(0)), e.Key); err != nil || v == nil || !bytes.Equal(v, e.Value) {
			t.Errorf("%d bytes, %v", len(v), err)
		}
	}
	for _, o := range []int64{1, 0} {
		options := b.options()
		options.Plan.Merge, options.Target = 1, o
		again := b.fold(t, runs, dead(string(key(2))), options)
		compareScan(t, NewSet(again, b, NewMemory(1<<20)), model(slices.Delete(slices.Clone(d), 2, 3)), []byte{0}, []byte{0xff})
	}
}

func TestFoldRefuses(t *testing.T) {
	b := newBucket()
	runs := b.play(t, script{0, puts("old", "b", "d")})
	one := func(key string, value int) []Entry { return []Entry{{Key: []byte(key), Value: make([]byte, value)}} }
	for _, c := range []struct {
		name  string
		delta []Entry
	}{
		{"no key", one("", 1)},
		{"a key too long", one(strings.Repeat("k", MaxKey+1), 1)},
		{"a value too long", one("k", MaxValue+1)},
		{"a key twice", append(one("k", 1), one("k", 1)...)},
		{"descending", append(one("k", 1), one("j", 1)...)},
		{"tombstones descending", append(dead("k"), dead("j")...)},
	} {
		for merge := range 2 {
			o := b.options()
			o.Plan.Merge = merge
			if _, err := Fold(t.Context(), runs, entries(c.delta), o); !errors.Is(err, ErrEntry) {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	}
	broken := errors.New("broken")
	_, err := Fold(t.Context(), runs, func(yield func(Entry, error) bool) {
		_ = yield(Entry{Key: []byte("a")}, nil) && yield(Entry{}, broken)
	}, b.options())
	if !errors.Is(err, broken) {
		t.Errorf("an error of the delta: %v", err)
	}
	b.fail = broken
	if _, err := Fold(t.Context(), runs, entries(puts("new", "c")), b.options()); !errors.Is(err, broken) {
		t.Errorf("an error of Write: %v", err)
	}

	// Each value is a block, and each block a table.
	var many []Entry
	for i := range MaxTables + 1 {
		many = append(many, Entry{Key: fmt.Appendf(nil, "%05d", i), Value: make([]byte, blockSize)})
	}
	o := b.options()
	o.Target = 1
	if _, err := Fold(t.Context(), nil, entries(many), o); !errors.Is(err, ErrTooMany) {
		t.Errorf("more tables than a list may have: %v", err)
	}
	if runs, err := Fold(t.Context(), nil, entries(many[1:]), o); err != nil || len(runs[0]) != MaxTables {
		t.Errorf("as many tables as a list may have: %v", err)
	}
}

// TestFoldStops ends a fold at each of its steps, by cancelling it and by
// failing, and folds again.
func TestFoldStops(t *testing.T) {
	b := newBucket()
	b.play(t)
	o := b.options()
	o.Target = 8 << 10
	runs := b.fold(t, nil, filled("old", 0, 500), o)
	runs = b.fold(t, runs, filled("mid", 100, 300), o)
	before := fmt.Sprint(runs)
	d := filled("new", 50, 350)
	o.Plan.Merge = 2
	want := all(t, NewSet(b.fold(t, runs, d, o), b, NewMemory(1<<20)))
	steps := 0
	for stop := 1; ; stop++ {
		b.forget()
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		o.Step = func() {
			if n++; n == stop {
				cancel()
			}
		}
		out, err := Fold(ctx, runs, entries(d), o)
		cancel()
		if n < stop {
			if err != nil || all(t, NewSet(out, b, NewMemory(1<<20))) != want {
				t.Errorf("a fold that nobody stopped: %v", err)
			}
			break
		}
		// The last steps may come after all that can be cancelled.
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("step %d: %v", stop, err)
		}
		if fmt.Sprint(runs) != before {
			t.Fatal("the runs were changed")
		}
		steps++
	}
	if steps < 10 {
		t.Errorf("%d steps only", steps)
	}
	o.Step = nil
	for stop := 0; ; stop++ {
		b.forget()
		n := 0
		broken := errors.New("broken")
		b.lose = func() bool {
			if n++; n == stop+1 {
				b.fail = broken
			}
			return false
		}
		_, err := Fold(t.Context(), runs, entries(d), o)
		if b.fail = nil; n <= stop {
			if err != nil {
				t.Error(err)
			}
			break
		}
		if err != nil && !errors.Is(err, broken) {
			t.Errorf("fetch %d: %v", stop, err)
		}
	}
}

// TestFarFold merges far runs, and looks at what it fetches.
func TestFarFold(t *testing.T) {
	b, runs, every := oneTable(t, 80_000)
	o := b.options()
	o.Target, o.Plan.Merge = maxTarget, 1
	var touch []Entry
	for i := 0; i < len(every); i += 1000 {
		touch = append(touch, Entry{Key: every[i].Key, Value: []byte("touched")})
	}
	got, err := Fold(t.Context(), runs, entries(touch), o)
	if err != nil {
		t.Fatal(err)
	}
	var sum, most int64
	fetches := b.fetches()
	for _, f := range fetches {
		sum += f.n
		most = max(most, f.n)
	}
	s := NewSet(runs, b, NewMemory(0))
	t.Logf("%d fetches of %d bytes, %d at most; %d tables of %d bytes", len(fetches), sum, most, s.Tables(), s.Bytes())
	if sum > s.Bytes() || len(fetches) > 2*s.Tables()+int(s.Bytes()/ahead)+1 || most > 2*ahead {
		t.Errorf("%d fetches, %d bytes, %d at most", len(fetches), sum, most)
	}
	b.all = true
	want := model(every).apply(touch)
	compareScan(t, NewSet(got, b, NewMemory(1<<20)), want, []byte{0}, []byte{0xff})

	// A place that keeps nothing of what is fetched must not make it spin.
	b.forget()
	b.lose = func() bool { return true }
	if _, err := Fold(t.Context(), runs, entries(touch), o); !errors.Is(err, ErrFar) {
		t.Errorf("a fold that gets nothing: %v", err)
	}
	if n := len(b.fetches()); n > 5 {
		t.Errorf("%d fetches for nothing", n)
	}
}

func TestPlan(t *testing.T) {
	run := func(plain uint64) Run { return Run{{Plain: plain}} }
	const mib = 1 << 20
	for _, c := range []struct {
		name  string
		sizes []uint64 // newest first
		delta uint64
		want  int
	}{
		{"nothing there", nil, 4 * mib, 0},
		{"one of its size", []uint64{4 * mib}, 4 * mib, 0},
		{"two of its size", []uint64{4 * mib, 4 * mib}, 4 * mib, 0},
		{"three of its size", []uint64{4 * mib, 4 * mib, 4 * mib}, 4 * mib, 3},
		{"three, and one of the next tier", []uint64{4 * mib, 4 * mib, 4 * mib, 16 * mib}, 4 * mib, 3},
		{"a full tier over a full tier", []uint64{4 * mib, 4 * mib, 4 * mib, 16 * mib, 16 * mib, 16 * mib}, 4 * mib, 6},
		{"one too many", []uint64{4 * mib, 4 * mib, 50 * mib}, 4 * mib, 2},
		{"four may stay", []uint64{4 * mib, 4 * mib, 60 * mib}, 4 * mib, 0},
		{"all of it is small", []uint64{100 << 10, 300 << 10, 500 << 10}, 1 << 10, 3},
		{"small ones over a large one", []uint64{100 << 10, 300 << 10, 900 * mib}, 1 << 10, 2},
		{"a delta larger than all", []uint64{4 * mib, 16 * mib}, 100 * mib, 2},
		{"six that ascend", []uint64{2 * mib, 20 * mib, 200 * mib, 2000 * mib, 20_000 * mib, 200_000 * mib}, mib, 1},
		{"six that ascend steeply", []uint64{200 * mib, 2000 * mib, 20_000 * mib, 200_000 * mib, 2_000_000 * mib, 20_000_000 * mib}, mib, 1},
	} {
		var runs []Run
		for _, s := range c.sizes {
			runs = append(runs, run(s))
		}
		if got := MakePlan(runs, c.delta); got.Merge != c.want {
			t.Errorf("%s: %d merge, want %d", c.name, got.Merge, c.want)
		}
	}
	// A life of equal deltas: few runs, and few bytes written again.
	for _, life := range []struct {
		deltas int
		most   float64
	}{{30, 2.9}, {300, 4.7}, {3000, 8.9}} {
		var runs []Run
		var written uint64
		for range life.deltas {
			n := MakePlan(runs, 4*mib).Merge
			sum := uint64(4 * mib)
			for _, r := range runs[:n] {
				sum += r.plain()
			}
			written += sum
			runs = append([]Run{run(sum)}, runs[n:]...)
			if len(runs) > stayMost || len(runs) > stayLeast && life.deltas*4*mib <= stayMore {
				t.Fatalf("%d runs", len(runs))
			}
		}
		got := float64(written) / float64(life.deltas*4*mib)
		t.Logf("%d deltas are written %.2f times", life.deltas, got)
		if got > life.most {
			t.Errorf("%d deltas are written %.2f times", life.deltas, got)
		}
	}
}
