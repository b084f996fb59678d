package volume

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/hushfs/hushfs/store"
)

// Traffic is what went to and from the store by one kind of request. Bytes are
// those of objects, without what a protocol adds.
type Traffic struct {
	Requests int64 `json:"requests"`
	Failed   int64 `json:"failed"` // of them, without an answer of the store, or refused
	Up       int64 `json:"up"`
	Down     int64 `json:"down"`
}

// counted counts the requests to a bucket and their bytes, and knows since when
// they fail.
type counted struct {
	store.Bucket
	took func() // told of each object that the store has; nil is none

	mu     sync.Mutex // guards the fields below
	n      map[string]Traffic
	failed time.Time // first failure since the last answer; zero: the last was one
	barred error     // what the last upload came to, if notTaken; nil: something else
	bars   int       // how many came to that
	newest uint64
	puts   map[uint64]put // under way
}

// put is an upload under way.
type put struct {
	began time.Time
	bytes int64
}

var _ store.Bucket = (*counted)(nil)

// listed is what a line of a listing counts for beside the name.
const listed = 16

// note counts a request that has ended.
func (c *counted) note(what string, up, down int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]Traffic{}
	}
	t := c.n[what]
	t.Requests++
	switch {
	case err == nil, errors.Is(err, store.ErrExist), errors.Is(err, store.ErrNotExist):
		c.failed = time.Time{}
		t.Up, t.Down = t.Up+up, t.Down+down
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		// Who asked gave up, which says nothing of the store.
	default:
		t.Failed++
		if c.failed.IsZero() {
			c.failed = time.Now()
		}
	}
	c.n[what] = t
}

// traffic returns the counts by kind: put, get, list, delete.
func (c *counted) traffic() map[string]Traffic {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		return map[string]Traffic{}
	}
	return maps.Clone(c.n)
}

func (c *counted) requests() map[string]int64 {
	all := map[string]int64{}
	for what, t := range c.traffic() {
		all[what] = t.Requests
	}
	return all
}

// since is when requests began to fail; zero when the last was answered.
func (c *counted) since() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

// refusal is how many uploads were not taken so far, and why the last was not; nil: it was,
// or the store did not answer.
func (c *counted) refusal() (n int, why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bars, c.barred
}

// slowest is a line, in bytes a second, that an upload may need all of: one that
// is older than its bytes at this speed has stopped, as far as can be seen here.
const slowest = 16 << 10

// moving says whether an upload is under way that may well be moving: it has not
// had the time of a slow line yet, and the bucket does not say that nobody answers.
func (c *counted) moving() bool {
	if b, ok := c.Bucket.(interface{ Offline() error }); !ok || b.Offline() != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.puts {
		if time.Since(p.began) < time.Duration(p.bytes)*time.Second/slowest {
			return true
		}
	}
	return false
}

func (c *counted) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	c.mu.Lock()
	if c.puts == nil {
		c.puts = map[uint64]put{}
	}
	c.newest++
	no := c.newest
	c.puts[no] = put{time.Now(), int64(len(data))}
	c.mu.Unlock()
	err := c.Bucket.PutIfAbsent(ctx, name, data)
	c.mu.Lock()
	delete(c.puts, no)
	if notTaken(err) {
		c.barred = err
		c.bars++
	} else if ctx.Err() == nil {
		c.barred = nil
	}
	c.mu.Unlock()
	c.note("put", int64(len(data)), 0, err)
	if c.took != nil && (err == nil || errors.Is(err, store.ErrExist)) {
		c.took()
	}
	return err
}

func (c *counted) Get(ctx context.Context, name string, off, length int64) ([]byte, error) {
	b, err := c.Bucket.Get(ctx, name, off, length)
	c.note("get", 0, int64(len(b)), err)
	return b, err
}

func (c *counted) List(ctx context.Context, prefix, after string, max int) ([]store.Info, error) {
	l, err := c.Bucket.List(ctx, prefix, after, max)
	var down int64
	for _, i := range l {
		down += int64(len(i.Name)) + listed
	}
	c.note("list", 0, down, err)
	return l, err
}

func (c *counted) Delete(ctx context.Context, name string) error {
	err := c.Bucket.Delete(ctx, name)
	c.note("delete", 0, 0, err)
	return err
}

// Watch implements store.Watcher where the bucket does. A watch that begins counts as a
// request, one that ends says nothing of the store: it is asked beside.
func (c *counted) Watch(ctx context.Context, prefix string, ready func(), told func(name string)) error {
	return store.Watch(ctx, c.Bucket, prefix, func() {
		c.note("watch", 0, 0, nil)
		ready()
	}, told)
}
