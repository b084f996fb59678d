package meta

import "slices"

// Unlink removes a name of what is no directory, and with the last name the
// inode, its extents and its attributes.
type Unlink struct {
	Parent   Ref
	Name     []byte
	Ref      Ref    // what the name must stand for, or ErrConflict
	Observed uint64 // version that the file must have if this is its last name, or ErrConflict; 0: any
}

// Rmdir removes an empty directory. Inodes that were made in it and live
// elsewhere by now stay: their home outlives it.
type Rmdir struct {
	Parent Ref
	Name   []byte
	Ref    Ref // what the name must stand for, or ErrConflict
}

var (
	_ Op = (*Unlink)(nil)
	_ Op = (*Rmdir)(nil)
)

// Apply also removes a name that stands for no inode, so that such a name,
// which only a broken writer makes, does not stay for ever.
func (o *Unlink) Apply(r Reader, at Stamp) (*Batch, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	e := newEdit(r, at)
	dir, err := e.dir(o.Parent)
	if err != nil {
		return nil, err
	}
	d, err := e.lookup(o.Parent, o.Name)
	switch {
	case err != nil:
		return nil, err
	case d.Ref != o.Ref:
		return nil, ErrConflict
	case d.Kind == Dir:
		return nil, ErrIsDir
	}
	n, err := e.inode(d.Ref)
	switch {
	case isAbsent(err):
	case err != nil:
		return nil, err
	case n.Kind == Dir:
		return nil, ErrMalformed
	case o.Observed != 0 && n.Nlink <= 1 && n.Version != o.Observed:
		return nil, ErrConflict
	default:
		e.unlink(n)
	}
	e.touchDir(dir)
	e.deleteDirent(o.Parent, o.Name)
	return e.batch()
}

// Apply answers ErrNotEmpty when the directory holds a name.
func (o *Rmdir) Apply(r Reader, at Stamp) (*Batch, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	e := newEdit(r, at)
	dir, err := e.dir(o.Parent)
	if err != nil {
		return nil, err
	}
	d, err := e.lookup(o.Parent, o.Name)
	switch {
	case err != nil:
		return nil, err
	case d.Kind != Dir:
		return nil, ErrNotDir
	case d.Ref != o.Ref:
		return nil, ErrConflict
	}
	n, err := e.dir(d.Ref)
	if err != nil {
		return nil, err
	}
	if err := e.emptyDir(d.Ref); err != nil {
		return nil, err
	}
	e.unlink(n)
	dropSubdir(dir)
	e.touchDir(dir)
	e.deleteDirent(o.Parent, o.Name)
	return e.batch()
}

// dropSubdir counts the ".." of one directory less.
func dropSubdir(dir *loadedInode) {
	if dir.Nlink > 2 {
		dir.Nlink--
	}
}

func (o *Unlink) code() opCode { return codeUnlink }

func (o *Unlink) check() error { return checkRemove(o.Parent, o.Name, o.Ref) }

func checkRemove(parent Ref, name []byte, ref Ref) error {
	if !parent.valid() || !ref.valid() || ref.Ino == Root {
		return ErrMalformed
	}
	return CheckName(name)
}

func (o *Unlink) append(dst []byte) []byte {
	dst = appendBytes(appendRef(dst, o.Parent), o.Name)
	return appendUvarint(appendRef(dst, o.Ref), o.Observed)
}

func (o *Unlink) decode(d *decoder) {
	o.Parent, o.Name = d.ref(), slices.Clone(d.bytes(MaxName))
	o.Ref, o.Observed = d.ref(), d.uvarint()
}

func (o *Unlink) renumber(ino func(Ino) Ino, _ func(PackNo) PackNo) Op {
	c := *o
	c.Parent, c.Ref = o.Parent.renumber(ino), o.Ref.renumber(ino)
	return &c
}

func (o *Rmdir) code() opCode { return codeRmdir }

func (o *Rmdir) check() error { return checkRemove(o.Parent, o.Name, o.Ref) }

func (o *Rmdir) append(dst []byte) []byte {
	return appendRef(appendBytes(appendRef(dst, o.Parent), o.Name), o.Ref)
}

func (o *Rmdir) decode(d *decoder) {
	o.Parent, o.Name, o.Ref = d.ref(), slices.Clone(d.bytes(MaxName)), d.ref()
}

func (o *Rmdir) renumber(ino func(Ino) Ino, _ func(PackNo) PackNo) Op {
	c := *o
	c.Parent, c.Ref = o.Parent.renumber(ino), o.Ref.renumber(ino)
	return &c
}
