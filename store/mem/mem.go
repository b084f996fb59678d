// Package mem is a store in memory, for tests.
//
// It is as strict as the strictest store: what works here works in a folder
// and in a bucket. Beside the contract it lets a test do what a store's
// operator might: copy everything, and change an object behind our back.
package mem

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hushfs/hushfs/store"
)

var _ store.Bucket = (*Bucket)(nil)

// A Bucket keeps its objects in memory. Use New.
type Bucket struct {
	mu      sync.RWMutex // guards the fields below
	objects map[string]object
	names   []string // the keys of objects, ascending
}

// object is immutable, so that clones share it.
type object struct {
	data     []byte
	modified time.Time
}

// New returns an empty bucket.
func New() *Bucket {
	return &Bucket{objects: make(map[string]object)}
}

// PutIfAbsent implements store.Bucket.
func (b *Bucket) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	if err := store.CheckName(name); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(data) > store.MaxObject {
		return fmt.Errorf("put %s: %w: %d bytes", name, store.ErrTooLarge, len(data))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, taken := b.objects[name]; taken {
		return fmt.Errorf("put %s: %w", name, store.ErrExist)
	}
	if b.clashes(name) {
		return fmt.Errorf("put %s: %w: one name would be a folder of another", name, store.ErrName)
	}
	b.set(name, data)
	return nil
}

// clashes tells whether an object is where name needs a folder, or a folder
// where name is to be.
func (b *Bucket) clashes(name string) bool {
	for i, c := range name {
		if c == '/' {
			if _, taken := b.objects[name[:i]]; taken {
				return true
			}
		}
	}
	i, _ := slices.BinarySearch(b.names, name+"/")
	return i < len(b.names) && strings.HasPrefix(b.names[i], name+"/")
}

// set stores a copy of data. The caller holds mu.
func (b *Bucket) set(name string, data []byte) {
	if i, taken := slices.BinarySearch(b.names, name); !taken {
		b.names = slices.Insert(b.names, i, name)
	}
	b.objects[name] = object{data: slices.Clone(data), modified: time.Now()}
}

// Get implements store.Bucket.
func (b *Bucket) Get(ctx context.Context, name string, off, length int64) ([]byte, error) {
	if err := store.CheckName(name); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.RLock()
	o, ok := b.objects[name]
	b.mu.RUnlock()
	if !ok {
		return nil, fmt.Errorf("get %s: %w", name, store.ErrNotExist)
	}
	from, to, err := store.Range(int64(len(o.data)), off, length)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	return slices.Clone(o.data[from:to]), nil
}

// List implements store.Bucket.
func (b *Bucket) List(ctx context.Context, prefix, after string, limit int) ([]store.Info, error) {
	if err := store.CheckPrefix(prefix); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if limit <= 0 {
		limit = store.DefaultList
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	i, _ := slices.BinarySearch(b.names, prefix)
	if j, found := slices.BinarySearch(b.names, after); found {
		i = max(i, j+1)
	} else {
		i = max(i, j)
	}
	var infos []store.Info
	for ; i < len(b.names) && len(infos) < limit && strings.HasPrefix(b.names[i], prefix); i++ {
		o := b.objects[b.names[i]]
		infos = append(infos, store.Info{Name: b.names[i], Size: int64(len(o.data)), Modified: o.modified})
	}
	return infos, nil
}

// Delete implements store.Bucket.
func (b *Bucket) Delete(ctx context.Context, name string) error {
	if err := store.CheckName(name); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if i, found := slices.BinarySearch(b.names, name); found {
		b.names = slices.Delete(b.names, i, i+1)
		delete(b.objects, name)
	}
	return nil
}
