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
}

// Entry is one name of a directory.
type Entry struct {
	Name []byte
	meta.Dirent
}

// base calls fn with the map that holds an inode: the view, or an orphan's own;
// v is locked.
func (v *Volume) base(ref meta.Ref, fn func(r meta.Reader) error) error {
	if o := v.orphans[ref.Ino]; o != nil {
		return fn(o.m)
	}
	return v.view.Read(fn)
}

// stored returns an inode without what is dirty; v is locked.
func (v *Volume) stored(ref meta.Ref) (n *meta.Inode, err error) {
	err = v.base(ref, func(r meta.Reader) error {
		n, err = meta.GetInode(r, ref)
		return err
	})
	if errors.Is(err, meta.ErrNotExist) || errors.Is(err, meta.ErrAbsent) {
		return nil, ErrStale
	}
	return n, err
}

// inode returns an inode as a program sees it; v is locked.
func (v *Volume) inode(ref meta.Ref) (*meta.Inode, error) {
	n, err := v.stored(ref)
	if err != nil {
		return nil, err
	}
	if v.orphans[ref.Ino] != nil {
		n.Nlink = 0
	}
	if d := v.dirty[ref.Ino]; d != nil {
		n.Size = max(n.Size, d.size)
	}
	return n, nil
}

// blocksMax is how many extents of an indexed file are summed for st_blocks;
// files with more count as wholly there.
const blocksMax = 4096

