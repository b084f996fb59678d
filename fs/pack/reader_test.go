package pack

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
)

const segmentSize = crypt.SegmentSize

// Along the edges, from each place alone.
func TestReadFromEachPlace(t *testing.T) {
	const size = 3*segmentSize + 100
	data := random(size, 1)
	for place, put := range map[string]func(w *world) Info{
		"local file": func(w *world) Info { return w.sealed(data) },
		"cache": func(w *world) Info {
			i := w.sealed(data)
			w.publish(i, true)
			must(t, w.mem.Delete(background, objectName(i.Name)))
			return i
		},
		"bucket": func(w *world) Info {
			i := w.sealed(data)
			w.publish(i, false)
			return i
		},
	} {
		t.Run(place, func(t *testing.T) {
			w := newWorld(t, 0)
			i := put(w)
			for _, c := range [][2]int{
				{0, 0}, {0, 1}, {0, segmentSize}, {0, segmentSize + 1}, {segmentSize - 1, 1}, {segmentSize - 1, 2}, {segmentSize, 1},
				{segmentSize + 1, 2 * segmentSize}, {size - 1, 1}, {size, 0}, {0, size}, {1, size - 1}, {3 * segmentSize, 100},
			} {
				must(t, w.read(w.reader(), i, data, c[0], c[1]))
				must(t, w.read(w.r, i, data, c[0], c[1]))
			}
			for _, c := range [][2]int{{size, 1}, {0, size + 1}, {1 << 31, 1}} {
				err := w.r.ReadAt(background, Loc{Pack: i.No, Off: uint32(c[0])}, make([]byte, c[1]))
				if !errors.Is(err, ErrDamaged) {
					t.Errorf("%d bytes at %d: %v", c[1], c[0], err)
				}
			}
			if len(w.bad) > 0 {
				t.Errorf("damaged: %v", w.bad)
			}
		})
	}
}

// What is wrong with a pack is told by its number and its name.
func TestDamage(t *testing.T) {
	w := newWorld(t, 0)
	data := random(segmentSize+9, 1)
	i := w.sealed(data)
	must(t, os.Remove(w.path(i)))
	var d *Damage
	err := w.read(w.r, i, data, 0, 10)
	if !errors.Is(err, ErrDamaged) || !errors.Is(err, store.ErrNotExist) || !errors.As(err, &d) || d.Pack != i.No || d.Name != i.Name {
		t.Error(err)
	}
	if len(w.bad) != 1 || w.bad[0] != objectName(i.Name) {
		t.Errorf("damaged: %v", w.bad)
	}
	w.bucket.Add(fault.On(fault.Get, 0, fault.Fail(store.ErrUnavailable)))
	if err := w.read(w.r, i, data, 0, 10); !errors.Is(err, store.ErrUnavailable) || errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
}

func TestUnknownPack(t *testing.T) {
	w := newWorld(t, 0)
	if err := w.r.ReadAt(background, Loc{Pack: 99}, make([]byte, 1)); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	// One that is dropped while it is read, because nothing needs it any more, is
	// no damage.
	i := w.sealed(random(10, 1))
	must(t, os.Remove(w.path(i)))
	w.bucket.Add(fault.On(fault.Get, 0, func(context.Context, fault.Request) fault.Answer {
		_ = w.w.Forget(i.No)
		return fault.Answer{Err: store.ErrNotExist}
	}))
	err := w.r.ReadAt(background, Loc{Pack: i.No}, make([]byte, 1))
	if !errors.Is(err, ErrUnknown) || errors.Is(err, ErrDamaged) || len(w.bad) > 0 {
		t.Errorf("%v, %v", err, w.bad)
	}
}

