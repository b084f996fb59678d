package history

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
)

// fate is one inode of a commit: what it was and is, and what it was and is called.
type fate struct {
	ref           meta.Ref
	kind          meta.Kind
	inode         *inodeDiff // nil: it was not written
	gained, lost  []meta.At
	before, after []meta.At // all names
	paths         map[bool]map[meta.At]string
	ways          [2][]uint64
	xattrs        []string
	blind         bool
}

// fates are the inodes that a commit is about.
func fates(d *diff) map[meta.Ino]*fate {
	all := map[meta.Ino]*fate{}
	get := func(ref meta.Ref) *fate {
		f := all[ref.Ino]
		if f == nil {
			f = &fate{ref: ref, paths: map[bool]map[meta.At]string{}}
			all[ref.Ino] = f
		}
		return f
	}
	for i := range d.inodes {
		n := &d.inodes[i]
		f := get(n.ref)
		f.inode, f.blind = n, n.blind
		if i := either(n.old, n.new); i != nil {
			f.kind = i.Kind
		}
	}
	for _, n := range d.names {
		if n.old != nil {
			f := get(n.old.Ref)
			f.lost, f.kind = append(f.lost, n.at), n.old.Kind
		}
		if n.new != nil {
			f := get(n.new.Ref)
			f.gained, f.kind = append(f.gained, n.at), n.new.Kind
		}
	}
	for ref, names := range d.xattrs {
		get(ref).xattrs = names
	}
	return all
}

// note keeps what an inode is called before (false) or after the commit.
func (f *fate) note(n *naming, after bool) {
	names := slices.Clone(n.called(f.ref.Ino))
	slices.SortFunc(names, func(a, b meta.At) int {
		return cmp.Or(cmp.Compare(a.Dir, b.Dir), strings.Compare(a.Name, b.Name))
	})
	paths := map[meta.At]string{}
	side := 0
	if after {
		f.after, side = names, 1
	} else {
		f.before = names
	}
	for _, at := range names {
		paths[at] = n.index.Path(at)
		f.ways[side] = append(f.ways[side], n.way(at)...)
	}
	for _, at := range slices.Concat(f.gained, f.lost) {
		if paths[at] == "" {
			paths[at] = n.index.Path(at)
		}
	}
	f.paths[after] = paths
}

// tell makes an entry of what a commit did. The naming is that after it (onwards false),
// and is left as that before it, or the other way round.
func (h *History) tell(d *diff, n *naming, onwards bool) Entry {
	e := h.entry(d.place)
	e.Conflicts, e.Resolved, e.Locks = d.conflicts, d.resolved, d.locks
	all := fates(d)
	for _, f := range all {
		f.note(n, !onwards)
	}
	n.move(d, onwards)
	for _, f := range all {
		f.note(n, onwards)
		e.Changes = append(e.Changes, f.changes()...)
	}
	for _, l := range d.leases {
		e.Leases = append(e.Leases, n.leasing(l, d.place.commit.Device))
	}
	slices.SortFunc(e.Changes, func(a, b Change) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(string(a.What), string(b.What)), cmp.Compare(a.Inode, b.Inode))
	})
	return e
}

// changes says what became of an inode.
func (f *fate) changes() []Change {
	var out []Change
	one := func(what What, at *meta.At, after bool) *Change {
		c := Change{What: what, Kind: kinds[f.kind], Inode: uint64(f.ref.Ino), ways: f.ways}
		switch {
		case at != nil:
			c.Path = f.paths[after][*at]
		default:
			c.Path = f.path()
		}
		out = append(out, c)
		return &out[len(out)-1]
	}
	n := f.inode
	switch {
	case n != nil && n.new == nil:
		if len(f.lost) == 0 {
			one(Removed, nil, false)
		}
		for i := range f.lost {
			one(Removed, &f.lost[i], false)
		}
		return out
	case n != nil && n.old == nil && !n.blind:
		c := one(Created, first(f.gained), true)
		if f.kind == meta.File {
			c.Size = n.new.Size
		}
		for i := range max(len(f.gained)-1, 0) {
			one(Linked, &f.gained[i+1], true).From = c.Path
		}
		return out
	}
	for i := range max(len(f.gained), len(f.lost)) {
		switch {
		case i < len(f.gained) && i < len(f.lost):
			one(Renamed, &f.gained[i], true).From = f.paths[false][f.lost[i]]
		case i < len(f.gained) && f.blind:
			one(Touched, &f.gained[i], true)
		case i < len(f.gained):
			c := one(Linked, &f.gained[i], true)
			if len(f.before) > 0 {
				c.From = f.paths[false][f.before[0]]
			}
		default:
			one(Unlinked, &f.lost[i], false)
		}
	}
	if what, detail := f.written(); what != "" {
		c := one(what, nil, true)
		if c.Detail = detail; what == Changed && f.kind == meta.File {
			c.Size = n.new.Size
		}
	}
	return out
}

// path is one of the names that an inode has, or had.
func (f *fate) path() string {
	for _, after := range []bool{true, false} {
		names := f.before
		if after {
			names = f.after
		}
		if len(names) > 0 {
			return f.paths[after][names[0]]
		}
	}
	return fmt.Sprintf("?/(inode %d)", f.ref.Ino)
}

func first(names []meta.At) *meta.At {
	if len(names) == 0 {
		return nil
	}
	return &names[0]
}

// written says what of an inode that stays is another than it was.
func (f *fate) written() (What, string) {
	n := f.inode
	if n != nil && n.blind {
		if len(f.gained) > 0 {
			return "", ""
		}
		return Touched, ""
	}
	var attrs []string
	if n != nil {
		a, b := n.old, n.new
		if f.kind == meta.File && a.Version != b.Version {
			return Changed, ""
		}
		for _, x := range []struct {
			name string
			same bool
		}{
			{"mode", a.Perm == b.Perm},
			{"owner", a.UID == b.UID && a.GID == b.GID},
			// The times of a directory follow from what happened in it, and ctime from
			// anything at all.
			{"mtime", a.Mtime == b.Mtime || f.kind == meta.Dir},
			{"atime", a.Atime == b.Atime || f.kind == meta.Dir},
		} {
			if !x.same {
				attrs = append(attrs, x.name)
			}
		}
	}
	for _, x := range f.xattrs {
		attrs = append(attrs, "xattr "+x)
	}
	if len(attrs) == 0 {
		return "", ""
	}
	return Attributes, strings.Join(attrs, ", ")
}

// kinds are those of inodes, in words.
var kinds = map[meta.Kind]string{
	meta.File: "file", meta.Dir: "directory", meta.Symlink: "symlink", meta.Fifo: "fifo",
	meta.Char: "device", meta.Block: "device", meta.Socket: "socket",
}

// author says whose device made a commit, whether that member made the drive, and what
// the device was called then.
func (h *History) author(c *chain.Commit) (member string, owner bool, name string) {
	for _, r := range h.state.Ledger.Suffix(0) {
		if r.Slot > c.Slot {
			break
		}
		said := r.Said()
		switch {
		case said.Device != c.Device:
		case r.Kind == chain.KindDevice:
			member, name = chain.ID(r.Signer).String(), said.Name
			owner = r.Signer == h.state.Ledger.Owner().Principal()
		case r.Kind == chain.KindRename:
			name = said.Name
		}
	}
	return member, owner, name
}
