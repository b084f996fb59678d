package volume

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
)

const piece = 128 << 10 // what the kernel asks for at a time

// A watch notes what a sequence of reads has fetched of one file.
type watch struct {
	ahead
	t       *testing.T
	size    uint64
	fetched []span
	bytes   uint64
	most    uint64 // that the furthest fetched lay ahead of its read
}

func (w *watch) reads(off, n uint64) []span {
	s, what := w.read(1, off, n, w.size)
	for _, p := range what {
		if s == nil || p.from >= p.to || p.to > w.size {
			w.t.Fatalf("a read of %d at %d fetches %v", n, off, p)
		}
		w.bytes += p.to - p.from
		w.most = max(w.most, distance(p.to, off+n), distance(p.from, off))
	}
	w.fetched = append(w.fetched, what...)
	return what
}

// covered tells whether all of [from, to) was fetched.
func (w *watch) covered(from, to uint64) bool {
	for from < to {
		was := from
		for _, p := range w.fetched {
			if p.from <= from && p.to > from {
				from = p.to
			}
		}
		if from == was {
			return false
		}
	}
	return true
}

func TestReadingForwardFetchesAhead(t *testing.T) {
	const size = 200<<20 + 12345
	w := &watch{t: t, size: size}
	for off := uint64(0); off < size; off += piece {
		n := min(piece, size-off)
		far := uint64(0)
		for _, p := range w.reads(off, n) {
			far = max(far, p.to)
			if read := off + n; p.from < read || p.to-read > max(windowMin, 2*read) || p.to-p.from < pieceMin && p.to < size {
				t.Fatalf("having read %d bytes it fetches %d to %d", read, p.from, p.to)
			}
		}
		if off == 0 && far > 0 {
			t.Error("the first read fetches ahead")
		}
		// Once it is known, no read finds that nothing was asked for.
		if off >= 2*piece && !w.covered(off, off+n) {
			t.Fatalf("what is read at %d was not fetched", off)
		}
		if off > 40<<20 && off < 160<<20 && !w.covered(off, off+windowMax-pieceMax-2*piece) {
			t.Fatalf("at %d too little is ahead", off)
		}
	}
	if w.bytes > size || w.most > windowMax {
		t.Errorf("fetched %d of %d bytes, up to %d ahead", w.bytes, size, w.most)
	}
}

func TestReadingBackwardFetchesAhead(t *testing.T) {
	const size = 64 << 20
	w := &watch{t: t, size: size}
	for off := int64(size - piece); off >= 0; off -= piece {
		w.reads(uint64(off), piece)
		if off < size-3*piece && !w.covered(uint64(off), uint64(off)+piece) {
			t.Fatalf("what is read at %d was not fetched", off)
		}
	}
	if w.bytes > size || w.most > windowMax+piece {
		t.Errorf("fetched %d of %d bytes, up to %d ahead", w.bytes, size, w.most)
	}
}

// Equal steps: with little between the reads all is fetched, with much only they.
func TestReadingInStepsFetchesAhead(t *testing.T) {
	const size = 1 << 30
	for _, step := range []int64{8 << 10, 100 << 10, 1 << 20, 3<<20 + 77, -(100 << 10), -(2 << 20)} {
		w := &watch{t: t, size: size}
		const n = 4096
		first := int64(512 << 20)
		reads := int64(100)
		for i := range reads {
			off := uint64(first + i*step)
			w.reads(off, n)
			if i >= 6 && !w.covered(off, off+n) {
				t.Fatalf("step %d: read %d was not fetched", step, i)
			}
		}
		most := uint64(reads*max(step, -step)) + windowMax
		if max(step, -step) > stepDense+n {
			most = uint64(reads+stepsMax) * n
		}
		if w.bytes > most {
			t.Errorf("step %d: fetched %d bytes, want %d at most", step, w.bytes, most)
		}
	}
	// They end with the file.
	for _, step := range []int64{1 << 20, -(1 << 20)} {
		w := &watch{t: t, size: 10 << 20}
		for i := range int64(10) {
			w.reads(uint64(max(0, -step*9)+step*i), 4096)
		}
	}
}

func TestReadingAnywhereFetchesNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	w := &watch{t: t, size: 10 << 30}
	for range 20000 {
		w.reads(rng.Uint64N(w.size/4096)*4096, 4096)
	}
	if w.bytes > 8<<20 { // by chance
		t.Errorf("20000 random reads fetch %d bytes more", w.bytes)
	}
	// Nor does reading a small file.
	w = &watch{t: t, size: 256 << 10}
	w.reads(0, piece)
	if w.reads(piece, piece); w.bytes > 0 {
		t.Error("a small file is fetched ahead")
	}
}

// The kernel's requests come in another order than it sent them.
func TestReadsOutOfOrder(t *testing.T) {
	const size = 100 << 20
	w := &watch{t: t, size: size}
	rng := rand.New(rand.NewPCG(1, 2))
	for group := uint64(0); group < size; group += 4 * piece {
		for _, i := range rng.Perm(4) {
			w.reads(group+uint64(i)*piece, piece)
		}
	}
	if !w.covered(4<<20, size) || w.bytes > size+size/10 {
		t.Errorf("fetched %d of %d bytes", w.bytes, size)
	}
}

// Several readers of one file, and somebody who reads here and there.
func TestReadersOfOneFile(t *testing.T) {
	const size, part = 1 << 30, 32 << 20
	w := &watch{t: t, size: size}
	rng := rand.New(rand.NewPCG(1, 2))
	starts := []uint64{0, 300 << 20, 600 << 20}
	for off := uint64(0); off < part; off += piece {
		for _, s := range starts {
			w.reads(s+off, piece)
		}
		w.reads(800<<20+rng.Uint64N(100<<20)&^4095, 4096)
	}
	for _, s := range starts {
		if !w.covered(s+2*piece, s+part) {
			t.Errorf("the reader at %d has nothing fetched", s)
		}
	}
	if w.covered(800<<20, 801<<20) {
		t.Error("fetched for the one who reads here and there")
	}
}

// All readers together have a limit, and those who stopped do not count.
func TestBudgetOfAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a ahead
		const size = 1 << 30
		sum := func() (sum uint64) {
			for _, w := range a.files {
				for _, s := range w.streams {
					sum += distance(s.head, s.edge)
				}
			}
			return sum
		}
		for off := uint64(0); off < 64<<20; off += piece {
			for ino := range meta.Ino(6) {
				a.read(ino+1, off, piece, size)
			}
			if n := sum(); n > windowAll+windowMin {
				t.Fatalf("%d bytes are ahead of all", n)
			}
		}
		time.Sleep(idle)
		off := uint64(64 << 20)
		for range 200 {
			a.read(1, off, piece, size)
			off += piece
		}
		s := a.files[1].streams[0]
		if got := s.edge - s.head; got < windowMax-pieceMax {
			t.Errorf("only %d bytes are ahead of the one that goes on", got)
		}
		// What is known of files and packs is bounded.
		for ino := range meta.Ino(1000) {
			a.read(ino+1, 0, piece, size)
			a.read(ino+1, 10<<20, piece, size)
			a.scan(ino+1, meta.PackNo(ino+1))
		}
		if len(a.files) != filesMax || len(a.packs) != packsMax {
			t.Errorf("%d files, %d packs", len(a.files), len(a.packs))
		}
	})
}

// What was refused is asked for again.
func TestRefusedIsAskedForAgain(t *testing.T) {
	var a ahead
	a.read(1, 0, piece, 1<<30)
	s, what := a.read(1, piece, piece, 1<<30)
	if len(what) != 1 {
		t.Fatalf("%v", what)
	}
	a.refused(s, what[0], what[0].from+1000)
	_, again := a.read(1, 2*piece, piece, 1<<30)
	if len(again) != 1 || again[0].from != 3*piece {
		t.Errorf("refused from %d on, asks for %v", what[0].from+1000, again)
	}
}

func TestScan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a ahead
		for i, c := range []struct {
			wait time.Duration
			ino  meta.Ino
			pack meta.PackNo
			want []meta.PackNo
		}{
			{0, 1, 7, nil}, {0, 1, 7, nil}, {0, 2, 7, nil}, // two files
			{0, 3, 7, []meta.PackNo{7}},    // the third
			{0, 4, 7, nil},                 // it was fetched
			{0, 5, 8, []meta.PackNo{8, 9}}, // in order, so the next will be wanted too
			{0, 6, 20, []meta.PackNo{20}},  // still going on, elsewhere
			{idle, 7, 21, nil},             // too late
			{0, 8, 21, nil},
			{idle, 9, 21, nil}, // begins anew
			{0, 10, 21, nil},
			{0, 11, 21, []meta.PackNo{21}},
		} {
			time.Sleep(c.wait)
			if got := a.scan(c.ino, c.pack); fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("step %d: %v, want %v", i, got, c.want)
			}
		}
	})
}

