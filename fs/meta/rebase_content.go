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
		if steps, err = s.revive(ref, 0); err != nil {
			return nil, nil, err
		}
		return steps, to(ref), nil
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
	if o.ref.Ino, err = s.o.NewIno(); err != nil {
		return nil, err
	}
	steps, meant, err := s.settle(o, was, 0)
	if err != nil {
		return nil, err
	}
	s.refs[ref], s.origin[o.ref], s.seen[o.ref] = o.ref, was, o.inode.Version
	if o.inode.Nlink == 1 {
		s.copies[o.ref] = place{o.parent, string(o.name)}
	}
	return append(steps, s.told(ref, o, Conflict{
		Kind: ConflictCopy, Ours: o.ref, Theirs: ref, Parent: o.parent, Name: meant, As: o.name,
	})...), nil
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
			s.equal[o.ref] = true
			return nil, nil, nil
		}
		ino, err := s.o.NewIno()
		if err != nil {
			return nil, nil, err
		}
		n.ref.Ino = ino
		s.refs[o.ref], s.origin[n.ref], s.seen[n.ref] = n.ref, o.ref, n.inode.Version
	}
	dir, err := s.there(n.parent)
	switch {
	case err != nil:
		return nil, nil, err
	case dir == nil:
		if steps, err = s.revive(n.parent, 0); errors.Is(err, errNowhere) {
			n.parent, steps, err = RootRef, nil, nil
		}
		if err != nil {
			return nil, nil, err
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
