package meta

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
)

// resolve says what stands in the place of a change that was meant, and that now
// refuses as c with why: steps that come first, and what is tried then; nil: nothing
// more.
func (r *Rebase) resolve(meant, c Change, why error, now Reader, at Stamp) (steps []Change, again Change, err error) {
	s := &solver{r, r.home(contentOf(meant)), now, at}
	if r.o.Tentative != nil && r.o.Tentative(at.No) {
		switch o := c.(type) {
		case *Make:
			if errors.Is(why, ErrExist) && o.Kind == Dir {
				// Theirs will do for whoever has found ours already.
				if _, _, err := s.make(o, why); err != nil {
					return nil, nil, err
				}
			}
			return r.refuse(why, at)
		case *Link, *Rename:
			return r.refuse(why, at)
		}
	}
	switch o := c.(type) {
	case *Make:
		return s.make(o, why)
	case *Link:
		return s.link(o, why)
	case *Unlink:
		return s.removal(o.Ref, o.Parent, o.Name, why)
	case *Rmdir:
		return s.removal(o.Ref, o.Parent, o.Name, why)
	case *Rename:
		return s.rename(o, why)
	case *Write:
		return s.content(o.Ref, why, func(ref Ref, seen uint64) Change {
			n := *o
			n.Ref, n.Observed = ref, seen
			return &n
		})
	case *Truncate:
		return s.content(o.Ref, why, func(ref Ref, seen uint64) Change {
			n := *o
			n.Ref, n.Observed = ref, seen
			return &n
		})
	case *PunchHole:
		return s.content(o.Ref, why, func(ref Ref, seen uint64) Change {
			n := *o
			n.Ref, n.Observed = ref, seen
			return &n
		})
	case *Clone:
		return s.content(o.Ref, why, func(ref Ref, seen uint64) Change {
			n := *o
			n.Ref, n.Observed = ref, seen
			return &n
		})
	case *Mend:
		return nil, nil, nil // what was to be mended is not so any more
	case *Setxattr:
		if o.Flags != 0 && !errors.Is(why, ErrNotExist) {
			n := *o
			n.Flags = 0
			return nil, &n, nil
		}
		return s.attributes(o.Ref)
	case *Removexattr:
		if errors.Is(why, ErrNoAttr) {
			return nil, nil, nil
		}
		return s.attributes(o.Ref)
	case *Setattr:
		return s.attributes(o.Ref)
	case *restore:
		return s.again(o)
	}
	return nil, nil, nil // what it says of the volume is so already, or is another's to say
}

// refuse does nothing in the place of a change whose program will hear of it.
func (r *Rebase) refuse(why error, at Stamp) ([]Change, Change, error) {
	r.refused = append(r.refused, Refusal{at.No, why})
	return nil, nil, nil
}

// solver is a Rebase at one change.
type solver struct {
	*Rebase
	meant Ref // the file whose content the change was for
	now   Reader
	at    Stamp
}

func (s *solver) record(c Conflict) Change {
	c.Time = s.at.Time
	c.Name, c.As = bytes.Clone(c.Name), bytes.Clone(c.As)
	version := s.at.Version()
	records := s.learn().records
	n := records[version]
	records[version] = min(n+1, math.MaxUint8) // the last may be written over; it is a report
	return &record{c, n}
}

// there tells whether an inode is there now.
func (s *solver) there(ref Ref) (n *Inode, err error) { return absent(GetInode(s.now, ref)) }

// named is what a name stands for now; false: nothing.
func (s *solver) named(dir Ref, name []byte) (Dirent, bool, error) {
	d, err := Lookup(s.now, dir.Ino, name)
	if errors.Is(err, ErrNotExist) {
		return d, false, nil
	}
	return d, err == nil, err
}