// slow answers as a store does that is some way off, and notes how many requests
// are on their way at a time.
type slow struct {
	store.Bucket
	rtt time.Duration

	now, most, gets, bytes atomic.Int64
}

func (s *slow) Get(ctx context.Context, name string, off, length int64) ([]byte, error) {
	s.gets.Add(1)
	n := s.now.Add(1)
	defer s.now.Add(-1)
	for m := s.most.Load(); n > m && !s.most.CompareAndSwap(m, n); m = s.most.Load() {
	}
	time.Sleep(s.rtt)
	b, err := s.Bucket.Get(ctx, name, off, length)
	s.bytes.Add(int64(len(b)))
	return b, err
}

func (s *slow) reset() { s.most.Store(0); s.gets.Store(0); s.bytes.Store(0) }

// cold is a new machine whose store is 20 ms away, after a look at the root.
func (w *world) cold() (*machine, *slow) {
	w.t.Helper()
	m := w.machine("cold")
	s := &slow{Bucket: w.objects}
	m.bucket = s
	m.mustOpen()
	s.rtt = 20 * time.Millisecond
	return m, s
}

// contents returns n bytes that look like no others.
func contents(n int) string {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)}).Read(b)
	return string(b)
}

// Reading a large file is not a round trip a pack: several are on their way.
func TestColdSequentialRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 48 << 20
		w := newWorld(t)
		data := contents(size)
		as(w.laptop, write("big", data), lock)
		m, s := w.cold()
		_, _, a, err := m.find("big")
		if err != nil {
			t.Fatal(err)
		}
		s.reset()
		begin, dst := time.Now(), make([]byte, piece)
		for off := 0; off < size; off += piece {
			n, err := m.v.Read(t.Context(), a.Ref, uint64(off), dst)
			if err != nil || string(dst[:n]) != data[off:off+n] {
				t.Fatalf("at %d: %d bytes, %v", off, n, err)
			}
		}
		rounds := time.Since(begin) / s.rtt
		if rounds > 9 || s.most.Load() < 3 {
			t.Errorf("%d round trips for 12 packs, %d requests at a time", rounds, s.most.Load())
		}
		if got := s.gets.Load(); got > 30 {
			t.Errorf("%d requests", got)
		}
		m.crash()
	})
}

// A small read of a large file that is not here is one round trip: a tail and a
// segment, at the same time.
func TestColdReadIsOneRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		data := contents(20 << 20)
		as(w.laptop, write("big", data), lock)
		m, s := w.cold()
		_, _, a, err := m.find("big")
		if err != nil {
			t.Fatal(err)
		}
		s.reset()
		begin, dst, off := time.Now(), make([]byte, 4096), 9<<20+123
		n, err := m.v.Read(t.Context(), a.Ref, uint64(off), dst)
		if err != nil || string(dst[:n]) != data[off:off+n] {
			t.Fatalf("%d bytes, %v", n, err)
		}
		if d := time.Since(begin); d != s.rtt || s.gets.Load() != 2 || s.most.Load() != 2 || s.bytes.Load() > 70<<10 {
			t.Errorf("%d requests, %d at a time, %d bytes, %v", s.gets.Load(), s.most.Load(), s.bytes.Load(), d)
		}
		m.crash()
	})
}

// Small reads here and there fetch a segment each, and the tail of each pack once.
func TestColdRandomReads(t *testing.T) {
	const size, reads = 40 << 20, 60
	w := newWorld(t)
	data := contents(size)
	as(w.laptop, write("big", data), lock)
	m, s := w.cold()
	s.rtt = 0
	_, _, a, err := m.find("big")
	if err != nil {
		t.Fatal(err)
	}
	s.reset()
	rng, dst := rand.New(rand.NewPCG(3, 4)), make([]byte, 4096)
	for range reads {
		off := rng.IntN(size/4096) * 4096
		if n, err := m.v.Read(t.Context(), a.Ref, uint64(off), dst); err != nil || string(dst[:n]) != data[off:off+n] {
			t.Fatalf("at %d: %d bytes, %v", off, n, err)
		}
	}
	m.v.reader.Close()
	if each := s.bytes.Load() / reads; each > 130<<10 {
		t.Errorf("%d bytes a read, %d requests", each, s.gets.Load())
	}
}

