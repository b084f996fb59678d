package meta

import (
	"errors"
	"iter"
)

// Detach keeps a file as it was, for one who goes on writing to it after another machine
// changed or deleted it: as a copy beside what it is now, or under its name again. The
// operations, none to many, are executed on now one after the other, each with a stamp of
// its own. While they are, the file is called what temp says. to is the inode that holds
// the old content then; the file itself, where it has the version that it had, and there
// are no operations then. What another device withholds (see Withheld) is a copy even so,
// and with apart any file that is there.
func Detach(was, now Reader, ref Ref, at Stamp, o RebaseOptions, apart bool, temp func(Ino) []byte) (ops []Op, to Ref, err error) {
	n, err := GetInode(was, ref)
	if err != nil {
		return nil, Ref{}, err
	}
	none := iter.Seq2[Change, Stamp](func(func(Change, Stamp) bool) {})
	r := NewRebase(was, none, o)
	steps, err := r.detach(ref, n, now, at, apart)
	if errors.Is(err, errNowhere) { // nobody knows any more where it was
		o.Place = nil
		r = NewRebase(was, none, o)
		steps, err = r.detach(ref, n, now, at, apart)
	}
	if err == nil {
		err = errors.Join(r.Unread()...)
	}
	if err != nil {
		return nil, Ref{}, err
	}
	as := map[Ref]Ref{} // what was revived, by what it was
	sub := func(ref Ref) Ref {
		if to, ok := as[ref]; ok {
			return to
		}
		return ref
	}
	for _, s := range steps {
		switch s := s.(type) {
		case *restore:
			parent := sub(s.parent)
			made := Ref{Home: parent.Ino, Ino: s.ref.Ino}
			if s.ref == ref || s.inode.Kind == Dir {
				// What was deleted is gone; it is an inode like any other that is made.
				if made.Ino, err = o.NewIno(); err != nil {
					return nil, Ref{}, err
				}
			}
			as[s.ref] = made
			ops = append(ops, s.ops(made, parent, temp(made.Ino))...)
		case *record:
			c := s.Conflict
			c.Ours, c.Parent = sub(c.Ours), sub(c.Parent)
			ops = append(ops, &Report{c})
		}
	}
	// All of them or none: whether they can be done is to be known before the first is.
	for _, op := range ops {
		if now, err = stack(now, []Change{op}, at); err != nil {
			return nil, Ref{}, err
		}
	}
	return ops, sub(r.ref(ref)), nil
}

// detach returns the steps that keep what the file was.
func (r *Rebase) detach(ref Ref, n *Inode, now Reader, at Stamp, apart bool) ([]Change, error) {
	// It changes nothing, but where the file is another.
	touch := &Truncate{Ref: ref, Observed: n.Version, Size: n.Size}
	there, err := absent(GetInode(now, ref))
	if err != nil {
		return nil, err
	}
	withheld, err := Withheld(now, ref, at.Device, r.o.Slot)
	if err != nil {
		return nil, err
	}
	r.spent.begin(at)
	if there == nil || !withheld && !apart {
		return r.whole(touch, now, at) // what it makes are several operations
	}
	s := &solver{r, ref, now, at}
	was, o, err := s.fetch(ref)
	if err != nil {
		return nil, err
	}
	return s.apart(ref, was, o)
}

// ops are the operations that make what o does in one step, as the inode made.
func (o *restore) ops(made, parent Ref, temp []byte) []Op {
	n, name := &o.inode, temp
	if n.Kind == Dir {
		name = o.name
	}
	ops := []Op{&Make{Parent: parent, Name: name, Ref: made, Kind: n.Kind, Perm: n.Perm, UID: n.UID, GID: n.GID}}
	if n.Size > 0 {
		ops = append(ops, &Truncate{Ref: made, Size: n.Size})
	}
	for rest := o.extents; len(rest) > 0; {
		k := min(len(rest), MaxExtents)
		part := rest[:k:k]
		ops = append(ops, &Clone{Ref: made, Off: part[0].Off, Len: part[k-1].End() - part[0].Off, Extents: part})
		rest = rest[k:]
	}
	for _, a := range o.xattrs {
		ops = append(ops, &Setxattr{Ref: made, Name: a.Key, Value: a.Value})
	}
	set := &Setattr{Ref: made, Valid: SetPerm | SetUID | SetGID, Perm: n.Perm, UID: n.UID, GID: n.GID}
	if n.Kind == Dir {
		return append(ops, set)
	}
	set.Valid |= SetAtime | SetMtime
	set.Atime, set.Mtime = n.Atime, n.Mtime
	return append(ops, set, &Rename{Parent: parent, Name: temp, NewParent: parent, NewName: o.name, Flags: NoReplace, Ref: made})
}
