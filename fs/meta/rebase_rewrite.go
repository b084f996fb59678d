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
		n.Ref, n.Observed = r.sparedFor(n.Ref, n.Observed, n.Parent, n.Name)
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
			n.NewParent, n.NewName = r.find(now, replaced, n.NewParent, o.NewName)
			n.Observed = r.observed(*o.Replaced, o.Observed)
			replaced, n.Observed = r.sparedFor(replaced, n.Observed, n.NewParent, n.NewName)
			n.Replaced = &replaced
		}
		return &n
	case *Write, *Truncate, *PunchHole, *Clone:
		return onContent(c, func(ref Ref, observed uint64) (Ref, uint64) { return r.ref(ref), r.observed(ref, observed) })
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
