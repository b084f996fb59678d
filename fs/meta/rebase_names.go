package meta

import (
	"errors"
	"time"
)

// make keeps what was made where its name is taken, or its directory gone.
func (s *solver) make(o *Make, why error) (steps []Change, again Change, err error) {
	switch {
	case errors.Is(why, ErrNotExist):
		return s.needed(o.Parent, o)
	case !errors.Is(why, ErrExist):
		return nil, nil, why
	}
	theirs, _, err := s.named(o.Parent, o.Name)
	if err != nil {
		return nil, nil, err
	}
	if o.Kind == Dir && theirs.Kind == Dir {
		s.refs[o.Ref], s.homes[o.Ref.Ino], s.merged[theirs.Ref.Ino] = theirs.Ref, theirs.Ref.Ino, o.Ref.Ino
		return nil, nil, nil
	}
	// What it became is what counts, not how it began.
	n := *o
	var told []Change
	if n.Name, told, err = s.taken(o.Ref, theirs.Ref, o.Parent, o.Name); err != nil || n.Name == nil {
		return nil, nil, err
	}
	return told, &n, nil
}

// link keeps a further name where it is taken, or what it was for gone.
func (s *solver) link(o *Link, why error) (steps []Change, again Change, err error) {
	if errors.Is(why, ErrExist) {
		theirs, _, err := s.named(o.Parent, o.Name)
		if err != nil || theirs.Ref == o.Ref {
			return nil, nil, err
		}
		if is, err := s.isBeside(o.Ref, o.Parent, o.Name); err != nil || is {
			return nil, nil, err
		}
		// As git does, which writes another name, links, and takes that away.
		n := *o
		var told []Change
		if n.Name, told, err = s.taken(o.Ref, theirs.Ref, o.Parent, o.Name); err != nil || n.Name == nil {
			return nil, nil, err
		}
		return told, &n, nil
	}
	if !errors.Is(why, ErrNotExist) {
		return nil, nil, why
	}
	n, err := s.there(o.Ref)
	switch {
	case err != nil:
		return nil, nil, err
	case n == nil:
		steps, err := s.revive(o.Ref) // it may come back under this very name
		if errors.Is(err, errNowhere) {
			return nil, nil, nil
		}
		n := *o
		n.Ref = s.ref(o.Ref)
		return steps, &n, err
	}
	return s.needed(o.Parent, o)
}

// removal gives up what was to be removed, where they have changed, replaced or renamed it.
func (s *solver) removal(ref, parent Ref, name []byte) (steps []Change, again Change, err error) {
	d, there, err := s.named(parent, name)
	if err == nil && !there {
		d.Ref, there, err = s.renamed(ref)
	}
	if err != nil || !there {
		return nil, nil, err // they removed it too
	}
	return s.record(Conflict{Kind: ConflictKept, Theirs: d.Ref, Ours: ref, Parent: parent, Name: name}), nil, nil
}

// renamed tells whether an inode that was to lose a name, and has that no more, has one
// that they gave it instead. Theirs is the zero Ref where it was to stay under others:
// who deletes theirs must not lose those.
func (s *solver) renamed(ref Ref) (theirs Ref, ok bool, err error) {
	now, err := s.there(ref)
	if err != nil || now == nil {
		return theirs, false, err
	}
	was, n, err := s.before(ref)
	if err != nil || now.Kind == Dir {
		return ref, err == nil, err
	}
	names := -int(s.learn().more(was, s.at.No)) // that were left when it was done here
	if n != nil {
		names += int(n.Nlink)
	} else {
		theirs = ref
	}
	return theirs, int(now.Nlink) > names, nil
}

