package volume

import (
	"context"
	"errors"

	"github.com/hushfs/hushfs/fs/meta"
)

// opened counts the handles of one inode. What the kernel knows of its times is
// kept as long as there is one.
type opened struct {
	ref   meta.Ref
	count int

	// Who has the file open found the content of this version, and writes to it. When
	// another machine changes it the handles are stale: what the kernel has of it, and
	// what the program makes of that, is no part of the new content.
	found uint64
	stale bool

	// With the writeback cache the kernel owns mtime and ctime of a file that it
	// writes: it tells them by SETATTR, before or after the WRITE. An operation
	// that had to carry a guess instead is put right when the kernel has no more
	// dirty pages.
	known   bool // the kernel told times since the file was opened
	mtime   meta.Time
	ctime   meta.Time
	guessed bool // an operation carries the time of receipt
}

// Setattr changes attributes other than the size. Of a file that the kernel
// writes through its cache the times come from there too, and are kept in mind.
func (v *Volume) Setattr(ctx context.Context, ref meta.Ref, op meta.Setattr) error {
	return v.changing(ctx, func() error {
		op.Ref = ref
		if err := v.apply(ref, &op); err != nil {
			return err
		}
		mtime, ctime := op.Valid&meta.SetMtime != 0, op.Valid&meta.SetCtime != 0
		if d := v.dirty[ref.Ino]; d != nil && mtime {
			d.timed = true
		}
		o := v.open[ref.Ino]
		switch {
		case o == nil:
		case mtime:
			o.known, o.mtime, o.ctime = ctime, op.Mtime, op.Ctime
		case ctime:
			o.ctime = op.Ctime // as by chmod
		}
		return nil
	})
}

// Flush says that the kernel has sent all it had of the file, as at close.
func (v *Volume) Flush(ctx context.Context, ref meta.Ref) error {
	return v.locked(ctx, func() error { return v.settleFile(ref) })
}

// settleFile makes operations of a file's data and puts guessed times right; v
// is locked.
func (v *Volume) settleFile(ref meta.Ref) error {
	o := v.open[ref.Ino]
	if d := v.dirty[ref.Ino]; d != nil {
		// The kernel sends times no later than this, so a guess is needed only
		// where it never told any.
		if o != nil && o.known {
			d.timed = true
			o.guessed = true // the times stored now may be older than the last told
		}
		if err := v.pin(ref.Ino); err != nil {
			return err
		}
	}
	if o == nil || !o.guessed || !o.known {
		return nil
	}
	n, err := v.stored(ref)
	if errors.Is(err, ErrStale) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return err
	}
	if n.Mtime != o.mtime || n.Ctime != o.ctime {
		op := &meta.Setattr{Ref: ref, Valid: meta.SetMtime | meta.SetCtime, Mtime: o.mtime, Ctime: o.ctime}
		if err := v.apply(ref, op); err != nil {
			return err
		}
	}
	o.guessed = false
	return nil
}

// Fsync returns when the file, and every operation before, survives a crash.
func (v *Volume) Fsync(ctx context.Context, ref meta.Ref) error {
	if err := v.Flush(ctx, ref); err != nil {
		return err
	}
	return v.persist()
}

// SyncTree returns when every operation executed so far survives a crash.
func (v *Volume) SyncTree() error { return v.persist() }
