package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"

	"github.com/hushfs/hushfs/store"
)

// Get implements store.Bucket.
func (b *Bucket) Get(ctx context.Context, name string, off, length int64) ([]byte, error) {
	if err := store.CheckName(name); err != nil {
		return nil, err
	}
	data, err := b.get(ctx, name, off, length)
	if errors.Is(err, store.ErrNotExist) {
		// Missing from a directory that is not the store's any more says nothing.
		if gone := b.present(); gone != nil {
			err = gone
		}
	}
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	return data, nil
}

func (b *Bucket) get(ctx context.Context, name string, off, length int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// O_NONBLOCK: opening a named pipe that somebody put there must not hang.
	f, err := b.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if notThere(err) {
		return nil, store.ErrNotExist
	}
	if err != nil {
		return nil, translate(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, translate(err)
	}
	if info.IsDir() {
		return nil, store.ErrNotExist
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: not a regular file", store.ErrUnavailable)
	}
	from, to, err := store.Range(info.Size(), off, length)
	if err != nil {
		return nil, err
	}
	data := make([]byte, to-from)
	// The file may have been cut since by somebody else: then ReadAt says EOF.
	if n, err := f.ReadAt(data, from); err != nil && !(errors.Is(err, io.EOF) && n == len(data)) {
		return nil, translate(err)
	}
	return data, nil
}

// Delete implements store.Bucket.
func (b *Bucket) Delete(ctx context.Context, name string) error {
	if err := store.CheckName(name); err != nil {
		return err
	}
	if err := b.delete(ctx, name); err != nil {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return nil
}

func (b *Bucket) delete(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if b.readOnly {
		return fmt.Errorf("%w: opened for reading only", store.ErrDenied)
	}
	// Remove would take an empty folder too, under a put that just made it.
	switch info, err := b.root.Lstat(name); {
	case notThere(err):
		return nil
	case err != nil:
		return translate(err)
	case info.IsDir():
		return nil
	}
	if err := b.root.Remove(name); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return translate(err)
	}
	if err := b.syncFolder(path.Dir(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return translate(err)
	}
	return nil
}
