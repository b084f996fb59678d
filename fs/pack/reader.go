package pack

import (
	"context"
	"errors"
	"fmt"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

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
	openers  *lru.Cache[meta.PackNo, *opener]
	flight   singleflight.Group
}

type segment struct {
	no    meta.PackNo
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
	if o.Segments == 0 {
		o.Segments = 512
	}
	r := &Reader{o: o}
	// New fails for sizes below 1 only.
	r.segments, _ = lru.New[segment, []byte](max(o.Segments, 1))
	r.openers, _ = lru.New[meta.PackNo, *opener](openPacks)
	return r
}

// ReadAt fills dst with the bytes of pack at.Pack from at.Off on. It fails with
// a Damage when the object is missing or does not verify, with store errors when
// the bucket cannot be asked. After an error dst holds nothing to be used.
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

// segment returns the plaintext of one segment; it must not be changed.
func (r *Reader) segment(ctx context.Context, info Info, index int) ([]byte, error) {
	key := segment{info.No, index}
	if b, ok := r.segments.Get(key); ok {
		return b, nil
	}
	first, count := r.window(info, index)
	ch := r.flight.DoChan(fmt.Sprintf("%d/%d", info.No, index), func() (any, error) {
		// Whoever came first may give up; others wait for the same bytes.
		return r.load(context.WithoutCancel(ctx), info, first, count)
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case res := <-ch:
		if res.Err != nil {
			return nil, res.Err
		}
		return res.Val.([][]byte)[index-first], nil
	}
}

// window says which segments to load when index is wanted: the one alone, or
// more where reading goes forward through a pack of the bucket.
func (r *Reader) window(info Info, index int) (first, count int) {
	if _, local := r.o.Writer.Local(info.No); local {
		return index, 1
	}
	total := crypt.Segments(crypt.Padme(info.Length))
	if index > 0 && r.segments.Contains(segment{info.No, index - 1}) {
		return index, min(16, total-index)
	}
	return index, 1
}

// load brings segments into memory, from the nearest place that has them. Where
// they do not verify they are looked for one place further; the bucket is asked
// twice, since a transfer can go wrong.
func (r *Reader) load(ctx context.Context, info Info, first, count int) ([][]byte, error) {
	var last error
	for _, src := range []source{r.localFile(info), r.cachedFile(info), r.object(info), r.object(info)} {
		plain, err := r.read(ctx, info, src, first, count)
		switch {
		case err == nil:
			return plain, nil
		case errors.Is(err, cache.ErrAbsent):
		case errors.Is(err, crypt.ErrForged), errors.Is(err, crypt.ErrVersion), errors.Is(err, store.ErrNotExist):
			r.openers.Remove(info.No)
			src.bad()
			last = err
		default:
			return nil, fmt.Errorf("pack %s: %w", info.Name, err)
		}
	}
	r.o.Bad(r.o.Name(info.Name), last)
	return nil, &Damage{info.No, info.Name, last}
}

// read gets count segments, and the tail when it is not known, from src and
// checks them.
func (r *Reader) read(ctx context.Context, info Info, src source, first, count int) ([][]byte, error) {
	var sealed []byte
	var op *opener
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		op, err = r.opener(ctx, info, src)
		return err
	})
	g.Go(func() (err error) {
		off := int64(first) * (crypt.SegmentSize + crypt.Overhead)
		end := min(off+int64(count)*(crypt.SegmentSize+crypt.Overhead), info.ObjectSize()-crypt.TailSize(info.Length))
		sealed, err = src.get(ctx, off, end-off)
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	plain := make([][]byte, 0, count)
	for i := first; len(sealed) > 0 && i < first+count; i++ {
		n := min(len(sealed), crypt.SegmentSize+crypt.Overhead)
		b, err := op.Segment(make([]byte, 0, n-crypt.Overhead), i, sealed[:n])
		if err != nil {
			return nil, err
		}
		sealed = sealed[n:]
		plain = append(plain, b)
		r.segments.Add(segment{info.No, i}, b)
	}
	if len(plain) != count {
		return nil, crypt.ErrForged // the object is shorter than its record says
	}
	return plain, nil
}

// opener returns what opens segments of the pack, getting and checking its tail
// first when it is not in memory.
func (r *Reader) opener(ctx context.Context, info Info, src source) (*opener, error) {
	if op, ok := r.openers.Get(info.No); ok && op.info == info {
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
	r.openers.Add(info.No, op)
	return op, nil
}
