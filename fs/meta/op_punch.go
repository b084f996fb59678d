package meta

// PunchHole makes Len bytes from Off on read as zeros. The size stays; what
// lies beyond it is ignored. mtime and ctime become the stamp's time.
type PunchHole struct {
	Ref      Ref
	Observed uint64 // version that the file must have; 0: any
	Off      uint64
	Len      uint64 // at least 1
}

var _ Op = (*PunchHole)(nil)

// Apply changes nothing when the hole begins beyond the end of the file.
func (o *PunchHole) Apply(r Reader, at Stamp) (*Batch, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	e := newEdit(r, at)
	n, err := e.file(o.Ref, o.Observed)
	if err != nil {
		return nil, err
	}
	if o.Off >= n.Size {
		return e.batch()
	}
	end := n.Size
	if o.Len < n.Size-o.Off {
		end = o.Off + o.Len
	}
	if err := e.setExtents(n, []window{{o.Off, end}}, nil); err != nil {
		return nil, err
	}
	e.changed(n, &at.Time)
	return e.batch()
}

func (o *PunchHole) code() opCode { return codePunchHole }

func (o *PunchHole) check() error {
	switch {
	case !o.Ref.valid() || o.Len == 0:
		return ErrMalformed
	case o.Off > MaxFileSize || o.Len > MaxFileSize-o.Off:
		return ErrTooLarge
	}
	return nil
}

func (o *PunchHole) append(dst []byte) []byte {
	dst = appendUvarint(appendRef(dst, o.Ref), o.Observed)
	return appendUvarint(appendUvarint(dst, o.Off), o.Len)
}

func (o *PunchHole) decode(d *decoder) {
	o.Ref, o.Observed, o.Off, o.Len = d.ref(), d.uvarint(), d.uvarint(), d.uvarint()
}

func (o *PunchHole) renumber(ino func(Ino) Ino, _ func(PackNo) PackNo) Op {
	c := *o
	c.Ref = o.Ref.renumber(ino)
	return &c
}
