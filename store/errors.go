package store

import "errors"

// The errors of every Bucket. They come wrapped, with the operation and the
// object's name: ask with errors.Is.
var (
	ErrNotExist    = errors.New("object does not exist")      // no object has the name
	ErrExist       = errors.New("object exists already")      // PutIfAbsent: the name is taken
	ErrUnavailable = errors.New("store is unavailable")       // no answer, or one that makes no sense; worth another try
	ErrTimeout     = errors.New("no whole answer in time")    // beside ErrUnavailable: whoever asked has waited as long as may be
	ErrDenied      = errors.New("store denies access")        // credentials, permissions or a read-only store
	ErrFull        = errors.New("store is full")              // no space or no quota left
	ErrName        = errors.New("object name is not allowed") // see CheckName, CheckPrefix and Bucket
	ErrRange       = errors.New("range is not allowed")       // Get: see there
	ErrTooLarge    = errors.New("object is too large")        // more than MaxObject bytes
	ErrNoWatch     = errors.New("store tells of no changes")  // Watch: it has to be asked
)
