package pack

import (
	"bytes"
	"context"
	"errors"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

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

// ways to spoil a file that holds an object.
var ways = map[string]func(t *testing.T, path string){
	"a bit of the first segment": flip(10),
	"a bit of the tail":          flip(-200),
	"a bit of the header":        flip(-1),
	"cut short":                  func(t *testing.T, path string) { must(t, os.Truncate(path, 70_000)) },
	"empty":                      func(t *testing.T, path string) { must(t, os.Truncate(path, 0)) },
	"gone":                       func(t *testing.T, path string) { must(t, os.Remove(path)) },
	"a folder": func(t *testing.T, path string) {
		must(t, os.Remove(path))
		must(t, os.Mkdir(path, 0o700))
	},
}

func flip(at int) func(t *testing.T, path string) {
	return func(t *testing.T, path string) {
		b, err := os.ReadFile(path)
		must(t, err)
		if at < 0 {
			b[len(b)+at] ^= 4
		} else {
			b[at] ^= 4
		}
		must(t, os.WriteFile(path, b, 0o600))
	}
}

// What is spoilt at one place is read from the next.
func TestRepairedFromTheNextPlace(t *testing.T) {
	data := random(2*segmentSize+5, 1)
	for name, spoil := range ways {
		t.Run("local file, "+name, func(t *testing.T) {
			w := newWorld(t, 0)
			i := w.sealed(data)
			must(t, w.bucket.PutIfAbsent(background, objectName(i.Name), w.object(i)))
			spoil(t, w.path(i))
			must(t, w.read(w.r, i, data, 0, len(data)))
			if len(w.bad) > 0 {
				t.Errorf("damaged: %v", w.bad)
			}
		})
		t.Run("cache, "+name, func(t *testing.T) {
			w := newWorld(t, 0)
			i := w.sealed(data)
			w.publish(i, true)
			spoil(t, w.cachedPath(i))
			must(t, w.read(w.r, i, data, 0, len(data)))
			if len(w.bad) > 0 || w.cache.Bytes() != 0 {
				t.Errorf("damaged: %v; %d bad bytes are still in the cache", w.bad, w.cache.Bytes())
			}
		})
		t.Run("local file of the only copy, "+name, func(t *testing.T) {
			w := newWorld(t, 0)
			i := w.sealed(data)
			spoil(t, w.path(i))
			err := w.read(w.r, i, data, 0, len(data))
			var d *Damage
			if !errors.Is(err, ErrDamaged) || !errors.As(err, &d) || d.Pack != i.No || d.Name != i.Name {
				t.Fatal(err)
			}
			if len(w.bad) != 1 || w.bad[0] != objectName(i.Name) {
				t.Errorf("damaged: %v", w.bad)
			}
		})
	}
}

func TestBadObjects(t *testing.T) {
	data := random(2*segmentSize+5, 1)
	other := random(2*segmentSize+5, 2)
	for name, c := range map[string]struct {
		spoil func(w *world, i Info, object []byte) []byte
		why   error
	}{
		"missing":        {func(*world, Info, []byte) []byte { return nil }, store.ErrNotExist},
		"empty":          {func(*world, Info, []byte) []byte { return []byte{} }, crypt.ErrForged},
		"one byte short": {func(_ *world, _ Info, b []byte) []byte { return b[:len(b)-1] }, crypt.ErrForged},
		"cut in front":   {func(_ *world, _ Info, b []byte) []byte { return b[1:] }, crypt.ErrForged},
		"a bit flipped":  {func(_ *world, _ Info, b []byte) []byte { b[5] ^= 1; return b }, crypt.ErrForged},
		"newer":          {func(_ *world, _ Info, b []byte) []byte { b[len(b)-72]++; return b }, crypt.ErrVersion},
		"another pack": {func(w *world, _ Info, _ []byte) []byte {
			return w.object(w.sealed(other))
		}, crypt.ErrForged},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 0)
			i := w.sealed(data)
			object := w.object(i)
			w.publish(i, false)
			must(t, w.mem.Delete(background, objectName(i.Name)))
			if b := c.spoil(w, i, object); b != nil {
				w.mem.Overwrite(objectName(i.Name), b)
			}
			err := w.read(w.r, i, data, 0, 10)
			if !errors.Is(err, ErrDamaged) || !errors.Is(err, c.why) {
				t.Errorf("%v, want %v", err, c.why)
			}
			if len(w.bad) != 1 || w.bad[0] != objectName(i.Name) {
				t.Errorf("damaged: %v", w.bad)
			}
			// It may come back.
			w.mem.Overwrite(objectName(i.Name), w.sealedAgain(i, object))
			must(t, w.read(w.r, i, data, 0, 10))
		})
	}
}

