package meta

import (
	"cmp"
	"slices"
)

// learned is what the changes of a Rebase say together. Where nothing is in the way of
// them none of it is needed, and there may be half a million: it is found out when it is
// asked for first.
type learned struct {
	of      map[Ref]said
	names   []byte            // that the changes gave, each behind where the one before of its inode is
	links   []linked          // in the order of the changes
	records map[uint64]uint16 // the number that the next record gets, by version
	made    map[OpNo]made     // of operations for which something is made again
	kept    map[again]bool    // what an operation makes again and then replaces
}

// made is how much is made again for an operation, as restoredMost and attrsRestored
// count it.
type made struct{ bytes, attrs int }

// again is an inode that is made again for an operation. A file of several names may be for
// each that takes one.
type again struct {
	ref Ref
	no  OpNo
}

// linked is what said.links of an inode is with an operation.
type linked struct {
	no    OpNo
	ino   Ino
	links int32
}

// said is what the changes say of one inode.
type said struct {
	name    uint32 // 1 and where the last name that it is given begins in names; 0: none
	links   int32  // how many names they give it when it has one, less those that they take away
	written bool   // they change its content
	made    bool   // they make it
}

// learn reads the changes, once.
func (r *Rebase) learn() *learned {
	if r.known != nil {
		return r.known
	}
	l := &learned{of: map[Ref]said{}, records: map[uint64]uint16{}, made: map[OpNo]made{}, kept: map[again]bool{}}
	restored := map[again]bool{}
	for c, stamp := range r.changes {
		if ref := contentOf(c); ref != (Ref{}) {
			s := l.of[ref]
			s.written = true
			l.of[ref] = s
		}
		switch o := c.(type) {
		case *Make:
			l.call(o.Ref, o.Parent, o.Name)
			s := l.of[o.Ref]
			s.made = true
			l.of[o.Ref] = s
		case *Link:
			l.call(o.Ref, o.Parent, o.Name)
			l.count(o.Ref, stamp.No, 1)
		case *Unlink:
			l.count(o.Ref, stamp.No, -1)
		case *Rename:
			l.call(o.Ref, o.NewParent, o.NewName)
			if o.Replaced == nil || *o.Replaced == o.Ref {
				continue
			}
			if o.Flags&Exchange != 0 {
				l.call(*o.Replaced, o.Parent, o.Name)
			} else {
				l.count(*o.Replaced, stamp.No, -1)
				if a := (again{*o.Replaced, stamp.No}); restored[a] {
					l.kept[a] = true
				}
			}
		case *restore:
			l.call(o.ref, o.parent, o.name)
			restored[again{o.ref, stamp.No}] = true
			m := l.made[stamp.No]
			l.made[stamp.No] = made{m.bytes + o.cost(), m.attrs + o.attrsCost()}
		case *record:
			v := stamp.Version()
			l.records[v] = max(l.records[v], uint16(o.n)+1) // one may be renewed before another
		}
	}
	r.known, r.changes = l, nil
	return l
}

// call notes that an inode is given a name.
func (l *learned) call(ref, parent Ref, name []byte) {
	s := l.of[ref]
	at := uint32(len(l.names)) + 1
	l.names = appendUvarint(l.names, uint64(s.name))
	l.names = appendBytes(appendRef(l.names, parent), name)
	s.name = at
	l.of[ref] = s
}

// count notes that the operation no gives an inode names more, or takes them away.
func (l *learned) count(ref Ref, no OpNo, names int32) {
	s := l.of[ref]
	s.links += names
	l.of[ref] = s
	l.links = append(l.links, linked{no, ref.Ino, s.links})
}

// more is how many names more operations behind no give to what that takes one from than
// they take away.
func (l *learned) more(ref Ref, no OpNo) int32 {
	at, _ := slices.BinarySearchFunc(l.links, no, func(x linked, no OpNo) int { return cmp.Compare(x.no, no) })
	for ; at < len(l.links) && l.links[at].no == no; at++ {
		if x := l.links[at]; x.ino == ref.Ino {
			return l.of[ref].links - x.links
		}
	}
	return 0
}

// called are the names that an inode was given, in their order.
func (l *learned) called(ref Ref) (out []place) {
	for at := l.of[ref].name; at > 0; {
		d := decoder{b: l.names[at-1:]}
		at = uint32(d.uvarint())
		out = append(out, place{d.ref(), string(d.bytes(MaxName))})
	}
	slices.Reverse(out)
	return out
}
