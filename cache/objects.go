package cache

import (
	"container/list"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// objects are the files. A whole object is at objects/ab/<name>, one that is
// there in part is a sparse file of the object's size at objects/ab/.<name>, and
// which of its bytes are there is said by a record among the values. So what is
// whole stays when the values are lost, and what is there in part goes.
type objects struct {
	root    string
	at      map[string]*object
	order   *list.List // of *object, most recently used first
	sum     int64      // bytes of files on disk, and what is being written
	folders int64      // bytes of the folders
	stuck   int64      // bytes of files that could not be removed
	known   map[string]bool
	dirty   map[*object]bool // whose record has to be written
	timer   bool             // runs until the records are due
}

type object struct {
	name     string
	size     int64
	whole    bool
	have     ranges // when it is not whole
	bytes    int64  // on disk
	reserved int64  // for what is being written
	place    *list.Element
	gone     bool      // no longer the object of this name
	touched  time.Time // when the file was last marked as used
}

// touch is how often the use of an object is marked at its file, from which the
// next Open takes the order.
const touch = time.Hour

// recordDelay is how long ranges may be there before their record is written.
const recordDelay = time.Second

func newObjects(root string) objects {
	return objects{root: root, at: map[string]*object{}, order: list.New(), known: map[string]bool{}, dirty: map[*object]bool{}}
}

func (s *objects) forget() { *s = newObjects(s.root) }

func (s *objects) path(name string, whole bool) string {
	file := name
	if !whole {
		file = "." + name
	}
	return filepath.Join(s.root, name[:2], file)
}

// folder makes the folder of an object, and counts it.
func (s *objects) folder(name string) error {
	dir := filepath.Join(s.root, name[:2])
	if s.known[dir] {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	s.count(dir)
	return nil
}

func (s *objects) count(dir string) {
	if i, err := os.Lstat(dir); err == nil && !s.known[dir] {
		s.known[dir] = true
		s.folders += blocks(i)
	}
}

// insert puts an object at the front.
func (s *objects) insert(o *object) {
	s.at[o.name] = o
	o.place = s.order.PushFront(o)
	s.sum += o.bytes
}

// unlist takes an object out of what is there. Its bytes that are reserved count
// until the write that they are for ends.
func (s *objects) unlist(o *object) {
	o.gone = true
	s.order.Remove(o.place)
	delete(s.at, o.name)
	delete(s.dirty, o)
	s.sum -= o.bytes
}

// release removes an object to have its room; false when the disk does not let
// it go, and then it stays.
func (s *objects) release(o *object) bool {
	if err := os.Remove(s.path(o.name, o.whole)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	s.unlist(o)
	return true
}

// evict removes an object that is not to be read again.
func (s *objects) evict(o *object) {
	if !o.gone && !s.release(o) {
		s.unlist(o)
		s.stuck += o.bytes
	}
}

// ReadObject returns the bytes [off, off+n) of an object, cut at its size, if
// all of them are there.
func (c *Cache) ReadObject(name string, off, n int64) ([]byte, error) {
	f, o, err := c.openRange(name, off, n)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	off = min(off, o.size)
	b := make([]byte, min(n, o.size-off))
	if _, err := f.ReadAt(b, off); err != nil {
		c.drop(o)
		return nil, ErrAbsent
	}
	return b, nil
}

// OpenObject opens the file of an object if all of the bytes [off, off+n), cut at
// its size, are there. What else it holds is not the object's. It can be read
// until it is closed, even when the object leaves the cache; whoever finds that
// it cannot, drops the object.
func (c *Cache) OpenObject(name string, off, n int64) (*os.File, error) {
	f, _, err := c.openRange(name, off, n)
	return f, err
}

// openRange is OpenObject, and tells of what.
func (c *Cache) openRange(name string, off, n int64) (*os.File, *object, error) {
	if off < 0 || n < 0 || c.closed.Load() {
		return nil, nil, ErrAbsent
	}
	c.mu.Lock()
	o, ok := c.at[name]
	if !ok {
		c.mu.Unlock()
		return nil, nil, ErrAbsent
	}
	end := min(off+min(n, math.MaxInt64-off), o.size)
	if !o.whole && !o.have.covers(min(off, end), end) {
		c.mu.Unlock()
		return nil, nil, ErrAbsent
	}
	c.order.MoveToFront(o.place)
	path := c.path(name, o.whole)
	mark := time.Since(o.touched) > touch
	if mark {
		o.touched = time.Now()
	}
	f, err := os.Open(path)
	c.mu.Unlock()
	if err != nil {
		// That this process has too many files open says nothing of the file.
		if !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) {
			c.drop(o)
		}
		return nil, nil, ErrAbsent
	}
	if mark {
		now := time.Now()
		_ = os.Chtimes(path, now, now)
	}
	return f, o, nil
}

// drop removes this object, unless its name has become that of another.
func (c *Cache) drop(o *object) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.evict(o)
}

// DropObject removes an object, because it did not verify or is not wanted.
func (c *Cache) DropObject(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o, ok := c.at[name]; ok {
		c.evict(o)
	}
}

// Whole tells whether all of an object is there.
func (c *Cache) Whole(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	o, ok := c.at[name]
	return ok && o.whole
}

// WriteObject keeps bytes of an object, which has size bytes in all, if it can.
// What it has of an object of this name and another size goes.
func (c *Cache) WriteObject(name string, size, off int64, b []byte) {
	n := int64(len(b))
	if CheckName(name) != nil || off < 0 || n == 0 || size < n || off > size-n || c.closed.Load() {
		return
	}
	// Whole blocks, one for what the file system needs to find them, a folder and
	// its entry.
	need := n + 5*4096
	o, f, err := c.start(name, size, off, n, need)
	if f == nil {
		if err != nil {
			c.report(ofObjects, err)
		}
		return
	}
	err = c.sys.write(f, b, off)
	c.finish(o, f, off, n, need, err)
}

// start finds or makes the object, and makes room. The file is nil when there is
// nothing to write.
func (c *Cache) start(name string, size, off, n, need int64) (*object, *os.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.at[name]
	if o != nil && o.size != size {
		c.evict(o)
		o = nil
	}
	if o != nil {
		c.order.MoveToFront(o.place)
		if o.whole || o.have.covers(off, off+n) {
			return nil, nil, nil
		}
	}
	if err := c.makeRoom(need, need, o); err != nil {
		return nil, nil, err
	}
	var f *os.File
	var err error
	if o != nil {
		if f, err = os.OpenFile(c.path(name, false), os.O_WRONLY, 0); err != nil {
			c.evict(o)
			return nil, nil, err
		}
	} else {
		if f, err = c.create(name, size); err != nil {
			return nil, nil, err
		}
		o = &object{name: name, size: size, touched: time.Now()}
		c.insert(o)
	}
	o.reserved += need
	c.sum += need
	return o, f, nil
}

// create makes the file of an object that is there in part.
func (c *Cache) create(name string, size int64) (*os.File, error) {
	c.step(stepCreate)
	if err := c.folder(name); err != nil {
		return nil, err
	}
	path := c.path(name, false)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if errors.Is(err, fs.ErrNotExist) { // somebody removed the folder
		delete(c.known, filepath.Dir(path))
		if err = c.folder(name); err == nil {
			f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(size); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	return f, nil
}

// finish notes what was written.
func (c *Cache) finish(o *object, f *os.File, off, n, need int64, err error) {
	var i fs.FileInfo
	if err == nil {
		i, err = f.Stat()
	}
	err = errors.Join(err, f.Close())
	c.report(ofObjects, err)
	c.mu.Lock()
	defer c.mu.Unlock()
	o.reserved -= need
	c.sum -= need
	if o.gone {
		return
	}
	if err != nil {
		c.evict(o)
		return
	}
	o.have = o.have.add(off, off+n)
	// A file of many pieces needs further blocks to find them, some of which the
	// file system allocates later.
	bytes := blocks(i) + 4096*int64(len(o.have)/256)
	c.sum += bytes - o.bytes
	o.bytes = bytes
	if !o.whole && o.have.covers(0, o.size) {
		c.step(stepWhole)
		if c.sys.rename(c.path(o.name, false), c.path(o.name, true)) == nil {
			o.whole, o.have = true, nil
			delete(c.dirty, o)
			return
		}
	}
	c.markDirty(o)
}

// markDirty has the record of an object written soon. c.mu is held.
func (c *Cache) markDirty(o *object) {
	if c.values == nil || o.whole {
		return
	}
	c.dirty[o] = true
	if !c.timer {
		c.timer = true
		time.AfterFunc(recordDelay, func() {
			c.due.Store(true)
			c.values.queue.knock()
		})
	}
}

// markAll has all records written anew: those in the oldest generations are
// about to go.
func (c *Cache) markAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range c.at {
		c.markDirty(o)
	}
}

// records queues the records of objects, when they are due or all are wanted.
func (c *Cache) records(all bool) {
	if !c.due.CompareAndSwap(true, false) && !all {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = false
	for o := range c.dirty {
		if !c.values.queue.add(recordKey(o.name), entry{value: record{o.size, o.have}.encode()}, c.values.queue.limit) {
			c.markDirty(o) // the rest comes later
			return
		}
		delete(c.dirty, o)
	}
}

// Adopt moves the file at path into the cache as the whole object name. A file
// that cannot be moved, as from another file system, or that has no room, is
// removed instead: the object is in the store, and copying it here would write
// every byte twice. Either way there is nothing at path afterwards, unless an
// error is returned.
func (c *Cache) Adopt(name, path string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	i, err := os.Lstat(path)
	if err == nil && !i.Mode().IsRegular() {
		err = fs.ErrInvalid
	}
	if err != nil {
		return plainly(err)
	}
	if c.closed.Load() {
		return plainly(os.Remove(path))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	bytes := blocks(i)
	if c.makeRoom(bytes+2*4096, 2*4096, c.at[name]) != nil {
		return plainly(os.Remove(path))
	}
	if old, ok := c.at[name]; ok {
		c.evict(old)
	}
	if err = c.folder(name); err == nil {
		c.step(stepAdopt)
		err = c.sys.rename(path, c.path(name, true))
		if errors.Is(err, fs.ErrNotExist) { // somebody removed the folder
			delete(c.known, filepath.Dir(c.path(name, true)))
			err = errors.Join(c.folder(name), c.sys.rename(path, c.path(name, true)))
		}
	}
	if err != nil {
		if errors.Is(err, syscall.EXDEV) {
			err = nil
		}
		return plainly(errors.Join(err, os.Remove(path)))
	}
	c.insert(&object{name: name, size: i.Size(), whole: true, bytes: bytes, touched: time.Now()})
	return nil
}

// plainly keeps what errors.Is asks for, without the path.
func plainly(err error) error {
	for _, known := range []error{fs.ErrNotExist, fs.ErrInvalid} {
		if errors.Is(err, known) {
			return known
		}
	}
	return plain(err)
}
