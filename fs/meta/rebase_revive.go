package meta

import (
	"errors"
	"fmt"
	"slices"
)

// needed makes what a change needs and they removed: the directory that it is to be in,
// or the file that gets a further name. Where that was not there at the end either, the
// change has no place and no one who misses it.
func (s *solver) needed(ref Ref, again Change) ([]Change, Change, error) {
	steps, err := s.revive(ref, 0)
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
	return append(steps, s.told(ref, o, Conflict{
		Kind: ConflictRevived, Ours: ref, Parent: o.parent, Name: o.name,
	})...), nil
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
