package pack

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/hushfs/hushfs/cache"
)

// source is one place that may have the bytes of a sealed pack.
type source struct {
	// get returns n bytes from off, fewer when the object ends before. It fails
	// with cache.ErrAbsent when this place never had the object.
	get func(ctx context.Context, off, n int64) ([]byte, error)

	bad func() // the bytes did not verify
}

// localFile is the file of a pack that is not in the bucket yet.
func (r *Reader) localFile(info Info) source {
	return source{
		get: func(_ context.Context, off, n int64) ([]byte, error) {
			if _, ok := r.o.Writer.Local(info.No); !ok {
				return nil, cache.ErrAbsent
			}
			f, err := os.Open(Path(r.o.Writer.o.Dir, info.No))
			if os.IsNotExist(err) {
				return nil, cache.ErrAbsent // it went to the cache or the bucket meanwhile
			}
			if err != nil {
				return nil, err
			}
			return readFile(f, off, n)
		},
		bad: func() {},
	}
}

// cachedFile is the copy in the cache.
func (r *Reader) cachedFile(info Info) source {
	name := info.Name.String()
	return source{
		get: func(_ context.Context, off, n int64) ([]byte, error) {
			if r.o.Cache == nil {
				return nil, cache.ErrAbsent
			}
			f, err := r.o.Cache.Open(name)
			if err != nil {
				return nil, err
			}
			b, err := readFile(f, off, n)
			if err != nil {
				// A disk that cannot read its copy is no reason to fail: drop it.
				r.o.Cache.Drop(name)
				return nil, cache.ErrAbsent
			}
			return b, nil
		},
		bad: func() { r.o.Cache.Drop(name) },
	}
}

// object is the object in the bucket.
func (r *Reader) object(info Info) source {
	return source{
		get: func(ctx context.Context, off, n int64) ([]byte, error) {
			return r.o.Bucket.Get(ctx, r.o.Name(info.Name), off, n)
		},
		bad: func() {},
	}
}

// readFile reads n bytes at off and closes f.
func readFile(f *os.File, off, n int64) (b []byte, err error) {
	defer f.Close()
	b = make([]byte, n)
	got, err := f.ReadAt(b, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b[:got], nil
}
