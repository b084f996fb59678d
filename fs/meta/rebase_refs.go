package meta

// ref is what stands for an inode now.
func (r *Rebase) ref(ref Ref) Ref {
	ref = r.home(ref)
	if to, ok := r.refs[ref]; ok {
		return to
	}
	return ref
}

// home is how an inode is called whose home was merged into another directory. The
// maps of inodes know it by that.
func (r *Rebase) home(ref Ref) Ref {
	if _, ok := r.refs[ref]; ok {
		return ref // it was needed before its home was merged, and has the old one
	}
	if home, ok := r.homes[ref.Home]; ok {
		ref.Home = home
	}
	return ref
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

// put remembers that ref is called as, for want of meant.
func (r *Rebase) put(ref, parent Ref, meant, as []byte) {
	r.placed[name{ref, place{parent, string(meant)}}] = place{parent, string(as)}
}

// note remembers what c, which can be applied, does to what is watched.
func (r *Rebase) note(c Change, b *Batch) error {
	switch o := c.(type) {
	case *Write, *Truncate, *PunchHole, *Clone:
		ref := contentOf(c)
		if _, ok := r.seen[ref]; ok {
			n, err := inodeIn(b, ref)
			if err == nil && n != nil {
				r.seen[ref] = n.Version
			}
			return err
		}
	case *Rename:
		r.left(o.Ref, o.Parent, o.Name)
		if o.Replaced != nil {
			r.left(*o.Replaced, o.NewParent, o.NewName)
		}
	case *Unlink:
		r.left(o.Ref, o.Parent, o.Name)
	}
	return nil
}

// left forgets that an inode is at a place that was not meant for it.
func (r *Rebase) left(ref, parent Ref, as []byte) {
	at := place{parent, string(as)}
	if r.copies[ref] == at {
		delete(r.copies, ref)
	}
	for n, p := range r.placed {
		if n.ref == ref && p == at {
			delete(r.placed, n)
		}
	}
}

// forgo forgets what was noted of the name that c was to give: it does not.
func (r *Rebase) forgo(c Change) {
	var ref Ref
	var at place
	switch o := c.(type) {
	case *Link:
		ref, at = o.Ref, place{o.Parent, string(o.Name)}
	case *Rename:
		ref, at = o.Ref, place{o.NewParent, string(o.NewName)}
	default:
		return
	}
	r.left(ref, at.parent, []byte(at.name))
	if r.aside[at].Ours == ref {
		delete(r.aside, at)
	}
}

// inodeIn finds what a batch says of an inode; nil: nothing.
func inodeIn(b *Batch, ref Ref) (*Inode, error) {
	key := string(InodeKey(ref))
	for _, kv := range b.Puts {
		if string(kv.Key) == key {
			return DecodeInode(kv.Value)
		}
	}
	return nil, nil
}
