package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/hushfs/hushfs/store"
)

// The errors of Open, beside those of package store.
var (
	ErrMissing = errors.New("store directory does not exist")
	ErrNotDir  = errors.New("store is not a directory")
	ErrNoLinks = errors.New("file system of the store has no hard links") // as FAT and exFAT
)

// replaced is why nothing is asked of a store any more in whose place another directory
// lies, were it the same drive's.
type replaced struct{}

func (replaced) Error() string { return "another directory lies where the store was opened" }

// Advice is what to do next; see store.Advice.
func (replaced) Advice() string {
	return "put the right one back: its disk may not be mounted, or another one is in its place. If what lies there now is to be the store, unmount and mount again, which looks what it is"
}

// translate turns an error of the operating system into one that wraps the
// sentinel for it and tells the reason without the path: callers name the
// object. Errors of a context stay as they are.
func translate(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w: %w", sentinel(err), reason(err))
}

func sentinel(err error) error {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return store.ErrUnavailable
	}
	switch errno {
	case syscall.ENOSPC, syscall.EDQUOT:
		return store.ErrFull
	case syscall.EACCES, syscall.EPERM, syscall.EROFS:
		return store.ErrDenied
	}
	return store.ErrUnavailable
}

// reason is err without the paths that package os puts around it.
func reason(err error) error {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}

// notThere tells whether err means that no object can have the name: nothing
// is there, or a file where the name needs a folder.
func notThere(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// unsupported tells whether a failed link(2) failed because the file system
// has none. Linux says EPERM for that, and after a file was just created next
// to it that can mean nothing else.
func unsupported(err error) bool {
	for _, errno := range []error{syscall.EPERM, syscall.ENOSYS, syscall.EOPNOTSUPP, syscall.EMLINK} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
