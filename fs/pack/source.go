package pack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/hushfs/hushfs/cache"
)

// source is one place that may have the bytes of a sealed pack.
type source struct {
	place string // for errors

	// get returns n bytes from off, fewer when the object ends before. It fails
	// with cache.ErrAbsent when this place does not have the object, and with
	// errUnreadable when the local disk does not give it.
	get func(ctx context.Context, off, n int64) ([]byte, error)

	bad func() // the bytes did not verify
}

// localFile is the file of a pack that is not in the bucket yet.
func (r *Reader) localFile(info Info) source {
	return source{
		place: "local file",
		get: func(_ context.Context, off, n int64) ([]byte, error) {
			if _, ok := r.o.Writer.Local(info.No); !ok {
				return nil, cache.ErrAbsent
			}
			f, err := os.Open(Path(r.o.Writer.o.Dir, info.No))
			if os.IsNotExist(err) {
				return nil, cache.ErrAbsent // it went to the cache or the bucket meanwhile
			}
			if err != nil {
				return nil, fmt.Errorf("%w: %w", errUnreadable, err)
			}
			return readFile(f, off, n)
		},
		bad: func() {}, // it may be the only copy there is
	}
}

// cachedFile is the copy in the cache.
func (r *Reader) cachedFile(info Info) source {
	name := info.Name.String()
	return source{
		place: "cache",
		get: func(_ context.Context, off, n int64) ([]byte, error) {
			if r.o.Cache == nil {
				return nil, cache.ErrAbsent
			}
			f, err := r.o.Cache.Open(name)
			if err != nil {
				return nil, err
			}
			return readFile(f, off, n)
		},
		bad: func() { r.o.Cache.Drop(name) },
	}
}

// object is the object in the bucket.
func (r *Reader) object(info Info) source {
	return source{
		place: "store",
		get: func(ctx context.Context, off, n int64) ([]byte, error) {
			return r.o.Bucket.Get(ctx, r.o.Name(info.Name), off, n)
		},
		bad: func() {},
	}
}

// errUnreadable: the local disk has the bytes and does not give them.
var errUnreadable = errors.New("local disk")

// readFile reads n bytes at off and closes f.
func readFile(f *os.File, off, n int64) (b []byte, err error) {
	defer f.Close()
	b = make([]byte, n)
	got, err := f.ReadAt(b, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	return b[:got], nil
}
