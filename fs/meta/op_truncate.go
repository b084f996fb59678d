package meta

// Truncate sets the size of a file. What is cut off is gone; what is added
// reads as zeros.
type Truncate struct {
	Ref      Ref
	Observed uint64 // version that the file must have; 0: any
	Size     uint64
	Mtime    *Time // new mtime, and ctime unless that is later; nil: times stay
}

var _ Op = (*Truncate)(nil)

// Apply gives the file a new version only if its size changes.
func (o *Truncate) Apply(r Reader, at Stamp) (*Batch, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	e := newEdit(r, at)
	n, err := e.file(o.Ref, o.Observed)
	if err != nil {
		return nil, err
	}
	version := n.Version
	switch {
	case o.Size == n.Size:
		e.changed(n, o.Mtime)
		n.Version = version
		if o.Mtime == nil {
			n.state = inodeSame
		}
		return e.batch()
	case o.Size == 0:
		if n.Indexed {
			e.deleteRange(ExtentRange(o.Ref.Ino))
		}
		n.Indexed, n.Extents = false, nil
	case o.Size < n.Size:
		if err := e.cutTail(n, o.Size); err != nil {
			return nil, err
		}
	}
	n.Size = o.Size
	e.changed(n, o.Mtime)
	return e.batch()
}

// cutTail drops what lies from size on. There may be any number of extents,
// so only the first is looked at.
func (e *edit) cutTail(n *loadedInode, size uint64) error {
	if !n.Indexed {
		n.Extents = carve(n.Extents, []window{{size, MaxFileSize}})
		return nil
	}
	var first Extent
	err := scanExtents(e.r, n.ref.Ino, size+1, MaxFileSize, func(x Extent) bool {
		first = x
		return false
	})
	if err != nil || first.Len == 0 {
		return err
	}
	e.deleteRange(Range{ExtentKey(n.ref.Ino, size+1), ExtentKey(n.ref.Ino, extentKeysEnd)})
	if first.Off < size {
		e.putExtent(n.ref.Ino, first.cut(0, size))
	}
	return nil
}

func (o *Truncate) code() opCode { return codeTruncate }

func (o *Truncate) check() error {
	if !o.Ref.valid() || o.Mtime != nil && !o.Mtime.valid() {
		return ErrMalformed
	}
	if o.Size > MaxFileSize {
		return ErrTooLarge
	}
	return nil
}

func (o *Truncate) append(dst []byte) []byte {
	dst = appendUvarint(appendRef(dst, o.Ref), o.Observed)
	return appendOptionalTime(appendUvarint(dst, o.Size), o.Mtime)
}

func (o *Truncate) decode(d *decoder) {
	o.Ref, o.Observed, o.Size, o.Mtime = d.ref(), d.uvarint(), d.uvarint(), d.optionalTime()
}

func (o *Truncate) renumber(ino func(Ino) Ino, _ func(PackNo) PackNo) Op {
	c := *o
	c.Ref = o.Ref.renumber(ino)
	return &c
}