// Two numbers for one pack, as a hostile writer may sign them: it is needed as
// long as one of them is.
func TestTwoNumbersForOnePack(t *testing.T) {
	w := newWorld(t, 0)
	i := w.sealed(random(10, 1))
	must(t, w.w.Forget(i.No))
	other := i
	other.No++
	w.records[i.No], w.records[other.No] = i, other
	w.bucket.Add(fault.On(fault.Get, 0, func(context.Context, fault.Request) fault.Answer {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.records, i.No)
		return fault.Answer{Err: store.ErrNotExist}
	}))
	end := w.r.begin(other)
	if err := w.r.ReadAt(background, Loc{Pack: i.No}, make([]byte, 1)); !errors.Is(err, ErrDamaged) {
		t.Errorf("while the other is read: %v", err)
	}
	end()
	if err := w.r.ReadAt(background, Loc{Pack: i.No}, make([]byte, 1)); !errors.Is(err, ErrUnknown) {
		t.Errorf("afterwards: %v", err)
	}
	if len(w.r.reading) != 0 {
		t.Errorf("%d packs are being read", len(w.r.reading))
	}
}

// What is prefetched is asked for once, and only where it is not here.
func TestPrefetch(t *testing.T) {
	w := newWorld(t, 0)
	data := random(Size, 1)
	stored, cached, local := w.sealed(data), w.sealed(data), w.sealed(data)
	w.publish(stored, false)
	w.publish(cached, true)
	open := w.append(random(100, 2))[0]
	for _, no := range []Info{{No: open.Pack}, local, cached} {
		if n := w.r.Prefetch(Loc{Pack: no.No, Len: 100}); n != 100 {
			t.Errorf("pack %x: took %d bytes", no.No, n)
		}
	}
	if n := w.r.Prefetch(Loc{Pack: 99, Len: 100}); n != 0 || w.gets() != 0 {
		t.Errorf("an unknown one: took %d bytes; %d requests", n, w.gets())
	}
	if n := w.r.Prefetch(Loc{Pack: stored.No, Off: segmentSize, Len: 100}); n != 100 {
		t.Errorf("took %d bytes", n)
	}
	must(t, w.read(w.r, stored, data, segmentSize, 200))
	if w.gets() != 2 {
		t.Errorf("%d requests, want the tail and the segment", w.gets())
	}
	if n := w.r.PrefetchAll(stored.No); n != Size {
		t.Errorf("took %d bytes", n)
	}
	must(t, w.read(w.r, stored, data, 0, Size))
	if w.gets() != 3 {
		t.Errorf("%d requests, want one more", w.gets())
	}
}

// The file of a pack is found by its name while it is here.
func TestFile(t *testing.T) {
	w := newWorld(t, 0)
	i := w.sealed(random(10, 1))
	again := NewWriter(w.w.o, []Info{i})
	for name, x := range map[string]*Writer{"sealed": w.w, "found": again} {
		if path, ok := x.File(i.Name); !ok || path != w.path(i) {
			t.Errorf("%s: %q, %v", name, path, ok)
		}
	}
	must(t, w.w.Forget(i.No))
	if _, ok := w.w.File(i.Name); ok {
		t.Error("there still")
	}
	w.w.Adopt(i)
	if _, ok := w.w.File(i.Name); !ok {
		t.Error("adopted, and not there")
	}
}

func BenchmarkReadAt(b *testing.B) {
	data := random(Size, 1)
	w := newWorld(b, 0)
	local := w.sealed(data)
	stored := w.sealed(data)
	w.publish(stored, false)
	cached := w.sealed(data)
	w.publish(cached, true)
	b.Run("4 KiB warm", func(b *testing.B) {
		dst := make([]byte, 4096)
		b.SetBytes(4096)
		b.ReportAllocs()
		for n := 0; b.Loop(); n += 4096 {
			must(b, w.r.ReadAt(background, Loc{Pack: local.No, Off: uint32(n % Size)}, dst))
		}
	})
	for _, c := range []struct {
		name string
		info Info
	}{{"local file", local}, {"cache", cached}, {"bucket", stored}} {
		b.Run("128 KiB sequential, "+c.name, func(b *testing.B) {
			dst := make([]byte, 128<<10)
			b.SetBytes(int64(len(dst)))
			b.ReportAllocs()
			r := w.reader()
			for n := 0; b.Loop(); n += len(dst) {
				if n == Size {
					n, r = 0, w.reader()
				}
				must(b, r.ReadAt(background, Loc{Pack: c.info.No, Off: uint32(n)}, dst))
			}
		})
	}
}
