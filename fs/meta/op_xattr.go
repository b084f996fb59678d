package meta

import (
	"errors"
	"slices"
)

// XattrFlags are those of setxattr(2).
type XattrFlags uint8

// The bits of XattrFlags, never together.
const (
	XattrCreate  XattrFlags = 1 << iota // ErrExist when the attribute is there
	XattrReplace                        // ErrNoAttr when it is not
)

// Setxattr sets an extended attribute. ctime becomes the stamp's time.
type Setxattr struct {
	Ref   Ref
	Name  []byte // 1 to MaxName bytes without NUL
	Value []byte // at most MaxXattr bytes
	Flags XattrFlags
}

// Removexattr removes an extended attribute, or answers ErrNoAttr. ctime
// becomes the stamp's time.
type Removexattr struct {
	Ref  Ref
	Name []byte
}

var (
	_ Op = (*Setxattr)(nil)
	_ Op = (*Removexattr)(nil)
)

// GetXattr reads an extended attribute of the inode n; ErrNoAttr when there is
// none of the name. The value is not modified by anybody.
func GetXattr(r Reader, ref Ref, n *Inode, name []byte) ([]byte, error) {
	if !n.Xattrs {
		return nil, ErrNoAttr
	}
	v, err := r.Get(XattrKey(ref, name))
	if errors.Is(err, ErrAbsent) {
		return nil, ErrNoAttr
	}
	return v, err
}

// ListXattrs calls fn for the names of an inode's extended attributes, sorted,
// until fn returns false. name is valid during the call only.
func ListXattrs(r Reader, ref Ref, n *Inode, fn func(name []byte) bool) error {
	if !n.Xattrs {
		return nil
	}
	all := XattrRange(ref)
	return r.Scan(all.From, all.To, func(k, _ []byte) bool { return fn(k[twoFieldLen:]) })
}

// Apply answers ErrTooLarge when the value is.
func (o *Setxattr) Apply(r Reader, at Stamp) (*Batch, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	e := newEdit(r, at)
	n, err := e.inode(o.Ref)
	if err != nil {
		return nil, err
	}
	if o.Flags != 0 {
		switch _, err := GetXattr(r, o.Ref, &n.Inode, o.Name); {
		case err == nil && o.Flags&XattrCreate != 0:
			return nil, ErrExist
		case errors.Is(err, ErrNoAttr) && o.Flags&XattrCreate != 0:
		case err != nil:
			return nil, err
		}
	}
	n.Xattrs = true
	e.touch(n)
	e.put(XattrKey(o.Ref, o.Name), o.Value)
	return e.batch()
}

// Apply answers ErrNoAttr when there is no such attribute.
func (o *Removexattr) Apply(r Reader, at Stamp) (*Batch, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	e := newEdit(r, at)
	n, err := e.inode(o.Ref)
	if err != nil {
		return nil, err
	}
	if _, err := GetXattr(r, o.Ref, &n.Inode, o.Name); err != nil {
		return nil, err
	}
	e.touch(n)
	e.delete(XattrKey(o.Ref, o.Name))
	return e.batch()
}

func (o *Setxattr) code() opCode { return codeSetxattr }

func (o *Setxattr) check() error {
	switch {
	case !o.Ref.valid() || o.Flags > XattrReplace:
		return ErrMalformed
	case len(o.Value) > MaxXattr:
		return ErrTooLarge
	}
	return CheckXattrName(o.Name)
}

func (o *Setxattr) append(dst []byte) []byte {
	dst = appendBytes(append(appendRef(dst, o.Ref), byte(o.Flags)), o.Name)
	return appendBytes(dst, o.Value)
}

func (o *Setxattr) decode(d *decoder) {
	o.Ref, o.Flags = d.ref(), XattrFlags(d.u8())
	o.Name, o.Value = slices.Clone(d.bytes(MaxName)), slices.Clone(d.bytes(MaxXattr))
}

func (o *Setxattr) renumber(ino func(Ino) Ino, _ func(PackNo) PackNo) Op {
	c := *o
	c.Ref = o.Ref.renumber(ino)
	return &c
}

func (o *Removexattr) code() opCode { return codeRemovexattr }

func (o *Removexattr) check() error {
	if !o.Ref.valid() {
		return ErrMalformed
	}
	return CheckXattrName(o.Name)
}

func (o *Removexattr) append(dst []byte) []byte { return appendBytes(appendRef(dst, o.Ref), o.Name) }

func (o *Removexattr) decode(d *decoder) {
	o.Ref, o.Name = d.ref(), slices.Clone(d.bytes(MaxName))
}

func (o *Removexattr) renumber(ino func(Ino) Ino, _ func(PackNo) PackNo) Op {
	c := *o
	c.Ref = o.Ref.renumber(ino)
	return &c
}
