// Package store holds opaque objects: bytes under a name, written once.
//
// It is all that hushfs asks of a bucket. An object is never overwritten and
// never renamed, and when several writers want one name exactly one of them
// gets it: that race is the only coordination between machines. What the
// bytes mean is none of this package's business; it can name neither a key
// nor a file, so it cannot leak one.
//
// Below it are the places where objects can lie (mem, dir), the suite that
// every one of them passes (storetest), and accidents made to measure (fault).
package store

import (
	"context"
	"time"
)

// A Bucket holds objects. All methods may be called at the same time.
//
// Names are as CheckName wants them, else ErrName. A name that is a folder of
// another (a and a/b) is more than some stores can hold; these answer the
// second of the two with ErrName.
//
// When ctx ends first, the error is the context's. Every other failure wraps
// one of this package's sentinels, and messages hold nothing but object names.
type Bucket interface {
	// PutIfAbsent makes the object, whole and durable when nil is returned.
	// It does not keep data, which may be up to MaxObject bytes long.
	//
	// ErrExist means that the name is taken, perhaps by an earlier attempt
	// of the same caller whose answer was lost, and that the object that
	// has it is durable. ErrName and ErrTooLarge mean that nothing was
	// made. After any other error the outcome is open: the object may be
	// there, or may still appear. To find out, put the same bytes again
	// and compare on ErrExist.
	PutIfAbsent(ctx context.Context, name string, data []byte) error

	// Get returns a part of an object, in bytes; the slice is the caller's.
	//
	//	off >= 0, length >= 0   length bytes from off, cut at the object's end
	//	off >= 0, length < 0    all from off
	//	off < 0, length = -1    the last -off bytes, or all if there are fewer
	//
	// A range behind the end is empty, and no error. ErrNotExist when no
	// object has the name; ErrRange when off and length are none of the
	// above; ErrTooLarge when the part is longer than MaxObject.
	Get(ctx context.Context, name string, off, length int64) ([]byte, error)

	// List returns the objects whose names begin with prefix and come after
	// after, ascending by the bytes of their names: the first max of them,
	// or 1000 when max <= 0. Fewer means that there are no more. An object
	// whose PutIfAbsent has returned nil is listed at once. The prefix is
	// as CheckPrefix wants it, else ErrName; after may be any string.
	List(ctx context.Context, prefix, after string, max int) ([]Info, error)

	// Delete removes an object; nil when there is none. Nothing in hushfs
	// relies on a deletion having happened.
	Delete(ctx context.Context, name string) error
}

// Info is one line of a listing.
type Info struct {
	Name     string
	Size     int64     // bytes
	Modified time.Time // by the store's clock, which need not be ours
}

const (
	// MaxObject is the longest object, in bytes. Ours are at most 64 MiB and
	// a little; the limit keeps a hostile store from filling our memory.
	MaxObject = 128 << 20

	// DefaultList is how many objects List returns when max is not given.
	DefaultList = 1000
)
