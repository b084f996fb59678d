// Package cache keeps sealed bytes near.
//
// What lies here is a copy of what lies in the store and can be thrown away at
// any time. It is sealed as it is in the store: the cache has no key of the
// drive and cannot tell good bytes from bad ones, so whoever reads verifies,
// and drops what does not verify.
package cache

import (
	"cmp"
	"container/list"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

var (
	// ErrAbsent: the cache does not have the object.
	ErrAbsent = errors.New("not in the cache")

	// ErrName: an object cannot be called so here. See CheckName.
	ErrName = errors.New("no name for a cached object")
)

// Files keeps whole objects as plain files, the least recently used of which go
// when the sum of their sizes passes a limit. It is safe for concurrent use, and
// the only one that uses its folder.
type Files struct {
	root   string
	limit  int64
	rename func(from, to string) error // os.Rename; a test has another

	mu    sync.Mutex // guards the fields below; held over renaming and removing files
	sum   int64
	order *list.List // of file, most recently used first
	at    map[string]*list.Element
}

type file struct {
	name string
	size int64
}

// OpenFiles opens the cache in the folder root, made when it is missing, for at
// most limit bytes; with 0 or less it keeps nothing. Files that are there
// already count as used when they were last changed. What the cache would have
// put elsewhere is not its own, and is left alone.
func OpenFiles(root string, limit int64) (*Files, error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	c := &Files{root: root, limit: limit, rename: os.Rename, order: list.New(), at: map[string]*list.Element{}}
	all, err := c.walk()
	if err != nil {
		return nil, err
	}
	for _, f := range all {
		c.at[f.name] = c.order.PushBack(f.file)
		c.sum += f.size
	}
	c.evict()
	return c, nil
}

// found is a file in the folder.
type found struct {
	file
	changed int64 // ns since 1970
}

// walk lists the files of the cache, last changed first.
func (c *Files) walk() ([]found, error) {
	var all []found
	err := filepath.WalkDir(c.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.Type().IsRegular() || CheckName(d.Name()) != nil || path != c.path(d.Name()) {
			return nil
		}
		i, err := d.Info()
		if err != nil {
			return err
		}
		all = append(all, found{file{d.Name(), i.Size()}, i.ModTime().UnixNano()})
		return nil
	})
	slices.SortFunc(all, func(a, b found) int { return cmp.Compare(b.changed, a.changed) })
	return all, err
}

// CheckName returns ErrName unless an object can be called name: three bytes or
// more, no separator, no dot in front.
func CheckName(name string) error {
	if len(name) < 3 || name[0] == '.' || strings.ContainsAny(name, "/\\\x00") {
		return ErrName
	}
	return nil
}

// path is where the object name lies: two letters of the name make the folder.
func (c *Files) path(name string) string {
	return filepath.Join(c.root, name[:2], name)
}

// Adopt moves the file at path into the cache as the object name. A file that
// cannot be moved, as from another file system, is removed instead: the object
// is in the store, and copying it here would write every byte twice. Either way
// there is nothing at path afterwards, unless an error is returned.
func (c *Files) Adopt(name, path string) error {
	if err := CheckName(name); err != nil {
		return err
	}
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
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.rename(path, to); err != nil {
		if errors.Is(err, syscall.EXDEV) {
			err = nil
		}
		return errors.Join(err, os.Remove(path))
	}
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
	for c.sum > c.limit && c.order.Len() > 0 {
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
// even when it leaves the cache. Whatever is wrong, the error is an ErrAbsent:
// the object has to be got elsewhere.
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
		// That this process has too many files open says nothing of the file.
		if !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) {
			c.Drop(name)
		}
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
