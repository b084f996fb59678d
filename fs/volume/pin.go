package volume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
)

// extentsMax is how many extents one operation names. Bytes that came inline can
// be cut in two where a pack becomes full at replay, so one less than there may be.
const extentsMax = meta.MaxExtents - 1

// pin makes an operation of what is dirty in ino, so that everything executed
// later comes after it; v is locked. After an error what is no operation yet is
// dirty still.
func (v *Volume) pin(ino meta.Ino) error {
	d := v.dirty[ino]
	if d == nil {
		return nil
	}
	for len(d.extents) > 0 {
		n := min(len(d.extents), extentsMax)
		w := &meta.Write{Ref: d.ref, Extents: d.extents[:n:n], Size: d.extents[n-1].End()}
		if n == len(d.extents) {
			w.Size = d.size
			if !d.timed {
				w.Mtime = &d.last
			}
		}
		// Over what it was written to, and nothing else: with the bytes of another
		// machine it would make a content that nobody wrote.
		w.Observed = d.base
		at := v.stamp()
		was, err := v.stored(d.ref)
		if err == nil {
			if w.Mtime != nil {
				v.guess(ino, was)
			}
			err = v.execute(w)
		}
		if errors.Is(err, meta.ErrLeased) {
			_, err = v.apart(d.ref)
			return err
		}
		if err != nil {
			return fmt.Errorf("write inode %d: %w", ino, err)
		}
		d.base = at.Version()
		d.extents = d.extents[n:]
	}
	delete(v.dirty, ino)
	return nil
}

// pinOld makes operations of all data that was written age ago or earlier. One
// file that fails keeps none of the others.
func (v *Volume) pinOld(ctx context.Context, age time.Duration) error {
	limit := time.Now().Add(-age)
	var old []meta.Ino
	v.mu.Lock()
	for ino, d := range v.dirty {
		if !d.first.After(limit) {
			old = append(old, ino)
		}
	}
	v.mu.Unlock()
	var errs error
	for _, ino := range old {
		errs = errors.Join(errs, v.locked(ctx, func() error { return v.pin(ino) }))
	}
	v.keepAccesses()
	return errs
}
