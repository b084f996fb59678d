package meta

import (
	"bytes"
	"errors"
)

// maxSame is how many extents a file may have whose bytes are compared.
const maxSame = 16 << 10

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

// sameRestored tells whether a file that is to be made again holds what the one does
// that is there.
func (s *solver) sameRestored(o *restore, there *Inode) (bool, error) {
	if o.inode.Kind != File || there.Kind != File || o.inode.Size != there.Size {
		return o.inode.Kind != File && o.inode.Kind == there.Kind && bytes.Equal(o.inode.Target, there.Target) && o.inode.Rdev == there.Rdev, nil
	}
	theirs, err := contentAt(s.now, o.ref, there)
	return err == nil && equalExtents(o.extents, theirs.Extents), err
}

// sameFile tells whether two files hold the same: ours as it was at the end, theirs as
// it is in now.
func (r *Rebase) sameFile(oref Ref, ours *Inode, now Reader, tref Ref, theirs *Inode) (bool, error) {
	return r.sameIn(r.was, oref, ours, now, tref, theirs)
}

// sameIn is sameFile for ours as it is in was.
func (r *Rebase) sameIn(was Reader, oref Ref, ours *Inode, now Reader, tref Ref, theirs *Inode) (bool, error) {
	switch {
	case ours.Kind != theirs.Kind:
		return false, nil
	case ours.Kind == Symlink:
		return string(ours.Target) == string(theirs.Target), nil
	case ours.Kind != File:
		return ours.Rdev == theirs.Rdev, nil
	case ours.Size != theirs.Size:
		return false, nil
	case ours.Size == 0:
		return true, nil
	}
	a, err := contentAt(was, oref, ours)
	if err != nil {
		return false, err
	}
	b, err := contentAt(now, tref, theirs)
	switch {
	case err != nil:
		return false, err
	case equalExtents(a.Extents, b.Extents):
		return true, nil
	case r.o.Same == nil || len(a.Extents) > maxSame || len(b.Extents) > maxSame:
		return false, nil
	}
	same, err := r.o.Same(a, b)
	if errors.Is(err, ErrUnknown) {
		r.unread = append(r.unread, err)
		return false, nil
	}
	return same, err
}

// contentAt reads what a file holds, of extents at most one more than maxSame.
func contentAt(r Reader, ref Ref, n *Inode) (c Content, err error) {
	c = Content{Version: n.Version, Size: n.Size, Packs: map[PackNo]PackRecord{}}
	err = Extents(r, ref, n, 0, MaxFileSize, func(x Extent) bool {
		c.Extents = append(c.Extents, x)
		return len(c.Extents) <= maxSame
	})
	for _, x := range c.Extents {
		if _, ok := c.Packs[x.Pack]; ok || err != nil {
			continue
		}
		var b []byte
		switch b, err = r.Get(PackKey(x.Pack)); {
		case errors.Is(err, ErrAbsent):
			err = nil // it is in no slot yet
		case err == nil:
			c.Packs[x.Pack], err = DecodePackRecord(b)
		}
	}
	return c, err
}

func equalExtents(a, b []Extent) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
