package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/hushfs/hushfs/store"
)

// List implements store.Bucket. It begins in the deepest folder that prefix
// names and holds no more entries in memory than it may return, and about a
// thousand, for each folder on the way down. It reads a folder's names to the
// end, also when it returns one: a directory has no order of its own.
func (b *Bucket) List(ctx context.Context, prefix, after string, limit int) ([]store.Info, error) {
	if err := store.CheckPrefix(prefix); err != nil {
		return nil, err
	}
	if limit <= 0 {
		limit = store.DefaultList
	}
	l := &listing{ctx: ctx, prefix: prefix, after: after, limit: limit}
	folder := prefix[:strings.LastIndexByte(prefix, '/')+1]
	if err := l.enter(b.root, folder, folder); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("list %s: %w", prefix, translate(err))
	}
	return l.infos, nil
}

// A listing is a List under way. The prefix's folders have been entered, so
// only what follows its last '/' is left to compare.
type listing struct {
	ctx           context.Context
	prefix, after string
	limit         int
	infos         []store.Info
}

func (l *listing) full() bool { return len(l.infos) == l.limit }

// An entry is a file or a folder, by its name, a folder's with '/' at the end:
// so entries sort as the objects do ("a-b" before "a/b" before "a0").
type entry string

func (e entry) isFolder() bool { return strings.HasSuffix(string(e), "/") }

// enter lists the folder at path below parent; the names of its objects begin
// with folder, which is empty or ends in '/'.
func (l *listing) enter(parent *os.Root, path, folder string) error {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	dir, err := parent.OpenRoot("./" + path)
	if notThere(err) {
		return nil // perhaps it went away since it was seen
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	// A few entries at a time. Most often the first few fill the listing;
	// folders that turn out to be empty can make another round needed.
	for done := entry(""); ; {
		entries, err := l.next(dir, folder, done)
		if err != nil || len(entries) == 0 {
			return err
		}
		for _, e := range entries {
			if e.isFolder() {
				err = l.enter(dir, string(e), folder+string(e))
			} else {
				err = l.add(dir, string(e), folder+string(e))
			}
			if err != nil || l.full() {
				return err
			}
			done = e
		}
	}
}

// add appends the object that is the file in dir.
func (l *listing) add(dir *os.Root, file, name string) error {
	info, err := dir.Lstat(file)
	if notThere(err) {
		return nil // deleted since it was seen
	}
	if err != nil {
		return err
	}
	l.infos = append(l.infos, store.Info{Name: name, Size: info.Size(), Modified: info.ModTime()})
	return nil
}

// next returns the entries of dir that come first after done, in order: as
// many as the listing has room for.
func (l *listing) next(dir *os.Root, folder string, done entry) ([]entry, error) {
	f, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const batch = 1024
	room := l.limit - len(l.infos)
	var entries []entry
	for {
		if err := l.ctx.Err(); err != nil {
			return nil, err
		}
		some, err := f.ReadDir(batch)
		for _, d := range some {
			if e, ok := l.wants(d, folder); ok && e > done {
				entries = append(entries, e)
			}
		}
		if err != nil || len(entries)-batch >= room {
			slices.Sort(entries)
			entries = entries[:min(room, len(entries))]
		}
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// wants tells whether d is an object of the listing, or may be a folder of some.
func (l *listing) wants(d fs.DirEntry, folder string) (entry, bool) {
	name := folder + d.Name()
	switch {
	case d.Type().IsRegular():
		return entry(d.Name()), store.CheckName(name) == nil &&
			strings.HasPrefix(name, l.prefix) && name > l.after
	case d.IsDir():
		name += "/"
		return entry(d.Name() + "/"), store.CheckPrefix(name) == nil &&
			strings.HasPrefix(name, l.prefix) && (name > l.after || strings.HasPrefix(l.after, name))
	}
	return "", false
}