// make keeps what was made where its name is taken, or its directory gone.
func (s *solver) make(o *Make, why error) (steps []Change, again Change, err error) {
	switch {
	case errors.Is(why, ErrNotExist):
		return s.directory(o.Parent, o)
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
	same, err := s.sameNamed(o.Ref, theirs.Ref, o.Parent, o.Name)
	if err != nil {
		return nil, nil, err
	}
	if same {
		s.refs[o.Ref], s.equal[o.Ref], s.twins[o.Ref] = theirs.Ref, true, true
		return nil, nil, nil
	}
	n := *o
	if n.Name, err = s.free(s.now, o.Parent.Ino, o.Name, s.at); err != nil {
		return nil, nil, err
	}
	s.put(o.Ref, o.Parent, o.Name, n.Name)
	return []Change{s.record(Conflict{Kind: ConflictName, Ours: o.Ref, Theirs: theirs.Ref, Parent: o.Parent, Name: o.Name, As: n.Name})}, &n, nil
}

// put remembers that ref is called as, for want of meant.
func (s *solver) put(ref, parent Ref, meant, as []byte) {
	s.placed[name{ref, place{parent, string(meant)}}] = place{parent, string(as)}
}

// sameNamed tells whether ours had, at the end, no name but this one, and holds what
// theirs does, which has the name now.
func (s *solver) sameNamed(ours, theirs, parent Ref, name []byte) (bool, error) {
	was, our, err := s.before(ours)
	if err != nil || our == nil || our.Kind == Dir || our.Nlink > 1 {
		return false, err
	}
	// Theirs stands for ours only where nobody else has written to ours.
	if now, err := s.there(ours); err != nil || now != nil && now.Version != our.Version {
		return false, err
	}
	their, err := s.there(theirs)
	if err != nil || their == nil {
		return false, err
	}
	if same, err := s.sameFile(was, our, s.now, theirs, their); err != nil || !same {
		return false, err
	}
	if home, ok := s.merged[parent.Ino]; ok {
		parent.Ino = home
	}
	d, err := Lookup(s.was, parent.Ino, name)
	if errors.Is(err, ErrNotExist) {
		return false, nil
	}
	return err == nil && d.Ref == was, err
}

// directory makes a directory again that a change needs and they removed. Where it was
// not there at the end either, the change has no place and no one who misses it.
func (s *solver) directory(dir Ref, again Change) ([]Change, Change, error) {
	steps, err := s.revive(dir, 0)
	if errors.Is(err, errNowhere) {
		return nil, nil, nil
	}
	return steps, again, err
}

// errNowhere: an inode was not there at the end, or had no name.
var errNowhere = errors.New("was not there either")

// revive makes an inode as it was, under the name that it had, and the directories
// above that are gone.
func (s *solver) revive(ref Ref, depth int) ([]Change, error) {
	if depth > maxDepth {
		return nil, ErrMalformed
	}
	was, o, err := s.fetch(ref)
	if err == nil && o == nil {
		err = errNowhere
	}
	if err != nil {
		return nil, err
	}
	steps, _, err := s.settle(o, was, depth)
	if err != nil {
		return nil, err
	}
	s.refs[ref], s.seen[ref] = ref, o.inode.Version
	return append(steps, o, s.record(Conflict{
		Kind: ConflictRevived, Ours: ref, Parent: o.parent, Name: o.name,
	})), nil
}

// settle gives o the name that the inode was had, or one beside it where that is taken
// now; meant is the first. Directories that are gone come first.
func (s *solver) settle(o *restore, was Ref, depth int) (steps []Change, meant []byte, err error) {
	o.parent, meant, err = s.placeOf(was, &o.inode)
	if err != nil {
		return nil, nil, err
	}
	o.parent, o.name = s.ref(o.parent), meant
	n, err := s.there(o.parent)
	switch {
	case err != nil:
		return nil, nil, err
	case n == nil:
		if steps, err = s.revive(o.parent, depth+1); err != nil {
			return nil, nil, err
		}
	}
	now, err := stack(s.now, steps, s.at)
	if err != nil {
		return nil, nil, err
	}
	switch _, err := Lookup(now, o.parent.Ino, o.name); {
	case err == nil:
		o.name, err = s.free(now, o.parent.Ino, o.name, s.at)
		return steps, meant, err
	case errors.Is(err, ErrNotExist):
		return steps, meant, nil
	default:
		return nil, nil, err
	}
}

// placeOf finds a name that an inode had at the end.
func (s *solver) placeOf(ref Ref, n *Inode) (parent Ref, name []byte, err error) {
	if n.Kind == Dir {
		err := ReadDir(s.was, n.Parent.Ino, nil, func(k []byte, d Dirent) bool {
			if d.Ref == ref {
				name = slices.Clone(k)
			}
			return name == nil
		})
		if err == nil && name == nil {
			err = errNowhere
		}
		return n.Parent, name, err
	}
	for _, p := range s.places(ref) {
		d, err := Lookup(s.was, p.parent.Ino, []byte(p.name))
		if err == nil && d.Ref == ref {
			return p.parent, []byte(p.name), nil
		}
		if err != nil && !errors.Is(err, ErrNotExist) {
			return Ref{}, nil, err
		}
	}
	// Nobody remembers what it was called.
	return RootRef, fmt.Appendf(nil, "recovered %d", uint64(ref.Ino)), nil
}

// places are names that an inode may have had at the end.
func (s *solver) places(ref Ref) []place {
	out := s.learn().called(ref)
	if s.o.Place != nil {
		if parent, name, ok := s.o.Place(ref); ok {
			out = append(out, place{parent, string(name)})
		}
	}
	return out
}

// link keeps a further name where it is taken, or what it was for gone.
func (s *solver) link(o *Link, why error) (steps []Change, again Change, err error) {
	if errors.Is(why, ErrExist) {
		theirs, _, err := s.named(o.Parent, o.Name)
		if err != nil || theirs.Ref == o.Ref {
			return nil, nil, err
		}
		n := *o
		if n.Name, err = s.free(s.now, o.Parent.Ino, o.Name, s.at); err != nil {
			return nil, nil, err
		}
		s.put(o.Ref, o.Parent, o.Name, n.Name)
		return []Change{s.record(Conflict{Kind: ConflictName, Ours: o.Ref, Theirs: theirs.Ref, Parent: o.Parent, Name: o.Name, As: n.Name})}, &n, nil
	}
	if !errors.Is(why, ErrNotExist) {
		return nil, nil, why
	}
	if n, err := s.there(o.Ref); err != nil {
		return nil, nil, err
	} else if n == nil {
		if steps, err = s.revive(o.Ref, 0); err != nil {
			return nil, nil, ignore(err, errNowhere)
		}
		return steps, o, nil // it may have come back under this very name
	}
	return s.directory(o.Parent, o)
}

// ignore is err, or nil where it is one that says that there is nothing to do.
func ignore(err, nothing error) error {
	if errors.Is(err, nothing) {
		return nil
	}
	return err
}

// removal gives up what was to be removed, where they have changed or replaced it.
func (s *solver) removal(ref, parent Ref, name []byte, why error) (steps []Change, again Change, err error) {
	d, there, err := s.named(parent, name)
	if err != nil || !there {
		return nil, nil, err // they removed it too, or moved it away
	}
	return []Change{s.record(Conflict{Kind: ConflictKept, Theirs: d.Ref, Ours: ref, Parent: parent, Name: name})}, nil, nil
}

// rename keeps what was moved where its place is taken, its directory gone, or where
// they moved it as well.
func (s *solver) rename(o *Rename, why error) (steps []Change, again Change, err error) {
	moved := func(kind ConflictKind) ([]Change, Change, error) {
		return []Change{s.record(Conflict{Kind: kind, Ours: o.Ref, Parent: o.NewParent, Name: o.NewName})}, nil, nil
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
		return moved(ConflictMoved)
	}
	source, ok, err := s.named(o.Parent, o.Name)
	switch {
	case err != nil:
		return nil, nil, err
	case !ok || source.Ref != o.Ref:
		if n, err := s.there(o.Ref); err != nil || n == nil {
			return nil, nil, err // they deleted it, and nothing was written to it here
		}
		return moved(ConflictMoved)
	}
	if n, err := s.there(o.NewParent); err != nil {
		return nil, nil, err
	} else if n == nil {
		steps, err := s.revive(o.NewParent, 0)
		if errors.Is(err, errNowhere) {
			return moved(ConflictMoved)
		}
		return steps, o, err
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
	our, err := s.there(o.Ref)
	if err != nil {
		return nil, nil, err
	}
	if same {
		s.refs[o.Ref], s.equal[o.Ref], s.twins[o.Ref] = target.Ref, true, true
		return nil, &Unlink{Parent: o.Parent, Name: o.Name, Ref: o.Ref, Observed: our.Version}, nil
	}
	if n.NewName, err = s.free(s.now, o.NewParent.Ino, o.NewName, s.at); err != nil {
		return nil, nil, err
	}
	s.put(o.Ref, o.NewParent, o.NewName, n.NewName)
	return []Change{s.record(Conflict{Kind: ConflictName, Ours: o.Ref, Theirs: target.Ref, Parent: o.NewParent, Name: o.NewName, As: n.NewName})}, &n, nil
}

// attributes gives up other attributes of what they deleted.
func (s *solver) attributes(ref Ref) ([]Change, Change, error) {
	if _, n, err := s.before(ref); err != nil || n == nil {
		return nil, nil, err
	}
	if s.learn().of[ref].written {
		return nil, nil, nil // what was written to it brings it back, with all that it had
	}
	return []Change{s.record(Conflict{Kind: ConflictLost, Ours: ref})}, nil, nil
}

// content keeps what was written to a file that they wrote, or deleted.
func (s *solver) content(ref Ref, why error, on func(ref Ref, seen uint64) Change) (steps []Change, again Change, err error) {
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
		return steps, on(ref, 0), nil
	}
	same, err := s.sameFile(was, &o.inode, s.now, ref, theirs)
	if err != nil {
		return nil, nil, err
	}
	if same {
		s.equal[s.meant] = true
		return nil, nil, nil
	}
	if o.ref.Ino, err = s.o.NewIno(); err != nil {
		return nil, nil, err
	}
	steps, meant, err := s.settle(o, was, 0)
	if err != nil {
		return nil, nil, err
	}
	s.refs[ref], s.origin[o.ref], s.seen[o.ref] = o.ref, was, o.inode.Version
	if o.inode.Nlink == 1 {
		s.copies[o.ref] = place{o.parent, string(o.name)}
	}
	return append(steps, o, s.record(Conflict{
		Kind: ConflictCopy, Ours: o.ref, Theirs: ref, Parent: o.parent, Name: meant, As: o.name,
	})), on(o.ref, 0), nil
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

// sameRestored tells whether a file that is to be made again holds what the one does
// that is there.
func (s *solver) sameRestored(o *restore, there *Inode) (bool, error) {
	if o.inode.Kind != File || there.Kind != File || o.inode.Size != there.Size {
		return o.inode.Kind != File && o.inode.Kind == there.Kind && bytes.Equal(o.inode.Target, there.Target) && o.inode.Rdev == there.Rdev, nil
	}
	theirs, err := contentAt(s.now, o.ref, there)
	return err == nil && equalExtents(o.extents, theirs.Extents), err
}
