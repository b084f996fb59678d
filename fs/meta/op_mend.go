package meta

import "slices"

// Mend puts right one thing that no operation of an honest machine leaves behind: a
// name that stands for nothing, an inode without a name, a wrong count. It is what a
// check of the whole volume asks for. What the check saw stands in it, and where that
// is not so any more it is refused.
type Mend struct {
	Act    MendAct
	Ref    Ref    // the inode; of MendDrop the one that the name stands for
	Kind   Kind   // MendDrop: of the name
	Dir    Ino    // MendDrop: the directory, which need not exist
	Parent Ref    // MendAdopt and MendParent: the directory
	Name   []byte // MendDrop and MendAdopt
	Was    uint32 // MendLinks: the count that is wrong
	Links  uint32 // MendLinks: the right one
}

// MendAct is what a Mend does.
type MendAct uint8

// The acts, as they are stored.
const (
	MendDrop   MendAct = 1 // takes a name away, and touches no inode
	MendAdopt  MendAct = 2 // gives an inode without a name one, in the root or in a directory of the root
	MendLinks  MendAct = 3 // sets the number of names
	MendParent MendAct = 4 // sets the parent of a directory, whose name is there already
	MendSweep  MendAct = 5 // deletes extents and attributes under keys that the inode does not look for
)

var _ Op = (*Mend)(nil)

// Apply answers ErrConflict, or that something is not there, when the state is not the
// one that was checked.
func (o *Mend) Apply(r Reader, at Stamp) (*Batch, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	e := newEdit(r, at)
	var err error
	switch o.Act {
	case MendDrop:
		err = o.drop(e)
	case MendAdopt:
		err = o.adopt(e)
	case MendLinks:
		err = o.links(e)
	case MendParent:
		err = o.parent(e)
	case MendSweep:
		err = o.sweep(e)
	}
	if err != nil {
		return nil, err
	}
	return e.batch()
}

func (o *Mend) drop(e *edit) error {
	d, err := Lookup(e.r, o.Dir, o.Name)
	if err != nil {
		return err
	}
	if d != (Dirent{o.Ref, o.Kind}) {
		return ErrConflict
	}
	e.deleteDirent(Ref{Ino: o.Dir}, o.Name)
	return nil
}

func (o *Mend) adopt(e *edit) error {
	dir, err := e.dir(o.Parent)
	if err != nil {
		return err
	}
	if dir.Parent != RootRef {
		return ErrCycle // only so is it plain that the directory does not lie in the one adopted
	}
	n, err := e.inode(o.Ref)
	if err != nil {
		return err
	}
	switch _, err := e.lookup(o.Parent, o.Name); {
	case err == nil:
		return ErrExist
	case !isAbsent(err):
		return err
	}
	if n.Kind == Dir {
		if err := addSubdir(dir); err != nil {
			return err
		}
		n.Parent = o.Parent
	} else {
		n.Nlink = 1
	}
	e.touch(n)
	e.touchDir(dir)
	e.putDirent(o.Parent, o.Name, Dirent{o.Ref, n.Kind})
	return nil
}

func (o *Mend) links(e *edit) error {
	n, err := e.inode(o.Ref)
	if err != nil {
		return err
	}
	if n.Nlink != o.Was {
		return ErrConflict
	}
	n.Nlink, n.state = o.Links, inodeChanged
	return nil
}

func (o *Mend) parent(e *edit) error {
	n, err := e.dir(o.Ref)
	if err != nil {
		return err
	}
	if _, err := e.dir(o.Parent); err != nil {
		return err
	}
	n.Parent, n.state = o.Parent, inodeChanged
	return nil
}

func (o *Mend) sweep(e *edit) error {
	n, err := e.inode(o.Ref)
	if err != nil && !isAbsent(err) {
		return err
	}
	if err != nil || !n.Indexed {
		e.deleteRange(ExtentRange(o.Ref.Ino))
	}
	if err != nil || !n.Xattrs {
		e.deleteRange(XattrRange(o.Ref))
	}
	return nil
}

func (o *Mend) code() opCode { return codeMend }

func (o *Mend) check() error {
	ok := o.Ref.valid()
	switch o.Act {
	case MendDrop:
		ok = ok && o.Ref != RootRef && o.Kind.valid() && validNumber(uint64(o.Dir)) && CheckName(o.Name) == nil
	case MendAdopt:
		ok = ok && o.Ref != RootRef && o.Parent.valid() && o.Parent.Ino != o.Ref.Ino && CheckName(o.Name) == nil
	case MendLinks:
		ok = ok && o.Was <= MaxLinks && 0 < o.Links && o.Links <= MaxLinks
	case MendParent:
		ok = ok && o.Ref != RootRef && o.Parent.valid() && o.Parent.Ino != o.Ref.Ino
	case MendSweep:
		ok = ok && o.Ref != RootRef
	default:
		ok = false
	}
	if !ok {
		return ErrMalformed
	}
	return nil
}

// Fields that an act does not have are left out.
func (o *Mend) append(dst []byte) []byte {
	dst = appendRef(append(dst, byte(o.Act)), o.Ref)
	switch o.Act {
	case MendDrop:
		dst = appendUvarint(append(dst, byte(o.Kind)), uint64(o.Dir))
		dst = appendBytes(dst, o.Name)
	case MendAdopt:
		dst = appendBytes(appendRef(dst, o.Parent), o.Name)
	case MendLinks:
		dst = appendUvarint(appendUvarint(dst, uint64(o.Was)), uint64(o.Links))
	case MendParent:
		dst = appendRef(dst, o.Parent)
	}
	return dst
}

func (o *Mend) decode(d *decoder) {
	o.Act, o.Ref = MendAct(d.u8()), d.ref()
	switch o.Act {
	case MendDrop:
		o.Kind, o.Dir, o.Name = Kind(d.u8()), Ino(d.uvarint()), slices.Clone(d.bytes(MaxName))
	case MendAdopt:
		o.Parent, o.Name = d.ref(), slices.Clone(d.bytes(MaxName))
	case MendLinks:
		o.Was, o.Links = d.u32varint(), d.u32varint()
	case MendParent:
		o.Parent = d.ref()
	}
}

func (o *Mend) renumber(ino func(Ino) Ino, _ func(PackNo) PackNo) Op {
	c := *o
	c.Ref = o.Ref.renumber(ino)
	if o.Act == MendDrop {
		c.Dir = ino(o.Dir)
	}
	if o.Act == MendAdopt || o.Act == MendParent {
		c.Parent = o.Parent.renumber(ino)
	}
	return &c
}
