package meta

import (
	"bytes"
	"errors"
)

// tentative says whether a program waits to hear whether a change was done.
func (r *Rebase) tentative(at Stamp) bool { return r.o.Tentative != nil && r.o.Tentative(at.No) }

// gives says whether a change gives a name: who waits for one has it refused, and nothing
// else.
func gives(c Change) bool {
	switch c.(type) {
	case *Make, *Link, *Rename:
		return true
	}
	return false
}

// misses says whether a tentative change would not come to what was meant, by what stands
// now for the inodes and names that it is about: that it would give another name, since
// ours of that name has another one now, or one to another's file.
func (r *Rebase) misses(c Change, now Reader) (bool, error) {
	if _, ok := r.twin(c); ok {
		return true, nil
	}
	switch o := c.(type) {
	case *Make:
		if !r.made(c) {
			return false, nil
		}
		d, err := Lookup(now, r.ref(o.Parent).Ino, o.Name)
		if errors.Is(err, ErrNotExist) {
			return true, nil
		}
		return err == nil && d.Ref != o.Ref, err
	case *Rename:
		if o.Replaced == nil {
			return false, nil
		}
		dir := r.ref(o.NewParent)
		parent, name := r.find(now, r.ref(*o.Replaced), dir, o.NewName)
		return parent != dir || !bytes.Equal(name, o.NewName), nil
	}
	return false, nil
}
