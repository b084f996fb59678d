package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/store"
)

var _ store.Surveyor = (*Bucket)(nil)

// Survey implements store.Surveyor: every file below the directory, TempFolder
// included, and whatever else is no folder.
func (b *Bucket) Survey(ctx context.Context, fn func(store.Sight) error) error {
	var failed error
	err := fs.WalkDir(b.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if cerr := ctx.Err(); cerr != nil {
			return cerr
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it went away
		}
		if err != nil {
			return err
		}
		if d.IsDir() {
			return nil
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		plain := info.Mode().IsRegular()
		failed = fn(store.Sight{
			Name: name, Size: info.Size(), Modified: info.ModTime(),
			Object: plain && store.CheckName(name) == nil, Odd: !plain,
		})
		return failed
	})
	switch {
	case failed != nil:
		return failed
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("survey: %w", translate(err))
	}
	return nil
}

// Look implements store.Surveyor. What is kept beside a file's bytes are its extended
// attributes in the name space "user", which any program may set.
func (b *Bucket) Look(ctx context.Context, name string, n int64) ([]byte, []store.Note, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	f, err := b.root.OpenFile(path.Clean(name), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("look at a file: %w", store.ErrNotExist)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("look at a file: %w", translate(err))
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, nil, nil // nothing that holds bytes
	}
	start, err := io.ReadAll(io.LimitReader(f, n))
	if err != nil {
		return nil, nil, fmt.Errorf("look at a file: %w", translate(err))
	}
	notes, err := attributes(f)
	if err != nil {
		return nil, nil, fmt.Errorf("look at a file: %w", translate(err))
	}
	return start, notes, nil
}

func attributes(f *os.File) ([]store.Note, error) {
	size, err := unix.Flistxattr(int(f.Fd()), nil)
	if errors.Is(err, unix.ENOTSUP) || size == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	list := make([]byte, size)
	if size, err = unix.Flistxattr(int(f.Fd()), list); err != nil {
		return nil, err
	}
	var notes []store.Note
	for _, name := range strings.Split(strings.TrimSuffix(string(list[:size]), "\x00"), "\x00") {
		if !strings.HasPrefix(name, "user.") {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Fgetxattr(int(f.Fd()), name, value)
		if err != nil {
			return nil, err
		}
		notes = append(notes, store.Note{Kind: "attribute", Name: name, Value: string(value[:min(n, store.MaxNote)])})
	}
	return notes, nil
}

// Versions implements store.Surveyor. A directory keeps none that could be seen.
func (b *Bucket) Versions(context.Context) (store.Versions, bool, error) {
	return store.Versions{}, false, nil
}
