package pack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/hushfs/hushfs/cache"
	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/meta"
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

const testEpoch = 3

// A world is a writer and a reader over one of each place where packs can lie.
type world struct {
	t      testing.TB
	dir    string
	mem    *mem.Bucket
	bucket *fault.Bucket
	cache  *cache.Cache
	w      *Writer
	r      *Reader
	key    *crypt.Key

	mu      sync.Mutex // guards the fields below
	no      uint64
	closed  []Info
	refuse  error // of Closed
	steps   []string
	records map[meta.PackNo]Info // as signed metadata has them
	bad     []string
}

func newWorld(t testing.TB, buffers int) *world {
	w := &world{t: t, dir: t.TempDir(), mem: mem.New(), key: crypt.NewKey(), records: map[meta.PackNo]Info{}}
	w.bucket = fault.Wrap(w.mem)
	var err error
	w.cache, err = cache.Open(cache.Options{
		Dir: t.TempDir(), Key: make([]byte, 32), Owner: "test", Limit: 1 << 30,
		Seal: func(id [16]byte) cache.Sealer { return crypt.NewLocal(w.key, "hushfs/test", id[:]) },
	})
	must(t, err)
	t.Cleanup(func() {
		if err := w.cache.Close(); err != nil {
			t.Error(err)
		}
	})
	w.w = NewWriter(Options{
		Dir: w.dir, Key: w.key, Volume: testVolume, Epoch: testEpoch, Buffers: buffers,
		Next: func() (meta.PackNo, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.no++
			return meta.MakePack(1, w.no), nil
		},
		Closed: func(i Info) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.refuse == nil {
				w.closed = append(w.closed, i)
			}
			return w.refuse
		},
		Step: func(s string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.steps = append(w.steps, s)
		},
	}, nil)
	w.r = w.reader()
	return w
}

// reader makes a reader that remembers nothing.
func (w *world) reader() *Reader {
	r := NewReader(ReaderOptions{
		Writer: w.w, Bucket: w.bucket, Cache: w.cache, Volume: testVolume,
		Key:  func(e crypt.Epoch) (*crypt.Key, bool) { return w.key, e == testEpoch },
		Name: objectName,
		Find: func(no meta.PackNo) (Info, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			i, ok := w.records[no]
			if !ok {
				return Info{}, ErrUnknown
			}
			return i, nil
		},
		Bad: func(object string, _ error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.bad = append(w.bad, object)
		},
	})
	w.t.Cleanup(r.Close)
	return r
}

func objectName(n crypt.Name) string { return "p/" + n.String() }

// random returns n bytes that look like no others.
func random(n int, seed uint64) []byte {
	b := make([]byte, n)
	var key [32]byte
	key[0], key[1], key[2] = byte(seed), byte(seed>>8), byte(seed>>16)
	_, _ = rand.NewChaCha8(key).Read(b)
	return b
}

// append is Append, which must work.
func (w *world) append(data []byte) []Loc {
	w.t.Helper()
	locs, err := w.w.Append(background, data)
	must(w.t, err)
	return locs
}

// sealed makes a closed pack of data, which is new.
func (w *world) sealed(data []byte) Info {
	w.t.Helper()
	locs := w.append(data)
	must(w.t, w.w.Close(locs[0].Pack))
	i, ok := w.w.Local(locs[0].Pack)
	if !ok || len(locs) != 1 {
		w.t.Fatal("not one closed pack")
	}
	return i
}

func (w *world) path(i Info) string { return Path(w.dir, i.No) }

// object is what the pack's file holds.
func (w *world) object(i Info) []byte {
	w.t.Helper()
	b, err := os.ReadFile(w.path(i))
	must(w.t, err)
	return b
}

// publish puts the pack into the bucket and its record into metadata, and drops
// the file; with cached it goes to the cache.
func (w *world) publish(i Info, cached bool) {
	w.t.Helper()
	object, err := os.ReadFile(w.path(i))
	if err == nil {
		err = w.bucket.PutIfAbsent(background, objectName(i.Name), object)
	}
	w.mu.Lock()
	w.records[i.No] = i
	w.mu.Unlock()
	if err == nil && cached {
		err = w.cache.Adopt(i.Name.String(), w.path(i))
	}
	if err := errors.Join(err, w.w.Forget(i.No)); err != nil {
		w.t.Error(err)
	}
}

// read compares what r reads at off with data.
func (w *world) read(r *Reader, i Info, data []byte, off, n int) error {
	w.t.Helper()
	dst := make([]byte, n)
	err := r.ReadAt(background, Loc{Pack: i.No, Off: uint32(off)}, dst)
	if err == nil && !bytes.Equal(dst, data[off:off+n]) {
		w.t.Fatalf("%d bytes at %d are not those that were written", n, off)
	}
	return err
}

// back compares what was appended with what can be read.
func (w *world) back(data []byte, locs []Loc) {
	w.t.Helper()
	for _, l := range locs {
		dst := make([]byte, l.Len)
		if err := w.r.ReadAt(background, l, dst); err != nil {
			w.t.Error(err)
			return
		}
		if !bytes.Equal(dst, data[:l.Len]) {
			w.t.Errorf("pack %d at %d: other bytes", l.Pack, l.Off)
			return
		}
		data = data[l.Len:]
	}
	if len(data) > 0 {
		w.t.Errorf("%d bytes lie nowhere", len(data))
	}
}

// gets counts the requests for bytes of objects.
func (w *world) gets() int { return w.bucket.Counts()[fault.Get] }

// salts maps the salts of objects to the objects.
type salts map[string]string

// add fails the test when an object has the salt of another.
func (s salts) add(t testing.TB, object []byte) {
	t.Helper()
	header := object[len(object)-crypt.HeaderSize:]
	salt := string(header[12 : 12+crypt.SaltSize])
	if old, ok := s[salt]; ok && old != string(object) {
		t.Error("one salt sealed two objects")
	}
	s[salt] = string(object)
}

func files(t testing.TB, dir string) (names []string) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*"))
	must(t, err)
	for _, p := range all {
		names = append(names, filepath.Base(p))
	}
	return names
}

func ExamplePath() {
	fmt.Println(Path("packs", meta.MakePack(1, 5)))
	// Output: packs/0000001000000005
}
