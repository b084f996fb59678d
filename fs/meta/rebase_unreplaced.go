package meta

import (
	"errors"
	"slices"
)

// What was written to a file, and a later rename replaced, needs nothing where others have
// changed or deleted that file as well: it was gone at the end. But where that rename is
// not done, nobody has put anything in its place, and it is kept after all.
//
// The rename may be done now, and not when it is executed again over what others do next:
// so it is given the file to replace, as it was. That comes to nothing in the chain, where
// all of one operation is one commit.

// unreplaced adds to the steps that stand for a rename what keeps the file that was to be
// replaced, as it was then.
func (r *Rebase) unreplaced(o *Rename, steps []Change, now Reader, at Stamp) ([]Change, error) {
	if o.Replaced == nil || o.Flags&Exchange != 0 || r.o.Before == nil {
		return steps, nil
	}
	for i, c := range steps {
		switch c := c.(type) {
		case *Rename:
			if c.Replaced != nil {
				return steps, nil
			}
			return r.replacing(o, steps, i, now, at)
		case *Unlink:
			return steps, nil // theirs is in its place, and what was renamed is that
		}
	}
	kept := r.kept[again{*o.Replaced, at.No}]
	if kept == nil && !r.learn().of[*o.Replaced].written {
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

// undo notes a rename for which no step renames anything, or takes theirs for what it renamed.
func (r *Rebase) undo(o *Rename, steps []Change, now Reader, at Stamp) error {
	for _, c := range steps {
		switch c.(type) {
		case *Rename, *Unlink:
			return nil
		}
	}
	s := &solver{r, Ref{}, now, at}
	done, err := s.replaced(o)
	if senseless(err) {
		err = nil // a broken writer has put something else there
	}
	if err == nil && !done && o.Flags&Exchange == 0 {
		r.undone = append(r.undone, at.No)
	}
	return err
}

// keep tells of a change that it makes again what the same operation replaces then: with
// that it is done, or where that is not.
func (r *Rebase) keep(c Change, at Stamp) bool {
	o, ok := c.(*restore)
	if !ok || o.inode.Kind != File {
		return false
	}
	a := again{o.ref, at.No}
	if !r.learn().kept[a] {
		return false
	}
	r.kept[a] = o
	return true
}

// alone is a rename without what it replaces only to keep it.
func (r *Rebase) alone(c Change, at Stamp) Change {
	o, ok := c.(*Rename)
	if !ok || o.Replaced == nil || r.kept[again{*o.Replaced, at.No}] == nil {
		return c
	}
	n := *o
	n.Replaced, n.Observed = nil, 0
	return &n
}

// replacing has the rename among steps, which replaces nothing, replace what was written to
// the file that was meant.
func (r *Rebase) replacing(o *Rename, steps []Change, i int, now Reader, at Stamp) ([]Change, error) {
	if r.kept[again{*o.Replaced, at.No}] == nil && !r.learn().of[*o.Replaced].written {
		return steps, nil
	}
	n := *steps[i].(*Rename)
	over, err := stack(now, steps[:i], at)
	if err != nil {
		return nil, err
	}
	s := &solver{r, r.home(*o.Replaced), over, at}
	was, err := s.wrote(o)
	if senseless(err) || err == nil && was == nil {
		return steps, nil // as if nothing had been written: the rename is done
	}
	if err != nil {
		return nil, err
	}
	was.parent, was.name = n.NewParent, n.NewName
	n.Replaced, n.Observed = &was.ref, was.inode.Version
	out := append(slices.Clone(steps[:i]), was, &n)
	out = append(out, steps[i+1:]...)
	if _, err = stack(now, out, at); senseless(err) {
		return steps, nil
	}
	return out, err
}

// wrote is the file that o was to replace, as it was then; nil: nothing of it is lost.
func (s *solver) wrote(o *Rename) (*restore, error) {
	if kept := s.kept[again{*o.Replaced, s.at.No}]; kept != nil {
		return s.keptAgain(kept)
	}
	if _, n, err := s.before(*o.Replaced); err != nil || n != nil {
		return nil, err
	}
	was := s.o.Before(s.at.No)
	n, err := absent(GetInode(was, *o.Replaced))
	if err != nil || n == nil || n.Kind != File {
		return nil, err
	}
	to := s.ref(*o.Replaced)
	theirs, err := s.there(to)
	if err != nil || theirs != nil && theirs.Version == n.Version {
		return nil, err
	}
	if theirs != nil {
		if same, err := s.sameIn(was, *o.Replaced, n, s.now, to, theirs); err != nil || same {
			return nil, err
		}
	}
	out, err := s.restored(was, *o.Replaced, s.meant, n)
	if err == nil && theirs != nil {
		out.ref.Ino, err = s.unused(s.now, out.ref.Home, s.at)
	} else if err == nil {
		err = s.number(out)
	}
	return out, err
}

// keptAgain is what a step of an earlier Rebase has kept, for one that does so now. Where
// others have its number by now it gets another one, unless fills have brought a part of it.
func (s *solver) keptAgain(kept *restore) (*restore, error) {
	n := *kept
	if !n.filled {
		return &n, s.number(&n)
	}
	if _, err := s.now.Get(InodeKey(n.ref)); err == nil || s.barred[n.ref.Ino] {
		return nil, ErrConflict
	} else if !errors.Is(err, ErrAbsent) {
		return nil, err
	}
	return &n, nil
}

func (s *solver) unreplaced(o *Rename) (more []Change, err error) {
	if kept := s.kept[again{*o.Replaced, s.at.No}]; kept != nil {
		if done, err := s.replaced(o); err != nil || done {
			return nil, err
		}
		n, err := s.keptAgain(kept)
		if err != nil {
			return nil, err
		}
		if more, err = s.puts(n, o.NewParent, o.NewName); err != nil {
			return nil, err
		}
		if n.ref != kept.ref {
			s.standsFor(kept.ref, kept.ref, n)
		} else {
			s.refs[n.ref], s.seen[n.ref] = n.ref, n.inode.Version
		}
		return append(more, s.revived(s.meant, n, o.NewName)...), nil
	}
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
	if is, err := s.isBeside(s.ref(o.Ref), s.ref(o.NewParent), o.NewName); err != nil || is {
		return is, err
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
	steps, err := s.puts(o, parent, name)
	if err != nil {
		return nil, err
	}
	if o.ref != s.meant {
		s.standsFor(s.meant, ref, o)
	} else {
		s.refs[o.ref], s.seen[o.ref] = o.ref, n.Version
	}
	if theirs == nil {
		return append(steps, s.revived(s.meant, o, name)...), nil
	}
	return append(steps, s.told(s.meant, o, Conflict{
		Kind: ConflictCopy, Ours: o.ref, Theirs: to, Parent: o.parent, Name: name, As: o.name,
	})...), nil
}

// puts finds a name for o, or one in the root folder.
func (s *solver) puts(o *restore, parent Ref, name []byte) (steps []Change, err error) {
	steps, err = s.settleAt(o, parent, name)
	if err == nil {
		_, err = stack(s.now, append(steps, o), s.at)
	}
	if senseless(err) { // the folder was gone at the end, or is none
		steps, err = s.settleAt(o, RootRef, name)
	}
	return steps, err
}
