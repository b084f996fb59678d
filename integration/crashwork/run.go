package crashwork

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// run does what a note says, and returns the inode number of what it made.
func (w *worker) run(n *Note) (ino uint64, err error) {
	a, b := w.at(n.A), w.at(n.B)
	switch n.Op {
	case "create":
		f, err := os.OpenFile(a, os.O_CREATE|os.O_EXCL|os.O_WRONLY, os.FileMode(n.Mode))
		if err != nil {
			return 0, err
		}
		return inode(a, f.Close())
	case "tmpfile":
		return inode(a, w.unnamed(n))
	case "mkdir":
		return inode(a, os.Mkdir(a, os.FileMode(n.Mode)))
	case "symlink":
		return inode(a, os.Symlink(n.B, a))
	case "unlink":
		return 0, unix.Unlink(a)
	case "rmdir":
		return 0, unix.Rmdir(a)
	case "link":
		return 0, os.Link(a, b)
	case "rename":
		flags := map[string]uint{"": 0, "noreplace": unix.RENAME_NOREPLACE, "exchange": unix.RENAME_EXCHANGE}[n.Flag]
		return 0, unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, flags)
	case "chmod":
		return 0, os.Chmod(a, os.FileMode(n.Mode))
	case "setattr":
		return 0, unix.Setxattr(a, n.B, []byte(n.Flag), 0)
	case "rmattr":
		return 0, unix.Removexattr(a, n.B)
	case "trunc":
		return 0, os.Truncate(a, n.Size)
	case "punch", "zero", "alloc":
		return 0, w.opened(n.A, os.O_WRONLY, func(f *os.File) error { return allocate(f, n) })
	case "write":
		return 0, w.fill(n)
	case "map":
		return 0, w.mapped(n)
	case "copy":
		return 0, w.copied(n)
	case "fsync":
		return 0, w.opened(n.A, os.O_RDONLY, (*os.File).Sync)
	case "fdatasync":
		return 0, w.opened(n.A, os.O_WRONLY, func(f *os.File) error { return again(func() error { return unix.Fdatasync(int(f.Fd())) }) })
	case "fsyncdir":
		return 0, w.opened(n.A, os.O_RDONLY, (*os.File).Sync)
	case "log":
		return 0, w.opened(Log, os.O_WRONLY|os.O_APPEND, func(f *os.File) error {
			if _, err := f.Write(block(uint64(w.id), 0, n.Ver)); err != nil || n.Flag == "" {
				return err
			}
			return f.Sync()
		})
	case "orphan":
		return 0, w.orphan()
	case "read":
		return 0, w.check(n.A)
	}
	return 0, errors.New("no such thing")
}

// inode is that of what was made, if it was.
func inode(path string, err error) (uint64, error) {
	if err != nil {
		return 0, err
	}
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return 0, err
	}
	return st.Ino, nil
}

// opened does something with a file that is opened for it.
func (w *worker) opened(path string, flags int, do func(*os.File) error) error {
	f, err := os.OpenFile(w.at(path), flags, 0)
	if err != nil {
		return err
	}
	return errors.Join(do(f), f.Close())
}

// content of a note that writes blocks.
func content(n *Note) []byte {
	var b []byte
	for i := range n.N {
		b = append(b, block(n.File, n.At+i, n.Ver)...)
	}
	return b[:(n.N-1)*blockSize+n.Len]
}

func (w *worker) fill(n *Note) error {
	flags, b := os.O_WRONLY, content(n)
	switch n.Flag {
	case "sync":
		flags |= os.O_SYNC
	case "dsync":
		flags |= syscall.O_DSYNC
	case "direct":
		flags |= syscall.O_DIRECT
		aligned, err := unix.Mmap(-1, 0, len(b), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Munmap(aligned) }()
		copy(aligned, b)
		b = aligned
	}
	return w.opened(n.A, flags, func(f *os.File) error {
		_, err := f.WriteAt(b, int64(n.At)*blockSize)
		return err
	})
}

// allocate is fallocate in its forms.
func allocate(f *os.File, n *Note) error {
	off, length := int64(n.At)*blockSize, int64(n.N)*blockSize
	mode := uint32(unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE)
	switch n.Op {
	case "zero":
		mode = unix.FALLOC_FL_ZERO_RANGE
	case "alloc":
		mode, off, length = 0, 0, n.Size
	}
	return again(func() error { return unix.Fallocate(int(f.Fd()), mode, off, length) })
}

// copied copies whole blocks from one file to another, or within one.
func (w *worker) copied(n *Note) error {
	return w.opened(n.B, os.O_RDONLY, func(from *os.File) error {
		return w.opened(n.A, os.O_WRONLY, func(to *os.File) error {
			src, dst := int64(n.From)*blockSize, int64(n.At)*blockSize
			for left := n.N * blockSize; left > 0; {
				k, err := unix.CopyFileRange(int(from.Fd()), &src, int(to.Fd()), &dst, left, 0)
				if err == unix.EINTR {
					continue
				}
				if err != nil {
					return err
				}
				if k == 0 {
					return errors.New("copy_file_range copies nothing")
				}
				left -= k
			}
			return nil
		})
	})
}

// unnamed makes a file without a name, writes it, and gives it one.
func (w *worker) unnamed(n *Note) error {
	return w.opened(filepath.Dir(n.A), unix.O_TMPFILE|os.O_RDWR, func(f *os.File) error {
		if err := f.Chmod(os.FileMode(n.Mode)); err != nil {
			return err
		}
		if _, err := f.Write(content(n)); err != nil {
			return err
		}
		fd := "/proc/self/fd/" + itoa(int(f.Fd()))
		return unix.Linkat(unix.AT_FDCWD, fd, unix.AT_FDCWD, w.at(n.A), unix.AT_SYMLINK_FOLLOW)
	})
}

// orphan makes a file and takes its name away, writes and syncs it, and keeps it
// open until the next one.
func (w *worker) orphan() error {
	if w.held != nil {
		if err := w.held.Close(); err != nil {
			return err
		}
	}
	path := w.at(Own(w.id) + "/orphan")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	w.held = f
	if err := unix.Unlink(path); err != nil {
		return err
	}
	if _, err := f.Write(content(&Note{N: 1 + w.r.IntN(80), Len: blockSize, Ver: 1})); err != nil || !w.syncs() {
		return err
	}
	return f.Sync()
}

// tolerated are names that a crash may leave, as the documents say: an orphan
// before it lost its name, and a file that was about to get its own.
func tolerated(path string) bool {
	name := filepath.Base(path)
	return name == "orphan" || strings.HasPrefix(name, ".incomplete-")
}

// dirs are those of the worker, and the one that it shares.
func (w *worker) dirs() []string {
	return append(slices.Clone(w.paths("d", nil)), Shared)
}
