package meta

import "slices"

// RenameFlags are those of renameat2(2).
type RenameFlags uint8

// The bits of RenameFlags, never together.
const (
	NoReplace RenameFlags = 1 << iota // ErrExist when the new name is taken
	Exchange                          // both names exist, and swap
)

// Rename moves a name. What the new name stood for is removed as by Unlink or
// Rmdir, or with Exchange gets the old name. When both names stand for the
// same inode nothing happens, as POSIX wants it.
type Rename struct {
	Parent    Ref
	Name      []byte
	NewParent Ref
	NewName   []byte
	Flags     RenameFlags
	Ref       Ref    // what the old name must stand for, or ErrConflict
	Replaced  *Ref   // what the new name must stand for, nil: nothing; or ErrConflict
	Observed  uint64 // version that a replaced file must have if that was its last name; 0: any
}

var _ Op = (*Rename)(nil)

// maxDepth bounds the way to the root: what a program can make is not as deep,
// and a circle that a broken writer left ends somewhere.
const maxDepth = 1 << 16

// Apply answers ErrCycle when a directory would come to lie in itself.
func (o *Rename) Apply(r Reader, at Stamp) (*Batch, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	e := newEdit(r, at)
	from, err := e.dir(o.Parent)
	if err != nil {
		return nil, err
	}
	to, err := e.dir(o.NewParent)
	if err != nil {
		return nil, err
	}
	source, err := e.lookup(o.Parent, o.Name)
	switch {
	case err != nil:
		return nil, err
	case source.Ref != o.Ref:
		return nil, ErrConflict
	}
	target, err := e.lookup(o.NewParent, o.NewName)
	taken := err == nil
	switch {
	case err != nil && !isAbsent(err):
		return nil, err
	case taken && o.Flags&NoReplace != 0:
		return nil, ErrExist
	case !taken && o.Flags&Exchange != 0:
		return nil, ErrNotExist
	case taken && target.Ref == source.Ref:
		return e.batch()
	case taken && (o.Replaced == nil || target.Ref != *o.Replaced):
		return nil, ErrConflict
	case !taken && o.Replaced != nil:
		return nil, ErrConflict
	}
	moved, err := e.inode(source.Ref)
	switch {
	case err != nil:
		return nil, err
	case moved.Kind != source.Kind:
		return nil, ErrMalformed
	case o.Flags&Exchange != 0:
		err = o.exchange(e, from, to, target)
	case taken:
		err = o.replace(e, to, source, target)
	}
	if err != nil {
		return nil, err
	}
	if err := e.move(moved, from, to); err != nil {
		return nil, err
	}
	if from != to {
		if err := e.inherit(o.NewParent.Ino, source.Ref.Ino); err != nil {
			return nil, err
		}
	}
	if o.Flags&Exchange == 0 {
		e.deleteDirent(o.Parent, o.Name)
	}
	e.putDirent(o.NewParent, o.NewName, source)
	e.touchDir(from)
	e.touchDir(to)
	return e.batch()
}

// exchange gives what the new name stands for the old name.
func (o *Rename) exchange(e *edit, from, to *loadedInode, target Dirent) error {
	other, err := e.inode(target.Ref)
	switch {
	case err != nil:
		return err
	case other.Kind != target.Kind:
		return ErrMalformed
	}
	e.putDirent(o.Parent, o.Name, target)
	if from != to {
		if err := e.inherit(o.Parent.Ino, target.Ref.Ino); err != nil {
			return err
		}
	}
	return e.move(other, to, from)
}

// replace removes what the new name stands for.
func (o *Rename) replace(e *edit, to *loadedInode, source, target Dirent) error {
	switch {
	case source.Kind == Dir && target.Kind != Dir:
		return ErrNotDir
	case source.Kind != Dir && target.Kind == Dir:
		return ErrIsDir
	}
	old, err := e.inode(target.Ref)
	switch {
	case isAbsent(err):
		return nil // a name without an inode, see Unlink
	case err != nil:
		return err
	case (old.Kind == Dir) != (target.Kind == Dir):
		return ErrMalformed
	case old.Kind == Dir:
		if err := e.emptyDir(target.Ref); err != nil {
			return err
		}
		dropSubdir(to)
	case o.Observed != 0 && old.Nlink <= 1 && old.Version != o.Observed:
		return ErrConflict
	}
	e.unlink(old)
	return nil
}

// move brings an inode from one directory into another, or the same.
func (e *edit) move(n, from, to *loadedInode) error {
	e.touch(n)
	if n.Kind != Dir || from == to {
		return nil
	}
	if err := e.notBelow(to.ref, n.ref); err != nil {
		return err
	}
	n.Parent = to.ref
	dropSubdir(from)
	return addSubdir(to)
}

// notBelow answers ErrCycle when dir is top or lies below it.
func (e *edit) notBelow(dir, top Ref) error {
	var n Inode
	for range maxDepth {
		if dir == top {
			return ErrCycle
		}
		if dir == RootRef {
			return nil
		}
		if err := readInode(e.r, dir, &n); err != nil {
			return err
		}
		if n.Kind != Dir {
			return ErrMalformed
		}
		dir = n.Parent
	}
	return ErrMalformed
}

func (o *Rename) code() opCode { return codeRename }

func (o *Rename) check() error {
	if err := checkRemove(o.Parent, o.Name, o.Ref); err != nil {
		return err
	}
	if o.Flags > Exchange || !o.NewParent.valid() || o.Replaced != nil && (!o.Replaced.valid() || o.Replaced.Ino == Root) {
		return ErrMalformed
	}
	return CheckName(o.NewName)
}

func (o *Rename) append(dst []byte) []byte {
	dst = appendBytes(appendRef(dst, o.Parent), o.Name)
	dst = appendBytes(appendRef(dst, o.NewParent), o.NewName)
	dst = appendRef(append(dst, byte(o.Flags)), o.Ref)
	if o.Replaced == nil {
		dst = append(dst, 0)
	} else {
		dst = appendRef(append(dst, 1), *o.Replaced)
	}
	return appendUvarint(dst, o.Observed)
}

func (o *Rename) decode(d *decoder) {
	o.Parent, o.Name = d.ref(), slices.Clone(d.bytes(MaxName))
	o.NewParent, o.NewName = d.ref(), slices.Clone(d.bytes(MaxName))
	o.Flags, o.Ref = RenameFlags(d.u8()), d.ref()
	if d.flag() {
		replaced := d.ref()
		o.Replaced = &replaced
	}
	o.Observed = d.uvarint()
}

func (o *Rename) renumber(ino func(Ino) Ino, _ func(PackNo) PackNo) Op {
	c := *o
	c.Parent, c.NewParent, c.Ref = o.Parent.renumber(ino), o.NewParent.renumber(ino), o.Ref.renumber(ino)
	if o.Replaced != nil {
		replaced := o.Replaced.renumber(ino)
		c.Replaced = &replaced
	}
	return &c
}
