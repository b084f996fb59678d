package block

import (
	"syscall"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/store/dir"
)

// BenchmarkSequential reads 64 MiB in pieces of 128 KiB, as the kernel asks for
// them, by as many readers as the kernel has requests on their way.
func BenchmarkSequential(b *testing.B) {
	const packs, piece = 16, 128 << 10
	data := random(packSize, 1)
	for _, shift := range []struct {
		name string
		by   int
	}{{"aligned", 0}, {"not aligned", 5000}} {
		for _, c := range []struct {
			name string
			put  func(w *world) Object
		}{
			{"local file", func(w *world) Object { return w.local(crypt.TypePack, data) }},
			{"cache", func(w *world) Object { return w.adopted(data) }},
			{"folder", nil},
		} {
			b.Run(c.name+", "+shift.name, func(b *testing.B) {
				w := newWorld(b).cached()
				var all []Object
				readers := func() *Reader { return w.reader() }
				if c.name == "folder" {
					bucket, err := dir.Open(b.TempDir(), dir.Options{Create: true})
					must(b, err)
					for range packs {
						o, sealed := w.seal(crypt.TypePack, data)
						must(b, bucket.PutIfAbsent(background, place1(o), sealed))
						all = append(all, o)
					}
					readers = func() *Reader { return w.readerOver(bucket) }
				} else {
					for range packs {
						all = append(all, c.put(w))
					}
				}
				dst := make([]byte, piece)
				defer cpu(b, packs*packSize)()
				b.SetBytes(packs * (packSize - int64(shift.by)))
				b.ReportAllocs()
				for b.Loop() {
					r := readers()
					ahead := 0
					for i, o := range all {
						for ; ahead < min(len(all), i+4); ahead++ {
							r.Prefetch(all[ahead], 0, packSize)
						}
						for off := shift.by; off < packSize; off += piece {
							must(b, r.ReadAt(background, o, int64(off), dst[:min(piece, packSize-off)]))
						}
					}
					r.Close()
					for _, o := range all {
						if c.name == "folder" {
							w.cache.DropObject(o.Name.String())
						}
					}
				}
			})
		}
	}
}

// BenchmarkRandom reads 4 KiB at a time.
func BenchmarkRandom(b *testing.B) {
	data := random(packSize, 1)
	for _, c := range []struct {
		name string
		put  func(w *world) Object
	}{
		{"memory", func(w *world) Object { return w.local(crypt.TypePack, data) }},
		{"local file", func(w *world) Object { w.memory = 1; return w.local(crypt.TypePack, data) }},
		{"cache", func(w *world) Object { w.memory = 1; return w.adopted(data) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			w := newWorld(b).cached()
			o := c.put(w)
			r := w.reader()
			dst := make([]byte, 4096)
			defer cpu(b, 0)()
			b.SetBytes(4096)
			b.ReportAllocs()
			for n := 0; b.Loop(); n += 7*segmentSize + 4096 {
				must(b, r.ReadAt(background, o, int64(n%packSize), dst))
			}
		})
	}
}

// cpu reports processor time, which is the same on a busy machine: an operation,
// and for each GiB.
func cpu(b *testing.B, bytes int64) (report func()) {
	used := func() int64 {
		var u syscall.Rusage
		must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
		return u.Utime.Nano() + u.Stime.Nano()
	}
	before := used()
	return func() {
		ns := float64(used()-before) / float64(b.N)
		b.ReportMetric(ns, "cpu-ns/op")
		if bytes > 0 {
			b.ReportMetric(ns/1e9*float64(1<<30)/float64(bytes), "cpu-s/GiB")
		}
	}
}
