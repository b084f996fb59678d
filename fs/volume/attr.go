package volume

import (
	"context"
	"errors"

	"github.com/hushfs/hushfs/fs/meta"
)

// Attr is an inode as a program sees it.
type Attr struct {
	Ref    meta.Ref
	Inode  *meta.Inode // not to be changed
	Blocks uint64      // of 512 bytes, that hold data
	Held   meta.Ref    // what a handle that was taken with it calls it
	Given  Given       // of what gave it a name: see ConfirmName
}

// base calls fn with the map that holds an inode, as own calls it: the view, or an
// orphan's own; v is locked.
func (v *Volume) base(ref meta.Ref, fn func(r meta.Reader) error) error {
	if o := v.orphans[v.at(ref).Ino]; o != nil {
		return fn(o.m)
	}
	return v.view.Read(fn)
}

// stored returns an inode without what is dirty; v is locked.
func (v *Volume) stored(ref meta.Ref) (n *meta.Inode, err error) {
	err = v.base(ref, func(r meta.Reader) error {
		n, err = meta.GetInode(r, v.own(ref))
		return err
	})
	if errors.Is(err, meta.ErrNotExist) || errors.Is(err, meta.ErrAbsent) {
		return nil, ErrStale
	}
	return n, err
}

// inode returns an inode as a program sees it; v is locked.
func (v *Volume) inode(ref meta.Ref) (*meta.Inode, error) {
	ref = v.at(ref)
	n, err := v.stored(ref)
	if err != nil {
		return nil, err
	}
	if f := v.orphans[ref.Ino]; f != nil {
		n.Nlink = 0
		if f.frozen {
			err = v.current(f, n)
		}
		return n, err
	}
	if d := v.dirty[ref.Ino]; d != nil {
		n.Size = max(n.Size, d.size)
	}
	v.accessed(ref.Ino, n)
	return n, nil
}

// blocksMax is how many extents of an indexed file are summed for st_blocks;
// files with more count as wholly there.
const blocksMax = 4096

// attr completes an inode to an Attr; v is locked.
func (v *Volume) attr(ref meta.Ref) (Attr, error) {
	ref = v.at(ref)
	n, err := v.inode(ref)
	if err != nil {
		return Attr{}, err
	}
	a := Attr{Ref: v.own(ref), Inode: n}
	if n.Kind != meta.File {
		return a, nil
	}
	var held uint64
	left := blocksMax
	err = v.base(ref, func(r meta.Reader) error {
		return meta.Extents(r, a.Ref, n, 0, n.Size, func(e meta.Extent) bool {
			held += e.Len
			left--
			return left > 0
		})
	})
	if err != nil {
		return Attr{}, err
	}
	if d := v.dirty[ref.Ino]; d != nil {
		for _, e := range d.extents {
			held += e.Len
		}
	}
	if left == 0 || held > n.Size {
		held = n.Size
	}
	a.Blocks = (held + 511) / 512
	return a, nil
}

// Attr returns the attributes of an inode.
func (v *Volume) Attr(ctx context.Context, ref meta.Ref) (a Attr, err error) {
	err = v.locked(ctx, func() error {
		a, err = v.attr(ref)
		return err
	})
	return a, err
}
