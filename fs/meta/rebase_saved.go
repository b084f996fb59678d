package meta

import "bytes"

// A program that saves by rename gives one name to one new file after the other. Where
// others have that name by now, the first goes beside it, and there each takes the place
// of the one before, and its record: one copy is left, the newest, and one record of it.
// A program that moves or removes what it saved takes it from beside theirs, and no record
// is left of that.

// recorded is a record that this Rebase has left of an inode that could not get a name.
type recorded struct {
	id ConflictID
	Conflict
}

// follows notes where c, which can be applied, leaves the inodes that meant was about,
// and returns the steps by which their records follow. A record that is in the chain already,
// or was left by an earlier Rebase, has steps of its own.
func (s *solver) follows(meant, c Change) ([]Change, error) {
	switch o := c.(type) {
	case *Unlink:
		return s.unrecord(o.Ref, place{o.Parent, string(o.Name)}), nil
	case *Rmdir:
		return s.unrecord(o.Ref, place{o.Parent, string(o.Name)}), nil
	case *Rename:
		if m, ok := meant.(*Rename); ok {
			return s.followsRename(m, o)
		}
	}
	return nil, nil
}

func (s *solver) followsRename(meant, o *Rename) (steps []Change, err error) {
	from, to := place{o.Parent, string(o.Name)}, place{o.NewParent, string(o.NewName)}
	if o.Ref == s.ref(meant.Ref) {
		s.meantFor(o.Ref, meant.NewParent, meant.NewName, to)
	}
	if o.Replaced == nil {
		return s.unrecord(o.Ref, from), nil
	}
	was, under := s.recordAt(*o.Replaced, to), s.recordAt(o.Ref, from)
	if steps, err = s.rerecord(was, o.Ref, to); err != nil || o.Flags&Exchange == 0 {
		return append(steps, s.unrecord(o.Ref, from)...), err
	}
	if *o.Replaced == s.ref(*meant.Replaced) {
		s.meantFor(*o.Replaced, meant.Parent, meant.Name, from)
	}
	more, err := s.rerecord(under, *o.Replaced, from)
	if steps = append(steps, more...); err != nil {
		return nil, err
	}
	if was == nil {
		if more, err = s.strays(o.Ref, meant.NewParent, meant.NewName, to); err != nil {
			return nil, err
		}
		steps = append(steps, more...)
	}
	if under == nil {
		more, err = s.strays(*o.Replaced, meant.Parent, meant.Name, from)
		steps = append(steps, more...)
	}
	return steps, err
}

// strays leaves a record of what an exchange has put at a place where a copy was, for want of
// the one that was meant.
func (s *solver) strays(ref, parent Ref, as []byte, at place) ([]Change, error) {
	parent = s.ref(parent)
	if at == (place{parent, string(as)}) {
		return nil, nil
	}
	c := Conflict{Kind: ConflictName, Ours: ref, Parent: parent, Name: as}
	if at.parent == parent {
		c.As = []byte(at.name)
	}
	d, there, err := s.named(parent, as)
	if err != nil && !senseless(err) {
		return nil, err
	}
	if there {
		c.Theirs = d.Ref
	}
	return s.recordOf(c, at), nil
}

// meantFor remembers that ref is at a place, for want of the one that was meant.
func (s *solver) meantFor(ref, parent Ref, as []byte, at place) {
	if meant := (place{s.ref(parent), string(as)}); meant != at {
		s.placed[name{ref, meant}] = at
	}
}

// recordAt is the record that ref is at a place beside the name that it was to have; nil:
// there is none.
func (s *solver) recordAt(ref Ref, at place) *recorded {
	if c, ok := s.aside[at]; ok && c.Ours == ref {
		return &c
	}
	return nil
}

// unrecord takes back the record of ref at a place, where it is not any more.
func (s *solver) unrecord(ref Ref, at place) []Change {
	c := s.recordAt(ref, at)
	if c == nil {
		return nil
	}
	delete(s.aside, at)
	return []Change{&Resolve{IDs: []ConflictID{c.id}}}
}

// rerecord puts a record of what has a place now in the place of one of what had it; nil:
// there was none.
func (s *solver) rerecord(was *recorded, ours Ref, at place) ([]Change, error) {
	if was == nil {
		return nil, nil
	}
	c := was.Conflict
	c.Ours = ours
	d, there, err := s.named(c.Parent, c.Name)
	if err != nil && !senseless(err) {
		return nil, err
	}
	if there {
		c.Theirs = d.Ref
	}
	steps := s.recordOf(c, at)
	if len(steps) > 0 {
		steps = append(steps, &Resolve{IDs: []ConflictID{was.id}})
	}
	return steps, nil
}

