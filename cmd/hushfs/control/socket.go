package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxPath is the longest path that fits struct sockaddr_un with its final zero.
const maxPath = 107

// ErrInUse: a living daemon answers at the socket already.
var ErrInUse = errors.New("another daemon answers at this socket")

// Listen makes the socket at path, readable for its owner alone. A socket that
// nobody answers any more is replaced; the caller makes sure, with the lock of
// its state folder, that it may.
func Listen(path string) (*net.UnixListener, error) {
	if c, err := dial(context.Background(), path); err == nil {
		c.Close()
		return nil, ErrInUse
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	short, done, err := shorten(path)
	if err != nil {
		return nil, err
	}
	defer done()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", path, err)
	}
	// The name that Go would remove at Close may be a shortened one that means
	// something else by then; Remove is the caller's.
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func dial(ctx context.Context, path string) (net.Conn, error) {
	short, done, err := shorten(path)
	if err != nil {
		return nil, err
	}
	defer done()
	var d net.Dialer
	return d.DialContext(ctx, "unix", short)
}

// shorten gives a name of at most maxPath bytes for the socket at path, valid
// until done is called. A long one is reached through a descriptor of its own
// folder: no other place, where somebody else could put a socket first, is used.
func shorten(path string) (short string, done func(), err error) {
	if len(path) <= maxPath {
		return path, func() {}, nil
	}
	dir, base := filepath.Split(path)
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return "/proc/self/fd/" + strconv.Itoa(fd) + "/" + base, func() { unix.Close(fd) }, nil
}
