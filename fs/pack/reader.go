package pack

import (
	"context"
	"errors"
	"fmt"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/errgroup"

	"github.com/hushfs/hushfs/cache"
	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/store"
)

// ReaderOptions of a Reader. Writer, Bucket, Key, Name and Find must be set.
type ReaderOptions struct {
	Writer *Writer
	Bucket store.Bucket
	Cache  *cache.Files // of whole packs; nil is none
	Key    *crypt.Key
	Volume crypt.VolumeID

	Name func(crypt.Name) string            // where the bucket has a pack
	Find func(no meta.PackNo) (Info, error) // its record in signed metadata; ErrUnknown
	Bad  func(object string, err error)     // told of each object that is damaged

	Segments int // plaintext segments of 64 KiB kept in memory; 0 means 512
}

// Reader reads bytes of packs, wherever they are: in memory, in a local file, in
// the cache or in the bucket. It is safe for concurrent use.
type Reader struct {
	o        ReaderOptions
	segments *lru.Cache[segment, []byte]
	openers  *lru.Cache[crypt.Name, *opener]

	mu      sync.Mutex          // guards flights; no lock is taken after it but those of the lru
	flights map[segment]*flight // by each segment that one brings
}

// segment names a segment by the pack's name, which stands for its content.
type segment struct {
	name  crypt.Name
	index int
}

// opener opens segments of one pack whose tail was checked.
type opener struct {
	info Info
	*crypt.Opener
}

// openPacks is how many tails, 2 KiB each, are kept.
const openPacks = 1024

// NewReader returns a reader.
func NewReader(o ReaderOptions) *Reader {
	if o.Segments <= 0 {
		o.Segments = 512
	}
	r := &Reader{o: o, flights: map[segment]*flight{}}
	// New fails for sizes below 1 only.
	r.segments, _ = lru.New[segment, []byte](o.Segments)
	r.openers, _ = lru.New[crypt.Name, *opener](openPacks)
	return r
}

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
	if err != nil {
		return err
	}
	if int64(at.Off)+int64(len(dst)) > info.Length {
		return &Damage{at.Pack, info.Name, errors.New("extent past the end of the pack")}
	}
	for n := 0; n < len(dst); {
		off := int64(at.Off) + int64(n)
		plain, err := r.segment(ctx, info, int(off/crypt.SegmentSize))
		if err != nil {
			return err
		}
		n += copy(dst[n:], plain[off%crypt.SegmentSize:])
	}
	return nil
}

// info describes the sealed pack no.
func (r *Reader) info(no meta.PackNo) (Info, error) {
	if i, ok := r.o.Writer.Local(no); ok {
		return i, nil
	}
	return r.o.Find(no)
}

// load brings segments into memory, from the nearest place that has them: the
// one called first, and those behind it as far as they verify. Where the first
// does not verify it is looked for one place further; the bucket is asked twice,
// since a transfer can go wrong.
func (r *Reader) load(ctx context.Context, info Info, first, count int) ([][]byte, error) {
	var why []error
	for _, src := range []source{r.localFile(info), r.cachedFile(info), r.object(info), r.object(info)} {
		plain, err := r.read(ctx, info, src, first, count)
		switch {
		case err == nil:
			return plain, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, cache.ErrAbsent):
		case errors.Is(err, crypt.ErrForged), errors.Is(err, crypt.ErrVersion), errors.Is(err, store.ErrNotExist), errors.Is(err, errUnreadable):
			src.bad()
			why = append(why, fmt.Errorf("%s: %w", src.place, err))
		default:
			return nil, fmt.Errorf("pack %s: %w", info.Name, err)
		}
	}
	if _, err := r.info(info.No); errors.Is(err, ErrUnknown) {
		// It was dropped, since nothing needs it any more, while it was looked for.
		return nil, err
	}
	d := &Damage{info.No, info.Name, errors.Join(why...)}
	r.o.Bad(r.o.Name(info.Name), d.Why)
	return nil, d
}

// read gets count segments, and the tail when it is not known, from src and
// checks them. It returns at least the first.
func (r *Reader) read(ctx context.Context, info Info, src source, first, count int) ([][]byte, error) {
	var sealed []byte
	var op *opener
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		op, err = r.opener(ctx, info, src)
		return err
	})
	g.Go(func() (err error) {
		off, _ := crypt.SegmentRange(info.Length, first)
		last, n := crypt.SegmentRange(info.Length, first+count-1)
		sealed, err = src.get(ctx, off, last+n-off)
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var plain [][]byte
	for i := first; i < first+count; i++ {
		_, n := crypt.SegmentRange(info.Length, i)
		if int64(len(sealed)) < n {
			break // the object ends before
		}
		b, err := op.open(i, sealed[:n])
		if err != nil && len(plain) == 0 {
			return nil, err
		}
		if err != nil {
			break // whoever wants that one looks for it elsewhere
		}
		sealed = sealed[n:]
		plain = append(plain, b)
		r.segments.Add(segment{info.Name, i}, b)
	}
	if len(plain) == 0 {
		return nil, crypt.ErrForged
	}
	return plain, nil
}

// open opens one segment. What lies behind the pack's true length must be zeros.
func (o *opener) open(index int, sealed []byte) ([]byte, error) {
	b, err := o.Segment(make([]byte, 0, len(sealed)-crypt.Overhead), index, sealed)
	if err != nil {
		return nil, err
	}
	pad := b[min(int64(len(b)), max(0, o.info.Length-int64(index)*crypt.SegmentSize)):]
	for _, c := range pad {
		if c != 0 {
			return nil, crypt.ErrForged
		}
	}
	return b, nil
}

// opener returns what opens segments of the pack, getting and checking its tail
// first when it is not in memory.
func (r *Reader) opener(ctx context.Context, info Info, src source) (*opener, error) {
	if op, ok := r.openers.Get(info.Name); ok && op.info == info {
		return op, nil
	}
	size := crypt.TailSize(info.Length)
	b, err := src.get(ctx, info.ObjectSize()-size, size)
	if err != nil {
		return nil, err
	}
	tail, err := crypt.ParseTail(b)
	if err != nil {
		return nil, err
	}
	if tail.Name() != info.Name || tail.Epoch() != info.Epoch || tail.Segments() != crypt.Segments(crypt.Padme(info.Length)) {
		return nil, crypt.ErrForged
	}
	o, err := tail.Unlock(r.o.Key, r.o.Volume, crypt.TypePack)
	if err != nil {
		return nil, err
	}
	op := &opener{info, o}
	r.openers.Add(info.Name, op)
	return op, nil
}
