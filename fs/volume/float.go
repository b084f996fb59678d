package volume

import (
	"context"
	"errors"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
)

// Bytes that float hold up nobody. An operation in the queue does, if its bytes are
// in memory still: whoever syncs anything then has to bring them to the disk first.
// So large data is brought there before it becomes an operation.

// loose splits what is dirty by whether its packs need nothing more, and counts the
// bytes that are in memory alone.
func (v *Volume) loose(d *dirty) (safe, loose []meta.Extent, bytes uint64) {
	for _, e := range d.extents {
		if v.packs.Durable(e.Pack) {
			safe = append(safe, e)
		} else {
			loose = append(loose, e)
			bytes += e.Len
		}
	}
	return safe, loose, bytes
}

// seal brings to the disk what was written to a file before, where that is more than
// goes into the journal with an operation; with full only the packs that take nothing
// more. No lock may be held. What fails is tried again, and told, by whoever brings
// the operation to the journal; ripen tells it, since what floats on is in none.
func (v *Volume) seal(ref meta.Ref, full bool) error {
	v.mu.Lock()
	d := v.dirty[v.at(ref).Ino]
	if d == nil {
		v.mu.Unlock()
		return nil
	}
	_, loose, bytes := v.loose(d)
	v.mu.Unlock()
	if bytes <= inlineMax {
		return nil
	}
	closed := map[meta.PackNo]bool{}
	for _, e := range loose {
		if closed[e.Pack] || full && !v.packs.Full(e.Pack) {
			continue
		}
		closed[e.Pack] = true
		if err := v.packs.Close(e.Pack); err != nil {
			return err
		}
	}
	return nil
}

// sealNamed is seal for the file of a name, and for full packs alone: a rename wants
// the content before the name.
func (v *Volume) sealNamed(parent meta.Ref, name []byte) {
	v.mu.Lock()
	floats := len(v.dirty) > 0
	var d meta.Dirent
	var err error
	if floats {
		d, err = v.lookup(parent, name)
	}
	v.mu.Unlock()
	if floats && err == nil {
		_ = v.seal(d.Ref, true)
	}
}

// sealClosed is seal for a file that was closed, and for full packs alone.
func (v *Volume) sealClosed(ref meta.Ref) {
	v.mu.Lock()
	d := v.dirty[v.at(ref).Ino]
	closed := d != nil && d.closed
	v.mu.Unlock()
	if closed {
		_ = v.seal(ref, true)
	}
}

// closeFile makes operations of a file's data at a close, or lets it float to the
// next tick where it is much; v is locked.
func (v *Volume) closeFile(d *dirty) error {
	if _, _, bytes := v.loose(d); bytes > inlineMax {
		d.closed = true
		return nil
	}
	return v.pin(d.ref.Ino)
}

// ripen makes operations of all data that was written age ago or earlier, or whose
// file was closed. One file that fails keeps none of the others.
func (v *Volume) ripen(ctx context.Context, age time.Duration) error {
	limit := time.Now().Add(-age)
	var ripe []meta.Ino
	v.mu.Lock()
	for ino, d := range v.dirty {
		if d.closed || !d.first.After(limit) {
			ripe = append(ripe, ino)
		}
	}
	v.mu.Unlock()
	var errs error
	for _, ino := range ripe {
		since := time.Now()
		errs = errors.Join(errs, v.seal(meta.Ref{Ino: ino}, false), v.locked(ctx, func() error { return v.pinSealed(ino, since) }))
	}
	v.keepAccesses()
	return errs
}

// pinSealed is pin, but for what is in memory alone where that is much: what came after
// since, while the rest was brought to the disk. It floats on; v is locked.
func (v *Volume) pinSealed(ino meta.Ino, since time.Time) error {
	d := v.dirty[ino]
	if d == nil {
		return nil
	}
	safe, loose, bytes := v.loose(d)
	if bytes <= inlineMax {
		return v.pin(ino)
	}
	if len(safe) == 0 {
		d.first = since
		return nil
	}
	rest := *d
	rest.extents, rest.first = loose, since
	d.extents, d.size = safe, safe[len(safe)-1].End()
	if err := v.pin(ino); err != nil {
		d.size = rest.size
		for _, e := range loose {
			d.add(e)
		}
		return err
	}
	// It may be another's by now: see apart.
	rest.ref, rest.base = d.ref, d.base
	v.dirty[d.ref.Ino] = &rest
	return nil
}
