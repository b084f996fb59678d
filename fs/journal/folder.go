package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// folder is what the journal asks of the directory it lives in; the tests give
// it one that tears, fails and fills up.
type folder interface {
	List() ([]string, error)
	Create(name string) (file, error) // new, empty, for writing
	Open(name string) (file, error)   // for reading
	Rename(from, to string) error
	Link(from, to string) error
	Remove(name string) error
	Sync() error // makes creations, renames, links and removals durable
	Close() error
}

// file is one file of a folder.
type file interface {
	io.ReaderAt
	io.WriterAt
	Size() (int64, error)
	Datasync() error // the bytes, and the size if it changed
	Settle() error   // Datasync, then forgets what is cached, so that reads see what the disk has
	Close() error
}

// directory is a folder of the operating system. It holds a lock, so that two
// processes never write one journal.
type directory struct {
	path string
	fd   *os.File
}

var _ folder = (*directory)(nil)

func openDirectory(path string) (*directory, error) {
	if err := makeDirectory(path); err != nil {
		return nil, pathless(err)
	}
	fd, err := os.Open(path)
	if err != nil {
		return nil, pathless(err)
	}
	if err := unix.Flock(int(fd.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		fd.Close()
		if err == unix.EWOULDBLOCK {
			return nil, ErrInUse
		}
		return nil, err
	}
	return &directory{path: path, fd: fd}, nil
}

// makeDirectory makes path unless it is there, and makes its entry durable: a
// journal whose folder vanishes was synced for nothing.
func makeDirectory(path string) error {
	if err := os.Mkdir(path, 0o700); errors.Is(err, os.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	parent, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer parent.Close()
	return parent.Sync()
}

func (d *directory) List() ([]string, error) {
	entries, err := os.ReadDir(d.path)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, pathless(err)
}

func (d *directory) Create(name string) (file, error) {
	f, err := os.OpenFile(filepath.Join(d.path, name), os.O_RDWR|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600)
	return osFile{f}, pathless(err)
}

func (d *directory) Open(name string) (file, error) {
	f, err := os.OpenFile(filepath.Join(d.path, name), os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	return osFile{f}, pathless(err)
}

func (d *directory) Rename(from, to string) error {
	return pathless(os.Rename(filepath.Join(d.path, from), filepath.Join(d.path, to)))
}

func (d *directory) Link(from, to string) error {
	return pathless(os.Link(filepath.Join(d.path, from), filepath.Join(d.path, to)))
}

func (d *directory) Remove(name string) error {
	return pathless(os.Remove(filepath.Join(d.path, name)))
}

func (d *directory) Sync() error  { return pathless(d.fd.Sync()) }
func (d *directory) Close() error { return d.fd.Close() }

type osFile struct{ *os.File }

func (f osFile) ReadAt(b []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(b, off)
	return n, pathless(err)
}

func (f osFile) WriteAt(b []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(b, off)
	return n, pathless(err)
}

func (f osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, pathless(err)
	}
	return st.Size(), nil
}

func (f osFile) Datasync() error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return err
		}
	}
}

func (f osFile) Settle() error {
	if err := f.Datasync(); err != nil {
		return err
	}
	// After a failed write-back Linux keeps the pages as clean: they read well
	// and are on no disk. That the advice is not taken on some file system is no error.
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	return nil
}

// pathless takes paths out of an error: they tell who and where one is.
func pathless(err error) error {
	var p *os.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		return fmt.Errorf("%s: %w", p.Op, p.Err)
	case errors.As(err, &l):
		return fmt.Errorf("%s: %w", l.Op, l.Err)
	}
	return err
}

// isFull tells that there is no room, of any kind.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}
