package meta

// leased gives up a change of what another device has leased since; only a report is
// left, or its program is told that waits for it. What is written to a file is not for it:
// that goes to a copy, as with any conflict.
func (r *Rebase) leased(c Change, at Stamp) []Change {
	if r.tentative(at) {
		switch c.(type) {
		case *Make, *Rename, *Link:
			r.refused = append(r.refused, Refusal{at.No, ErrLeased})
			return nil
		}
	}
	var told Conflict
	switch o := c.(type) {
	case *Unlink:
		told = Conflict{Kind: ConflictKept, Ours: o.Ref, Theirs: o.Ref, Parent: o.Parent, Name: o.Name}
	case *Rmdir:
		told = Conflict{Kind: ConflictKept, Ours: o.Ref, Theirs: o.Ref, Parent: o.Parent, Name: o.Name}
	case *Link:
		told = Conflict{Kind: ConflictKept, Ours: o.Ref, Theirs: o.Ref, Parent: o.Parent, Name: o.Name}
	case *Rename:
		told = Conflict{Kind: ConflictMoved, Ours: o.Ref, Parent: o.NewParent, Name: o.NewName}
	case *Setattr:
		told = Conflict{Kind: ConflictLost, Ours: o.Ref}
	case *Setxattr:
		told = Conflict{Kind: ConflictLost, Ours: o.Ref}
	case *Removexattr:
		told = Conflict{Kind: ConflictLost, Ours: o.Ref}
	case *fill:
		r.barred[o.ino] = true
		return nil
	default:
		return nil // what it says of a lease has no meaning any more
	}
	s := &solver{Rebase: r, at: at}
	return s.record(told)
}
