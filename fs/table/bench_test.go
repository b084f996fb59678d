package table

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/meta"
)

// files makes deltas like those of creating files: 100 in a folder, each with a
// name, an inode and one extent, 100 to a pack; at and in folders in order.
func files(r *rand.Rand, from, n int) []Entry {
	out := make([]Entry, 0, 2*n+n/50+2)
	const each = 100
	ino := func(i int) meta.Ino { return meta.MakeIno(1, uint64(i+i/each+2)) }
	dir := func(i int) meta.Ref {
		return meta.Ref{Home: meta.Root, Ino: meta.MakeIno(1, uint64(i/each*(each+1)+1))}
	}
	words := []string{"report", "invoice", "IMG", "main", "index", "notes", "draft", "lib", "test", "final"}
	ends := []string{".pdf", ".jpg", ".go", ".txt", ".js", ".md", "", ".docx", ".c", ".png"}
	for i := from; i < from+n; i++ {
		at := meta.Time{Sec: 1_750_000_000 + int64(i/50), Nsec: r.Uint32N(1e9)}
		node := meta.Inode{
			Kind: meta.File, Perm: 0o644, UID: 1000, GID: 1000, Nlink: 1,
			Atime: at, Mtime: at, Ctime: at, Btime: at, Version: meta.Stamp{Device: 1, No: meta.OpNo(3 * (i + 1))}.Version(),
		}
		pack := meta.MakePack(1, uint64(i/each+1))
		d := dir(i)
		if i%each == 0 {
			folder := node
			folder.Kind, folder.Perm, folder.Nlink, folder.Parent = meta.Dir, 0o755, 2, meta.RootRef
			out = append(out,
				Entry{Key: meta.DirentKey(meta.Root, fmt.Appendf(nil, "folder%06d", i/each)), Value: meta.AppendDirent(nil, meta.Dirent{Ref: d, Kind: meta.Dir})},
				Entry{Key: meta.InodeKey(d), Value: meta.AppendInode(nil, &folder)},
				Entry{Key: meta.PackKey(pack), Value: meta.AppendPackRecord(nil, meta.PackRecord{Name: hash32(r), Length: 4 << 20, Epoch: 1})})
		}
		node.Size = r.Uint64N(80_000) + 1
		node.Extents = []meta.Extent{{Len: node.Size, Pack: pack, PackOff: r.Uint32N(4 << 20)}}
		ref := meta.Ref{Home: d.Ino, Ino: ino(i)}
		name := fmt.Appendf(nil, "%s-%d%s", words[r.IntN(10)], i%each*7919%10007, ends[r.IntN(10)])
		out = append(out,
			Entry{Key: meta.DirentKey(d.Ino, name), Value: meta.AppendDirent(nil, meta.Dirent{Ref: ref, Kind: meta.File})},
			Entry{Key: meta.InodeKey(ref), Value: meta.AppendInode(nil, &node)})
	}
	slices.SortFunc(out, func(a, b Entry) int { return bytes.Compare(a.Key, b.Key) })
	return slices.CompactFunc(out, func(a, b Entry) bool { return bytes.Equal(a.Key, b.Key) })
}

func hash32(r *rand.Rand) (b [32]byte) {
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// life folds deltas one after the other, as MakePlan says.
type life struct {
	b        *bucket
	runs     []Run
	deltas   int
	plain    uint64 // of all deltas
	mostRuns int
	sumRuns  int
}

func (l *life) fold(t testing.TB, d []Entry) {
	o := l.b.options()
	o.Plan = MakePlan(l.runs, size(d))
	runs, err := Fold(t.Context(), l.runs, entries(d), o)
	if err != nil {
		t.Fatal(err)
	}
	l.runs = runs
	l.deltas++
	l.plain += size(d)
	l.mostRuns = max(l.mostRuns, len(runs))
	l.sumRuns += len(runs)
}

func (l *life) report(t testing.TB) {
	s := NewSet(l.runs, l.b, NewMemory(0))
	t.Logf("%d deltas of %d bytes in plain: %d tables, %d bytes written: %.2f of plain, %.2f of what there is (%d bytes, %d entries, %d tables, list %d bytes); %.1f runs on average, %d at most",
		l.deltas, l.plain, l.b.tables, l.b.written, float64(l.b.written)/float64(l.plain), float64(l.b.written)/float64(s.Bytes()),
		s.Bytes(), s.Entries(), s.Tables(), len(AppendRuns(nil, l.runs)), float64(l.sumRuns)/float64(l.deltas), l.mostRuns)
}

const perDelta = 4 << 20 / 130 // files in 4 MiB of metadata

// BenchmarkMillionCreates is the life of a drive of a million files.
func BenchmarkMillionCreates(b *testing.B) {
	for b.Loop() {
		r := rand.New(rand.NewPCG(1, 1))
		l := life{b: newBucket()}
		b.StopTimer()
		var in [][]Entry
		for i := 0; i < 1_000_000; i += perDelta {
			in = append(in, files(r, i, min(perDelta, 1_000_000-i)))
		}
		b.StartTimer()
		for _, d := range in {
			l.fold(b, d)
		}
		b.SetBytes(int64(l.plain))
		b.ReportMetric(float64(l.b.written)/float64(l.plain), "written/plain")
		b.StopTimer()
		fetches, turns := firstListing(b, &l, 10_000)
		b.ReportMetric(float64(fetches), "fetches-to-ls")
		b.ReportMetric(float64(turns), "turns-to-ls")
		b.ReportMetric(float64(l.mostRuns), "runs")
		l.report(b)
		b.StartTimer()
	}
}

// BenchmarkRandomUpdates changes inodes here and there in a drive of a million
// files.
func BenchmarkRandomUpdates(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		r := rand.New(rand.NewPCG(1, 1))
		l := life{b: newBucket()}
		base := files(r, 0, 1_000_000)
		l.fold(b, base)
		l = life{b: l.b, runs: l.runs}
		l.b.written, l.b.tables = 0, 0
		var in [][]Entry
		for range 30 {
			var d []Entry
			for range 50_000 {
				if e := base[r.IntN(len(base))]; e.Key[0] == 'i' {
					d = append(d, e)
				}
			}
			slices.SortFunc(d, func(a, b Entry) int { return bytes.Compare(a.Key, b.Key) })
			in = append(in, slices.CompactFunc(d, func(a, b Entry) bool { return bytes.Equal(a.Key, b.Key) }))
		}
		b.StartTimer()
		for _, d := range in {
			l.fold(b, d)
		}
		b.SetBytes(int64(l.plain))
		b.ReportMetric(float64(l.b.written)/float64(l.plain), "written/plain")
		l.report(b)
	}
}

