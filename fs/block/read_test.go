package block

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
)

// Along the edges, from each place alone, with and without memory of the last read.
func TestReadFromEachPlace(t *testing.T) {
	const size = 3*segmentSize + 100
	data := random(size, 1)
	for place, put := range map[string]func(w *world) Object{
		"local file, pack":  func(w *world) Object { return w.local(crypt.TypePack, data) },
		"local file, table": func(w *world) Object { return w.local(crypt.TypeTable, data) },
		"cache, pack":       func(w *world) Object { return w.adopted(data) },
		"cache, table": func(w *world) Object {
			o := w.stored(crypt.TypeTable, data)
			r := w.reader()
			must(t, r.Fetch(background, o, 0, o.Length))
			r.Close() // waits for the cache
			must(t, w.mem.Delete(background, place1(o)))
			return o
		},
		"bucket, pack":  func(w *world) Object { return w.stored(crypt.TypePack, data) },
		"bucket, table": func(w *world) Object { return w.stored(crypt.TypeTable, data) },
	} {
		t.Run(place, func(t *testing.T) {
			w := newWorld(t)
			if strings.HasPrefix(place, "cache") {
				w.cached()
			}
			o, old := put(w), w.reader()
			for _, c := range [][2]int{
				{0, 0}, {0, 1}, {0, segmentSize}, {0, segmentSize + 1}, {segmentSize - 1, 1}, {segmentSize - 1, 2}, {segmentSize, 1},
				{segmentSize + 1, 2 * segmentSize}, {size - 1, 1}, {size, 0}, {0, size}, {1, size - 1}, {3 * segmentSize, 100}, {2 * segmentSize, segmentSize},
			} {
				r := w.reader()
				must(t, w.read(r, o, data, c[0], c[1]))
				must(t, w.read(r, o, data, c[0], c[1]))
				must(t, w.read(old, o, data, c[0], c[1]))
			}
			for _, c := range [][2]int64{{size, 1}, {0, size + 1}, {1 << 31, 1}, {-1, 1}, {1<<63 - 1, 2}} {
				err := old.ReadAt(background, o, c[0], make([]byte, c[1]))
				if !errors.Is(err, ErrDamaged) {
					t.Errorf("%d bytes at %d: %v", c[1], c[0], err)
				}
			}
			if len(w.damaged()) > 0 {
				t.Errorf("damaged: %v", w.damaged())
			}
			if !strings.HasPrefix(place, "bucket") && w.gets() > 2 {
				t.Errorf("%d requests", w.gets())
			}
		})
	}
}

