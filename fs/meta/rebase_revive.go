package meta

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

// needed makes the directory again that a change needs and they removed. Where that was
// not there at the end either, the change has no place and no one who misses it.
func (s *solver) needed(dir Ref, again Change) ([]Change, Change, error) {
	steps, _, err := s.folders(dir, s.room(nil), 1)
	if errors.Is(err, errNowhere) {
		return nil, nil, nil
	}
	return steps, again, err
}

// errNowhere: an inode was not there at the end, or had no name.
var errNowhere = errors.New("was not there either")

// revive makes a file as it was, under the name that it had, and the directories above
// that are gone. One of very many extents gets another number: see fill.
func (s *solver) revive(ref Ref) ([]Change, error) {
	was, o, err := s.fetch(ref)
	if err == nil && o == nil {
		err = errNowhere
	}
	if err == nil {
		err = s.number(o)
	}
	if err != nil {
		return nil, err
	}
	steps, meant, err := s.settle(o, was)
	if err != nil {
		return nil, err
	}
	if o.ref != ref {
		s.standsFor(ref, was, o)
	} else {
		s.refs[ref], s.seen[ref] = ref, o.inode.Version
	}
	return append(steps, s.revived(ref, o, meant)...), nil
}

// number gives what is made again another number, where it cannot have its own: of very
// many extents, under a lease of another, or where something lies under that, or its home
// has it.
func (s *solver) number(o *restore) error {
	l, err := Held(s.now, o.ref, s.at.Device, s.o.Slot)
	if err != nil {
		return err
	}
	free := l == nil && o.ref.valid() && len(o.extents) <= wholeMost
	if _, err := s.now.Get(InodeKey(o.ref)); err == nil {
		free = false
	} else if !errors.Is(err, ErrAbsent) {
		return err
	}
	if free && o.inode.Kind == File {
		in := ExtentRange(o.ref.Ino)
		if err := s.now.Scan(in.From, in.To, func(_, _ []byte) bool { free = false; return false }); err != nil {
			return err
		}
	}
	if !free {
		o.ref.Ino, err = s.unused(s.now, o.ref.Home, s.at)
	}
	return err
}

// revived are o, which is what ref was, made again for want of the name meant or under that,
// and the record that says so.
func (s *solver) revived(ref Ref, o *restore, meant []byte) []Change {
	c := Conflict{Kind: ConflictRevived, Ours: o.ref, Parent: o.parent, Name: meant}
	if !bytes.Equal(o.name, meant) {
		c.As = o.name
	}
	return s.told(ref, o, c)
}

// settle gives o, which is no directory, the name that the inode was had, or one beside
// it where that is taken now; meant is the first. Directories that are gone come first.
func (s *solver) settle(o *restore, was Ref) (steps []Change, meant []byte, err error) {
	parent, meant, err := s.placeOf(was, &o.inode)
	if err != nil {
		return nil, nil, err
	}
	steps, err = s.settleAt(o, parent, meant)
	return steps, meant, err
}

// settleAt is settle for a name that is known.
func (s *solver) settleAt(o *restore, parent Ref, meant []byte) (steps []Change, err error) {
	dir := s.ref(parent)
	if steps, o.parent, err = s.folders(dir, s.room(o), 0); err != nil {
		return nil, err
	}
	if o.parent != dir {
		steps = append(steps, s.record(Conflict{Kind: ConflictMoved, Ours: o.ref, Parent: dir, Name: meant})...)
	}
	// A directory that is made again is empty.
	if o.name, err = s.freeOr(o.parent, meant); err == nil && o.parent == dir && !bytes.Equal(o.name, meant) {
		s.put(o.ref, dir, meant, o.name)
	}
	return steps, err
}

// freeOr is a name if nothing has it in a directory, else one that stands for it.
func (s *solver) freeOr(dir Ref, name []byte) ([]byte, error) {
	switch _, err := Lookup(s.now, dir.Ino, name); {
	case err == nil:
		return s.free(s.now, dir.Ino, name, s.at)
	case !errors.Is(err, ErrNotExist):
		return nil, err
	}
	return name, nil
}

// folders makes a directory again and those above it that are gone, the lowest first, as
// far as room reaches, but so many at the least. Where it does not reach, those that are
// made stand in the nearest that is there. parent is where what was in dir is to be.
func (s *solver) folders(dir Ref, room, least int) (steps []Change, parent Ref, err error) {
	var made []*restore // from the lowest on
	var own []Ref       // in which each of them was
	full, base := false, dir
	for depth := 0; ; depth++ {
		n, err := s.there(base)
		if err != nil {
			return nil, Ref{}, err
		}
		if n != nil && n.Kind != Dir {
			base = RootRef // a broken writer made it something else
		}
		if n != nil {
			break
		}
		was, n, err := s.before(base)
		switch {
		case err != nil:
			return nil, Ref{}, err
		case n == nil || n.Kind != Dir:
			return nil, Ref{}, errNowhere
		case depth > maxDepth:
			return nil, Ref{}, ErrMalformed
		}
		up, name, err := s.placeOf(was, n)
		if err != nil {
			return nil, Ref{}, err
		}
		up = s.ref(up)
		if !full {
			_, o, err := s.fetch(base)
			if err != nil {
				return nil, Ref{}, err
			}
			if o.cost() > room && len(o.xattrs) > 0 {
				s.spent.forget(base)
				o.xattrs, s.spent.short[base] = nil, true
			}
			if room -= o.cost(); room >= 0 || len(made) < least {
				o.name = name
				made, own = append(made, o), append(own, up)
			} else {
				full = true
				s.spent.forget(base)
			}
		}
		base = up
	}
	if len(made) == 0 {
		return nil, base, nil
	}
	for i, o := range slices.Backward(made) {
		meant := o.name
		if o.parent = base; i == len(made)-1 {
			if o.name, err = s.freeOr(base, o.name); err != nil {
				return nil, Ref{}, err
			}
		}
		o.inode.Parent, base = base, o.ref
		s.refs[o.ref], s.seen[o.ref] = o.ref, o.inode.Version
		if s.learn().records[s.at.Version()] < foldersTold {
			steps = append(steps, s.revived(o.ref, o, meant)...)
		} else {
			steps = append(steps, o)
		}
		if i == len(made)-1 && own[i] != o.parent {
			steps = append(steps, s.record(Conflict{Kind: ConflictMoved, Ours: o.ref, Parent: own[i], Name: o.name})...)
		}
	}
	return steps, dir, nil
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
