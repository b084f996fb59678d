package meta

// What stands for one operation comes into the chain whole, with the commit that ends it,
// and a commit is at most 1 MiB. Only what a file holds may be more, without a bound: so
// extents that a step has no room for come before it, in commits that end no operation, as
// those of an inode that is not there yet. Nobody can see, change or delete them, and to
// bring them twice changes nothing. All else that stands for one operation is bounded:
//
//	  512,000  attributes that are made again: attrsRestored
//	   46,080  inodes and names that are made again, with the first: restoredMost
//	  158,720  256 records
//	  262,144  the batch of the operation itself: MaxOpBatch
//	   53,248  records of the packs of its MaxExtents extents
//	   16,384  signature and envelope
//	1,048,576
const (
	// wholeMost is how many extents of a file are made again in the step that makes its
	// inode.
	wholeMost = 256

	// attrsRestored is how much of attributes is made again for one operation: their names
	// and values, and attrCost of each. It is more than MaxXattrs bytes of the shortest.
	attrsRestored = 512_000
	attrCost      = 20

	// restoredMost is how much is made again for one operation, as cost counts it.
	restoredMost = attrsRestored + 45<<10

	// fileReserve is what is left of it for a file when folders are made again for
	// something else.
	fileReserve = 40 << 10

	// foldersTold is how many folders made again for one operation have a record of their
	// own: numbers are left for what else is to be said of it.
	foldersTold = 200
)

// cost is at least how many bytes of a commit a restore takes: what it writes, and the
// records of its packs. What fills will bring is not counted.
func (o *restore) cost() int {
	n := *o
	n.extents = o.extents[:min(len(o.extents), wholeMost)]
	return len(n.append(nil)) + 64 + attrCost*len(n.xattrs) + 96*len(n.extents)
}

// attrsCost is how much of attrsRestored it takes.
func (o *restore) attrsCost() (n int) {
	for _, a := range o.xattrs {
		n += len(a.Key) + len(a.Value) + attrCost
	}
	return n
}

// fill is a step of a Rebase that brings extents of a file, before a restore makes its
// inode: that has a number which was never used before. It is never stored as an operation.
type fill struct {
	ino     Ino
	extents []Extent // 1 to MaxExtents
}

var _ Change = (*fill)(nil)

// Apply does not look for the inode: it is not there yet.
func (o *fill) Apply(r Reader, at Stamp) (*Batch, error) {
	e := newEdit(r, at)
	if err := e.revive(o.extents); err != nil {
		return nil, err
	}
	e.growArena(len(o.extents))
	for _, x := range o.extents {
		e.putExtent(o.ino, x)
	}
	return e.batch()
}

// IsFill tells of an encoded step whether it is one that may come into the chain before
// its operation does, and again.
func IsFill(step []byte) bool { return len(step) > 0 && opCode(step[0]) == codeFill }

// inParts puts fills before the restores that have more extents than a step. Those were
// given inodes of their own: not those that steps which are in a journal already make.
func inParts(steps []Change, of Change) []Change {
	var out []Change
	was, _ := of.(*restore)
	for i, s := range steps {
		o, ok := s.(*restore)
		if !ok || len(o.extents) <= wholeMost || was != nil && o.ref == was.ref {
			if out != nil {
				out = append(out, s)
			}
			continue
		}
		if out == nil {
			out = append(out, steps[:i]...)
		}
		n, rest := *o, o.extents[wholeMost:]
		n.filled, n.extents = true, o.extents[:wholeMost:wholeMost]
		for len(rest) > 0 {
			k := min(len(rest), MaxExtents)
			out = append(out, &fill{o.ref.Ino, rest[:k:k]})
			rest = rest[k:]
		}
		out = append(out, &n)
	}
	if out == nil {
		return steps
	}
	return out
}

// spent is what was made again for the present operation.
type spent struct {
	no    OpNo
	bytes int          // beyond what stood for it already
	attrs map[Ref]int  // by inode, as attrsRestored counts them
	short map[Ref]bool // of attrs: not all of them had room
}

// begin is called with each change.
func (s *spent) begin(at Stamp) {
	if s.no != at.No || s.attrs == nil {
		*s = spent{no: at.No, attrs: map[Ref]int{}, short: map[Ref]bool{}}
	}
}

// forget: what was read of an inode is not made again.
func (s *spent) forget(ref Ref) {
	delete(s.attrs, ref)
	delete(s.short, ref)
}

// count notes what stands for a change now.
func (s *spent) count(c Change, steps []Change) {
	if o, ok := c.(*restore); ok {
		s.bytes -= o.cost()
	}
	for _, t := range steps {
		if o, ok := t.(*restore); ok {
			s.bytes += o.cost()
		}
	}
}

// room is how much of folders may be made again yet for the operation, beside o; it may
// be nil.
func (s *solver) room(o *restore) int {
	most := restoredMost - s.learn().made[s.at.No].bytes - s.spent.bytes
	if o == nil {
		return most - fileReserve
	}
	return most - o.cost()
}

// attrsRoom is the same of attributes.
func (r *Rebase) attrsRoom() int {
	most := attrsRestored - r.learn().made[r.spent.no].attrs
	for _, n := range r.spent.attrs {
		most -= n
	}
	return most
}