// Sizes at which the last segment and its padding lie differently.
func TestEverySize(t *testing.T) {
	for _, size := range []int{1, 2, 100, segmentSize - 1, segmentSize, segmentSize + 1, 2*segmentSize - 1, 2 * segmentSize, 9*segmentSize + 1, 12*segmentSize - 1} {
		w, data := newWorld(t), random(size, 1)
		for _, o := range []Object{w.stored(crypt.TypePack, data), w.local(crypt.TypePack, data)} {
			r := w.reader()
			must(t, w.read(r, o, data, 0, size))
			must(t, w.read(r, o, data, size-1, 1))
			must(t, w.read(w.reader(), o, data, size-1, 1))
		}
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
	"another object":             func(t *testing.T, path string) { must(t, os.WriteFile(path, foreign(t), 0o600)) },
	"a folder": func(t *testing.T, path string) {
		must(t, os.Remove(path))
		must(t, os.Mkdir(path, 0o700))
	},
}

// foreign is a good object, but not the one that is wanted.
func foreign(t testing.TB) []byte {
	_, sealed := newWorld(t).seal(crypt.TypePack, random(2*segmentSize+5, 99))
	return sealed
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
			w := newWorld(t)
			o, sealed := w.seal(crypt.TypePack, data)
			must(t, w.mem.PutIfAbsent(background, place1(o), sealed))
			must(t, os.WriteFile(w.path(o), sealed, 0o600))
			spoil(t, w.path(o))
			must(t, w.read(w.reader(), o, data, 0, len(data)))
			must(t, w.read(w.reader(), o, data, 5, 10))
			if len(w.damaged()) > 0 {
				t.Errorf("damaged: %v", w.damaged())
			}
		})
		t.Run("cache, "+name, func(t *testing.T) {
			w := newWorld(t).cached()
			o, sealed := w.seal(crypt.TypePack, data)
			must(t, w.mem.PutIfAbsent(background, place1(o), sealed))
			must(t, os.WriteFile(w.path(o), sealed, 0o600))
			must(t, w.cache.Adopt(o.Name.String(), w.path(o)))
			spoil(t, w.cachedPath(o))
			r := w.reader()
			must(t, w.read(r, o, data, 0, len(data)))
			if len(w.damaged()) > 0 {
				t.Errorf("damaged: %v", w.damaged())
			}
			// What was fetched instead is good, and is kept; what was good before went
			// with the rest, and is fetched when it is wanted next.
			r.Close()
			r = w.reader()
			must(t, w.read(r, o, data, 0, len(data)))
			r.Close()
			asked := w.gets()
			must(t, w.read(w.reader(), o, data, 0, len(data)))
			if asked == 0 || w.gets() != asked {
				t.Errorf("%d requests, then %d", asked, w.gets())
			}
		})
		t.Run("local file of the only copy, "+name, func(t *testing.T) {
			w := newWorld(t)
			o := w.local(crypt.TypePack, data)
			spoil(t, w.path(o))
			err := w.read(w.reader(), o, data, 0, len(data))
			var d *Damage
			if !errors.Is(err, ErrDamaged) || !errors.As(err, &d) || d.Object != o {
				t.Fatal(err)
			}
			if len(w.damaged()) != 1 || w.damaged()[0] != place1(o) {
				t.Errorf("damaged: %v", w.damaged())
			}
		})
	}
}

// cachedPath is where the cache keeps the file of an object.
func (w *world) cachedPath(o Object) (path string) {
	w.t.Helper()
	must(w.t, filepath.Walk(w.root, func(p string, i os.FileInfo, err error) error {
		if err == nil && strings.Contains(filepath.Base(p), o.Name.String()) && i.Mode().IsRegular() {
			path = p
		}
		return err
	}))
	if path == "" {
		w.t.Fatal("the cache has no file of the object")
	}
	return path
}

// Values of the cache that are not what was put.
func TestValuesOfTheCacheThatDoNotVerify(t *testing.T) {
	data := random(2*segmentSize+5, 1)
	_, other := newWorld(t).seal(crypt.TypeTable, data)
	for name, c := range map[string]struct {
		index int
		value []byte
	}{
		"a segment of no bytes":                {1, nil},
		"a segment of another table":           {1, other[:sealedSize]},
		"a segment that is too long":           {1, make([]byte, sealedSize+1)},
		"a tail of no bytes":                   {tailIndex, nil},
		"a tail of another table":              {tailIndex, other[len(other)-int(crypt.TailSize(int64(len(data)))):]},
		"a tail with bytes in front of it":     {tailIndex, other[len(other)-2000:]},
		"a last segment of the length of most": {2, other[:sealedSize]},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t).cached()
			o := w.stored(crypt.TypeTable, data)
			r := w.reader()
			must(t, w.read(r, o, data, 0, len(data)))
			r.Close()
			w.cache.Put(cacheKey(o, c.index), c.value)
			asked := w.gets()
			if err := w.near(w.reader(), o, data, 0, len(data)); !errors.Is(err, ErrFar) {
				t.Fatalf("near: %v", err)
			}
			r = w.reader()
			must(t, w.read(r, o, data, 0, len(data)))
			r.Close()
			if len(w.damaged()) > 0 || w.gets() == asked {
				t.Errorf("damaged: %v, %d requests", w.damaged(), w.gets()-asked)
			}
			must(t, w.near(w.reader(), o, data, 0, len(data)))
		})
	}
}

