package store

import (
	"context"
	"time"
)

// A Surveyor is a place that shows all that it holds, to whoever looks for what ought
// not to be there: also what List passes over, and what is kept beside the bytes of an
// object. Buckets of S3 servers and directories can; what wraps a Bucket need not.
//
// Names that a Surveyor gives and takes are of any form, since somebody else may have
// put them there. Its methods only read.
type Surveyor interface {
	// Survey calls fn for everything in the place, and ends with the first error
	// that fn returns. Nothing is said of the order.
	Survey(ctx context.Context, fn func(Sight) error) error

	// Look returns the first n bytes of what has the name, or fewer when there are
	// fewer, and what is kept beside. ErrNotExist when it went away.
	Look(ctx context.Context, name string, n int64) (start []byte, beside []Note, err error)

	// Versions counts what the place still keeps of overwritten and deleted objects.
	// Not every place tells, and not to everybody: then known is false.
	Versions(ctx context.Context) (v Versions, known bool, err error)
}

// Sight is one thing in a place.
type Sight struct {
	Name     string // below the place
	Size     int64  // bytes
	Modified time.Time
	Object   bool // List shows it
	Odd      bool // it is neither file nor object: a link, a device, a socket
}

// Note is something that a place keeps beside the bytes of an object.
type Note struct {
	Kind  string // "header", "metadata", "tag", "attribute"
	Name  string
	Value string // at most MaxNote bytes of it
}

// MaxNote is how much of a note's value is told, in bytes.
const MaxNote = 256

// Versions is what is kept of objects that List shows no more.
type Versions struct {
	Older   int   `json:"older"`   // versions under the newest of their name
	Markers int   `json:"markers"` // notes that something was deleted
	Bytes   int64 `json:"bytes"`   // of the older versions
}
