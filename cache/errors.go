package cache

import "errors"

var (
	// ErrAbsent: the cache does not have it.
	ErrAbsent = errors.New("not in the cache")

	// ErrName: an object cannot be called so here. See CheckName.
	ErrName = errors.New("no name for a cached object")

	// ErrUnusable: the folder cannot hold a cache: it cannot be written, the disk
	// is full, another process uses it, or it is no folder. Off serves instead.
	ErrUnusable = errors.New("the cache folder cannot be used")
)

// What goes wrong inside; nobody outside is handed one of these.
var (
	errBroken = errors.New("cached values are damaged")
	errRoom   = errors.New("its limit leaves no room")
	errSmall  = errors.New("the cache is too small to keep values")
	errFormat = errors.New("not what the cache writes")
	errKey    = errors.New("the key has not 32 bytes")
	errLocked = errors.New("another process uses the cache folder")
)
