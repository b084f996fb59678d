package check

import (
	"bytes"
	"fmt"

	"github.com/hushfs/hushfs/fs/meta"
)

// nameAt is a name in a directory.
type nameAt struct {
	dir  meta.Ino
	name string
	meta.Dirent
}

func (n *nameAt) drop() fix {
	return fix{do: fixMend, ino: n.Ref.Ino, mend: &meta.Mend{Act: meta.MendDrop, Ref: n.Ref, Kind: n.Kind, Dir: n.dir, Name: []byte(n.name)}}
}

// dirent holds a name to its directory and to its inode.
func (t *tree) dirent(k, v []byte) error {
	t.tick()
	dir, name, err := meta.ParseDirentKey(k)
	var d meta.Dirent
	if err == nil {
		d, err = meta.DecodeDirent(v)
	}
	if err != nil {
		t.record(dir, fmt.Sprintf("a name in directory %d", dir))
		return nil
	}
	t.report.Counts.Names++
	parent, child := t.nodes.get(dir), t.nodes.get(d.Ref.Ino)
	at := func() *nameAt { return &nameAt{dir, string(bytes.Clone(name)), d} }
	wrong := func(s Severity, cause Cause, format string, args ...any) {
		n := at()
		t.find(Finding{Kind: KindName, Severity: s, Cause: cause, Inode: uint64(d.Ref.Ino), name: n, Detail: fmt.Sprintf(format, args...)})
		t.fixes = append(t.fixes, n.drop())
	}
	switch {
	case parent == nil || parent.kind != meta.Dir:
		wrong(Damaged, Dangling, "a name in directory %d, which there is not", dir)
	case child == nil:
		wrong(Lost, Dangling, "the name stands for inode %d, which there is not: what it held is lost", d.Ref.Ino)
	case child.home != d.Ref.Home:
		wrong(Damaged, Dangling, "the name stands for inode %d in directory %d, and it is kept in %d", d.Ref.Ino, d.Ref.Home, child.home)
	case child.kind != d.Kind:
		wrong(Damaged, Altered, "the name stands for inode %d as something else than it is", d.Ref.Ino)
	case child.kind != meta.Dir:
		child.names++
		if child.parent == 0 {
			child.parent = dir
		}
	case child.parent != dir:
		if len(t.misplaced) < maxFindings {
			t.misplaced = append(t.misplaced, at())
		}
	case child.is(nodePlaced):
		wrong(Damaged, Twice, "a second name of directory %d", d.Ref.Ino)
	default:
		child.flags |= nodePlaced
		parent.names++
	}
	return nil
}

// place decides about directories whose name is elsewhere than they say.
func (t *tree) place() {
	for _, n := range t.misplaced {
		child, dir := t.nodes.get(n.Ref.Ino), t.nodes.get(n.dir)
		f := Finding{Severity: Damaged, Inode: uint64(n.Ref.Ino), name: n}
		if child.is(nodePlaced) {
			f.Kind, f.Cause, f.Detail = KindName, Twice, fmt.Sprintf("a second name of directory %d", n.Ref.Ino)
			t.find(f)
			t.fixes = append(t.fixes, n.drop())
			continue
		}
		f.Kind, f.Cause, f.Detail = KindParent, Altered, fmt.Sprintf("directory %d says that it lies in directory %d, and its name is here", n.Ref.Ino, child.parent)
		t.find(f)
		t.fixes = append(t.fixes, fix{do: fixMend, ino: n.Ref.Ino, mend: &meta.Mend{Act: meta.MendParent, Ref: n.Ref, Parent: dir.ref()}})
		child.parent = n.dir
		child.flags |= nodePlaced
		dir.names++
	}
	t.misplaced = nil
}

// reach follows each directory to the root. One that does not come there hangs below a
// directory without a name, or in a circle.
func (t *tree) reach() {
	root := t.nodes.get(meta.Root)
	if root == nil {
		t.find(Finding{Kind: KindInode, Severity: Lost, Cause: Missing, Inode: uint64(meta.Root), Detail: "the root directory is not there"})
		t.blind = true
		return
	}
	root.flags |= nodePlaced | nodeReached
	var way []*node
	t.nodes.each(func(n *node) {
		if n.kind != meta.Dir {
			return
		}
		way = way[:0]
		at := n
		for at.flags&(nodeReached|nodeLost|nodePassed) == 0 {
			at.flags |= nodePassed
			way = append(way, at)
			next := t.nodes.get(at.parent)
			if !at.is(nodePlaced) || next == nil {
				t.nameless(at)
				break
			}
			at = next
		}
		if at.is(nodePassed) && at.is(nodePlaced) && at.flags&(nodeReached|nodeLost) == 0 {
			t.circle(way, at)
		}
		end := uint8(nodeLost)
		if at.is(nodeReached) {
			end = nodeReached
		}
		for _, p := range way {
			p.flags = p.flags&^nodePassed | end
		}
	})
}

// nameless tells of an inode without a name.
func (t *tree) nameless(n *node) {
	what := "a file"
	if n.kind == meta.Dir {
		what = "a directory, and all that lies in it,"
	}
	t.find(Finding{Kind: KindInode, Severity: Lost, Cause: Nameless, Inode: uint64(n.ino), Detail: fmt.Sprintf("%s has no name, inode %d", what, n.ino)})
	t.fixes = append(t.fixes, fix{do: fixAdopt, ino: n.ino, ref: n.ref(), kind: n.kind})
}

// circle tells of directories that lie in each other: at, and those of way behind it.
func (t *tree) circle(way []*node, at *node) {
	for len(way) > 0 && way[0] != at {
		way = way[1:]
	}
	first := at
	for _, n := range way {
		if n.ino < first.ino {
			first = n
		}
	}
	t.find(Finding{Kind: KindCycle, Severity: Lost, Cause: Nameless, Inode: uint64(first.ino), ino: first.ino, Detail: fmt.Sprintf("directory %d lies in itself, and no way leads there: %d directories in a circle", first.ino, len(way))})
	t.fixes = append(t.fixes, fix{do: fixCut, ino: first.ino, ref: first.ref(), parent: first.parent, kind: meta.Dir})
}

// count holds the counts of all inodes against the names that were seen.
func (t *tree) count() {
	t.nodes.each(func(n *node) {
		want := n.names
		if n.kind == meta.Dir {
			want += 2
		} else if n.names == 0 {
			t.nameless(n)
			return
		}
		if n.links == want {
			return
		}
		t.find(Finding{Kind: KindLinks, Severity: Damaged, Cause: WrongCount, Inode: uint64(n.ino), ino: n.ino, Detail: fmt.Sprintf("inode %d counts %d links, and there are %d", n.ino, n.links, want)})
		t.fixes = append(t.fixes, fix{do: fixLinks, ino: n.ino, mend: &meta.Mend{Act: meta.MendLinks, Ref: n.ref(), Was: n.links, Links: want}})
	})
}

// totals holds the sums that commits carry along against what there is.
func (t *tree) totals() {
	u := t.loaded.Confirmed.Usage()
	if t.blind || u.Inodes == uint64(t.report.Counts.Inodes) && u.Bytes == t.bytes {
		return
	}
	t.find(Finding{
		Kind: KindTotals, Severity: Damaged, Cause: WrongCount,
		Detail: fmt.Sprintf("the commits add up to %d inodes and %d bytes, and there are %d and %d: either some went missing, or a machine counted wrong. df shows the former, and nothing else depends on it", u.Inodes, u.Bytes, t.report.Counts.Inodes, t.bytes),
	})
}