func TestBadObjects(t *testing.T) {
	data := random(2*segmentSize+5, 1)
	for name, c := range map[string]struct {
		spoil func(object []byte) []byte
		why   error
	}{
		"missing":        {func([]byte) []byte { return nil }, store.ErrNotExist},
		"empty":          {func([]byte) []byte { return []byte{} }, crypt.ErrForged},
		"one byte short": {func(b []byte) []byte { return b[:len(b)-1] }, crypt.ErrForged},
		"cut in front":   {func(b []byte) []byte { return b[1:] }, crypt.ErrForged},
		"a bit flipped":  {func(b []byte) []byte { b[5] ^= 1; return b }, crypt.ErrForged},
		"newer":          {func(b []byte) []byte { b[len(b)-72]++; return b }, crypt.ErrVersion},
		"another object": {func([]byte) []byte { return foreign(t) }, crypt.ErrForged},
	} {
		for _, n := range []int{10, len(data)} {
			t.Run(fmt.Sprintf("%s, %d bytes", name, n), func(t *testing.T) {
				w := newWorld(t).cached()
				o, sealed := w.seal(crypt.TypePack, data)
				if b := c.spoil(append([]byte(nil), sealed...)); b != nil {
					w.mem.Overwrite(place1(o), b)
				}
				r := w.reader()
				err := w.read(r, o, data, 0, n)
				if !errors.Is(err, ErrDamaged) || !errors.Is(err, c.why) {
					t.Errorf("%v, want %v", err, c.why)
				}
				if len(w.damaged()) != 1 || w.damaged()[0] != place1(o) {
					t.Errorf("damaged: %v", w.damaged())
				}
				// It may come back.
				w.mem.Overwrite(place1(o), sealed)
				must(t, w.read(r, o, data, 0, n))
			})
		}
	}
}

// A transfer that goes wrong once.
func TestBucketIsAskedTwice(t *testing.T) {
	data := random(3*segmentSize, 1)
	for name, do := range map[string]fault.Action{"flipped": fault.FlipBit(77), "cut": fault.Truncate(9), "missing": fault.Missing} {
		for _, n := range []int{10, len(data)} {
			w := newWorld(t)
			o := w.stored(crypt.TypePack, data)
			w.bucket.Add(fault.On(fault.Get, 1, do))
			if err := w.read(w.reader(), o, data, 0, n); err != nil || len(w.damaged()) > 0 {
				t.Errorf("%s: %v, %v", name, err, w.damaged())
			}
		}
	}
}

// That the store cannot be asked says nothing of the object.
func TestStoreUnavailable(t *testing.T) {
	data := random(segmentSize, 1)
	w := newWorld(t)
	o, r := w.stored(crypt.TypePack, data), w.reader()
	for _, why := range []error{store.ErrUnavailable, store.ErrDenied, syscall.EIO} {
		w.bucket.Add(fault.On(fault.Get, 0, fault.Fail(why)))
		if err := w.read(r, o, data, 0, 10); !errors.Is(err, why) || errors.Is(err, ErrDamaged) {
			t.Errorf("%v: %v", why, err)
		}
		w.bucket.Clear()
	}
	must(t, w.read(r, o, data, 0, 10))
	if len(w.damaged()) > 0 {
		t.Errorf("damaged: %v", w.damaged())
	}
}

