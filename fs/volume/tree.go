package volume

import (
	"context"
	"errors"

	"github.com/hushfs/hushfs/fs/meta"
)

// Entry is one name of a directory.
type Entry struct {
	Name []byte
	meta.Dirent
}

// Lookup finds a name in a directory.
func (v *Volume) Lookup(ctx context.Context, parent meta.Ref, name []byte) (a Attr, err error) {
	err = v.locked(ctx, func() error {
		d, err := v.lookup(parent, name)
		if err != nil {
			return err
		}
		a, err = v.attr(d.Ref)
		if err == nil && d.Kind == meta.File {
			v.places.found(d.Ref, parent, name)
		}
		return err
	})
	return a, err
}

func (v *Volume) lookup(parent meta.Ref, name []byte) (d meta.Dirent, err error) {
	err = v.view.Read(func(r meta.Reader) error {
		d, err = meta.Lookup(r, parent.Ino, name)
		return err
	})
	return d, err
}

// listPage is how many entries of a directory are read at a time. So many must be near
// together; and up to so many are as they were at one moment.
const listPage = 20_000

// List returns the entries of a directory, ascending by name, as they are now.
func (v *Volume) List(ctx context.Context, dir meta.Ref) (l []Entry, err error) {
	for more := true; more && err == nil; {
		var page []Entry
		err = v.near(ctx, func() error {
			page, more = nil, false
			return v.view.Read(func(r meta.Reader) error {
				n, err := meta.GetInode(r, dir)
				if err != nil {
					return err
				}
				if n.Kind != meta.Dir {
					return meta.ErrNotDir
				}
				var after []byte
				if len(l) > 0 {
					after = l[len(l)-1].Name
				}
				return meta.ReadDir(r, dir.Ino, after, func(name []byte, d meta.Dirent) bool {
					page = append(page, Entry{append([]byte(nil), name...), d})
					more = len(page) == listPage
					return !more
				})
			})
		})
		l = append(l, page...)
	}
	if errors.Is(err, meta.ErrNotExist) || errors.Is(err, meta.ErrAbsent) {
		return nil, nil // removed while it was open: it is empty
	}
	if errors.Is(err, meta.ErrMalformed) && v.notes.unlisted(uint64(dir.Ino)) {
		v.log.Error("a folder cannot be listed: what the store says of it can be nobody's names", "inode", uint64(dir.Ino), "err", err)
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
	Sure     bool // the program relies on having been the first to take the name
}

// Make makes an inode under a name. With held a handle of it is taken.
func (v *Volume) Make(ctx context.Context, parent meta.Ref, name []byte, n Node, held bool) (a Attr, err error) {
	if err := v.writable(ctx); err != nil {
		return Attr{}, err
	}
	if err := v.room.enter(ctx); err != nil {
		return Attr{}, err
	}
	ino, err := v.state.NextIno()
	if err != nil {
		return Attr{}, err
	}
	ref := meta.Ref{Home: parent.Ino, Ino: ino}
	sure := false
	if n.Sure {
		if sure, err = v.sure(ctx, parent); err != nil {
			return Attr{}, err
		}
	}
	var given Given
	err = v.changing(ctx, func() (err error) {
		given, err = v.executeName(sure, &meta.Make{Parent: parent, Name: name, Ref: ref, Kind: n.Kind, Perm: n.Perm, UID: n.UID, GID: n.GID, Rdev: n.Rdev, Target: n.Target}, nil)
		if err != nil {
			return err
		}
		if n.Kind == meta.File {
			v.places.gave(v.nextOp-1, ref, parent, name)
		}
		// All of it is pending, and so is near.
		if a, err = v.attr(ref); err == nil && held {
			a.Held = v.hold(ref)
			v.keepsName(ref, parent, name)
		}
		return err
	})
	if a.Given = given; err != nil {
		_ = v.Named(given) // nobody waits for it
	}
	return a, err
}

// Unlink removes a name of what is no directory.
func (v *Volume) Unlink(ctx context.Context, parent meta.Ref, name []byte) error {
	return v.changing(ctx, func() error {
		d, err := v.lookup(parent, name)
		if err != nil {
			return err
		}
		if d.Kind == meta.Dir {
			return meta.ErrIsDir
		}
		gone, err := v.parting(d.Ref)
		if err != nil {
			return err
		}
		seen, err := v.seen(d)
		if err != nil {
			return err
		}
		if err := v.execute(&meta.Unlink{Parent: parent, Name: name, Ref: d.Ref, Observed: seen}); err != nil {
			return err
		}
		gone()
		return nil
	})
}

// seen is the version of a file's content: who removes it means that one, and not what
// another machine makes of it; v is locked. Of what is no file it is 0.
func (v *Volume) seen(d meta.Dirent) (uint64, error) {
	if d.Kind != meta.File || v.orphans[d.Ref.Ino] != nil {
		return 0, nil
	}
	n, err := v.stored(d.Ref)
	if errors.Is(err, ErrStale) {
		return 0, nil // a name that stands for nothing
	}
	if err != nil {
		return 0, err
	}
	return n.Version, nil
}

// Rmdir removes an empty directory.
func (v *Volume) Rmdir(ctx context.Context, parent meta.Ref, name []byte) error {
	return v.changing(ctx, func() error {
		d, err := v.lookup(parent, name)
		if err != nil {
			return err
		}
		return v.execute(&meta.Rmdir{Parent: parent, Name: name, Ref: d.Ref})
	})
}

// Rename moves a name; what the new name stood for goes, or with Exchange comes
// back under the old one.
func (v *Volume) Rename(ctx context.Context, parent meta.Ref, name []byte, newParent meta.Ref, newName []byte, flags meta.RenameFlags) error {
	_, err := v.rename(ctx, false, parent, name, newParent, newName, flags)
	return err
}

// RenameSure is Rename for a program that relies on it that nobody else moved the name
// away, or took the new one: see ConfirmName.
func (v *Volume) RenameSure(ctx context.Context, parent meta.Ref, name []byte, newParent meta.Ref, newName []byte, flags meta.RenameFlags) (Given, error) {
	sure, err := v.sure(ctx, parent, newParent)
	if err != nil {
		return Given{}, err
	}
	return v.rename(ctx, sure, parent, name, newParent, newName, flags)
}

func (v *Volume) rename(ctx context.Context, sure bool, parent meta.Ref, name []byte, newParent meta.Ref, newName []byte, flags meta.RenameFlags) (g Given, err error) {
	if err := v.room.change(ctx); err != nil {
		return Given{}, err
	}
	v.sealNamed(parent, name)
	if sure {
		v.sealNamed(newParent, newName)
	}
	err = v.changing(ctx, func() error {
		d, err := v.lookup(parent, name)
		if err != nil {
			return err
		}
		op := &meta.Rename{Parent: parent, Name: name, NewParent: newParent, NewName: newName, Flags: flags, Ref: d.Ref}
		over, err := v.lookup(newParent, newName)
		switch {
		case err == nil:
			op.Replaced = &over.Ref
			if sure && over.Ref != d.Ref { // it stays what it is where another machine was faster
				if err := v.pin(over.Ref.Ino); err != nil {
					return err
				}
			}
			if flags&meta.Exchange == 0 {
				if op.Observed, err = v.seen(over); err != nil {
					return err
				}
			}
		case !errors.Is(err, meta.ErrNotExist):
			return err
		}
		// A program that renames a file into place wants its content there with the
		// name, so the operation comes after the file's data.
		if err := v.pin(d.Ref.Ino); err != nil {
			return err
		}
		gone := func() {}
		switch {
		case op.Replaced == nil || over.Ref == d.Ref:
		case flags&meta.Exchange != 0:
			if err := v.pin(over.Ref.Ino); err != nil {
				return err
			}
		case flags == 0:
			if gone, err = v.parting(over.Ref); err != nil {
				return err
			}
		}
		var was meta.Reader
		if flags == 0 && v.open[over.Ref.Ino] != nil {
			was = v.view.Freeze()
		}
		no := v.nextOp
		if g, err = v.executeName(sure, op, nil); err != nil {
			return err
		}
		if v.nextOp > no {
			v.renamed(no, op, d.Kind, over.Kind)
		}
		gone()
		if o := v.orphans[over.Ref.Ino]; o != nil {
			o.by, o.sure, o.seen = Given{no}, sure, op.Observed
			// If that is not near, what is to be kept of it comes to the root directory.
			v.places.found(over.Ref, newParent, newName)
			_ = v.lineage(o.m, was, over.Ref)
		}
		return nil
	})
	return g, err
}

// renamed remembers where files are since the operation no: the kernel knows, and will not
// look them up.
func (v *Volume) renamed(no meta.OpNo, op *meta.Rename, kind, over meta.Kind) {
	if kind == meta.File {
		v.places.found(op.Ref, op.Parent, op.Name)
		v.gave(no, op.Ref, op.NewParent, op.NewName)
	}
	if op.Flags&meta.Exchange != 0 && over == meta.File {
		v.places.found(*op.Replaced, op.NewParent, op.NewName)
		v.gave(no, *op.Replaced, op.Parent, op.Name)
	}
}

// Link gives an inode a further name.
func (v *Volume) Link(ctx context.Context, ref, parent meta.Ref, name []byte) (a Attr, err error) {
	v.mu.Lock()
	o := v.orphans[v.at(ref).Ino]
	v.mu.Unlock()
	if o != nil && o.home.Ino != 0 {
		given, err := v.nameIt(ctx, o, parent, name)
		if err != nil {
			return Attr{}, err
		}
		return v.linked(ctx, ref, given)
	}
	if err := v.room.change(ctx); err != nil {
		return Attr{}, err
	}
	_ = v.seal(ref, true)
	sure, err := v.sure(ctx, parent)
	if err != nil {
		return Attr{}, err
	}
	as, given := ref, Given{}
	err = v.changing(ctx, func() (err error) {
		if v.orphans[v.at(as).Ino] != nil {
			return meta.ErrNotExist
		}
		ref := v.at(as)
		if err := v.pin(ref.Ino); err != nil {
			return err
		}
		if given, err = v.executeName(sure, &meta.Link{Ref: ref, Parent: parent, Name: name}, nil); err != nil {
			return err
		}
		v.gave(v.nextOp-1, ref, parent, name)
		return nil
	})
	if err != nil {
		return Attr{}, err
	}
	return v.linked(ctx, ref, given)
}

// linked is the answer to Link.
func (v *Volume) linked(ctx context.Context, ref meta.Ref, given Given) (a Attr, err error) {
	if a, err = v.Attr(ctx, ref); err != nil {
		_ = v.Named(given) // nobody waits for it
	}
	a.Given = given
	return a, err
}

// Parent returns the directory that holds a directory; the root's is itself.
func (v *Volume) Parent(ctx context.Context, dir meta.Ref) (parent meta.Ref, err error) {
	err = v.locked(ctx, func() error {
		n, err := v.inode(dir)
		if err != nil {
			return err
		}
		parent = n.Parent
		return nil
	})
	return parent, err
}
