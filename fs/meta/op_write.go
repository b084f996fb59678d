package meta

// Write puts extents into a file; the bytes themselves are in packs. Without
// extents it only makes a file longer.
type Write struct {
	Ref      Ref
	Observed uint64   // version that the file must have; 0: any
	Extents  []Extent // at most MaxExtents, sorted, disjoint
	Size     uint64   // the file is at least this long afterwards, and at least as long as Extents reach
	Mtime    *Time    // new mtime, and ctime unless that is later; nil: times stay
}

var _ Op = (*Write)(nil)

// Apply replaces what the extents cover. Extents that continue each other in
// file and pack become one. A file that needs more than MaxInline keeps them
// under extent keys from then on, until it is truncated to 0.
func (o *Write) Apply(r Reader, at Stamp) (*Batch, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	e := newEdit(r, at)
	n, err := e.file(o.Ref, o.Observed)
	if err != nil {
		return nil, err
	}
	windows := make([]window, len(o.Extents))
	for i, x := range o.Extents {
		windows[i] = window{x.Off, x.End()}
	}
	if err := e.setExtents(n, windows, o.Extents); err != nil {
		return nil, err
	}
	n.Size = max(n.Size, o.Size)
	if last := len(o.Extents) - 1; last >= 0 {
		n.Size = max(n.Size, o.Extents[last].End())
	}
	e.changed(n, o.Mtime)
	return e.batch()
}

func (o *Write) code() opCode { return codeWrite }

func (o *Write) check() error {
	if !o.Ref.valid() || len(o.Extents) > MaxExtents || o.Mtime != nil && !o.Mtime.valid() {
		return ErrMalformed
	}
	if o.Size > MaxFileSize {
		return ErrTooLarge
	}
	last := uint64(0)
	for _, x := range o.Extents {
		switch {
		case !x.inPack() || x.Off < last:
			return ErrMalformed
		case x.Off > MaxFileSize || x.End() > MaxFileSize:
			return ErrTooLarge
		}
		last = x.End()
	}
	return nil
}

// An extent's offset stands as the distance from the end of the one before.
func (o *Write) append(dst []byte) []byte {
	dst = appendUvarint(appendRef(dst, o.Ref), o.Observed)
	dst = appendOptionalTime(appendUvarint(dst, o.Size), o.Mtime)
	return appendExtents(dst, 0, o.Extents)
}

func (o *Write) decode(d *decoder) {
	o.Ref, o.Observed, o.Size, o.Mtime = d.ref(), d.uvarint(), d.uvarint(), d.optionalTime()
	o.Extents = d.extents(0)
}

func (o *Write) renumber(ino func(Ino) Ino, pack func(PackNo) PackNo) Op {
	c := *o
	c.Ref = o.Ref.renumber(ino)
	c.Extents = renumberExtents(o.Extents, pack)
	return &c
}
