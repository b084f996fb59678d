package cache

import (
	"cmp"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// scan lists the objects that are there, and removes the files in part of which
// nothing is known. What the cache would have put elsewhere is left alone.
func (c *Cache) scan() error {
	if err := os.MkdirAll(c.root, 0o700); err != nil {
		return err
	}
	c.count(c.root)
	type found struct {
		*object
		used int64 // ns since 1970
	}
	var all []found
	dirs, err := os.ReadDir(c.root)
	if err != nil {
		return err
	}
	for _, d := range dirs {
		dir := filepath.Join(c.root, d.Name())
		if !d.IsDir() || len(d.Name()) != 2 {
			continue
		}
		files, err := os.ReadDir(dir)
		if err != nil {
			continue // it will be seen when it is to be used
		}
		c.count(dir)
		for _, f := range files {
			i, err := f.Info()
			if err != nil || !i.Mode().IsRegular() {
				continue
			}
			if o := c.recognise(dir, i); o != nil {
				all = append(all, found{o, i.ModTime().UnixNano()})
			}
		}
	}
	slices.SortFunc(all, func(a, b found) int { return cmp.Compare(a.used, b.used) })
	for _, f := range all {
		old := c.at[f.name]
		if old != nil {
			_ = os.Remove(c.path(f.name, false)) // it became whole, or came whole
		}
		if old != nil && !old.whole {
			c.unlist(old)
		}
		if old == nil || !old.whole {
			c.insert(f.object)
		}
	}
	return nil
}

// recognise makes an object of a file, nil when it is none.
func (c *Cache) recognise(dir string, i fs.FileInfo) *object {
	o := &object{name: i.Name(), size: i.Size(), whole: true, bytes: blocks(i), touched: i.ModTime()}
	if o.name[0] == '.' {
		o.name, o.whole = o.name[1:], false
	}
	path := filepath.Join(dir, i.Name())
	if CheckName(o.name) != nil || c.path(o.name, o.whole) != path {
		return nil
	}
	if o.whole {
		return o
	}
	if c.values != nil {
		if b, err := c.values.get(recordKey(o.name)); err == nil {
			if r, err := decodeRecord(b); err == nil && r.size == o.size {
				o.have = r.have
				return o
			}
		}
	}
	_ = os.Remove(path)
	return nil
}
