package meta

import "slices"

// restore is a step of a Rebase that makes an inode with all that it has, and gives it
// a name. It is never stored as an operation.
type restore struct {
	ref     Ref
	inode   Inode // Extents of any number; Indexed is left out of account
	extents []Extent
	filled  bool // of a file: there are more extents, which fills have brought
	xattrs  []KV // by name
	parent  Ref
	name    []byte
}

var _ Change = (*restore)(nil)

// Apply answers ErrExist when the name is taken or the inode is there.
func (o *restore) Apply(r Reader, at Stamp) (*Batch, error) {
	e := newEdit(r, at)
	dir, err := e.dir(o.parent)
	if err != nil {
		return nil, err
	}
	if _, err := e.lookup(o.parent, o.name); err == nil {
		return nil, ErrExist
	} else if !isAbsent(err) {
		return nil, err
	}
	var there Inode
	if err := readInode(r, o.ref, &there); err == nil {
		return nil, ErrExist
	} else if !isAbsent(err) {
		return nil, err
	}
	if err := e.revive(o.extents); err != nil {
		return nil, err
	}
	n := o.inode
	n.Xattrs = len(o.xattrs) > 0
	n.Indexed, n.Extents = o.filled || len(o.extents) > MaxInline, nil
	if n.Kind == Dir {
		n.Nlink, n.Parent = 2, o.parent
		_ = addSubdir(dir) // one that counts no further has been given a wrong count
	} else {
		n.Nlink = 1
	}
	n.Ctime = later(n.Ctime, at.Time)
	if n.Indexed {
		e.growArena(len(o.extents))
		for _, x := range o.extents {
			e.putExtent(o.ref.Ino, x)
		}
	} else {
		n.Extents = o.extents
	}
	for _, a := range o.xattrs {
		e.put(XattrKey(o.ref, a.Key), a.Value)
	}
	e.touchDir(dir)
	e.putDirent(o.parent, o.name, Dirent{o.ref, n.Kind})
	e.putInode(o.ref, &n)
	return e.batch()
}

// fetch reads what an inode was, for a restore; nil: it was not.
func (r *Rebase) fetch(ref Ref) (was Ref, o *restore, err error) {
	was, n, err := r.before(ref)
	if err != nil || n == nil {
		return was, nil, err
	}
	o, err = r.restored(r.was, was, ref, n)
	return was, o, err
}

// restored reads what the inode was, n, in a state, for a restore of it as ref.
func (r *Rebase) restored(from Reader, was, ref Ref, n *Inode) (o *restore, err error) {
	o = &restore{ref: ref, inode: *n}
	if n.Kind == File {
		// Up to the size, and of extents that overlap what the first holds: as they should be.
		last := uint64(0)
		err := Extents(from, was, n, 0, n.Size, func(x Extent) bool {
			if x.End() > last {
				o.extents = append(o.extents, x.cut(last, n.Size))
				last = x.End()
			}
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	var names [][]byte
	err = ListXattrs(from, was, n, func(name []byte) bool {
		names = append(names, slices.Clone(name))
		return true
	})
	if err != nil {
		return nil, err
	}
	// All of one operation comes into one commit. What has no room there, of inodes with
	// more than MaxXattrs, does not come back, and that is told.
	r.spent.forget(ref)
	most := r.attrsRoom()
	for _, name := range names {
		v, err := GetXattr(from, was, n, name)
		if err != nil {
			return nil, err
		}
		size := len(name) + len(v) + attrCost
		if size > most {
			r.spent.short[ref] = true
			continue
		}
		most, r.spent.attrs[ref] = most-size, r.spent.attrs[ref]+size
		o.xattrs = append(o.xattrs, KV{name, v})
	}
	return o, nil
}

// told are o, which is what ref was, and the records that say why.
func (s *solver) told(ref Ref, o *restore, why Conflict) []Change {
	steps := append([]Change{o}, s.record(why)...)
	if s.spent.short[ref] {
		steps = append(steps, s.record(Conflict{Kind: ConflictLost, Ours: o.ref, Parent: o.parent, Name: o.name})...)
	}
	return steps
}

// record is a step of a Rebase that leaves a Conflict: the nth of its operation.
type record struct {
	Conflict
	n uint8
}

var _ Change = (*record)(nil)

// Apply puts the record under the version that the stamp gives.
func (o *record) Apply(_ Reader, at Stamp) (*Batch, error) {
	return &Batch{Puts: []KV{{ConflictKey(ConflictID{at.Version(), o.n}), AppendConflict(nil, o.Conflict)}}}, nil
}
