package history

import (
	"context"
	"slices"

	"github.com/hushfs/hushfs/fs/meta"
)

// naming knows what the inodes of a stretch are called, at one moment of it.
type naming struct {
	index *meta.Names            // of all stretches
	files map[meta.Ino][]meta.At // names of what is no directory, and is changed in the stretch
}

// wanted are the files of a stretch whose names will be asked for.
func wanted(all []*diff) map[meta.Ino]meta.Ref {
	refs := map[meta.Ino]meta.Ref{}
	for _, d := range all {
		for _, n := range d.inodes {
			if i := either(n.old, n.new); i == nil || i.Kind != meta.Dir {
				refs[n.ref.Ino] = n.ref
			}
		}
		for ref := range d.xattrs {
			refs[ref.Ino] = ref
		}
		for _, n := range d.names {
			for _, e := range []*meta.Dirent{n.old, n.new} {
				if e != nil && e.Kind != meta.Dir {
					refs[e.Ref.Ino] = e.Ref
				}
			}
		}
	}
	return refs
}

func either(a, b *meta.Inode) *meta.Inode {
	if b != nil {
		return b
	}
	return a
}

// seed finds what files are called in a state. Where they were made is where most of
// them are; the index knows the others.
func (n *naming) seed(ctx context.Context, state meta.Reader, refs map[meta.Ino]meta.Ref) error {
	n.files = map[meta.Ino][]meta.At{}
	homes := map[meta.Ino]bool{}
	for ino, ref := range refs {
		homes[ref.Home] = true
		if away := n.index.Away(ino); len(away) > 0 {
			n.files[ino] = away
		}
	}
	for home := range homes {
		err := meta.EachName(look(ctx, state), meta.DirentRange(home), func(at meta.At, d meta.Dirent) {
			if _, ok := refs[d.Ref.Ino]; ok && d.Kind != meta.Dir {
				n.add(d.Ref.Ino, at)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (n *naming) add(ino meta.Ino, at meta.At) {
	if !slices.Contains(n.files[ino], at) {
		n.files[ino] = append(n.files[ino], at)
	}
}

// move takes names over a commit: onwards, or back to what was before it.
func (n *naming) move(d *diff, onwards bool) {
	for _, x := range d.names {
		if gone := x.side(!onwards); gone != nil {
			n.index.Drop(x.at, *gone)
			n.files[gone.Ref.Ino] = slices.DeleteFunc(slices.Clone(n.files[gone.Ref.Ino]), func(a meta.At) bool { return a == x.at })
		}
	}
	for _, x := range d.names {
		if come := x.side(onwards); come != nil {
			n.index.Put(x.at, *come)
			if come.Kind != meta.Dir {
				n.add(come.Ref.Ino, x.at)
			}
		}
	}
}

// side is what the name stood for before (false) or after.
func (x nameDiff) side(after bool) *meta.Dirent {
	if after {
		return x.new
	}
	return x.old
}

// called are the names that an inode has now.
func (n *naming) called(ino meta.Ino) []meta.At {
	if ino == meta.Root {
		return []meta.At{{Dir: meta.Root}}
	}
	if at, ok := n.index.Directory(ino); ok {
		return []meta.At{at}
	}
	return n.files[ino]
}

// way are the directories above a name.
func (n *naming) way(at meta.At) []uint64 {
	var out []uint64
	for _, ino := range n.index.Way(at.Dir) {
		out = append(out, uint64(ino))
	}
	return out
}
