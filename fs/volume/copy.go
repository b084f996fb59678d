package volume

import (
	"context"

	"github.com/hushfs/hushfs/fs/meta"
)

// Span is a part of a file: length bytes from off on.
type Span struct {
	Ref      meta.Ref
	Off, Len uint64
}

// Copy makes to.Off and what follows in one file what from says of another, or of a
// part of the same that does not meet it, and returns how many bytes that are: fewer
// than from.Len at the end of the source, and where so many pieces are a single
// operation's most. No byte is copied: both files have the same pieces of packs from
// then on, until one of them is written. Holes stay holes. to.Len is not looked at.
func (v *Volume) Copy(ctx context.Context, from, to Span) (n uint64, err error) {
	err = v.changing(ctx, func() error {
		n, err = v.clone(from, to)
		return err
	})
	return n, err
}

// clone is Copy with v locked.
func (v *Volume) clone(from, to Span) (uint64, error) {
	var err error
	if to.Ref, err = v.changeable(to.Ref); err != nil {
		return 0, err
	}
	from.Ref = v.at(from.Ref)
	for _, ref := range []meta.Ref{from.Ref, to.Ref} {
		// What was written before comes before.
		if err := v.pin(ref.Ino); err != nil {
			return 0, err
		}
	}
	source, err := v.file(from.Ref)
	if err != nil {
		return 0, err
	}
	target, err := v.file(to.Ref)
	if err != nil {
		return 0, err
	}
	if from.Off >= source.Size || from.Len == 0 {
		return 0, nil
	}
	n := min(from.Len, source.Size-from.Off)
	if to.Off > meta.MaxFileSize || n > meta.MaxFileSize-to.Off {
		return 0, meta.ErrTooLarge
	}
	if to.Off+n > target.Size {
		if err := v.room.open(); err != nil {
			return 0, err
		}
	}
	op := &meta.Clone{Ref: v.own(to.Ref), Observed: target.Version, Off: to.Off}
	err = v.base(from.Ref, func(r meta.Reader) error {
		return meta.Extents(r, v.own(from.Ref), source, from.Off, from.Off+n, func(e meta.Extent) bool {
			if len(op.Extents) == extentsMax {
				n = e.Off - from.Off // the rest is another call's
				return false
			}
			e.Off = e.Off - from.Off + to.Off
			op.Extents = append(op.Extents, e)
			return true
		})
	})
	if err != nil {
		return 0, err
	}
	at := now()
	op.Len, op.Mtime = n, &at
	v.guess(to.Ref.Ino, target)
	return n, v.apply(to.Ref, op)
}

// file is the inode of a regular file; v is locked.
func (v *Volume) file(ref meta.Ref) (*meta.Inode, error) {
	n, err := v.inode(ref)
	switch {
	case err != nil:
		return nil, err
	case n.Kind == meta.Dir:
		return nil, meta.ErrIsDir
	case n.Kind != meta.File:
		return nil, meta.ErrNotFile
	}
	return n, nil
}