// Records that do not fit the object, as a hostile writer may sign them.
func TestRecordsThatDoNotFit(t *testing.T) {
	// Full to the last byte of its padding.
	data := random(int(crypt.Padme(segmentSize+100)), 1)
	for name, change := range map[string]func(o *Object){
		"longer":         func(o *Object) { o.Length += segmentSize },
		"shorter":        func(o *Object) { o.Length -= segmentSize },
		"a byte longer":  func(o *Object) { o.Length += 3000 },
		"empty":          func(o *Object) { o.Length = 0 },
		"negative":       func(o *Object) { o.Length = -1 },
		"enormous":       func(o *Object) { o.Length = 1<<32 - 1 },
		"beyond numbers": func(o *Object) { o.Length = 1<<63 - 1 },
		"another epoch":  func(o *Object) { o.Epoch++ },
		"another name":   func(o *Object) { o.Name[0] ^= 1 },
		"another type":   func(o *Object) { o.Type = crypt.TypeTable },
		"shorter by one": func(o *Object) { o.Length-- }, // the same size padded, and the padding is not zeros
	} {
		for _, here := range []bool{false, true} {
			w := newWorld(t)
			o := w.stored(crypt.TypePack, data)
			r := w.reader()
			must(t, w.read(r, o, data, 0, 1)) // the good one is known
			if here {
				o = w.local(crypt.TypePack, data)
			}
			change(&o)
			last := max(0, min(o.Length, int64(len(data)))-1)
			if err := r.ReadAt(background, o, last, make([]byte, 1)); !errors.Is(err, ErrDamaged) {
				t.Errorf("%s: %v", name, err)
			}
			if o.Length > 0 {
				if err := r.Near(o, last, make([]byte, 1)); err == nil {
					t.Errorf("%s: near", name)
				}
			}
			r.Prefetch(o, last, 1)
		}
	}
}

// What nobody needs any more is not damaged.
func TestGone(t *testing.T) {
	w := newWorld(t)
	o, _ := w.seal(crypt.TypePack, random(10, 1))
	w.gone = true
	err := w.reader().ReadAt(background, o, 0, make([]byte, 1))
	if !errors.Is(err, ErrGone) || errors.Is(err, ErrDamaged) || len(w.damaged()) > 0 {
		t.Errorf("%v, %v", err, w.damaged())
	}
}

// A key that is not here.
func TestNoKey(t *testing.T) {
	w := newWorld(t)
	o := w.stored(crypt.TypePack, random(10, 1))
	r := w.reader()
	r.o.Key = func(crypt.Epoch) (*crypt.Key, bool) { return nil, false }
	if err := r.ReadAt(background, o, 0, make([]byte, 1)); !errors.Is(err, ErrKey) || w.gets() > 0 {
		t.Errorf("%v, %d requests", err, w.gets())
	}
	r.o.Key = func(crypt.Epoch) (*crypt.Key, bool) { return crypt.NewKey(), true }
	if err := r.ReadAt(background, o, 0, make([]byte, 1)); !errors.Is(err, crypt.ErrForged) {
		t.Errorf("another key: %v", err)
	}
}

// A segment that comes along and does not verify hurts nobody but itself.
func TestBadSegmentAmongGoodOnes(t *testing.T) {
	data := random(packSize, 1)
	for _, place := range []string{"bucket", "local file"} {
		w := newWorld(t).cached()
		o, sealed := w.seal(crypt.TypePack, data)
		sealed[5*sealedSize] ^= 1
		must(t, w.mem.PutIfAbsent(background, place1(o), sealed))
		if place == "local file" {
			must(t, os.WriteFile(w.path(o), sealed, 0o600))
		}
		r := w.reader()
		r.Prefetch(o, 0, packSize)
		for s := range packSize / segmentSize {
			err := w.read(r, o, data, s*segmentSize, 10)
			if s != 5 {
				must(t, err)
			} else if !errors.Is(err, ErrDamaged) {
				t.Errorf("the bad one: %v", err)
			}
		}
		if err := w.read(w.reader(), o, data, 4*segmentSize, 3*segmentSize); !errors.Is(err, ErrDamaged) {
			t.Errorf("with the bad one in the middle: %v", err)
		}
		must(t, w.read(w.reader(), o, data, 6*segmentSize, 3*segmentSize))
		if len(w.damaged()) != 2 {
			t.Errorf("told %d times", len(w.damaged()))
		}
	}
}

// A small object is fetched whole, and what is bad in it hurts only who wants it.
func TestBadSegmentOfASmallObject(t *testing.T) {
	data := random(2*segmentSize, 1)
	w := newWorld(t)
	o, sealed := w.seal(crypt.TypePack, data)
	sealed[0] ^= 1
	must(t, w.mem.PutIfAbsent(background, place1(o), sealed))
	r := w.reader()
	must(t, w.read(r, o, data, segmentSize, 10))
	if len(w.damaged()) > 0 {
		t.Error("told of what nobody asked for")
	}
	if err := w.read(r, o, data, 0, 10); !errors.Is(err, ErrDamaged) || len(w.damaged()) != 1 {
		t.Errorf("%v, told %d times", err, len(w.damaged()))
	}
}

