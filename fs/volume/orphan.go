package volume

import (
	"errors"
	"math"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/view"
)

// orphan is a file that has handles, and a content that no name leads to any more. It
// ends with them; no slot ever says anything of it.
type orphan struct {
	ref    meta.Ref        // in m
	m      *view.Confirmed // its inode, extents and attributes; of one that is frozen it may be all that was
	home   meta.Ref        // of one that never had a name, and may get one: the directory that it was made in
	frozen bool            // another machine changed it; what is written to it is to be kept
	by     Given           // the rename that took its last name, as long as that may be given up
	sure   bool            // a program waited to hear whether it did
	seen   uint64          // the version that it had then
}

// parting is called before an operation that takes a name from ref. Where it is
// the last one, gone, called after the operation, keeps the file as long as it
// has handles; v is locked.
func (v *Volume) parting(ref meta.Ref) (gone func(), err error) {
	n, err := v.stored(ref)
	if errors.Is(err, ErrStale) {
		return func() {}, nil // a name that stands for nothing
	}
	if err != nil {
		return nil, err
	}
	if n.Kind == meta.Dir || n.Nlink > 1 {
		return func() {}, nil
	}
	if v.open[ref.Ino] == nil {
		return func() { delete(v.dirty, ref.Ino) }, nil
	}
	o, err := v.orphan(ref)
	if err != nil {
		return nil, err
	}
	return func() {
		delete(v.dirty, ref.Ino)
		v.orphans[ref.Ino] = o
	}, nil
}

// orphan copies what a file is, newest writes included; v is locked.
func (v *Volume) orphan(ref meta.Ref) (*orphan, error) {
	o := &orphan{ref: ref}
	err := v.view.Read(func(r meta.Reader) (err error) {
		o.m, err = extract(r, ref, math.MaxInt)
		return err
	})
	d := v.dirty[ref.Ino]
	if err != nil || d == nil {
		return o, err
	}
	for extents := d.extents; len(extents) > 0; {
		n := min(len(extents), extentsMax)
		if err := v.applyOrphan(o, &meta.Write{Ref: ref, Extents: extents[:n:n]}); err != nil {
			return nil, err
		}
		extents = extents[n:]
	}
	return o, nil
}

// applyOrphan changes a file without a name; v is locked.
func (v *Volume) applyOrphan(o *orphan, op meta.Op) error {
	b, err := op.Apply(o.m, meta.Stamp{Device: v.device, No: v.nextOp, Time: v.Now()})
	if err != nil {
		return err
	}
	o.m.Apply(0, b, meta.Delta{})
	return nil
}

// packs adds the packs that the orphan's extents name. Those that are not near are in
// tables, and their packs in the store.
func (o *orphan) packs(needed map[meta.PackNo]bool) (err error) {
	defer func() {
		if o.frozen && errors.Is(err, meta.ErrUnknown) {
			err = nil
		}
	}()
	n, err := meta.GetInode(o.m, o.ref)
	if err != nil || n.Kind != meta.File {
		return err
	}
	return meta.Extents(o.m, o.ref, n, 0, n.Size, func(e meta.Extent) bool {
		needed[e.Pack] = true
		return true
	})
}
