package meta

import (
	"bytes"
	"fmt"
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

// Side is one of the two things that a conflict is about.
type Side struct {
	Ref   Ref    // the zero Ref: there never was any
	Inode *Inode // nil: it is not there any more
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
	called := map[Ref][]At{}
	for _, s := range all {
		called[s.Ours], called[s.Theirs] = nil, nil
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
		if err := s.stand(look, index, called); err != nil {
			return nil, nil, err
		}
	}
	return all, index, nil
}

func (s *Standing) stand(look Look, index *Names, called map[Ref][]At) error {
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
		_, err := Lookup(r, at.Dir, s.Name)
		s.Free = isAbsent(err)
		if s.Free {
			err = nil
		}
		return err
	})
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