// recordOf is record for what is at a place for want of another.
func (s *solver) recordOf(c Conflict, at place) []Change {
	steps := s.record(c)
	for _, step := range steps {
		o := step.(*record)
		s.aside[at] = recorded{ConflictID{s.at.Version(), o.n}, o.Conflict}
	}
	return steps
}

// met looks at what has the name now for want of which a file is beside it: of a change
// that would go there, and of a step that tells of it.
func (s *solver) met(c Change) (again Change, err error) {
	again = c
	switch o := c.(type) {
	case *Rename:
		err = s.sameSaved(o)
	case *record:
		again, err = s.metBy(o)
	case *Resolve:
		again, err = s.moot(o)
	}
	if senseless(err) { // nobody can read it
		return c, nil
	}
	return again, err
}

// metBy is a record of an earlier Rebase. What it is of may be another inode since, and
// what it met be replaced.
func (s *solver) metBy(o *record) (Change, error) {
	n := *o
	if !s.twins[s.home(o.Ours)] {
		n.Ours = s.ref(o.Ours)
	}
	if p, ok := s.copies[n.Ours]; ok && o.Kind != ConflictName && p.parent == s.ref(o.Parent) && p.name != string(o.Name) {
		n.As = []byte(p.name) // it was made again under another name than before
	}
	if o.Kind == ConflictName && len(o.As) > 0 && s.namedBy == s.at.No {
		if stands, err := s.stands(&n.Conflict); err != nil || !stands {
			return nil, err
		}
	}
	if o.Kind != ConflictName && o.Kind != ConflictCopy || o.Theirs == (Ref{}) {
		return &n, nil
	}
	if theirs, err := s.there(o.Theirs); err != nil || theirs != nil {
		return &n, err
	}
	d, there, err := s.named(s.ref(o.Parent), o.Name)
	if there && d.Ref != n.Ours {
		n.Theirs = d.Ref
	}
	return &n, err
}

// sameSaved has theirs stand for what a rename saves, where it holds the same, and has the
// name that the one before could not get.
func (s *solver) sameSaved(o *Rename) error {
	if o.Replaced == nil || o.Flags != 0 || s.twins[s.home(o.Ref)] {
		return nil
	}
	ours, dir := s.ref(o.Ref), s.ref(o.NewParent)
	if parent, as := s.find(s.now, s.ref(*o.Replaced), dir, o.NewName); parent == dir && bytes.Equal(as, o.NewName) {
		return nil
	}
	theirs, there, err := s.named(dir, o.NewName)
	if err != nil || !there || theirs.Ref == ours {
		return err
	}
	if same, err := s.sameNamed(ours, theirs.Ref, dir, o.NewName); err != nil || !same {
		return err
	}
	s.unite(ours, theirs.Ref)
	return nil
}

// half is what is left of an exchange by which a program saves, where others have saved
// the same: what it has made takes the name, as by a rename. What had that name has it no
// more, and needs no other one. It is nil for any other exchange.
func (s *solver) half(o *Rename) (*Rename, error) {
	if o.Replaced == nil {
		return nil, nil
	}
	there := func(ref, parent Ref, name []byte) (bool, error) {
		d, ok, err := s.named(parent, name)
		return ok && d.Ref == ref, err
	}
	old, err := there(o.Ref, o.Parent, o.Name)
	if err != nil {
		return nil, err
	}
	other, err := there(*o.Replaced, o.NewParent, o.NewName)
	switch {
	case err != nil || old == other:
		return nil, err
	case old && s.learn().of[o.Ref].made:
		return &Rename{Parent: o.Parent, Name: o.Name, NewParent: o.NewParent, NewName: o.NewName, Ref: o.Ref}, nil
	case other && s.learn().of[*o.Replaced].made:
		return &Rename{Parent: o.NewParent, Name: o.NewName, NewParent: o.Parent, NewName: o.Name, Ref: *o.Replaced}, nil
	}
	return nil, nil
}

// target is a file that a program replaces, in the version that it knows.
type target struct {
	ref      Ref
	observed uint64
}

// spare remembers that a rename, which is not done since what it moves is gone, leaves what
// it was to replace, there: what programs do by that name next is meant for that.
func (s *solver) spare(o *Rename, there Ref) {
	if o.Replaced != nil && *o.Replaced == there && o.Flags == 0 {
		s.spared[name{o.Ref, place{o.NewParent, string(o.NewName)}}] = target{there, o.Observed}
	}
}

// sparedFor is what a change has to find under a name, where it was to find ref.
func (r *Rebase) sparedFor(ref Ref, observed uint64, parent Ref, as []byte) (Ref, uint64) {
	if t, ok := r.spared[name{ref, place{parent, string(as)}}]; ok {
		return t.ref, t.observed
	}
	return ref, observed
}
