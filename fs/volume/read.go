package volume

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
)

// Read fills dst with the bytes of a file from off on and returns how many
// there are before its end. The bytes have been verified.
func (v *Volume) Read(ctx context.Context, ref meta.Ref, off uint64, dst []byte) (n int, err error) {
	for try := 0; ; try++ {
		err := v.near(ctx, func() (err error) {
			n, err = v.readOnce(ctx, ref, off, dst)
			return err
		})
		// A pack may have gone with what was cut off or deleted meanwhile.
		if !errors.Is(err, pack.ErrUnknown) || try == 2 {
			return n, err
		}
	}
}

// readsAtOnce is how many pieces of a file are read at a time: those of one that
// was written here and there may lie far apart.
const readsAtOnce = 8

func (v *Volume) readOnce(ctx context.Context, ref meta.Ref, off uint64, dst []byte) (int, error) {
	runs, size, err := v.extents(ref, off, off+uint64(len(dst)))
	if err != nil || off >= size {
		return 0, err
	}
	dst = dst[:min(uint64(len(dst)), size-off)]
	v.prefetch(ref, off, uint64(len(dst)), size)
	if err := v.readRuns(ctx, runs, off, dst); err != nil {
		return 0, err
	}
	v.scanned(ref, runs, size)
	return len(dst), nil
}

// readRuns fills dst, which begins at off, from what covers it. Extents that overlap, as
// only a device with a program of its own makes them, are meta.ErrMalformed.
func (v *Volume) readRuns(ctx context.Context, runs []meta.Extent, off uint64, dst []byte) error {
	if len(runs) == 1 && runs[0].Off == off && runs[0].Len >= uint64(len(dst)) {
		return v.reader.ReadAt(ctx, pack.Loc{Pack: runs[0].Pack, Off: runs[0].PackOff}, dst)
	}
	for i, e := range runs {
		if e.Off < off || i > 0 && e.Off < runs[i-1].End() {
			return fmt.Errorf("%w: extents that overlap", meta.ErrMalformed)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readsAtOnce)
	at := uint64(0)
	for _, e := range runs {
		if e.Off-off >= uint64(len(dst)) {
			break
		}
		clear(dst[at : e.Off-off])
		at = min(e.End()-off, uint64(len(dst)))
		piece := dst[e.Off-off : at]
		g.Go(func() error {
			return v.reader.ReadAt(ctx, pack.Loc{Pack: e.Pack, Off: e.PackOff}, piece)
		})
	}
	clear(dst[at:])
	return g.Wait()
}

// extents returns what covers [off, end) of a file, sorted and disjoint, newest
// writes included, and the file's size.
func (v *Volume) extents(ref meta.Ref, off, end uint64) ([]meta.Extent, uint64, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	ref = v.at(ref)
	var runs []meta.Extent
	n, err := v.stored(ref)
	if err != nil {
		return nil, 0, err
	}
	size := n.Size
	err = v.base(ref, func(r meta.Reader) error {
		return meta.Extents(r, v.own(ref), n, off, end, func(e meta.Extent) bool {
			runs = append(runs, e)
			return true
		})
	})
	d := v.dirty[ref.Ino]
	if err != nil || d == nil {
		return runs, size, err
	}
	over := dirty{extents: runs}
	within(d.extents, off, end, over.add)
	return over.extents, max(size, d.size), nil
}

// Data returns the first offset from off on that holds data, or with hole that
// lies in a hole; the end of the file counts as a hole. ok is false when there
// is none before the end.
func (v *Volume) Data(ctx context.Context, ref meta.Ref, off uint64, hole bool) (at uint64, ok bool, err error) {
	var runs []meta.Extent
	var size uint64
	err = v.near(ctx, func() (err error) {
		runs, size, err = v.extents(ref, off, meta.MaxFileSize)
		return err
	})
	if err != nil || off >= size {
		return 0, false, err
	}
	at = off
	for _, e := range runs {
		if !hole {
			return max(e.Off, off), true, nil
		}
		if e.Off > at {
			break
		}
		at = e.End()
	}
	return min(at, size), hole, nil
}
