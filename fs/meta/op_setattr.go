package meta

import "encoding/binary"

// AttrMask says which fields of a Setattr count.
type AttrMask uint8

// The bits of an AttrMask.
const (
	SetPerm AttrMask = 1 << iota
	SetUID
	SetGID
	SetAtime
	SetMtime
	SetCtime
	KeepCtime // leave ctime alone, as when atime moves by itself; not together with SetCtime

	maskAll = KeepCtime<<1 - 1
)

// Setattr changes the attributes of an inode that Valid names; the others are
// ignored, and lost when it is encoded. Without SetCtime and KeepCtime ctime
// becomes the stamp's time. The content version stays: it commutes with Write.
type Setattr struct {
	Ref   Ref
	Valid AttrMask
	Perm  uint16
	UID   uint32
	GID   uint32
	Atime Time
	Mtime Time
	Ctime Time
}

var _ Op = (*Setattr)(nil)

// Apply answers ErrNotExist when there is no such inode. That what was read is gone
// by now is no error.
func (o *Setattr) Apply(r Reader, at Stamp) (*Batch, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	e := newEdit(r, at)
	n, err := e.inode(o.Ref)
	if isAbsent(err) && o.Valid == SetAtime|KeepCtime {
		return new(Batch), nil
	}
	if err != nil {
		return nil, err
	}
	n.state = inodeChanged
	if o.Valid&SetPerm != 0 {
		n.Perm = o.Perm
	}
	if o.Valid&SetUID != 0 {
		n.UID = o.UID
	}
	if o.Valid&SetGID != 0 {
		n.GID = o.GID
	}
	if o.Valid&SetAtime != 0 {
		n.Atime = o.Atime
	}
	if o.Valid&SetMtime != 0 {
		n.Mtime = o.Mtime
	}
	switch {
	case o.Valid&SetCtime != 0:
		n.Ctime = o.Ctime
	case o.Valid&KeepCtime == 0:
		e.touch(n)
	}
	return e.batch()
}

func (o *Setattr) code() opCode { return codeSetattr }

func (o *Setattr) check() error {
	bad := !o.Ref.valid() || o.Valid&^maskAll != 0 || o.Valid&(SetCtime|KeepCtime) == SetCtime|KeepCtime ||
		o.Valid&SetPerm != 0 && o.Perm > 0o7777 ||
		o.Valid&SetAtime != 0 && !o.Atime.valid() ||
		o.Valid&SetMtime != 0 && !o.Mtime.valid() ||
		o.Valid&SetCtime != 0 && !o.Ctime.valid()
	if bad {
		return ErrMalformed
	}
	return nil
}

func (o *Setattr) append(dst []byte) []byte {
	dst = append(appendRef(dst, o.Ref), byte(o.Valid))
	if o.Valid&SetPerm != 0 {
		dst = binary.BigEndian.AppendUint16(dst, o.Perm)
	}
	if o.Valid&SetUID != 0 {
		dst = appendUvarint(dst, uint64(o.UID))
	}
	if o.Valid&SetGID != 0 {
		dst = appendUvarint(dst, uint64(o.GID))
	}
	if o.Valid&SetAtime != 0 {
		dst = appendTime(dst, o.Atime)
	}
	if o.Valid&SetMtime != 0 {
		dst = appendTime(dst, o.Mtime)
	}
	if o.Valid&SetCtime != 0 {
		dst = appendTime(dst, o.Ctime)
	}
	return dst
}

func (o *Setattr) decode(d *decoder) {
	o.Ref, o.Valid = d.ref(), AttrMask(d.u8())
	if o.Valid&SetPerm != 0 {
		o.Perm = d.u16()
	}
	if o.Valid&SetUID != 0 {
		o.UID = d.u32varint()
	}
	if o.Valid&SetGID != 0 {
		o.GID = d.u32varint()
	}
	if o.Valid&SetAtime != 0 {
		o.Atime = d.time()
	}
	if o.Valid&SetMtime != 0 {
		o.Mtime = d.time()
	}
	if o.Valid&SetCtime != 0 {
		o.Ctime = d.time()
	}
}

func (o *Setattr) renumber(ino func(Ino) Ino, _ func(PackNo) PackNo) Op {
	c := *o
	c.Ref = o.Ref.renumber(ino)
	return &c
}
