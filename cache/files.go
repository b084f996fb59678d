// Package cache keeps sealed bytes near.
//
// What lies here is a copy of what lies in the store and can be thrown away at
// any time. It is sealed as it is in the store: the cache has no key of the
// drive and cannot tell good bytes from bad ones, so whoever reads verifies,
// and drops what does not verify.
package cache

import (
	"container/list"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"sync"
)

// ErrAbsent: the cache does not have the object.
var ErrAbsent = errors.New("not in the cache")

// Files keeps whole objects as plain files, the least recently used of which go
// when the sum of their sizes passes a limit. It is safe for concurrent use.
type Files struct {
	root  string
	limit int64

	mu    sync.Mutex // guards the fields below
	sum   int64
	order *list.List // of file, most recently used first
	at    map[string]*list.Element
}

type file struct {
	name string
	size int64
}

// OpenFiles opens the cache in the folder root, made when it is missing, for at
// most limit bytes. Files that are there already count as used when they were
// last changed.
func OpenFiles(root string, limit int64) (*Files, error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	c := &Files{root: root, limit: limit, order: list.New(), at: map[string]*list.Element{}}
	type found struct {
		file
		when int64
	}
	var all []found
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		i, err := d.Info()
		if err != nil {
			return err
		}
		all = append(all, found{file{d.Name(), i.Size()}, i.ModTime().UnixNano()})
		return nil
	})
	if err != nil {
		return nil, err
	}
	sort.Slice(all, func(i, j int) bool { return all[i].when > all[j].when })
	for _, f := range all {
		c.at[f.name] = c.order.PushBack(f.file)
		c.sum += f.size
	}
	c.evict()
	return c, nil
}

// path is where the object name lies: two letters of the name make the folder.
func (c *Files) path(name string) string {
	return filepath.Join(c.root, name[:min(2, len(name))], name)
}

// Adopt moves the file at path into the cache as the object name. A file on
// another file system than the cache's is removed instead: the object is in the
// store, and copying it here would write every byte twice.
func (c *Files) Adopt(name, path string) error {
	i, err := os.Stat(path)
	if err != nil {
		return err
	}
	if i.Size() > c.limit {
		return os.Remove(path)
	}
	to := c.path(name)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	if err := os.Rename(path, to); err != nil {
		return os.Remove(path)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.at[name]; ok {
		c.sum -= old.Value.(file).size
		c.order.Remove(old)
	}
	c.at[name] = c.order.PushFront(file{name, i.Size()})
	c.sum += i.Size()
	c.evict()
	return nil
}

// evict removes files until the sum is within the limit; c is locked.
func (c *Files) evict() {
	for c.sum > c.limit {
		c.drop(c.order.Back())
	}
}

// drop removes one file; c is locked.
func (c *Files) drop(e *list.Element) {
	f := e.Value.(file)
	c.order.Remove(e)
	delete(c.at, f.name)
	c.sum -= f.size
	// A file that cannot be removed is found again by the next OpenFiles.
	_ = os.Remove(c.path(f.name))
}

// Open opens the object name for reading. It stays readable until it is closed,
// even when it leaves the cache.
func (c *Files) Open(name string) (*os.File, error) {
	c.mu.Lock()
	e, ok := c.at[name]
	if ok {
		c.order.MoveToFront(e)
	}
	c.mu.Unlock()
	if !ok {
		return nil, ErrAbsent
	}
	f, err := os.Open(c.path(name))
	if err != nil {
		c.Drop(name)
		return nil, fmt.Errorf("%w: %w", ErrAbsent, err)
	}
	return f, nil
}

// Drop removes the object name, because it did not verify or is not wanted.
func (c *Files) Drop(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.at[name]; ok {
		c.drop(e)
	}
}

// Bytes is the sum of the sizes of what is there.
func (c *Files) Bytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sum
}