// million is a set of a million files in several runs.
func million(b *testing.B, n int) (*life, [][]byte) {
	r := rand.New(rand.NewPCG(1, 1))
	l := &life{b: newBucket()}
	var keys [][]byte
	for i := 0; i < n; i += perDelta {
		d := files(r, i, min(perDelta, n-i))
		l.fold(b, d)
		for range 1000 {
			keys = append(keys, d[r.IntN(len(d))].Key)
		}
	}
	return l, keys
}

func BenchmarkGet(b *testing.B) {
	l, keys := million(b, 300_000)
	for _, c := range []struct {
		name string
		mem  int64
	}{{"warm", 256 << 20}, {"decoding", 0}} {
		b.Run(c.name, func(b *testing.B) {
			s := NewSet(l.runs, l.b, NewMemory(c.mem))
			for _, k := range keys {
				if _, err := s.Get(k); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				if _, err := s.Get(keys[i*7919%len(keys)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("absent", func(b *testing.B) {
		s := NewSet(l.runs, l.b, NewMemory(256<<20))
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			i++
			k := append(keys[i*7919%len(keys)], 0)
			if _, err := s.Get(k); err != meta.ErrAbsent {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkScan(b *testing.B) {
	l, _ := million(b, 300_000)
	for _, c := range []struct {
		name string
		mem  int64
	}{{"warm", 256 << 20}, {"decoding", 1 << 20}} {
		b.Run(c.name, func(b *testing.B) {
			s := NewSet(l.runs, l.b, NewMemory(c.mem))
			n := 0
			for b.Loop() {
				if err := s.Scan([]byte{0}, []byte{0xff}, func(k, v []byte) bool { n++; return true }); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "entries/s")
		})
	}
	b.Run("folder", func(b *testing.B) {
		s := NewSet(l.runs, l.b, NewMemory(256<<20))
		i := 0
		for b.Loop() {
			i++
			dir := meta.DirentRange(meta.MakeIno(1, uint64(i*7919%3000*101+1)))
			n := 0
			if err := s.Scan(dir.From, dir.To, func(k, v []byte) bool { n++; return true }); err != nil || n != 100 {
				b.Fatal(n, err)
			}
		}
	})
}

// BenchmarkFoldOne merges a delta into a drive of 300,000 files, all of it.
func BenchmarkFoldOne(b *testing.B) {
	l, _ := million(b, 300_000)
	r := rand.New(rand.NewPCG(2, 2))
	d := files(r, 0, 1000)
	o := l.b.options()
	o.Plan.Merge, o.Target = len(l.runs), 4<<20
	var plain int64
	for _, run := range l.runs {
		for i := range run {
			plain += int64(run[i].Plain)
		}
	}
	b.SetBytes(plain)
	b.ReportAllocs()
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before, peak, n := m.HeapAlloc, uint64(0), 0
	write := o.Write
	o.Write = func(ctx context.Context, content []byte) (name crypt.Name, err error) { // keeps nothing
		if name, err = write(ctx, content); err == nil {
			delete(l.b.objects, name)
		}
		return name, err
	}
	o.Step = func() {
		if n++; n%64 == 0 {
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapAlloc)
		}
	}
	for b.Loop() {
		if _, err := Fold(b.Context(), l.runs, entries(d), o); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(peak-min(peak, before))/(1<<20), "MiB-heap")
}
