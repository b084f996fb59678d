package volume

import (
	"context"
	"errors"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
)

// Read fills dst with the bytes of a file from off on and returns how many
// there are before its end. The bytes have been verified.
func (v *Volume) Read(ctx context.Context, ref meta.Ref, off uint64, dst []byte) (int, error) {
	for try := 0; ; try++ {
		n, err := v.readOnce(ctx, ref, off, dst)
		// A pack may have gone with what was cut off or deleted meanwhile.
		if !errors.Is(err, pack.ErrUnknown) || try == 2 {
			return n, err
		}
	}
}

func (v *Volume) readOnce(ctx context.Context, ref meta.Ref, off uint64, dst []byte) (int, error) {
	runs, size, err := v.extents(ref, off, off+uint64(len(dst)))
	if err != nil || off >= size {
		return 0, err
	}
	dst = dst[:min(uint64(len(dst)), size-off)]
	at := uint64(0)
	for _, e := range runs {
		if e.Off-off >= uint64(len(dst)) {
			break
		}
		clear(dst[at : e.Off-off])
		at = min(e.End()-off, uint64(len(dst)))
		if err := v.reader.ReadAt(ctx, pack.Loc{Pack: e.Pack, Off: e.PackOff}, dst[e.Off-off:at]); err != nil {
			return 0, err
		}
	}
	clear(dst[at:])
	return len(dst), nil
}

// extents returns what covers [off, end) of a file, sorted and disjoint, newest
// writes included, and the file's size.
func (v *Volume) extents(ref meta.Ref, off, end uint64) ([]meta.Extent, uint64, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var runs []meta.Extent
	n, err := v.stored(ref)
	if err != nil {
		return nil, 0, err
	}
	size := n.Size
	err = v.base(ref, func(r meta.Reader) error {
		return meta.Extents(r, ref, n, off, end, func(e meta.Extent) bool {
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
func (v *Volume) Data(ref meta.Ref, off uint64, hole bool) (at uint64, ok bool, err error) {
	runs, size, err := v.extents(ref, off, meta.MaxFileSize)
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
