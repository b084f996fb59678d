// Package cache keeps sealed bytes near.
//
// What lies here is a copy of what lies in the store and can be thrown away at
// any time. It is sealed as it is in the store: the cache has no key of the
// drive and cannot tell good bytes from bad ones, so whoever reads verifies,
// and drops what does not verify. That something is not here says nothing about
// whether it exists.
//
// Small values are in Badger, objects in plain sparse files beside it. All of
// it together stays below one limit. No method fails because a disk is full,
// read-only or broken: the cache then keeps less, or nothing, and says so in
// Usage.
package cache

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	MaxKey   = 1 << 10   // bytes of a value's key
	MaxValue = 128 << 10 // bytes of a value
)

// Sealer seals the values that Badger holds; crypt.Local is one. Both append to
// dst. Open fails when sealed or ad is not what was sealed.
type Sealer interface {
	Seal(dst, plain, ad []byte) []byte
	Open(dst, sealed, ad []byte) ([]byte, error)
}

// Options of a cache.
type Options struct {
	Dir   string                   // made when missing; the cache is the only user (directory lock)
	Key   []byte                   // 32 bytes: Badger's own encryption, which hides its keys
	Seal  func(id [16]byte) Sealer // of one build of the cache: its id is random, drawn at each rebuild
	Owner string                   // opaque: whose cache it is; a cache of another owner is wiped
	Limit int64                    // bytes on disk, as du counts, of everything here and Others(); 0 or less keeps nothing
	Floor int64                    // bytes of the disk that stay free: below it the cache gives back until it is met or empty

	// Others tells the bytes elsewhere that count against Limit; nil is none. It
	// is called with the cache locked: it must not call the cache, nor take a
	// lock that is held over calls to the cache.
	Others func() int64

	Log  *slog.Logger      // nil discards
	Step func(name string) // called at each of Steps, for tests; must not call back. nil is none
}

// Usage says what a cache holds.
type Usage struct {
	Limit   int64  // bytes; what Options gave
	Bytes   int64  // all that lies on the disk here, as du counts
	Meta    int64  // of these the values'
	Blocks  int64  // of these the objects'
	Rebuilt uint64 // times that values were thrown away because they could not be trusted
	Forged  uint64 // values that were not what was put; they were dropped
	Trouble string // what keeps the cache from working as it should, in words; empty when nothing does
}

// Cache is safe for concurrent use.
type Cache struct {
	o      Options
	sys    system
	mark   marker   // as it was last written
	lock   *os.File // the directory lock; nil when the cache is off
	values *values  // nil when it keeps none
	closed atomic.Bool
	once   sync.Once // Close

	rebuilt, forged atomic.Uint64
	left            atomic.Int64 // bytes of values that could not be removed
	due             atomic.Bool  // the records of objects are to be written
	state           trouble

	mu sync.Mutex // guards the fields below; after values.writing, before values.list. Not held over reading and writing files
	objects
}

// Off returns a cache that keeps nothing. All methods work.
func Off() *Cache {
	c := &Cache{sys: host()}
	c.closed.Store(true)
	return c
}

// Get returns the value of a key, a slice of the caller's own. The error is
// ErrAbsent whatever is wrong. A value that is not what was put is dropped.
func (c *Cache) Get(key []byte) ([]byte, error) {
	if c.closed.Load() || c.values == nil || len(key) > MaxKey {
		return nil, ErrAbsent
	}
	return c.values.get(valueKey(key))
}

// Put keeps a value of at most MaxValue bytes under a key of at most MaxKey, if
// it can: it is written soon, by another goroutine, and dropped when too many
// wait. It keeps neither slice. What is put under one key is to be the same each
// time: when a put is dropped, Get may find the one before.
func (c *Cache) Put(key, value []byte) {
	if c.closed.Load() || c.values == nil || len(key) > MaxKey || len(value) > MaxValue {
		return
	}
	c.values.put(valueKey(key), entry{value: bytes.Clone(value)})
}

// Drop forgets a key, because its value did not verify or is not wanted.
func (c *Cache) Drop(key []byte) {
	if c.closed.Load() || c.values == nil || len(key) > MaxKey {
		return
	}
	c.values.put(valueKey(key), entry{dead: true})
}

// What is in Badger is told apart by the first byte of the key.
func valueKey(key []byte) string   { return "v" + string(key) }
func recordKey(name string) string { return "o" + name }

// Usage counts what is there now.
func (c *Cache) Usage() Usage {
	u := Usage{Limit: c.o.Limit, Rebuilt: c.rebuilt.Load(), Forged: c.forged.Load(), Trouble: c.state.String()}
	if c.values != nil {
		u.Meta = c.values.bytes.Load()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	u.Blocks = c.sum
	u.Bytes = u.Meta + u.Blocks + c.folders + c.stuck + c.left.Load()
	return u
}

// Close writes what waits, and the mark that all is well. Afterwards the cache
// keeps nothing and has nothing.
func (c *Cache) Close() (err error) {
	c.once.Do(func() {
		if c.lock == nil {
			return
		}
		if c.values != nil {
			err = c.values.close()
		}
		c.closed.Store(true)
		if err == nil {
			c.mark.phase = phaseClean
			err = c.mark.write(c.o.Dir)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.objects.forget()
		_ = c.lock.Close() // gives the lock back
	})
	return plain(err)
}

// CheckName returns ErrName unless an object can be called name: three bytes or
// more, no separator, no dot in front.
func CheckName(name string) error {
	if len(name) < 3 || name[0] == '.' || strings.ContainsAny(name, "/\\\x00") {
		return ErrName
	}
	return nil
}
