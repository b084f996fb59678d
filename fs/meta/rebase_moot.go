package meta

import (
	"bytes"
	"errors"
	"slices"
)

// What an earlier Rebase has put in the place of an operation are steps of their own: a
// rename, the record of what that puts beside theirs, and the Resolve of the record of what
// was there before. Where the first is not done any more, neither are the others: then the
// record that is there is of what is there.

// givesOrTakes tells whether a change gives names, or takes them away.
func givesOrTakes(c Change) bool {
	switch c.(type) {
	case *Make, *Link, *Unlink, *Rmdir, *Rename, *restore:
		return true
	}
	return false
}

// inOrder adds steps to those that come before a change, and records of the name that it
// gives to those behind it: what follows them may have to know whether it has given that.
func inOrder(before, told, steps []Change) ([]Change, []Change) {
	for _, step := range steps {
		if o, ok := step.(*record); ok && o.Kind == ConflictName {
			told = append(told, step)
		} else {
			before = append(before, step)
		}
	}
	return before, told
}

// moot is a Resolve without the records of what is still where they say; nil: no others are
// left. One that a person has asked for stands alone, and is done.
func (s *solver) moot(o *Resolve) (Change, error) {
	if s.namedBy != s.at.No {
		return o, nil
	}
	var ids []ConflictID
	for _, id := range o.IDs {
		b, err := s.now.Get(ConflictKey(id))
		if errors.Is(err, ErrAbsent) {
			continue
		} else if err != nil {
			return nil, err
		}
		c, err := DecodeConflict(b)
		if err != nil {
			return nil, err
		}
		if stands, err := s.stands(&c); err != nil {
			return nil, err
		} else if !stands {
			ids = append(ids, id)
		} else if len(c.As) > 0 {
			s.aside[place{s.ref(c.Parent), string(c.As)}] = recorded{id, c} // who takes it from there later takes that along
		}
	}
	switch {
	case len(ids) == 0:
		return nil, nil
	case slices.Equal(ids, o.IDs):
		return o, nil
	}
	return &Resolve{IDs: ids}, nil
}

// stands tells whether what a record of a name is of is beside that, and has the record say
// what it is called there now.
func (s *solver) stands(c *Conflict) (bool, error) {
	dir := s.ref(c.Parent)
	parent, as := s.find(s.now, c.Ours, dir, c.As)
	d, there, err := s.named(parent, as)
	if err != nil || !there || d.Ref != c.Ours {
		return false, err
	}
	if parent == dir {
		c.As = bytes.Clone(as)
	}
	return true, nil
}
