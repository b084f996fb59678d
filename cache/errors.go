package cache

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

var (
	// ErrAbsent: the cache does not have it.
	ErrAbsent = errors.New("not in the cache")

	// ErrName: an object cannot be called so here. See CheckName.
	ErrName = errors.New("no name for a cached object")

	// ErrUnusable: the folder cannot hold a cache: it cannot be written, the disk
	// is full, another process uses it, or it is no folder. Off serves instead.
	ErrUnusable = errors.New("the cache folder cannot be used")
)

// floorError: the disk has room, but no more than the cache leaves to others, in bytes.
type floorError int64

func (e floorError) Error() string {
	floor := fmt.Sprintf("%d MiB", int64(e)>>20)
	if int64(e)%(1<<30) == 0 {
		floor = fmt.Sprintf("%d GiB", int64(e)>>30)
	}
	return "the disk has less than " + floor + " free, which the cache leaves to other programs"
}

func (e floorError) Is(target error) bool { return target == unix.ENOSPC }

// What goes wrong inside; nobody outside is handed one of these.
var (
	errBroken = errors.New("cached values are damaged")
	errRoom   = errors.New("its limit leaves no room")
	errSmall  = errors.New("the cache is too small to keep values")
	errFormat = errors.New("not what the cache writes")
	errKey    = errors.New("the key has not 32 bytes")
	errLocked = errors.New("another process uses the cache folder")
)
