package meta

// rewrite returns the change with what stands now for the inodes and names that it is
// about.
func (r *Rebase) rewrite(c Change, now Reader) Change {
	switch o := c.(type) {
	case *Make:
		n := *o
		n.Parent = r.ref(o.Parent)
		n.Ref.Home = n.Parent.Ino
		return &n
	case *Link:
		n := *o
		n.Ref, n.Parent = r.ref(o.Ref), r.ref(o.Parent)
		return &n
	case *Unlink:
		n := *o
		n.Ref = r.ref(o.Ref)
		n.Parent, n.Name = r.find(now, n.Ref, r.ref(o.Parent), o.Name)
		n.Observed = r.observed(o.Ref, o.Observed)
		return &n
	case *Rmdir:
		n := *o
		n.Ref = r.ref(o.Ref)
		n.Parent, n.Name = r.find(now, n.Ref, r.ref(o.Parent), o.Name)
		return &n
	case *Rename:
		n := *o
		n.Ref = r.ref(o.Ref)
		n.Parent, n.Name = r.find(now, n.Ref, r.ref(o.Parent), o.Name)
		n.NewParent = r.ref(o.NewParent)
		if o.Replaced != nil {
			replaced := r.ref(*o.Replaced)
			n.Replaced = &replaced
			n.NewParent, n.NewName = r.find(now, replaced, n.NewParent, o.NewName)
			n.Observed = r.observed(*o.Replaced, o.Observed)
		}
		return &n
	case *Write:
		n := *o
		n.Ref, n.Observed = r.ref(o.Ref), r.observed(o.Ref, o.Observed)
		return &n
	case *Truncate:
		n := *o
		n.Ref, n.Observed = r.ref(o.Ref), r.observed(o.Ref, o.Observed)
		return &n
	case *PunchHole:
		n := *o
		n.Ref, n.Observed = r.ref(o.Ref), r.observed(o.Ref, o.Observed)
		return &n
	case *Clone:
		n := *o
		n.Ref, n.Observed = r.ref(o.Ref), r.observed(o.Ref, o.Observed)
		return &n
	case *Setattr:
		n := *o
		n.Ref = r.ref(o.Ref)
		return &n
	case *Setxattr:
		n := *o
		n.Ref = r.ref(o.Ref)
		return &n
	case *Removexattr:
		n := *o
		n.Ref = r.ref(o.Ref)
		return &n
	case *restore:
		n := *o
		n.parent = r.ref(o.parent)
		if n.inode.Kind == Dir {
			n.inode.Parent = n.parent
		}
		return &n
	}
	return c
}

// observed is the version that an operation must find of what was the inode ref.
func (r *Rebase) observed(ref Ref, version uint64) uint64 {
	to, ok := r.refs[r.home(ref)]
	if !ok || version == 0 {
		return version
	}
	return r.seen[to]
}

// find returns the place of ref that an operation means by a name: the name itself
// where it stands for ref, else where ref was put for want of that name.
func (r *Rebase) find(now Reader, ref, parent Ref, as []byte) (Ref, []byte) {
	p, ok := r.placed[name{ref, place{parent, string(as)}}]
	if !ok {
		p, ok = r.copies[ref]
	}
	if ok {
		if d, err := Lookup(now, parent.Ino, as); err != nil || d.Ref != ref {
			return p.parent, []byte(p.name)
		}
	}
	return parent, as
}
