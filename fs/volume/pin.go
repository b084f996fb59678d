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
		if errors.Is(err, ErrStale) || errors.Is(err, meta.ErrConflict) {
			return v.rescue(d)
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

// rescueNames is how many names are tried for one file.
const rescueNames = 100

// rescue puts bytes that were written here to a file that another machine
// deleted or changed meanwhile into a new file of the root directory: the program was
// told that they are written. v is locked, and its state is written to the disk every
// few thousand files.
func (v *Volume) rescue(d *dirty) error {
	ino, err := v.state.NextIno()
	if err != nil {
		return err
	}
	ref := meta.Ref{Home: meta.Root, Ino: ino}
	for i := 1; ; i++ {
		name := fmt.Sprintf("recovered-%x-%d", uint64(d.ref.Ino), i)
		err = v.execute(&meta.Make{
			Parent: meta.RootRef, Name: []byte(name), Ref: ref, Kind: meta.File, Perm: 0o600, UID: v.o.UID, GID: v.o.GID,
		})
		if !errors.Is(err, meta.ErrExist) || i == rescueNames {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("recover what was written to inode %d: %w", d.ref.Ino, err)
	}
	was := d.ref
	delete(v.dirty, was.Ino)
	n, err := v.stored(ref)
	if err != nil {
		return err
	}
	d.ref, d.base = ref, n.Version
	v.dirty[ino] = d
	v.log.Warn("file was deleted or changed elsewhere while it was written; its new bytes are recovered", "inode", uint64(was.Ino), "into", uint64(ino))
	v.notes.warn("recovered", fmt.Errorf("files were deleted or changed by another machine while they were written here; what was written here lies in the root folder, the last as recovered-%x", uint64(was.Ino)))
	return v.pin(ino)
}
