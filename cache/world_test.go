package cache

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// gcm is a Sealer for tests.
type gcm struct{ cipher.AEAD }

func (s gcm) Seal(dst, plain, ad []byte) []byte { return s.AEAD.Seal(dst, nil, plain, ad) }
func (s gcm) Open(dst, sealed, ad []byte) ([]byte, error) {
	return s.AEAD.Open(dst, nil, sealed, ad)
}

func sealer(id [16]byte) Sealer {
	b, err := aes.NewCipher(id[:])
	if err != nil {
		panic(err)
	}
	a, err := cipher.NewGCMWithRandomNonce(b)
	if err != nil {
		panic(err)
	}
	return gcm{a}
}

const testLimit = 64 << 20

func testKey(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

func options(dir string) Options {
	return Options{Dir: dir, Key: testKey(1), Seal: sealer, Owner: "me", Limit: testLimit}
}

// records a log, to see what it says.
type logged struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.String()
}

func start(t testing.TB, o Options) *Cache {
	t.Helper()
	return startOn(t, host(), o)
}

// startOn opens a cache whose log must not name its folder.
func startOn(t testing.TB, sys system, o Options) *Cache {
	t.Helper()
	l := &logged{}
	o.Log = slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
	c, err := openOn(sys, o)
	must(t, err)
	t.Cleanup(func() {
		must(t, c.Close())
		// The last part of a test's folder is a number, as times have it too.
		if strings.Contains(l.String(), filepath.Base(filepath.Dir(o.Dir))+"/") || strings.Contains(l.String(), o.Dir) || strings.Contains(l.String(), ".sst") {
			t.Errorf("a path in the log:\n%s", l)
		}
	})
	return c
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func key(i int) []byte {
	h := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
	return h[:]
}

// value is what the tests keep under key(i): nobody must ever get another.
func value(i, n int) []byte {
	b := make([]byte, n)
	h := sha256.Sum256(key(i))
	for j := range b {
		b[j] = h[j%32] ^ byte(j>>5)
	}
	return b
}

// count tells how many of the keys [from, to) are there, and that each has its
// value.
func count(t testing.TB, c *Cache, from, to, n int) (there int) {
	t.Helper()
	for i := from; i < to; i++ {
		b, err := c.Get(key(i))
		switch {
		case errors.Is(err, ErrAbsent):
		case err != nil:
			t.Fatal(err)
		case !bytes.Equal(b, value(i, n)):
			t.Fatalf("key %d has another value", i)
		default:
			there++
		}
	}
	return there
}

// fill puts keys [from, to) and waits until they are written.
func fill(c *Cache, from, to, n int) {
	for i := from; i < to; i++ {
		c.Put(key(i), value(i, n))
		if i%8 == 7 {
			c.values.flush(false)
		}
	}
	c.values.flush(true)
}

// makeTable has all values put into a table that are in none.
func makeTable(t testing.TB, c *Cache) {
	t.Helper()
	c.values.writing.Lock()
	defer c.values.writing.Unlock()
	must(t, c.values.turn())
}

// du is what a folder takes on the disk. What goes away meanwhile does not count.
func du(t testing.TB, dir string) (sum int64) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if i, err := d.Info(); err == nil {
			sum += blocks(i)
		}
		return nil
	}))
	return sum
}

// newFile makes a file outside the cache.
func newFile(t testing.TB, b []byte) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	must(t, err)
	_, err = f.Write(b)
	must(t, errors.Join(err, f.Close()))
	return f.Name()
}

func objectName(i int) string { return fmt.Sprintf("%x", key(i)) }
