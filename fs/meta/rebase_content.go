package meta

import "errors"

// content keeps what was written to a file that they wrote, or deleted.
func (s *solver) content(c Change) (steps []Change, again Change, err error) {
	ref := contentOf(c)
	to := func(ref Ref) Change {
		return onContent(c, func(Ref, uint64) (Ref, uint64) { return ref, 0 })
	}
	theirs, err := s.there(ref)
	if err != nil {
		return nil, nil, err
	}
	was, o, err := s.fetch(ref)
	if err != nil || o == nil {
		return nil, nil, err // it was deleted here as well
	}
	if theirs == nil {
		if steps, err = s.revive(ref); err != nil {
			return nil, nil, err
		}
		return steps, to(s.ref(ref)), nil
	}
	same, err := s.sameFile(was, &o.inode, s.now, ref, theirs)
	if err != nil {
		return nil, nil, err
	}
	if same {
		s.equal[s.meant] = true
		return nil, nil, nil
	}
	if steps, err = s.apart(ref, was, o); err != nil {
		return nil, nil, err
	}
	return steps, to(o.ref), nil
}

// apart makes o, which is what a file was, a copy beside what that is now.
func (s *solver) apart(ref, was Ref, o *restore) (steps []Change, err error) {
	if o.ref.Ino, err = s.unused(s.now, o.ref.Home, s.at); err != nil {
		return nil, err
	}
	steps, meant, err := s.settle(o, was)
	if err != nil {
		return nil, err
	}
	s.standsFor(ref, was, o)
	return append(steps, s.told(ref, o, Conflict{
		Kind: ConflictCopy, Ours: o.ref, Theirs: ref, Parent: o.parent, Name: meant, As: o.name,
	})...), nil
}

// standsFor has o, of another number, stand for what ref was.
func (s *solver) standsFor(ref, was Ref, o *restore) {
	s.refs[ref], s.origin[o.ref], s.seen[o.ref] = o.ref, was, o.inode.Version
	if o.inode.Nlink == 1 {
		s.copies[o.ref] = place{o.parent, string(o.name)}
	}
}

// again finds another way for a step of an earlier Rebase that has met somebody else's
// change before it came into a slot.
func (s *solver) again(o *restore) (steps []Change, next Change, err error) {
	n := *o
	there, err := s.there(o.ref)
	if err != nil {
		return nil, nil, err
	}
	if there != nil {
		if n.inode.Kind == Dir {
			return nil, nil, nil // they made it again as well
		}
		same, err := s.sameRestored(o, there)
		if err != nil {
			return nil, nil, err
		}
		if same {
			return nil, nil, nil // they brought it back as well; what was written to it since is not theirs
		}
		as, err := s.elsewhere(o, s.now, s.at)
		if err != nil || as == nil {
			return nil, nil, err
		}
		n = *as
	}
	dir, err := s.there(n.parent)
	switch {
	case err != nil:
		return nil, nil, err
	case dir == nil:
		if steps, n.parent, err = s.folders(n.parent, s.room(nil), 0); errors.Is(err, errNowhere) {
			n.parent, steps, err = RootRef, nil, nil
		}
		if err != nil {
			return nil, nil, err
		}
		if n.inode.Kind == Dir {
			n.inode.Parent = n.parent
		}
		if n.parent != o.parent {
			steps = append(steps, s.record(Conflict{Kind: ConflictMoved, Ours: n.ref, Parent: o.parent, Name: o.name})...)
		}
	}
	now, err := stack(s.now, steps, s.at)
	if err != nil {
		return nil, nil, err
	}
	if _, err := Lookup(now, n.parent.Ino, n.name); err == nil {
		if n.name, err = s.free(now, n.parent.Ino, n.name, s.at); err != nil {
			return nil, nil, err
		}
		s.copies[n.ref] = place{n.parent, string(n.name)}
	} else if !errors.Is(err, ErrNotExist) {
		return nil, nil, err
	}
	return steps, &n, nil
}

// elsewhere makes a file that is to be made again another inode, as it has to be where
// others have that number; nil: it was not there at the end.
func (r *Rebase) elsewhere(o *restore, now Reader, at Stamp) (*restore, error) {
	n := *o
	if o.filled { // for that inode
		_, w, err := r.fetch(o.ref)
		if err != nil || w == nil {
			return nil, err
		}
		n.filled, n.extents = false, w.extents
	}
	var err error
	if n.ref.Ino, err = r.unused(now, o.ref.Home, at); err != nil {
		return nil, err
	}
	r.refs[o.ref], r.origin[n.ref], r.seen[n.ref] = n.ref, o.ref, n.inode.Version
	return &n, nil
}

// unused is an inode number that was never used, of which there is nothing at a home, and
// of which no other device has a lease: one that guesses numbers could keep a file out of
// the chain.
func (r *Rebase) unused(now Reader, home Ino, at Stamp) (Ino, error) {
	for {
		ino, err := r.o.NewIno()
		if err != nil {
			return 0, err
		}
		l, err := Held(now, Ref{Ino: ino}, at.Device, r.o.Slot)
		if err == nil && l == nil {
			_, err = now.Get(InodeKey(Ref{Home: home, Ino: ino}))
			if errors.Is(err, ErrAbsent) {
				return ino, nil
			}
		}
		if err != nil {
			return 0, err
		}
	}
}

// contentOf is the file whose content a change is about.
func contentOf(c Change) Ref {
	switch o := c.(type) {
	case *Write:
		return o.Ref
	case *Truncate:
		return o.Ref
	case *PunchHole:
		return o.Ref
	case *Clone:
		return o.Ref
	}
	return Ref{}
}

// onContent returns a change of a file's content for another file and another version of
// it; nil for any other change.
func onContent(c Change, to func(ref Ref, observed uint64) (Ref, uint64)) Change {
	switch o := c.(type) {
	case *Write:
		n := *o
		n.Ref, n.Observed = to(o.Ref, o.Observed)
		return &n
	case *Truncate:
		n := *o
		n.Ref, n.Observed = to(o.Ref, o.Observed)
		return &n
	case *PunchHole:
		n := *o
		n.Ref, n.Observed = to(o.Ref, o.Observed)
		return &n
	case *Clone:
		n := *o
		n.Ref, n.Observed = to(o.Ref, o.Observed)
		return &n
	}
	return nil
}
