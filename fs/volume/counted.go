package volume

import (
	"context"
	"maps"
	"sync"

	"github.com/hushfs/hushfs/store"
)

// counted counts the requests to a bucket.
type counted struct {
	store.Bucket

	mu sync.Mutex // guards n
	n  map[string]int64
}

var _ store.Bucket = (*counted)(nil)

func (c *counted) count(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]int64{}
	}
	c.n[what]++
}

func (c *counted) requests() map[string]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		return map[string]int64{}
	}
	return maps.Clone(c.n)
}

func (c *counted) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	c.count("put")
	return c.Bucket.PutIfAbsent(ctx, name, data)
}

func (c *counted) Get(ctx context.Context, name string, off, length int64) ([]byte, error) {
	c.count("get")
	return c.Bucket.Get(ctx, name, off, length)
}

func (c *counted) List(ctx context.Context, prefix, after string, max int) ([]store.Info, error) {
	c.count("list")
	return c.Bucket.List(ctx, prefix, after, max)
}

func (c *counted) Delete(ctx context.Context, name string) error {
	c.count("delete")
	return c.Bucket.Delete(ctx, name)
}