// sealedAgain undoes what a test changed in place.
func (w *world) sealedAgain(i Info, object []byte) []byte {
	w.t.Helper()
	for at := range object {
		for _, b := range []byte{0, 1, 0xff} {
			object[at] ^= b
			if t, err := crypt.ParseTail(object); err == nil && t.Name() == i.Name && t.Verify(0, object[:segmentSize+crypt.Overhead]) == nil {
				return object
			}
			object[at] ^= b
		}
	}
	w.t.Fatal("the object cannot be mended")
	return nil
}

// A transfer that goes wrong once.
func TestBucketIsAskedTwice(t *testing.T) {
	data := random(segmentSize, 1)
	for name, do := range map[string]fault.Action{"flipped": fault.FlipBit(77), "cut": fault.Truncate(9), "missing": fault.Missing} {
		w := newWorld(t, 0)
		i := w.sealed(data)
		w.publish(i, false)
		w.bucket.Add(fault.On(fault.Get, 1, do))
		if err := w.read(w.r, i, data, 0, 10); err != nil || len(w.bad) > 0 {
			t.Errorf("%s: %v, %v", name, err, w.bad)
		}
	}
}

// That the store cannot be asked says nothing of the object.
func TestStoreUnavailable(t *testing.T) {
	data := random(segmentSize, 1)
	w := newWorld(t, 0)
	i := w.sealed(data)
	w.publish(i, false)
	for _, why := range []error{store.ErrUnavailable, store.ErrDenied, syscall.EIO} {
		w.bucket.Add(fault.On(fault.Get, 0, fault.Fail(why)))
		if err := w.read(w.r, i, data, 0, 10); !errors.Is(err, why) || errors.Is(err, ErrDamaged) {
			t.Errorf("%v: %v", why, err)
		}
		w.bucket.Clear()
	}
	must(t, w.read(w.r, i, data, 0, 10))
	if len(w.bad) > 0 {
		t.Errorf("damaged: %v", w.bad)
	}
}

