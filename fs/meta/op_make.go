package meta

import (
	"encoding/binary"
	"slices"
)

// Make makes an inode and its first name: create, mkdir, symlink, mknod.
//
// Ref is new and its home is the parent. In a directory with the setgid bit
// the group is the directory's instead of GID, and a new directory gets the
// bit as well. All four times of the inode are the stamp's.
type Make struct {
	Parent Ref
	Name   []byte
	Ref    Ref
	Kind   Kind
	Perm   uint16
	UID    uint32
	GID    uint32
	Rdev   uint32 // Char and Block only
	Target []byte // Symlink only
}

var _ Op = (*Make)(nil)

// Apply answers ErrExist when the name is taken.
func (o *Make) Apply(r Reader, at Stamp) (*Batch, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	e := newEdit(r, at)
	dir, err := e.dir(o.Parent)
	if err != nil {
		return nil, err
	}
	switch _, err := e.lookup(o.Parent, o.Name); {
	case err == nil:
		return nil, ErrExist
	case !isAbsent(err):
		return nil, err
	}
	n := Inode{
		Kind: o.Kind, Perm: o.Perm, UID: o.UID, GID: o.GID, Nlink: 1, Rdev: o.Rdev, Target: o.Target,
		Atime: at.Time, Mtime: at.Time, Ctime: at.Time, Btime: at.Time,
		Version: at.Version(),
	}
	if dir.Perm&setgid != 0 {
		n.GID = dir.GID
		if n.Kind == Dir {
			n.Perm |= setgid
		}
	}
	if n.Kind == Dir {
		if err := addSubdir(dir); err != nil {
			return nil, err
		}
		n.Nlink, n.Parent = 2, o.Parent
		if err := e.inherit(o.Parent.Ino, o.Ref.Ino); err != nil {
			return nil, err
		}
	}
	e.touchDir(dir)
	e.putDirent(o.Parent, o.Name, Dirent{o.Ref, o.Kind})
	e.putInode(o.Ref, &n)
	return e.batch()
}

const setgid = 0o2000

// addSubdir counts the ".." of one more directory.
func addSubdir(dir *loadedInode) error {
	if dir.Nlink >= MaxLinks {
		return ErrTooManyLinks
	}
	dir.Nlink++
	return nil
}

func (o *Make) code() opCode { return codeMake }

func (o *Make) check() error {
	if err := CheckName(o.Name); err != nil {
		return err
	}
	if !o.Parent.valid() || !o.Ref.valid() || o.Ref.Home != o.Parent.Ino ||
		!o.Kind.valid() || o.Perm > 0o7777 || o.Rdev != 0 && o.Kind != Char && o.Kind != Block {
		return ErrMalformed
	}
	if o.Kind == Symlink {
		return checkTarget(o.Target)
	}
	if len(o.Target) != 0 {
		return ErrMalformed
	}
	return nil
}

// The home of the new inode is its parent and is left out.
func (o *Make) append(dst []byte) []byte {
	dst = appendBytes(appendRef(dst, o.Parent), o.Name)
	dst = append(appendUvarint(dst, uint64(o.Ref.Ino)), byte(o.Kind))
	dst = binary.BigEndian.AppendUint16(dst, o.Perm)
	dst = appendUvarint(appendUvarint(dst, uint64(o.UID)), uint64(o.GID))
	switch o.Kind {
	case Char, Block:
		dst = appendUvarint(dst, uint64(o.Rdev))
	case Symlink:
		dst = appendBytes(dst, o.Target)
	}
	return dst
}

func (o *Make) decode(d *decoder) {
	o.Parent = d.ref()
	o.Name = slices.Clone(d.bytes(MaxName))
	o.Ref = Ref{Home: o.Parent.Ino, Ino: Ino(d.uvarint())}
	o.Kind = Kind(d.u8())
	o.Perm = d.u16()
	o.UID, o.GID = d.u32varint(), d.u32varint()
	switch o.Kind {
	case Char, Block:
		o.Rdev = d.u32varint()
	case Symlink:
		o.Target = slices.Clone(d.bytes(MaxTarget))
	}
}

func (o *Make) renumber(ino func(Ino) Ino, _ func(PackNo) PackNo) Op {
	c := *o
	c.Parent, c.Ref = o.Parent.renumber(ino), o.Ref.renumber(ino)
	return &c
}
