package volume

import (
	"context"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
)

// Write puts data into a file at off. It returns when reads see it; it is
// durable after Fsync.
func (v *Volume) Write(ctx context.Context, ref meta.Ref, off uint64, data []byte) error {
	if err := v.writable(ctx); err != nil {
		return err
	}
	if off > meta.MaxFileSize || uint64(len(data)) > meta.MaxFileSize-off {
		return meta.ErrTooLarge
	}
	if err := v.known(ctx, ref); err != nil {
		return err
	}
	locs, landed, err := v.takeIn(ctx, data)
	if err != nil {
		return err
	}
	defer landed()
	extents := make([]meta.Extent, len(locs))
	for i, l := range locs {
		extents[i] = meta.Extent{Off: off, Len: uint64(l.Len), Pack: l.Pack, PackOff: l.Off}
		off += uint64(l.Len)
	}
	return v.changing(ctx, func() error { return v.land(ref, extents, off) })
}

// land makes written bytes part of a file, up to end; v is locked. Done again after it
// failed, it changes nothing more.
func (v *Volume) land(ref meta.Ref, extents []meta.Extent, end uint64) error {
	ref, err := v.changeable(ref)
	if err != nil {
		return err
	}
	if ref, err = v.received(ref); err != nil {
		return err
	}
	if o := v.orphans[ref.Ino]; o != nil {
		return v.applyOrphan(o, &meta.Write{Ref: o.ref, Extents: extents, Size: end})
	}
	d := v.dirty[ref.Ino]
	if d == nil {
		n, err := v.inode(ref)
		if err != nil {
			return err
		}
		if n.Kind != meta.File {
			return meta.ErrNotFile
		}
		d = &dirty{ref: ref, base: n.Version, first: time.Now()}
		v.dirty[ref.Ino] = d
	}
	// Times that the kernel told before are those of earlier data.
	d.last, d.timed, d.closed = now(), false, false
	for _, e := range extents {
		d.add(e)
	}
	if len(d.extents) >= extentsMax {
		return v.pin(ref.Ino)
	}
	return nil
}

// Truncate sets the size of a file. mtime is what the kernel told with it; nil, it
// will tell if there was a change.
func (v *Volume) Truncate(ctx context.Context, ref meta.Ref, size uint64, mtime *meta.Time) error {
	seen, err := v.Attr(ctx, ref)
	if err != nil {
		return err
	}
	as := ref
	return v.changing(ctx, func() error {
		ref, err := v.changeable(as)
		if err != nil {
			return err
		}
		n, err := v.inode(ref)
		if err != nil {
			return err
		}
		// Becoming a device of the drive, this machine may have followed others.
		if v.open[ref.Ino] == nil && v.dirty[ref.Ino] == nil && n.Version != seen.Inode.Version {
			return ErrStale
		}
		if o := v.open[ref.Ino]; o != nil && o.follows && size == 0 && n.Size == 0 {
			return nil // a lock file is opened with O_TRUNC while another machine has it
		}
		if size > n.Size {
			if err := v.room.open(); err != nil {
				return err
			}
		}
		if size > 0 { // else all of it goes
			if err := v.pin(ref.Ino); err != nil {
				return err
			}
			if n, err = v.inode(ref); err != nil {
				return err
			}
		}
		op := &meta.Truncate{Ref: v.own(ref), Observed: n.Version, Size: size, Mtime: mtime}
		if mtime == nil && size != n.Size {
			at := now()
			op.Mtime = &at
			v.guess(ref.Ino, n)
		}
		if err := v.apply(ref, op); err != nil {
			return err
		}
		delete(v.dirty, ref.Ino)
		if o := v.open[ref.Ino]; o != nil && mtime != nil {
			o.mtime, o.ctime = *mtime, *mtime // of what was guessed
		}
		return nil
	})
}

// PunchHole makes a range of a file read as zeros.
func (v *Volume) PunchHole(ctx context.Context, ref meta.Ref, off, length uint64) error {
	as := ref
	return v.changing(ctx, func() error {
		ref, err := v.changeable(as)
		if err != nil {
			return err
		}
		if err := v.pin(ref.Ino); err != nil {
			return err
		}
		n, err := v.inode(ref)
		if err != nil {
			return err
		}
		v.guess(ref.Ino, n)
		return v.apply(ref, &meta.PunchHole{Ref: v.own(ref), Observed: n.Version, Off: off, Len: length})
	})
}