// attr completes an inode to an Attr; v is locked.
func (v *Volume) attr(ref meta.Ref) (Attr, error) {
	n, err := v.inode(ref)
	if err != nil {
		return Attr{}, err
	}
	a := Attr{Ref: ref, Inode: n}
	if n.Kind != meta.File {
		return a, nil
	}
	var held uint64
	left := blocksMax
	err = v.base(ref, func(r meta.Reader) error {
		return meta.Extents(r, ref, n, 0, n.Size, func(e meta.Extent) bool {
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
func (v *Volume) Attr(ref meta.Ref) (Attr, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.attr(ref)
}

// Lookup finds a name in a directory.
func (v *Volume) Lookup(parent meta.Ref, name []byte) (Attr, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	d, err := v.lookup(parent, name)
	if err != nil {
		return Attr{}, err
	}
	return v.attr(d.Ref)
}

func (v *Volume) lookup(parent meta.Ref, name []byte) (d meta.Dirent, err error) {
	err = v.view.Read(func(r meta.Reader) error {
		d, err = meta.Lookup(r, parent.Ino, name)
		return err
	})
	return d, err
}

// List returns the entries of a directory, ascending by name, as they are now.
func (v *Volume) List(dir meta.Ref) ([]Entry, error) {
	var l []Entry
	err := v.view.Read(func(r meta.Reader) error {
		n, err := meta.GetInode(r, dir)
		if err != nil {
			return err
		}
		if n.Kind != meta.Dir {
			return meta.ErrNotDir
		}
		return meta.ReadDir(r, dir.Ino, func(name []byte, d meta.Dirent) bool {
			l = append(l, Entry{append([]byte(nil), name...), d})
			return true
		})
	})
	if errors.Is(err, meta.ErrNotExist) || errors.Is(err, meta.ErrAbsent) {
		return nil, nil // removed while it was open: it is empty
	}
	return l, err
}

// Node describes an inode to be made.
type Node struct {
	Kind     meta.Kind
	Perm     uint16
	UID, GID uint32
	Rdev     uint32
	Target   []byte
}

// Make makes an inode under a name. With held a handle of it is taken.
func (v *Volume) Make(ctx context.Context, parent meta.Ref, name []byte, n Node, held bool) (Attr, error) {
	if err := v.writable(ctx); err != nil {
		return Attr{}, err
	}
	if err := v.room(); err != nil {
		return Attr{}, err
	}
	ino, err := v.state.NextIno()
	if err != nil {
		return Attr{}, err
	}
	ref := meta.Ref{Home: parent.Ino, Ino: ino}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closing {
		return Attr{}, ErrShutdown
	}
	err = v.execute(&meta.Make{Parent: parent, Name: name, Ref: ref, Kind: n.Kind, Perm: n.Perm, UID: n.UID, GID: n.GID, Rdev: n.Rdev, Target: n.Target})
	if err != nil {
		return Attr{}, err
	}
	if held {
		v.hold(ref)
	}
	return v.attr(ref)
}

// Setattr changes attributes other than the size. With told the times are the
// kernel's own, of a file that it writes through its cache.
func (v *Volume) Setattr(ctx context.Context, ref meta.Ref, op meta.Setattr) error {
	if err := v.writable(ctx); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	op.Ref = ref
	if op.Valid&meta.SetMtime != 0 {
		if d := v.dirty[ref.Ino]; d != nil {
			d.timed = true
		}
		if o := v.open[ref.Ino]; o != nil {
			o.known, o.mtime = true, op.Mtime
			o.ctime = op.Ctime
			if op.Valid&meta.SetCtime == 0 {
				o.known = false // the kernel did not tell both
			}
		}
	}
	if o := v.orphans[ref.Ino]; o != nil {
		return v.applyOrphan(o, &op)
	}
	if _, err := v.stored(ref); err != nil {
		return err
	}
	return v.execute(&op)
}

// Unlink removes a name of what is no directory.
func (v *Volume) Unlink(ctx context.Context, parent meta.Ref, name []byte) error {
	if err := v.writable(ctx); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	d, err := v.lookup(parent, name)
	if err != nil {
		return err
	}
	if d.Kind == meta.Dir {
		return meta.ErrIsDir
	}
	if err := v.disown(d.Ref); err != nil {
		return err
	}
	return v.execute(&meta.Unlink{Parent: parent, Name: name, Ref: d.Ref})
}

// Rmdir removes an empty directory.
func (v *Volume) Rmdir(ctx context.Context, parent meta.Ref, name []byte) error {
	if err := v.writable(ctx); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	d, err := v.lookup(parent, name)
	if err != nil {
		return err
	}
	return v.execute(&meta.Rmdir{Parent: parent, Name: name, Ref: d.Ref})
}

// Rename moves a name; what the new name stood for goes, or with Exchange comes
// back under the old one.
func (v *Volume) Rename(ctx context.Context, parent meta.Ref, name []byte, newParent meta.Ref, newName []byte, flags meta.RenameFlags) error {
	if err := v.writable(ctx); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	d, err := v.lookup(parent, name)
	if err != nil {
		return err
	}
	op := &meta.Rename{Parent: parent, Name: name, NewParent: newParent, NewName: newName, Flags: flags, Ref: d.Ref}
	over, err := v.lookup(newParent, newName)
	switch {
	case err == nil:
		op.Replaced = &over.Ref
	case !errors.Is(err, meta.ErrNotExist):
		return err
	}
	// A program that renames a file into place wants its content there with the
	// name, so the operation comes after the file's data.
	if err := v.pin(d.Ref.Ino); err != nil {
		return err
	}
	if op.Replaced != nil && over.Ref != d.Ref && flags == 0 {
		// Whether the rename is allowed is asked first: a refused one must leave
		// the target's data alone.
		if err := v.dry(op); err != nil {
			return err
		}
		if err := v.disown(over.Ref); err != nil {
			return err
		}
	}
	return v.execute(op)
}

// dry says whether op would succeed now; v is locked.
func (v *Volume) dry(op meta.Op) error {
	return v.view.Read(func(r meta.Reader) error {
		_, err := op.Apply(r, meta.Stamp{Device: v.device, No: v.nextOp, Time: now()})
		return err
	})
}

// Link gives an inode a further name.
func (v *Volume) Link(ctx context.Context, ref, parent meta.Ref, name []byte) (Attr, error) {
	if err := v.writable(ctx); err != nil {
		return Attr{}, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.orphans[ref.Ino] != nil {
		return Attr{}, meta.ErrNotExist
	}
	if err := v.pin(ref.Ino); err != nil {
		return Attr{}, err
	}
	if err := v.execute(&meta.Link{Ref: ref, Parent: parent, Name: name}); err != nil {
		return Attr{}, err
	}
	return v.attr(ref)
}

// Parent returns the directory that holds a directory; the root's is itself.
func (v *Volume) Parent(dir meta.Ref) (meta.Ref, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	n, err := v.inode(dir)
	if err != nil {
		return meta.Ref{}, err
	}
	return n.Parent, nil
}