// Many small files come with their packs, whatever the order in which they are read.
func TestColdSmallFiles(t *testing.T) {
	for name, order := range map[string]func(i, n int) int{
		"in order":    func(i, _ int) int { return i },
		"backward":    func(i, n int) int { return n - 1 - i },
		"in no order": func(i, n int) int { return i * 37 % n },
	} {
		t.Run(name, func(t *testing.T) {
			const files = 500
			w := newWorld(t)
			var acts []act
			for i := range files {
				acts = append(acts, write(fmt.Sprintf("f%03d", i), contents(20<<10+i)))
			}
			as(w.laptop, append(acts, lock)...)
			m, s := w.cold()
			s.rtt = 0
			var all []Attr
			for i := range files {
				_, _, a, err := m.find(fmt.Sprintf("f%03d", i))
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, a)
			}
			s.reset()
			for i := range files {
				k := order(i, files)
				if b, err := m.content(all[k]); err != nil || string(b) != contents(20<<10+k) {
					t.Fatalf("file %d: %d bytes, %v", k, len(b), err)
				}
			}
			// Three packs, with a tail, some segments and the rest of each.
			if got := s.gets.Load(); got > 12 {
				t.Errorf("%d requests for %d files", got, files)
			}
		})
	}
}

// A guess that comes to nothing disturbs nobody.
func TestFetchingAheadFails(t *testing.T) {
	w := newWorld(t)
	data := contents(20 << 20)
	as(w.laptop, write("big", data), lock)
	m := w.machine("other")
	m.mustOpen()
	_, _, a, err := m.find("big")
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int64
	w.faults.Add(fault.On(fault.Get, 0, func(ctx context.Context, r fault.Request) fault.Answer {
		// What is fetched ahead is 1 MiB and more at a time.
		if r.Length > 512<<10 {
			n.Add(1)
			return fault.Answer{Err: store.ErrUnavailable}
		}
		return r.Do(ctx)
	}))
	dst := make([]byte, piece)
	for off := 0; off < len(data); off += piece {
		if n, err := m.v.Read(t.Context(), a.Ref, uint64(off), dst); err != nil || string(dst[:n]) != data[off:off+n] {
			t.Fatalf("at %d: %d bytes, %v", off, n, err)
		}
	}
	if n.Load() == 0 {
		t.Error("nothing was fetched ahead")
	}
	if s := m.v.Status(); len(s.Damaged) > 0 {
		t.Errorf("damaged: %v", s.Damaged)
	}
}

// A file of pieces from everywhere, with holes, is read piece by piece at the
// same time, and comes out right.
func TestReadFragments(t *testing.T) {
	w := newWorld(t)
	m := w.laptop
	m.mustOpen()
	a, err := m.touch("db")
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 6))
	want := make([]byte, 6<<20)
	for i := range 300 {
		off, b := rng.IntN(len(want)-8192), []byte(contents(1000+i*7))
		if i%5 == 0 {
			b = []byte(strings.Repeat("x", 8192))
		}
		copy(want[off:], b)
		if err := m.v.Write(t.Context(), a.Ref, uint64(off), b); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.v.Write(t.Context(), a.Ref, uint64(len(want)-1), want[len(want)-1:]); err != nil {
		t.Fatal(err)
	}
	as(m, lock)
	other := w.machine("other")
	other.mustOpen()
	if _, _, a, err = other.find("db"); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			if got, err := io.ReadAll(io.NewSectionReader(reader{other.v, a.Ref}, 0, int64(len(want)))); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	all.Wait()
}

// reader is a file as an io.ReaderAt.
type reader struct {
	v   *Volume
	ref meta.Ref
}

func (r reader) ReadAt(b []byte, off int64) (int, error) {
	n, err := r.v.Read(context.Background(), r.ref, uint64(off), b)
	if err == nil && n < len(b) {
		err = io.EOF
	}
	return n, err
}
