package meta

import (
	"errors"
	"fmt"
)

// A device with a program of its own may sign what makes no sense: a name of another kind
// than what it stands for, a file where a directory was. A change that meets it, and cannot
// be done whatever is tried, stops nobody: what was made or written by it comes to the root
// directory, and the rest is given up and told.

// senseless tells of an error that says how the map is, and not that it could not be read.
func senseless(err error) bool {
	return !errors.Is(err, ErrUnknown) &&
		(errors.Is(err, ErrMalformed) || errors.Is(err, ErrTooLarge) || errors.Is(err, errNowhere) || Refused(err))
}

// astray is what becomes of a change that fits nowhere.
func (r *Rebase) astray(c Change, now Reader, at Stamp) (steps []Change, err error) {
	if r.tentative(at) {
		switch c.(type) {
		case *Make, *Link, *Rename:
			steps, _, err = r.refuse(ErrConflict, at)
			return steps, err
		}
	}
	s := &solver{r, r.home(contentOf(c)), now, at}
	ref, holds := holder(c)
	ref = r.home(ref)
	switch {
	case ref == Ref{}:
		return nil, nil // what it says of the volume is another's to say
	case !holds:
		return s.record(Conflict{Kind: ConflictLost, Ours: r.ref(ref)}), nil
	}
	was, o, err := s.fetch(ref)
	switch {
	case senseless(err): // nobody could read it
		return s.record(Conflict{Kind: ConflictLost, Ours: r.ref(ref)}), nil
	case err != nil || o == nil:
		return nil, err // nobody misses it
	}
	if err := s.number(o); err != nil {
		return nil, err
	}
	parent, name, err := s.placeOf(was, &o.inode)
	switch {
	case senseless(err):
		parent, name = RootRef, fmt.Appendf(nil, "recovered %d", uint64(was.Ino))
	case err != nil:
		return nil, err
	}
	meant := s.ref(parent)
	o.parent, o.inode.Parent = RootRef, RootRef
	if o.name, err = s.freeOr(RootRef, name); err != nil {
		return nil, err
	}
	if o.ref != ref {
		s.standsFor(ref, was, o)
		if _, ok := c.(*Make); ok && o.inode.Kind == Dir {
			r.homes[ref.Ino], r.merged[o.ref.Ino] = o.ref.Ino, ref.Ino
		}
	} else {
		r.refs[ref], r.seen[ref] = ref, o.inode.Version
	}
	return append(s.revived(ref, o, name), s.record(Conflict{Kind: ConflictMoved, Ours: o.ref, Parent: meant, Name: name})...), nil
}

// holder is the inode that a change is about, and whether that holds something which no
// other change would bring.
func holder(c Change) (ref Ref, holds bool) {
	switch o := c.(type) {
	case *Make:
		return o.Ref, true
	case *restore:
		return o.ref, true
	case *Link:
		return o.Ref, false
	case *Unlink:
		return o.Ref, false
	case *Rmdir:
		return o.Ref, false
	case *Rename:
		return o.Ref, false
	case *Setattr:
		return o.Ref, false
	case *Setxattr:
		return o.Ref, false
	case *Removexattr:
		return o.Ref, false
	}
	ref = contentOf(c)
	return ref, ref != Ref{}
}
