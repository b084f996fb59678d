package volume

import (
	"context"
	"errors"

	"github.com/hushfs/hushfs/fs/meta"
)

// With the writeback cache the kernel owns mtime and ctime of a file that it writes:
// it takes them from us when it first hears of the file, changes them by its own
// clock, and tells by SETATTR what it changed; at a close or fsync at the latest, but
// data may come long before and, from the cache, after. So the times of a file are
// those that were told last, or else those that it had. Only until the kernel had
// to tell, data that a crash would leave with times from before must not look like the
// content that had them: then it has the time of receipt.
//
// guess notes that an operation of the inode n is about to carry such a time; v is
// locked.
func (v *Volume) guess(ino meta.Ino, n *meta.Inode) {
	if o := v.open[ino]; o != nil && !o.guessed {
		o.guessed, o.mtime, o.ctime = true, n.Mtime, n.Ctime
	}
}

// Setattr changes attributes other than the size.
func (v *Volume) Setattr(ctx context.Context, ref meta.Ref, op meta.Setattr) error {
	known, err := v.enterTo(ctx, ref, op)
	if err != nil || known {
		return err
	}
	if op.Valid&meta.SetMtime != 0 {
		v.sealClosed(ref)
	}
	as := ref
	return v.changing(ctx, func() error {
		ref := v.at(as)
		op.Ref = v.own(as)
		apply := v.apply
		if op.Valid == meta.SetMtime|meta.SetCtime {
			apply = func(meta.Ref, meta.Op) error { return v.applyTimes(as, &op) }
		}
		// A program that closes a file and then says of when it is wants its content
		// there with the time: others take what has the time for the content.
		if d := v.dirty[ref.Ino]; d != nil && d.closed && op.Valid&meta.SetMtime != 0 {
			if err := v.pin(ref.Ino); err != nil {
				return err
			}
			ref, op.Ref = v.at(as), v.own(as)
		}
		v.joinAccess(&op)
		if err := apply(ref, &op); err != nil {
			return err
		}
		mtime, ctime := op.Valid&meta.SetMtime != 0, op.Valid&meta.SetCtime != 0
		if d := v.dirty[ref.Ino]; d != nil && mtime {
			d.timed = true
		}
		o := v.open[ref.Ino]
		if o == nil || !o.guessed {
			return nil
		}
		o.guessed = !mtime || !ctime
		if mtime {
			o.mtime = op.Mtime
		}
		if ctime {
			o.ctime = op.Ctime // as by chmod
		}
		return nil
	})
}

// Flush says that the kernel has sent all it had of the file, as at close.
func (v *Volume) Flush(ctx context.Context, ref meta.Ref) error {
	return v.locked(ctx, func() error { return v.settleFile(ref, v.closeFile) })
}

// settleFile has pin make operations of a file's data, and puts guessed times right; v
// is locked.
func (v *Volume) settleFile(ref meta.Ref, pin func(*dirty) error) error {
	ref = v.at(ref)
	o := v.open[ref.Ino]
	if d := v.dirty[ref.Ino]; d != nil {
		if o != nil {
			d.timed = true // the kernel tells times no later than this
		}
		if err := pin(d); err != nil {
			return err
		}
	}
	if o == nil || !o.guessed {
		return nil
	}
	ref = o.ref // a copy, as it may be now
	n, err := v.stored(ref)
	if errors.Is(err, ErrStale) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return err
	}
	if n.Mtime != o.mtime || n.Ctime != o.ctime {
		op := &meta.Setattr{Ref: v.own(ref), Valid: meta.SetMtime | meta.SetCtime, Mtime: o.mtime, Ctime: o.ctime}
		if err := v.applyTimes(o.as[0], op); err != nil {
			return err
		}
	}
	o.guessed = false
	return nil
}

// parted puts right what the last handle of a file leaves: of a file that is mapped
// data comes after its last close too. v is locked.
func (v *Volume) parted(o *opened) {
	if d := v.dirty[o.ref.Ino]; d != nil {
		d.timed = true
	}
	if !o.guessed || v.closing || v.broken != nil {
		return
	}
	op := &meta.Setattr{Ref: v.own(o.ref), Valid: meta.SetMtime | meta.SetCtime, Mtime: o.mtime, Ctime: o.ctime}
	if err := v.applyTimes(o.as[0], op); err != nil && !errors.Is(err, ErrStale) {
		v.log.Warn("times of a closed file are those at which its data came", "inode", uint64(o.ref.Ino), "err", err)
	}
}
