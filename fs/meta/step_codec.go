package meta

import (
	"bytes"
	"slices"
)

// MaxStep is the length of the longest encoded change that DecodeStep accepts, in
// bytes.
const MaxStep = 768 << 10

// The steps of a Rebase have codes above those of operations. They stand in journals
// and nowhere else.
const (
	codeRestore opCode = 0x80
	codeRecord  opCode = 0x81
	codeFilled  opCode = 0x83 // a restore whose inode has extents already
	codeFill    opCode = 0x84
)

// SameChange tells whether two changes mean the same.
func SameChange(a, b Change) bool {
	return a == b || bytes.Equal(EncodeStep(a), EncodeStep(b))
}

// EncodeStep returns the encoding of a change: of an operation, or of a step that a
// Rebase puts in the place of one.
func EncodeStep(c Change) []byte {
	switch o := c.(type) {
	case *restore:
		if o.filled {
			return o.append([]byte{byte(codeFilled)})
		}
		return o.append([]byte{byte(codeRestore)})
	case *fill:
		dst := appendUvarint([]byte{byte(codeFill)}, uint64(o.ino))
		return appendExtents(dst, 0, o.extents)
	case *record:
		return AppendConflict([]byte{byte(codeRecord), o.n}, o.Conflict)
	}
	return EncodeOp(c.(Op))
}

// DecodeStep reads what EncodeStep wrote, or answers ErrMalformed. The change does not
// alias b.
func DecodeStep(b []byte) (Change, error) {
	if len(b) == 0 || len(b) > MaxStep {
		return nil, ErrMalformed
	}
	switch opCode(b[0]) {
	case codeRestore:
		return decodeRestore(b[1:], false)
	case codeFilled:
		return decodeRestore(b[1:], true)
	case codeFill:
		d := decoder{b: b[1:]}
		o := &fill{ino: Ino(d.uvarint())}
		o.extents = d.wholeFile(&Inode{Kind: File, Size: MaxFileSize})
		d.must(Ref{Root, o.ino}.valid() && o.ino != Root && len(o.extents) > 0 && len(o.extents) <= MaxExtents)
		if d.done() != nil {
			return nil, ErrMalformed
		}
		return o, nil
	case codeRecord:
		if len(b) < 2 {
			return nil, ErrMalformed
		}
		c, err := DecodeConflict(b[2:])
		if err != nil {
			return nil, err
		}
		return &record{c, b[1]}, nil
	}
	return DecodeOp(b)
}

// An inode stands without its extents, which follow with their offsets as distances.
func (o *restore) append(dst []byte) []byte {
	n := o.inode
	n.Indexed, n.Extents, n.Xattrs = false, nil, false
	dst = appendBytes(appendRef(dst, o.ref), AppendInode(nil, &n))
	dst = appendBytes(appendRef(dst, o.parent), o.name)
	dst = appendExtents(dst, 0, o.extents)
	dst = appendUvarint(dst, uint64(len(o.xattrs)))
	for _, a := range o.xattrs {
		dst = appendBytes(appendBytes(dst, a.Key), a.Value)
	}
	return dst
}

func decodeRestore(b []byte, filled bool) (Change, error) {
	d := decoder{b: b}
	o := &restore{ref: d.ref(), filled: filled}
	err := decodeInode(d.bytes(MaxStep), &o.inode)
	n := &o.inode
	d.must(!filled || n.Kind == File)
	d.must(err == nil && !n.Indexed && !n.Xattrs && len(n.Extents) == 0 && n.Nlink > 0)
	o.parent, o.name = d.ref(), slices.Clone(d.bytes(MaxName))
	d.must(o.ref.valid() && o.ref.Ino != Root && o.parent.valid() && CheckName(o.name) == nil)
	o.extents = d.wholeFile(n)
	count := d.count(2)
	for i := 0; i < count && !d.bad; i++ {
		a := KV{slices.Clone(d.bytes(MaxName)), slices.Clone(d.bytes(MaxXattr))}
		d.must(CheckXattrName(a.Key) == nil && (i == 0 || string(o.xattrs[i-1].Key) < string(a.Key)))
		o.xattrs = append(o.xattrs, a)
	}
	if d.done() != nil {
		return nil, ErrMalformed
	}
	return o, nil
}

// wholeFile reads all extents of a file, n.
func (d *decoder) wholeFile(n *Inode) []Extent {
	count := d.count(4)
	d.must(count == 0 || n.Kind == File)
	if d.bad || count == 0 {
		return nil
	}
	out := make([]Extent, count)
	last := uint64(0)
	for i := range out {
		off := last + d.upTo(MaxFileSize-last)
		out[i] = d.extent()
		out[i].Off = off
		last = out[i].End()
		d.must(last <= n.Size)
		if d.bad {
			return nil
		}
	}
	return out
}

// RenumberStep is Renumber for a change of any kind, whose record stands under the
// number of a new operation.
func RenumberStep(c Change, ino func(Ino) Ino, pack func(PackNo) PackNo) Change {
	switch o := c.(type) {
	case *restore:
		n := *o
		n.ref, n.parent = o.ref.renumber(ino), o.parent.renumber(ino)
		n.extents = renumberExtents(o.extents, pack)
		if n.inode.Kind == Dir {
			n.inode.Parent = n.parent
		}
		return &n
	case *fill:
		return &fill{ino(o.ino), renumberExtents(o.extents, pack)}
	case *record:
		n := *o
		n.Ours, n.Parent = o.Ours.renumber(ino), o.Parent.renumber(ino)
		n.Theirs = o.Theirs.renumber(ino)
		return &n
	}
	return Renumber(c.(Op), ino, pack)
}

// ReobserveStep is Reobserve for a change of any kind.
func ReobserveStep(c Change, version func(uint64) uint64) Change {
	switch o := c.(type) {
	case *restore:
		n := *o
		n.inode.Version = version(o.inode.Version)
		return &n
	case *record, *fill:
		return o
	}
	return Reobserve(c.(Op), version)
}

// Makes returns the inode that a change brings into the world.
func Makes(c Change) (ref Ref, ok bool) {
	switch o := c.(type) {
	case *Make:
		return o.Ref, true
	case *restore:
		return o.ref, true
	}
	return Ref{}, false
}
