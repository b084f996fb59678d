// Package dir is a store in a directory: a local disk, a USB stick, a network
// file system that has hard links.
//
// An object is a file, its name the path below the directory. It is written
// to a temporary file, synced, and then given its name by link(2), which
// fails when the name is taken: one racer wins, a reader sees the object
// whole or not at all, and a crash leaves at most a temporary file. The
// name's folder is synced before anybody is told that the object is there.
//
// The directory is all that the package touches: a symbolic link in it is
// never followed out of it. Files that are not ours are left alone, and not
// listed. Folders stay when their last object is deleted.
//
// Layout: docs/format.md, "A store in a directory".
package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hushfs/hushfs/store"
)

var _ store.Bucket = (*Bucket)(nil)

// TempFolder is the folder in the directory for what is being written; no
// object's name begins so.
const TempFolder = ".tmp"

const (
	leftoverAge = 24 * time.Hour

	fileMode   = 0o600
	folderMode = 0o700
)

// Options of a store in a directory. The zero value is usable.
type Options struct {
	Create   bool // make the directory, and those above it, when it is missing
	ReadOnly bool // write nothing, not even at Open; PutIfAbsent and Delete answer store.ErrDenied
}

// A Bucket is a directory with objects. Use Open, and Close when done.
type Bucket struct {
	path     string // absolute; what a person means by the store
	root     *os.Root
	readOnly bool

	mu      sync.Mutex      // guards durable
	durable map[string]bool // folders that this process knows to be there after a power loss

	// step, which only tests set, is called before each step of a put and
	// may make it fail.
	step func(step) error
}

// Open opens the store in the directory at path, which may be a symbolic link.
//
// The error is ErrMissing, ErrNotDir, ErrNoLinks, or one of package store's
// with the reason: store.ErrDenied when the directory cannot be written to,
// store.ErrFull when there is no room. To find out, Open makes and removes two
// names of one file; it also removes temporary files older than a day.
func Open(path string, o Options) (*Bucket, error) {
	if o.Create && !o.ReadOnly {
		if err := create(path); err != nil {
			return nil, fmt.Errorf("create store directory: %w", translate(err))
		}
	}
	root, err := openRoot(path)
	if err != nil {
		return nil, err
	}
	if path, err = filepath.Abs(path); err != nil {
		root.Close()
		return nil, fmt.Errorf("open store directory: %w", translate(err))
	}
	b := &Bucket{path: path, root: root, readOnly: o.ReadOnly, durable: make(map[string]bool)}
	if !o.ReadOnly {
		if err := b.prepare(); err != nil {
			root.Close()
			return nil, err
		}
	}
	return b, nil
}

// Close ends the use of the directory. No other call may be under way.
func (b *Bucket) Close() error {
	return b.root.Close()
}

// present returns nil while the directory lies where it was opened. One that was
// moved away or replaced goes on taking objects, and nobody would look for them
// there.
func (b *Bucket) present() error {
	there, err := os.Stat(b.path)
	if err != nil {
		return fmt.Errorf("store directory: %w", translate(err))
	}
	here, err := b.root.Stat(".")
	if err != nil {
		return fmt.Errorf("store directory: %w", translate(err))
	}
	if !os.SameFile(there, here) {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, replaced{})
	}
	return nil
}

func openRoot(path string) (*os.Root, error) {
	switch info, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, ErrMissing
	case err != nil:
		return nil, fmt.Errorf("open store directory: %w", translate(err))
	case !info.IsDir():
		return nil, ErrNotDir
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("open store directory: %w", translate(err))
	}
	return root, nil
}

// create makes the directory at path and those above it that are missing, so
// that they are there after a power loss too.
func create(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	var made []string // innermost first
	for p := path; ; p = filepath.Dir(p) {
		if _, err := os.Stat(p); !errors.Is(err, fs.ErrNotExist) || p == filepath.Dir(p) {
			break
		}
		made = append(made, p)
	}
	if err := os.MkdirAll(path, folderMode); err != nil {
		return err
	}
	for _, p := range made {
		parent, err := os.Open(filepath.Dir(p))
		if err != nil {
			return err
		}
		err = parent.Sync()
		parent.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// prepare makes sure that the directory can take objects.
func (b *Bucket) prepare() error {
	if err := b.root.Mkdir(TempFolder, folderMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("write to store directory: %w", translate(err))
	}
	b.removeLeftovers(time.Now().Add(-leftoverAge))
	return b.tryLink()
}

// tryLink does once what every put does: a file, a second name for it, a
// synced folder.
func (b *Bucket) tryLink() error {
	name, err := b.writeTemp(context.Background(), nil)
	if err != nil {
		return fmt.Errorf("write to store directory: %w", translate(err))
	}
	defer b.root.Remove(name)
	second := name + ".link"
	if err := b.root.Link(name, second); err != nil {
		if unsupported(err) {
			return ErrNoLinks
		}
		return fmt.Errorf("make a hard link in store directory: %w", translate(err))
	}
	defer b.root.Remove(second)
	if err := b.syncFolder(TempFolder); err != nil {
		return fmt.Errorf("sync store directory: %w", translate(err))
	}
	return nil
}

// removeLeftovers removes the temporary files that were last written before
// the time given: no put takes that long, so their writers are gone. What
// cannot be removed only takes up space.
func (b *Bucket) removeLeftovers(before time.Time) {
	folder, err := b.root.OpenRoot(TempFolder)
	if err != nil {
		return
	}
	defer folder.Close()
	entries, err := fs.ReadDir(folder.FS(), ".")
	if err != nil {
		return
	}
	for _, e := range entries {
		info, err := folder.Lstat(e.Name())
		if err == nil && info.Mode().IsRegular() && info.ModTime().Before(before) {
			folder.Remove(e.Name())
		}
	}
}
