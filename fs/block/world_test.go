package block

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/hushfs/hushfs/cache"
	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
	"github.com/hushfs/hushfs/store/mem"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var (
	testVolume = crypt.VolumeID{1, 2, 3}
	background = context.Background()
)

const (
	testEpoch   = 3
	segmentSize = crypt.SegmentSize
)

// A world is one of each place where objects can lie.
type world struct {
	t      testing.TB
	key    *crypt.Key
	dir    string // of local files
	mem    *mem.Bucket
	bucket *fault.Bucket
	cache  *cache.Cache
	root   string // of the cache
	memory int64
	flight int64

	mu    sync.Mutex // guards the fields below
	gone  bool
	bad   []string
	whole []string
}

// newWorld makes one whose cache keeps nothing until cached is called.
func newWorld(t testing.TB) *world {
	w := &world{t: t, key: crypt.NewKey(), dir: t.TempDir(), mem: mem.New(), cache: cache.Off()}
	w.bucket = fault.Wrap(w.mem)
	return w
}

// cached gives the world a cache.
func (w *world) cached() *world {
	w.t.Helper()
	w.root = w.t.TempDir()
	c, err := cache.Open(cache.Options{
		Dir: w.root, Key: make([]byte, 32), Owner: "test", Limit: 1 << 30,
		Seal: func(id [16]byte) cache.Sealer { return crypt.NewLocal(w.key, "hushfs/test", id[:]) },
	})
	must(w.t, err)
	w.t.Cleanup(func() {
		if err := c.Close(); err != nil {
			w.t.Error(err)
		}
	})
	w.cache = c
	return w
}

// reader makes a reader that remembers nothing.
func (w *world) reader() *Reader { return w.readerOver(w.bucket) }

func (w *world) readerOver(b store.Bucket) *Reader {
	r := New(Options{
		Bucket: b, Cache: w.cache, Volume: testVolume,
		Key:   func(e crypt.Epoch) (*crypt.Key, bool) { return w.key, e == testEpoch },
		Place: place1,
		Local: func(o Object) (string, bool) {
			path := w.path(o)
			_, err := os.Lstat(path)
			return path, err == nil
		},
		Gone: func(Object) bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.gone
		},
		Bad: func(object string, _ error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.bad = append(w.bad, object)
		},
		Mended: func(object string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.whole = append(w.whole, object)
		},
		Memory: w.memory, Flight: w.flight,
	})
	w.t.Cleanup(r.Close)
	return r
}

func place1(o Object) string          { return fmt.Sprintf("o/%v", o.Name) }
func (w *world) path(o Object) string { return filepath.Join(w.dir, o.Name.String()) }

// seal makes an object that lies nowhere yet.
func (w *world) seal(typ crypt.Type, content []byte) (Object, []byte) {
	w.t.Helper()
	sealed, name, err := crypt.NewSealer(w.key, testVolume, typ, testEpoch).Seal(nil, content)
	must(w.t, err)
	return Object{Type: typ, Name: name, Length: int64(len(content)), Epoch: testEpoch}, sealed
}

// stored makes an object that lies in the bucket.
func (w *world) stored(typ crypt.Type, content []byte) Object {
	w.t.Helper()
	o, sealed := w.seal(typ, content)
	must(w.t, w.mem.PutIfAbsent(background, place1(o), sealed))
	return o
}

// local makes an object that lies in a file.
func (w *world) local(typ crypt.Type, content []byte) Object {
	w.t.Helper()
	o, sealed := w.seal(typ, content)
	must(w.t, os.WriteFile(w.path(o), sealed, 0o600))
	return o
}

// adopted makes an object that lies in the cache.
func (w *world) adopted(content []byte) Object {
	w.t.Helper()
	o := w.local(crypt.TypePack, content)
	must(w.t, w.cache.Adopt(o.Name.String(), w.path(o)))
	return o
}

// read compares what r reads at off with data.
func (w *world) read(r *Reader, o Object, data []byte, off, n int) error {
	w.t.Helper()
	return w.compare(data, off, n, func(dst []byte) error { return r.ReadAt(background, o, int64(off), dst) })
}

// near is read from what is here.
func (w *world) near(r *Reader, o Object, data []byte, off, n int) error {
	w.t.Helper()
	return w.compare(data, off, n, func(dst []byte) error { return r.Near(o, int64(off), dst) })
}

func (w *world) compare(data []byte, off, n int, read func(dst []byte) error) error {
	w.t.Helper()
	dst := bytes.Repeat([]byte{0xa5}, n+1)
	err := read(dst[:n])
	if err == nil && !bytes.Equal(dst[:n], data[off:off+n]) {
		w.t.Errorf("%d bytes at %d are not those that were written", n, off)
	}
	if dst[n] != 0xa5 {
		w.t.Errorf("%d bytes at %d: wrote behind the end", n, off)
	}
	return err
}

// damaged is what was told of, once for each time.
func (w *world) damaged() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bad
}

// gets counts the requests for bytes of objects.
func (w *world) gets() int { return w.bucket.Counts()[fault.Get] }

// got is the bytes that the bucket gave.
func (w *world) got() (n int64) {
	for _, c := range w.bucket.Log() {
		if c.Op == fault.Get {
			n += c.Size
		}
	}
	return n
}

// random returns n bytes that look like no others.
func random(n int, seed uint64) []byte {
	b := make([]byte, n)
	var key [32]byte
	key[0], key[1], key[2] = byte(seed), byte(seed>>8), byte(seed>>16)
	_, _ = rand.NewChaCha8(key).Read(b)
	return b
}

const packSize = 4 << 20
