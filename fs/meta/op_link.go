package meta

import "slices"

// Link gives an inode, which is no directory, a further name.
type Link struct {
	Ref    Ref
	Parent Ref
	Name   []byte
}

var _ Op = (*Link)(nil)

// Apply answers ErrPerm for a directory and ErrExist when the name is taken.
func (o *Link) Apply(r Reader, at Stamp) (*Batch, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	e := newEdit(r, at)
	dir, err := e.dir(o.Parent)
	if err != nil {
		return nil, err
	}
	n, err := e.inode(o.Ref)
	if err != nil {
		return nil, err
	}
	switch _, err := e.lookup(o.Parent, o.Name); {
	case err == nil:
		return nil, ErrExist
	case !isAbsent(err):
		return nil, err
	case n.Kind == Dir:
		return nil, ErrPerm
	case n.Nlink >= MaxLinks:
		return nil, ErrTooManyLinks
	}
	if err := e.inherit(o.Parent.Ino, o.Ref.Ino); err != nil {
		return nil, err
	}
	n.Nlink++
	e.touch(n)
	e.touchDir(dir)
	e.putDirent(o.Parent, o.Name, Dirent{o.Ref, n.Kind})
	return e.batch()
}

func (o *Link) code() opCode { return codeLink }

func (o *Link) check() error {
	if !o.Ref.valid() || !o.Parent.valid() {
		return ErrMalformed
	}
	return CheckName(o.Name)
}

func (o *Link) append(dst []byte) []byte {
	return appendBytes(appendRef(appendRef(dst, o.Ref), o.Parent), o.Name)
}

func (o *Link) decode(d *decoder) {
	o.Ref, o.Parent, o.Name = d.ref(), d.ref(), slices.Clone(d.bytes(MaxName))
}

func (o *Link) renumber(ino func(Ino) Ino, _ func(PackNo) PackNo) Op {
	c := *o
	c.Ref, c.Parent = o.Ref.renumber(ino), o.Parent.renumber(ino)
	return &c
}
