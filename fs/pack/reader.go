package pack

import (
	"context"
	"errors"
	"sync"

	"github.com/hushfs/hushfs/cache"
	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/block"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/store"
)

// ReaderOptions of a Reader. All up to Bad must be set.
type ReaderOptions struct {
	Writer *Writer
	Bucket store.Bucket
	Cache  *cache.Cache
	Key    func(crypt.Epoch) (*crypt.Key, bool)
	Volume crypt.VolumeID

	Name func(crypt.Name) string            // where the bucket has a pack
	Find func(no meta.PackNo) (Info, error) // its record in signed metadata; ErrUnknown
	Bad  func(object string, err error)     // told of each object that is damaged

	Mended func(object string)            // see block.Options.Mended; nil is none
	Lost   func(crypt.Epoch) []*crypt.Key // see block.Options.Lost; nil is none

	Memory int64 // bytes of plaintext kept in memory; 0 means 32 MiB
	Flight int64 // bytes that may be under way by Prefetch; 0 means 16 MiB
}

// Reader reads bytes of packs, wherever they are: in the writer's memory, or
// where block finds sealed ones. It is safe for concurrent use.
type Reader struct {
	o      ReaderOptions
	blocks *block.Reader

	mu      sync.Mutex                   // guards reading; nothing is taken after it
	reading map[crypt.Name][]meta.PackNo // an element each read
}

// NewReader returns a reader; nothing runs in it until it is asked for something.
func NewReader(o ReaderOptions) *Reader {
	r := &Reader{o: o, reading: map[crypt.Name][]meta.PackNo{}}
	r.blocks = block.New(block.Options{
		Bucket: o.Bucket,
		Cache:  o.Cache,
		Volume: o.Volume,
		Key:    o.Key,
		Place:  func(b block.Object) string { return o.Name(b.Name) },
		Local:  func(b block.Object) (string, bool) { return o.Writer.File(b.Name) },
		Gone:   r.gone,
		Bad:    o.Bad,
		Mended: o.Mended,
		Lost:   o.Lost,
		Memory: o.Memory,
		Flight: o.Flight,
	})
	return r
}

// Close ends what is under way and waits until it has ended. Packs that are in
// the writer's memory can be read still.
func (r *Reader) Close() { r.blocks.Close() }

// ReadAt fills dst with the bytes of pack at.Pack from at.Off on; at.Len is not
// looked at. It fails with a Damage when the object is missing or does not
// verify, with ErrUnknown when there is no such pack, or none any more, with
// store errors when the bucket cannot be asked. After an error dst holds nothing
// to be used.
func (r *Reader) ReadAt(ctx context.Context, at Loc, dst []byte) error {
	if r.o.Writer.Peek(at, dst) {
		return nil
	}
	info, err := r.info(at.Pack)
	for err == nil {
		err = r.readFrom(ctx, info, at, dst)
		if err == nil {
			return nil
		}
		// Under another name by now, it was sealed anew while it was being read.
		again, ierr := r.info(at.Pack)
		if ierr != nil || again.Name == info.Name {
			return err
		}
		info, err = again, nil
	}
	return err
}

// readFrom is ReadAt of a pack as it is sealed now.
func (r *Reader) readFrom(ctx context.Context, info Info, at Loc, dst []byte) error {
	defer r.begin(info)()
	err := r.blocks.ReadAt(ctx, info.object(), int64(at.Off), dst)
	var d *block.Damage
	switch {
	case errors.Is(err, block.ErrGone):
		return ErrUnknown
	case errors.As(err, &d):
		return &Damage{at.Pack, info.Name, d.Why}
	}
	return err
}

// Prefetch brings at.Len bytes of a pack from at.Off on in the background, where
// they are not on this machine. It returns at once how many of them need no
// further call: they are here, or on their way. What finds no room is dropped,
// and nobody is told of what cannot be brought: who wants it asks for it.
func (r *Reader) Prefetch(at Loc) int64 {
	if !r.o.Writer.Durable(at.Pack) {
		return int64(at.Len)
	}
	info, err := r.info(at.Pack)
	if err != nil {
		return 0
	}
	return r.blocks.Prefetch(info.object(), int64(at.Off), int64(at.Len))
}

// PrefetchAll is Prefetch of a whole pack.
func (r *Reader) PrefetchAll(no meta.PackNo) int64 {
	return r.Prefetch(Loc{Pack: no, Len: 1<<32 - 1})
}

// info describes the sealed pack no.
func (r *Reader) info(no meta.PackNo) (Info, error) {
	if i, ok := r.o.Writer.Local(no); ok {
		return i, nil
	}
	return r.o.Find(no)
}

// begin notes the number under which a pack is being read, until the function
// that it returns is called.
func (r *Reader) begin(i Info) (end func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reading[i.Name] = append(r.reading[i.Name], i.No)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		l := r.reading[i.Name]
		for n, no := range l {
			if no == i.No {
				l[n] = l[len(l)-1]
				l = l[:len(l)-1]
				break
			}
		}
		if r.reading[i.Name] = l; len(l) == 0 {
			delete(r.reading, i.Name)
		}
	}
}

// gone tells whether a pack that is being read was dropped meanwhile, since
// nothing needs it any more, or was sealed anew and has another name.
func (r *Reader) gone(o block.Object) bool {
	r.mu.Lock()
	numbers := append([]meta.PackNo(nil), r.reading[o.Name]...)
	r.mu.Unlock()
	for _, no := range numbers {
		i, err := r.info(no)
		if err == nil && i.Name == o.Name || err != nil && !errors.Is(err, ErrUnknown) {
			return false
		}
	}
	return true // also when the last reader has left
}
