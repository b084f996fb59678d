package dir

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"syscall"

	"github.com/hushfs/hushfs/store"
)

// step is a moment of a put at which a machine may stop or a disk fail.
type step string

const (
	stepCreate  step = "create"       // of the temporary file
	stepWrite   step = "write"        // of its bytes
	stepSync    step = "sync"         // of the same
	stepFolders step = "make folders" // the name's, and their sync
	stepLink    step = "link"
	stepUnlink  step = "unlink" // of the temporary name
	stepSettle  step = "settle" // the sync of the name's folder
)

func (b *Bucket) at(s step) error {
	if b.step == nil {
		return nil
	}
	return b.step(s)
}

// PutIfAbsent implements store.Bucket. Once the name is linked it no longer
// heeds ctx, for the outcome is then decided.
func (b *Bucket) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	if err := store.CheckName(name); err != nil {
		return err
	}
	err := b.put(ctx, name, data)
	if err == nil || errors.Is(err, store.ErrExist) {
		// What is acknowledged lies where everybody looks.
		if gone := b.present(); gone != nil {
			err = gone
		}
	}
	if err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	return nil
}

func (b *Bucket) put(ctx context.Context, name string, data []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if b.readOnly {
		return fmt.Errorf("%w: opened for reading only", store.ErrDenied)
	}
	if len(data) > store.MaxObject {
		return fmt.Errorf("%w: %d bytes", store.ErrTooLarge, len(data))
	}
	// A name that is taken costs no write.
	switch info, err := b.root.Lstat(name); {
	case err == nil:
		return b.taken(name, info)
	case errors.Is(err, syscall.ENOTDIR):
		return errClash
	case !errors.Is(err, fs.ErrNotExist):
		return translate(err)
	}
	temp, err := b.writeTemp(ctx, data)
	if err != nil {
		return translate(err)
	}
	err = b.link(ctx, temp, name)
	// Also when the link failed: nobody else knows the temporary file. If it
	// cannot be removed now, a later Open removes it.
	if uerr := b.at(stepUnlink); uerr == nil {
		b.root.Remove(temp)
	}
	if err != nil {
		return err
	}
	if err := b.settle(name); err != nil {
		return translate(err)
	}
	return nil
}

var errClash = fmt.Errorf("%w: one name would be a folder of another", store.ErrName)

// writeTemp writes data to a new temporary file, syncs it and returns its name.
func (b *Bucket) writeTemp(ctx context.Context, data []byte) (string, error) {
	if err := b.at(stepCreate); err != nil {
		return "", err
	}
	name := TempFolder + "/" + rand.Text()
	f, err := b.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fileMode)
	if err != nil {
		return "", err
	}
	err = b.fill(ctx, f, data)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		b.root.Remove(name)
		return "", err
	}
	return name, nil
}

// fill writes data to f and syncs it.
func (b *Bucket) fill(ctx context.Context, f *os.File, data []byte) error {
	if err := b.at(stepWrite); err != nil {
		return err
	}
	// In pieces, so that a slow disk does not keep a call that was cancelled.
	const piece = 1 << 20
	for len(data) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := f.Write(data[:min(piece, len(data))])
		if err != nil {
			return err
		}
		data = data[n:]
	}
	if err := b.at(stepSync); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return ctx.Err()
}

// link gives the temporary file its name.
func (b *Bucket) link(ctx context.Context, temp, name string) error {
	// The second round is for folders that somebody removed since we made them.
	for round := 0; ; round++ {
		if err := b.makeFolders(path.Dir(name)); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := b.at(stepLink); err != nil {
			return translate(err)
		}
		err := b.root.Link(temp, name)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, fs.ErrExist):
			return b.lostTo(temp, name)
		case errors.Is(err, syscall.ENOTDIR):
			return errClash
		case errors.Is(err, fs.ErrNotExist) && round == 0:
			b.forget(path.Dir(name))
		default:
			return translate(err)
		}
	}
}

// lostTo answers a link whose name was taken. On a network file system the
// winner may be our own link, made by a request that was sent twice.
func (b *Bucket) lostTo(temp, name string) error {
	winner, err := b.root.Lstat(name)
	if err != nil {
		return translate(err)
	}
	if ours, err := b.root.Lstat(temp); err == nil && os.SameFile(ours, winner) {
		return nil
	}
	return b.taken(name, winner)
}

// taken answers a put whose name has something already. The one who linked it
// may have died before it synced the folder, and the caller will rely on the
// object, so it is synced here.
func (b *Bucket) taken(name string, info fs.FileInfo) error {
	if info.IsDir() {
		return errClash
	}
	if err := b.makeFolders(path.Dir(name)); err != nil {
		return err
	}
	if err := b.settle(name); err != nil {
		return translate(err)
	}
	return store.ErrExist
}

// settle makes a linked name last.
func (b *Bucket) settle(name string) error {
	if err := b.at(stepSettle); err != nil {
		return err
	}
	return b.syncFolder(path.Dir(name))
}
