package machines

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/hushfs/hushfs/store"
)

// far is a store at the end of a long way: each request takes so much longer. With a
// teller it tells of commits as MinIO does, by the same way.
type far struct {
	store.Bucket
	way    time.Duration
	teller *teller
}

func (f far) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	time.Sleep(f.way)
	err := f.Bucket.PutIfAbsent(ctx, name, data)
	if err == nil {
		f.teller.tell(name)
	}
	return err
}

func (f far) Get(ctx context.Context, name string, off, length int64) ([]byte, error) {
	time.Sleep(f.way)
	return f.Bucket.Get(ctx, name, off, length)
}

func (f far) List(ctx context.Context, prefix, after string, max int) ([]store.Info, error) {
	time.Sleep(f.way)
	return f.Bucket.List(ctx, prefix, after, max)
}

// Watch implements store.Watcher.
func (f far) Watch(ctx context.Context, prefix string, ready func(), told func(string)) error {
	if f.teller == nil {
		return store.ErrNoWatch
	}
	h := &hearing{prefix, func(name string) { time.AfterFunc(f.way/2, func() { told(name) }) }}
	f.teller.mu.Lock()
	f.teller.to[h] = true
	f.teller.mu.Unlock()
	defer func() {
		f.teller.mu.Lock()
		defer f.teller.mu.Unlock()
		delete(f.teller.to, h)
	}()
	ready()
	<-ctx.Done()
	return ctx.Err()
}

// teller tells of new objects. A nil one tells nothing.
type teller struct {
	mu sync.Mutex // guards to
	to map[*hearing]bool
}

type hearing struct {
	prefix string
	told   func(name string)
}

func (t *teller) tell(name string) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for h := range t.to {
		if strings.HasPrefix(name, h.prefix) {
			h.told(name)
		}
	}
}