// Near gives what is here, and never asks the bucket.
func TestNear(t *testing.T) {
	data := random(5*segmentSize, 1)
	for _, typ := range []crypt.Type{crypt.TypePack, crypt.TypeTable} {
		w := newWorld(t).cached()
		o, r := w.stored(typ, data), w.reader()
		far := func(r *Reader, off, n int) {
			t.Helper()
			if err := w.near(r, o, data, off, n); !errors.Is(err, ErrFar) {
				t.Errorf("%v, %d bytes at %d: %v", typ, n, off, err)
			}
		}
		far(r, 0, 1)
		must(t, r.Fetch(background, o, segmentSize+5, segmentSize))
		asked := w.gets()
		must(t, w.near(r, o, data, segmentSize, 2*segmentSize))
		far(r, segmentSize-1, 2)
		far(r, 3*segmentSize, 1)
		far(r, 0, len(data))
		if err := r.Near(o, o.Length, make([]byte, 1)); !errors.Is(err, ErrDamaged) {
			t.Error(err)
		}
		r.Close()
		if err := r.Near(o, 0, make([]byte, 1)); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		r = w.reader() // from the cache now
		must(t, w.near(r, o, data, segmentSize+5, segmentSize))
		far(r, segmentSize-1, 2)
		if w.gets() != asked {
			t.Errorf("%v: %d requests", typ, w.gets()-asked)
		}
		local := w.local(typ, data)
		must(t, w.near(w.reader(), local, data, 0, len(data)))
	}
}

// Memory for plaintext has a limit, and so have tails.
func TestMemory(t *testing.T) {
	w := newWorld(t)
	w.memory = 4 * segmentSize
	data := random(20*segmentSize+7, 1)
	r := w.reader()
	o := w.stored(crypt.TypePack, data)
	must(t, w.read(r, o, data, 0, len(data)))
	if n := len(r.shelf.at); n != 4 || r.shelf.sum > w.memory {
		t.Errorf("%d segments, %d bytes in memory", n, r.shelf.sum)
	}
	must(t, w.read(r, o, data, 0, len(data)))
	for n := range 50 {
		small := random(100+n, uint64(n))
		must(t, w.read(r, w.stored(crypt.TypePack, small), small, 0, len(small)))
	}
	if r.openers.sum > r.openers.limit || r.openers.lru.Len() < 2 || r.shelf.sum > w.memory {
		t.Errorf("%d tails of %d bytes, %d bytes in memory", r.openers.lru.Len(), r.openers.sum, r.shelf.sum)
	}
	w.memory = 1 // less than anything
	r = w.reader()
	must(t, w.read(r, o, data, 3, len(data)-3))
	must(t, r.Fetch(context.Background(), o, 0, o.Length))
	if len(r.shelf.at) != 0 {
		t.Error("kept")
	}
}

// What was read to its end goes before what is still to be read.
func TestWhatWasReadGoesFirst(t *testing.T) {
	w := newWorld(t)
	w.memory = 4 * segmentSize
	data := random(8*segmentSize, 1)
	o, r := w.stored(crypt.TypePack, data), w.reader()
	must(t, r.Fetch(background, o, 0, 4*segmentSize))
	must(t, w.read(r, o, data, 3*segmentSize, segmentSize))
	must(t, r.Fetch(background, o, 4*segmentSize, 1))
	asked := w.gets()
	must(t, w.read(r, o, data, 0, 3*segmentSize))
	if w.gets() != asked {
		t.Error("what was not read yet had to go")
	}
	must(t, w.read(r, o, data, 3*segmentSize, 1))
	if w.gets() == asked {
		t.Error("nothing had to go")
	}
}
