// Package block brings verified plaintext of sealed objects whose name and
// length are known, from the nearest place that has it.
//
// The places are, nearest first: memory, a local file, the cache, the bucket.
// What a place gives is checked in full, the tail against the object's name and
// every segment against the tail, before anybody sees a byte of it; what does
// not verify at one place is looked for at the next. So no place is trusted, and
// losing one costs time and nothing else. The bucket is asked twice before an
// object is called damaged, since a transfer can go wrong.
//
// Whoever wants a segment that is on its way waits for it; nothing is fetched
// for two readers twice, and nothing goes on being fetched for nobody.
package block

import (
	"context"
	"fmt"
	"runtime"
	"sync"

	"github.com/hushfs/hushfs/cache"
	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/store"
)

// Object is what signed metadata says of an object: all that is needed to find
// and to check it.
type Object struct {
	Type   crypt.Type // a pack or a table
	Name   crypt.Name
	Length int64 // bytes of content, before padding
	Epoch  crypt.Epoch
}

// Size is the length in bytes of the sealed object.
func (o Object) Size() int64 { return crypt.ObjectSize(o.Length) }

// segments is how many there are.
func (o Object) segments() int { return crypt.Segments(crypt.Padme(o.Length)) }

// plain is how many bytes of content segment index holds.
func (o Object) plain(index int) int {
	return int(min(crypt.SegmentSize, o.Length-int64(index)*crypt.SegmentSize))
}

// Options of a Reader. Bucket, Cache, Key, Place and Bad must be set.
type Options struct {
	Bucket store.Bucket
	Cache  *cache.Cache
	Volume crypt.VolumeID
	Key    func(crypt.Epoch) (*crypt.Key, bool)
	Place  func(Object) string                 // its name in the bucket
	Local  func(Object) (path string, ok bool) // a file that holds it whole, here, perhaps the only copy; nil is none
	Gone   func(Object) bool                   // asked before damage is reported: true when nothing needs it any more; nil is never
	Bad    func(object string, err error)      // told of each object that is damaged
	Mended func(object string)                 // told when all that was damaged of one has come whole from the bucket; nil is none

	// Lost returns further keys of an epoch, for objects that are of another history than the
	// one that Key knows; nil is none. Which key it is decides nothing: the name does.
	Lost func(crypt.Epoch) []*crypt.Key

	Memory int64 // bytes of plaintext kept in memory; 0 means 32 MiB
	Flight int64 // bytes that may be under way to memory by Prefetch, and as many to the cache; 0 means 16 MiB
}

// Reader reads objects. It is safe for concurrent use.
type Reader struct {
	o       Options
	life    context.Context // ends with Close
	end     context.CancelFunc
	work    sync.WaitGroup // of flights to the bucket
	buffers buffers
	helpers chan struct{} // a token each goroutine that opens segments beside a reader
	bad     bad

	mu      sync.Mutex // guards the fields below; nothing is taken after it
	closed  bool
	shelf   shelf
	openers openers
	flights map[key]*flight          // by each segment that one brings
	tails   map[Object]chan struct{} // closed when whoever fetches the tail has it, or has not
	under   int64                    // bytes of content under way by Prefetch
	writing int64                    // bytes on their way to the cache
}

// key names a segment. A record that says something else of an object than
// another one does names other segments, or what verified under the one would be
// taken for good under the other.
type key struct {
	o     Object
	index int
}

// New returns a reader; nothing runs in it until it is asked for something.
func New(o Options) *Reader {
	if o.Memory <= 0 {
		o.Memory = 32 << 20
	}
	if o.Flight <= 0 {
		o.Flight = 16 << 20
	}
	if o.Local == nil {
		o.Local = func(Object) (string, bool) { return "", false }
	}
	if o.Lost == nil {
		o.Lost = func(crypt.Epoch) []*crypt.Key { return nil }
	}
	if o.Mended == nil {
		o.Mended = func(string) {}
	}
	if o.Gone == nil {
		o.Gone = func(Object) bool { return false }
	}
	r := &Reader{
		o:       o,
		helpers: make(chan struct{}, runtime.GOMAXPROCS(0)-1),
		shelf:   newShelf(o.Memory),
		openers: newOpeners(o.Memory / 8),
		flights: map[key]*flight{},
		tails:   map[Object]chan struct{}{},
	}
	r.life, r.end = context.WithCancel(context.Background())
	return r
}

// Close ends what is under way and waits until it has ended. Whoever waits for
// a segment, or asks for one later, gets ErrClosed.
func (r *Reader) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.end()
	r.work.Wait()
}

// Damage is an ErrDamaged that names the object.
type Damage struct {
	Object Object
	Why    error
}

func (d *Damage) Error() string {
	return fmt.Sprintf("%v %v: %v", d.Object.Type, d.Object.Name, d.Why)
}

// Unwrap makes errors.Is find ErrDamaged and the cause.
func (d *Damage) Unwrap() []error { return []error{ErrDamaged, d.Why} }
