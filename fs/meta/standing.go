package meta

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Standing is a conflict as it stands now.
type Standing struct {
	ID ConflictID
	Conflict
	Mine  Side   // what the machine had that left the record
	Other Side   // what it met
	Meant string // the path at which the change was to be; "?" where that directory is gone
	Free  bool   // and that directory is there, and nothing has the name
}

// Side is one of the two things that a conflict is about: the inode that the record tells
// of, and where that is not there any more what has its name now. So programs save, by
// another file that they give the name.
type Side struct {
	Ref   Ref    // the zero Ref: there never was any
	Inode *Inode // nil: nothing is left of it
	Names []At   // that it has now
	Paths []string
}

// Gone says that nothing is left of a side.
func (s *Side) Gone() bool { return s.Inode == nil }

// Standings are the conflicts that there are records of, by device and operation.
func Standings(look Look) ([]Standing, *Names, error) {
	var all []Standing
	err := look(func(r Reader) error {
		all = nil
		return Conflicts(r, func(id ConflictID, c Conflict) bool {
			all = append(all, Standing{ID: id, Conflict: c})
			return true
		})
	})
	if err != nil || len(all) == 0 {
		return all, NewNames(), err
	}
	// Both may have been moved since, so all names are looked at.
	called, copies := map[Ref][]At{}, map[Ref]int{}
	for _, s := range all {
		called[s.Ours], called[s.Theirs] = nil, nil
		switch s.Kind {
		case ConflictCopy, ConflictName, ConflictRevived:
			copies[s.Ours]++
		}
	}
	index := NewNames()
	err = index.Add(look, func(at At, d Dirent) {
		if names, ok := called[d.Ref]; ok {
			called[d.Ref] = append(names, at)
		}
	})
	if err != nil {
		return nil, nil, err
	}
	for i := range all {
		s := &all[i]
		if err := s.stand(look, index, called, copies); err != nil {
			return nil, nil, err
		}
	}
	return all, index, nil
}

func (s *Standing) stand(look Look, index *Names, called map[Ref][]At, copies map[Ref]int) error {
	for ref, side := range map[*Ref]*Side{&s.Ours: &s.Mine, &s.Theirs: &s.Other} {
		side.Ref = *ref
		if *ref == (Ref{}) {
			continue
		}
		err := look(func(r Reader) (err error) {
			side.Inode, err = absent(GetInode(r, *ref))
			return err
		})
		if err != nil {
			return err
		}
		if side.Inode == nil {
			continue
		}
		side.Names = called[*ref]
		for _, at := range side.Names {
			side.Paths = append(side.Paths, index.Path(at))
		}
	}
	if s.Parent == (Ref{}) || len(s.Name) == 0 {
		return nil
	}
	at := At{s.Parent.Ino, string(s.Name)}
	if s.Meant = index.Path(at); strings.HasPrefix(s.Meant, "?") {
		return nil
	}
	return look(func(r Reader) error {
		_, there, err := has(r, at)
		if s.Free = !there; err != nil {
			return err
		}
		return s.follow(r, index, copies)
	})
}

// follow has a side of which nothing is left be what has its name now; and mine also where
// that was saved over while what it was came back elsewhere, with a record of that. The copy
// of another conflict is never taken for this one's.
func (s *Standing) follow(r Reader, index *Names, copies map[Ref]int) error {
	at := At{s.Parent.Ino, string(s.As)}
	left := s.Mine.Gone() || at.Name != "" && copies[s.Ours] > 1 && !slices.Contains(s.Mine.Names, at)
	switch s.Kind {
	case ConflictCopy, ConflictName:
	case ConflictRevived:
		if at.Name == "" {
			at.Name = string(s.Name)
		}
	default:
		return nil
	}
	if left && s.Ours != (Ref{}) && at.Name != "" {
		d, there, err := has(r, at)
		if there && d.Ref != s.Theirs && copies[d.Ref] == 0 {
			err = s.Mine.become(r, index, at, d.Ref)
		}
		if err != nil {
			return err
		}
	}
	if !s.Other.Gone() || s.Theirs == (Ref{}) {
		return nil
	}
	at.Name = string(s.Name)
	d, there, err := has(r, at)
	if there && d.Ref != s.Mine.Ref {
		err = s.Other.become(r, index, at, d.Ref)
	}
	return err
}

// become makes a side what has one name. Others that this has are no matter of the conflict.
func (s *Side) become(r Reader, index *Names, at At, ref Ref) error {
	n, err := absent(GetInode(r, ref))
	if n != nil {
		*s = Side{ref, n, []At{at}, []string{index.Path(at)}}
	}
	return err
}

// has is what a name is of; false: nothing has it.
func has(r Reader, at At) (Dirent, bool, error) {
	d, err := Lookup(r, at.Dir, []byte(at.Name))
	if isAbsent(err) {
		return d, false, nil
	}
	return d, err == nil, err
}

// Beside is mine by the name alone that it has beside theirs, if it has that. Its other names,
// as of a file that was to get a further one, are no matter of the conflict.
func (s *Standing) Beside() *Side {
	at := At{s.Parent.Ino, string(s.As)}
	i := slices.Index(s.Mine.Names, at)
	if s.Kind != ConflictCopy && s.Kind != ConflictName || i < 0 {
		return &s.Mine
	}
	return &Side{s.Mine.Ref, s.Mine.Inode, []At{at}, s.Mine.Paths[i : i+1]}
}

// Placed says that mine has the name that it was to have.
func (s *Standing) Placed() bool {
	return slices.Contains(s.Mine.Names, At{s.Parent.Ino, string(s.Name)})
}

// Token is another one as soon as anything of what the standing shows has changed.
func (s *Standing) Token() string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %v", s.ID, s.Free)
	for _, side := range []*Side{&s.Mine, &s.Other} {
		fmt.Fprintf(&b, " %d.%d", uint64(side.Ref.Home), uint64(side.Ref.Ino))
		if side.Inode != nil {
			fmt.Fprintf(&b, " %x %d", side.Inode.Version, side.Inode.Size)
		}
		for _, at := range side.Names {
			fmt.Fprintf(&b, " %d/%q", uint64(at.Dir), at.Name)
		}
	}
	return b.String()
}

// String is the device's number, that of its operation, and where there are several of
// that the number of the record: 2-15, or 2-15-1.
func (id ConflictID) String() string {
	text := fmt.Sprintf("%d-%d", WrittenBy(id.Version), id.Version&uint64(MaxOpNo))
	if id.No > 0 {
		text += fmt.Sprintf("-%d", id.No)
	}
	return text
}

// ParseConflictID reads what String wrote; false for anything else.
func ParseConflictID(text string) (ConflictID, bool) {
	parts := strings.Split(text, "-")
	if len(parts) == 2 {
		parts = append(parts, "0")
	}
	var n [3]uint64
	if len(parts) != len(n) {
		return ConflictID{}, false
	}
	for i, limit := range [...]uint64{1<<16 - 1, uint64(MaxOpNo), 1<<8 - 1} {
		v, err := strconv.ParseUint(parts[i], 10, 64)
		if err != nil || v > limit {
			return ConflictID{}, false
		}
		n[i] = v
	}
	id := ConflictID{n[0]<<48 | n[1], uint8(n[2])}
	return id, id.valid() && (id.String() == text)
}
