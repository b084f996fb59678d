package meta

import "errors"

// A file of ours that holds the same as theirs, and ends under the name that theirs has,
// is no conflict: theirs stands for it. What is called by its name from then on is
// theirs, so the changes that give and take names of ours are not done to that.

// twin is the file of ours whose name a change gives or takes, if theirs stands for it.
func (r *Rebase) twin(c Change) (ref Ref, ok bool) {
	switch o := c.(type) {
	case *Link:
		ref = o.Ref
	case *Unlink:
		ref = o.Ref
	case *Rename:
		ref = o.Ref
	}
	ref = r.home(ref)
	return ref, r.twins[ref]
}

// unname does what a change of a twin's names leaves to do: it takes the name away
// from ours, where that has it still, and deletes what a rename replaced.
func (r *Rebase) unname(c Change, ref Ref, now Reader, at Stamp) (before []Change, again Change, err error) {
	var parent Ref
	var name []byte
	switch o := c.(type) {
	case *Unlink:
		parent, name = o.Parent, o.Name
	case *Rename:
		if o.Flags&Exchange != 0 {
			return nil, nil, nil
		}
		parent, name = o.Parent, o.Name
		if o.Replaced != nil && !r.twins[r.home(*o.Replaced)] {
			before, err = r.Again(&Unlink{Parent: o.NewParent, Name: o.NewName, Ref: *o.Replaced, Observed: o.Observed}, now, at)
			if err != nil {
				return nil, nil, err
			}
			if now, err = stack(now, before, at); err != nil {
				return nil, nil, err
			}
		}
	default:
		return nil, nil, nil // a further name, which it has lost at the end
	}
	parent, name = r.find(now, ref, r.ref(parent), name)
	d, err := Lookup(now, parent.Ino, name)
	if errors.Is(err, ErrNotExist) || err == nil && d.Ref != ref {
		return before, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	n, err := GetInode(now, ref)
	if err != nil {
		return nil, nil, err
	}
	return before, &Unlink{Parent: parent, Name: name, Ref: ref, Observed: n.Version}, nil
}