// rename keeps what was moved where its place is taken, its directory gone, or where
// they moved it as well.
func (s *solver) rename(o *Rename, why error) (steps []Change, again Change, err error) {
	moved := func(kind ConflictKind) ([]Change, Change, error) {
		return s.record(Conflict{Kind: kind, Ours: o.Ref, Parent: o.NewParent, Name: o.NewName}), nil, nil
	}
	target, taken, err := s.named(o.NewParent, o.NewName)
	switch {
	case err != nil:
		return nil, nil, err
	case taken && target.Ref == o.Ref:
		return nil, nil, nil // it is there already
	case errors.Is(why, ErrCycle):
		return moved(ConflictCycle)
	case o.Flags&Exchange != 0:
		if half, err := s.half(o); err != nil || half != nil {
			return nil, half, err
		}
		return moved(ConflictMoved)
	}
	source, ok, err := s.named(o.Parent, o.Name)
	switch {
	case err != nil:
		return nil, nil, err
	case !ok || source.Ref != o.Ref:
		if n, err := s.there(o.Ref); err != nil || n == nil {
			s.spare(o, target.Ref)
			return nil, nil, err // they deleted it, and nothing was written to it here
		}
		return moved(ConflictMoved)
	}
	if n, err := s.there(o.NewParent); err != nil {
		return nil, nil, err
	} else if n == nil {
		steps, _, err := s.folders(o.NewParent, s.room(nil), 1)
		if errors.Is(err, errNowhere) {
			return moved(ConflictMoved)
		}
		return steps, o, err
	}
	if taken {
		if is, err := s.isBeside(o.Ref, o.NewParent, o.NewName); err != nil || is {
			return nil, nil, err
		}
	}
	n := *o
	n.Replaced, n.Observed, n.Flags = nil, 0, 0
	if !taken {
		return nil, &n, nil // what was to be replaced is gone
	}
	same, err := s.sameNamed(o.Ref, target.Ref, o.NewParent, o.NewName)
	if err != nil {
		return nil, nil, err
	}
	if same {
		our, err := s.there(o.Ref)
		if err != nil || our == nil {
			return nil, nil, err // a name that leads nowhere
		}
		s.unite(o.Ref, target.Ref)
		return nil, &Unlink{Parent: o.Parent, Name: o.Name, Ref: o.Ref, Observed: our.Version}, nil
	}
	var told []Change
	if n.NewName, told, err = s.beside(o.Ref, o.NewParent, o.NewName, target.Ref); err != nil {
		return nil, nil, err
	}
	return told, &n, nil
}

// taken settles that a name which was given to a file here is another's there. Where both
// hold the same they are one file, and as is nil; else as is what ours is called beside it.
func (s *solver) taken(ours, theirs, parent Ref, name []byte) (as []byte, told []Change, err error) {
	same, err := s.sameNamed(ours, theirs, parent, name)
	if err != nil {
		return nil, nil, err
	}
	if same {
		s.unite(ours, theirs)
		return nil, nil, nil
	}
	return s.beside(ours, parent, name, theirs)
}

// beside finds another name for ref where theirs has the one that was meant, and says so.
func (s *solver) beside(ref, parent Ref, meant []byte, theirs Ref) (as []byte, told []Change, err error) {
	if as, err = s.free(s.now, parent.Ino, meant, s.at); err != nil {
		return nil, nil, err
	}
	s.put(ref, parent, meant, as)
	told = s.recordOf(Conflict{Kind: ConflictName, Ours: ref, Theirs: theirs, Parent: parent, Name: meant, As: as}, place{parent, string(as)})
	return as, told, nil
}

// isBeside tells whether ref is beside a name already, for want of that: it was made again
// there, as a file that has the name at the end. It looks: a lease may have refused that.
func (s *solver) isBeside(ref, parent Ref, as []byte) (bool, error) {
	p, ok := s.placed[name{ref, place{parent, string(as)}}]
	if !ok {
		return false, nil
	}
	d, there, err := s.named(p.parent, []byte(p.name))
	if senseless(err) {
		err = nil
	}
	return there && d.Ref == ref, err
}

// free finds a name in a directory of now that stands for what could not be called
// name.
func (r *Rebase) free(now Reader, dir Ino, name []byte, at Stamp) ([]byte, error) {
	day := time.Unix(at.Time.Sec, 0).UTC().Format(time.DateOnly)
	for n := 1; ; n++ {
		as := conflictName(name, r.o.Device, day, n)
		switch _, err := Lookup(now, dir, as); {
		case errors.Is(err, ErrNotExist):
			return as, nil
		case err != nil:
			return nil, err
		}
	}
}

// unite makes theirs stand for ours, which holds the same and was to have the same name.
func (r *Rebase) unite(ours, theirs Ref) {
	r.refs[ours], r.equal[ours], r.twins[ours] = theirs, true, true
}