// Records that do not fit the object, as a hostile writer may sign them.
func TestRecordsThatDoNotFit(t *testing.T) {
	data := random(segmentSize+100, 1)
	for name, change := range map[string]func(i *Info){
		"longer":         func(i *Info) { i.Length += segmentSize },
		"shorter":        func(i *Info) { i.Length -= segmentSize },
		"a byte longer":  func(i *Info) { i.Length += 3000 },
		"empty":          func(i *Info) { i.Length = 0 },
		"enormous":       func(i *Info) { i.Length = 1<<32 - 1 },
		"another epoch":  func(i *Info) { i.Epoch++ },
		"another name":   func(i *Info) { i.Name[0] ^= 1 },
		"shorter by one": func(i *Info) { i.Length-- }, // the same size padded, and the padding is not zeros
	} {
		w := newWorld(t, 0)
		// Full to the last byte of its padding.
		whole := append(bytes.Clone(data), random(int(crypt.Padme(int64(len(data))))-len(data), 2)...)
		i := w.sealed(whole)
		w.publish(i, false)
		change(&i)
		w.records[i.No] = i
		last := max(0, min(int(i.Length), len(whole))-1)
		err := w.r.ReadAt(background, Loc{Pack: i.No, Off: uint32(last)}, make([]byte, 1))
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
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

// Reading on and on costs a request a window; jumping about one a segment.
func TestPrefetchWindows(t *testing.T) {
	data := random(Size, 1)
	w := newWorld(t, 0)
	i := w.sealed(data)
	w.publish(i, false)
	for off := 0; off < Size; off += 4096 {
		must(t, w.read(w.r, i, data, off, 4096))
	}
	// The tail, the first segment, then 16 at a time.
	if got, want := w.gets(), 1+1+(63+window-1)/window; got != want {
		t.Errorf("%d requests for a pack read in order, want %d", got, want)
	}

	before := w.gets()
	r := w.reader()
	for _, s := range []int{40, 3, 60, 20, 0} {
		must(t, w.read(r, i, data, s*segmentSize, 10))
	}
	if got := w.gets() - before; got != 1+5 {
		t.Errorf("%d requests for five places, want 6", got)
	}
	// A window ends where something is there already.
	before = w.gets()
	must(t, w.read(r, i, data, 4*segmentSize, 10))
	must(t, w.read(r, i, data, 19*segmentSize, 10))
	if got := w.gets() - before; got != 1 {
		t.Errorf("%d requests, want one for segments 4 to 19", got)
	}
}

// A segment that is brought along and does not verify hurts nobody but itself.
func TestBadSegmentInTheWindow(t *testing.T) {
	data := random(Size, 1)
	w := newWorld(t, 0)
	i := w.sealed(data)
	object := w.object(i)
	object[5*(segmentSize+crypt.Overhead)] ^= 1
	must(t, os.WriteFile(w.path(i), object, 0o600))
	w.publish(i, false)
	for s := range Size / segmentSize {
		err := w.read(w.r, i, data, s*segmentSize, 10)
		if s != 5 {
			must(t, err)
		} else if !errors.Is(err, ErrDamaged) {
			t.Errorf("the bad one: %v", err)
		}
	}
	if len(w.bad) != 1 {
		t.Errorf("told %d times", len(w.bad))
	}
}

// Many who want one segment wait for one request.
func TestSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := random(3*segmentSize, 1)
		w := newWorld(t, 0)
		i := w.sealed(data)
		w.publish(i, false)
		gate := make(chan struct{})
		w.bucket.Add(fault.On(fault.Get, 0, fault.Delay(gate)))
		var all sync.WaitGroup
		for n := range 16 {
			all.Go(func() {
				if err := w.read(w.r, i, data, n, 100); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if w.gets() != 2 {
			t.Errorf("%d requests, want the tail and the segment", w.gets())
		}
		close(gate)
		all.Wait()

		// Those who want what comes along with a window wait for that.
		w.bucket.Clear()
		gate = make(chan struct{})
		w.bucket.Add(fault.On(fault.Get, 0, fault.Delay(gate)))
		for _, s := range []int{1, 2} {
			all.Go(func() {
				if err := w.read(w.r, i, data, s*segmentSize, 100); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		if w.gets() != 3 {
			t.Errorf("%d requests, want one more", w.gets())
		}
		close(gate)
		all.Wait()
	})
}

// Who gives up goes at once; the request ends with the last of them.
func TestReadCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := random(segmentSize, 1)
		w := newWorld(t, 0)
		i := w.sealed(data)
		w.publish(i, false)
		gate := make(chan struct{})
		w.bucket.Add(fault.On(fault.Get, 0, fault.Delay(gate)))
		read := func(ctx context.Context) chan error {
			got := make(chan error, 1)
			go func() { got <- w.r.ReadAt(ctx, Loc{Pack: i.No}, make([]byte, 10)) }()
			synctest.Wait()
			return got
		}
		one, cancelOne := context.WithCancel(background)
		two, cancelTwo := context.WithCancel(background)
		first, second := read(one), read(two)
		cancelOne()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Errorf("the first: %v", err)
		}
		synctest.Wait()
		ended := func() (n int) {
			for _, c := range w.bucket.Log() {
				if c.Op == fault.Get {
					n++
				}
			}
			return n
		}
		if ended() != 0 {
			t.Fatal("the request ended although somebody waits")
		}
		cancelTwo()
		if err := <-second; !errors.Is(err, context.Canceled) {
			t.Errorf("the second: %v", err)
		}
		synctest.Wait()
		if ended() != 2 {
			t.Error("requests go on for nobody")
		}
		// Who comes afterwards is not told of it.
		third := read(background)
		close(gate)
		if err := <-third; err != nil {
			t.Error(err)
		}
		if err := w.r.ReadAt(one, Loc{Pack: i.No}, make([]byte, 10)); err != nil {
			t.Errorf("what is in memory needs no waiting: %v", err)
		}
		if len(w.bad) > 0 {
			t.Errorf("damaged: %v", w.bad)
		}
	})
}

// Memory for segments has a limit.
func TestSegmentsInMemory(t *testing.T) {
	w := newWorld(t, 0)
	data := random(20*segmentSize, 1)
	i := w.sealed(data)
	o := w.r.o
	o.Segments = 4
	r := NewReader(o)
	must(t, w.read(r, i, data, 0, len(data)))
	if r.segments.Len() != 4 {
		t.Errorf("%d segments in memory", r.segments.Len())
	}
	must(t, w.read(r, i, data, 0, len(data)))
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
