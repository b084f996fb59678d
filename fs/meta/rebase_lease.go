package meta

// leased gives up a change of what another device has leased since. What was written to
// a file goes to a copy, as with any conflict; of all else only the report is left.
func (r *Rebase) leased(c Change, at Stamp) []Change {
	s := &solver{Rebase: r, at: at}
	switch o := c.(type) {
	case *Unlink:
		return []Change{s.record(Conflict{Kind: ConflictKept, Ours: o.Ref, Theirs: o.Ref, Parent: o.Parent, Name: o.Name})}
	case *Rmdir:
		return []Change{s.record(Conflict{Kind: ConflictKept, Ours: o.Ref, Theirs: o.Ref, Parent: o.Parent, Name: o.Name})}
	case *Rename:
		return []Change{s.record(Conflict{Kind: ConflictMoved, Ours: o.Ref, Parent: o.NewParent, Name: o.NewName})}
	case *Link:
		return []Change{s.record(Conflict{Kind: ConflictKept, Ours: o.Ref, Theirs: o.Ref, Parent: o.Parent, Name: o.Name})}
	case *Setattr:
		return []Change{s.record(Conflict{Kind: ConflictLost, Ours: o.Ref})}
	case *Setxattr:
		return []Change{s.record(Conflict{Kind: ConflictLost, Ours: o.Ref})}
	case *Removexattr:
		return []Change{s.record(Conflict{Kind: ConflictLost, Ours: o.Ref})}
	}
	return nil // what it says of a lease has no meaning any more
}
