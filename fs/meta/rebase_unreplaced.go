package meta

// What was written to a file, and a later rename replaced, needs nothing where others have
// changed or deleted that file as well: it was gone at the end. But where that rename is
// not done, nobody has put anything in its place, and it is kept after all.

// unreplaced adds to the steps that stand for a rename what keeps the file that was to be
// replaced, as it was then.
func (r *Rebase) unreplaced(o *Rename, steps []Change, now Reader, at Stamp) ([]Change, error) {
	if o.Replaced == nil || o.Flags&Exchange != 0 || r.o.Before == nil {
		return steps, nil
	}
	for _, c := range steps {
		switch c.(type) {
		case *Rename, *Unlink:
			return steps, nil // what was renamed is in its place, or in one beside it
		}
	}
	if !r.learn().of[*o.Replaced].written {
		return steps, nil
	}
	now, err := stack(now, steps, at)
	if err != nil {
		return nil, err
	}
	s := &solver{r, r.home(*o.Replaced), now, at}
	more, err := s.unreplaced(o)
	if senseless(err) { // nobody could read it, or it fits nowhere
		more, err = s.record(Conflict{Kind: ConflictLost, Ours: s.ref(s.meant)}), nil
	}
	return append(steps, more...), err
}

func (s *solver) unreplaced(o *Rename) (more []Change, err error) {
	if _, n, err := s.before(*o.Replaced); err != nil || n != nil {
		return nil, err // it was not its last name, or it is there again
	}
	if done, err := s.replaced(o); err != nil || done {
		return nil, err
	}
	was := s.o.Before(s.at.No)
	n, err := absent(GetInode(was, *o.Replaced))
	if err != nil || n == nil || n.Kind != File {
		return nil, err
	}
	return s.stays(was, *o.Replaced, n, o.NewParent, o.NewName)
}

// replaced says whether what o renames is in its place, although nothing is done for that.
func (s *solver) replaced(o *Rename) (bool, error) {
	if n := len(s.refused); n > 0 && s.refused[n-1].No == s.at.No {
		return false, nil
	}
	if s.twins[s.home(o.Ref)] {
		return true, nil // theirs stands for it, and has the name
	}
	d, there, err := s.named(s.ref(o.NewParent), o.NewName)
	return there && d.Ref == s.ref(o.Ref), err
}

// stays keeps the file ref as it was in the map was, n: beside what it is now, or, where
// it is none, under the name that it had.
func (s *solver) stays(was Reader, ref Ref, n *Inode, parent Ref, name []byte) ([]Change, error) {
	to := s.ref(ref)
	theirs, err := s.there(to)
	if err != nil || theirs != nil && theirs.Version == n.Version {
		return nil, err // nothing was in the way of what was written
	}
	if theirs != nil {
		if same, err := s.sameIn(was, ref, n, s.now, to, theirs); err != nil || same {
			return nil, err
		}
	}
	o, err := s.restored(was, ref, s.meant, n)
	if err == nil && theirs != nil {
		o.ref.Ino, err = s.unused(s.now, o.ref.Home, s.at)
	} else if err == nil {
		err = s.number(o)
	}
	if err != nil {
		return nil, err
	}
	steps, err := s.settleAt(o, parent, name)
	if err == nil {
		_, err = stack(s.now, append(steps, o), s.at)
	}
	if senseless(err) { // the folder was gone at the end, or is none
		steps, err = s.settleAt(o, RootRef, name)
	}
	if err != nil {
		return nil, err
	}
	if o.ref != s.meant {
		s.standsFor(s.meant, ref, o)
	} else {
		s.refs[o.ref], s.seen[o.ref] = o.ref, n.Version
	}
	if theirs == nil {
		return append(steps, s.revived(s.meant, o)...), nil
	}
	return append(steps, s.told(s.meant, o, Conflict{
		Kind: ConflictCopy, Ours: o.ref, Theirs: to, Parent: o.parent, Name: name, As: o.name,
	})...), nil
}
