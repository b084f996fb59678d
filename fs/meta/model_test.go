package meta_test

import (
	"bytes"

	"github.com/hushfs/hushfs/fs/meta"
)

// model is a file system as POSIX describes it, written without a look at the
// package: nodes that hold each other, and files as one cell for each byte.
type model struct {
	root  *node
	nodes []*node // all that ever were, the dead too
}

type node struct {
	ref                        meta.Ref
	kind                       meta.Kind
	perm                       uint16
	uid, gid, rdev             uint32
	nlink                      int // 0: dead
	atime, mtime, ctime, btime meta.Time
	version                    uint64
	target                     string
	xattrs                     map[string]string
	data                       []cell
	names                      map[string]*node
	parent                     *node
}

// cell is one byte of a file: of which pack, at which offset. Zero: a hole.
type cell struct {
	pack meta.PackNo
	off  uint32
}

func newModel(t meta.Time, uid, gid uint32) *model {
	root := &node{
		ref: meta.RootRef, kind: meta.Dir, perm: 0o755, uid: uid, gid: gid, nlink: 2,
		atime: t, mtime: t, ctime: t, btime: t,
		xattrs: map[string]string{}, names: map[string]*node{},
	}
	root.parent = root
	return &model{root: root, nodes: []*node{root}}
}

func (m *model) node(ref meta.Ref) *node {
	for _, n := range m.nodes {
		if n.ref == ref && n.nlink > 0 {
			return n
		}
	}
	return nil
}

func (m *model) add(n *node) {
	n.xattrs, n.names = map[string]string{}, map[string]*node{}
	m.nodes = append(m.nodes, n)
}

// wrong collects the errors that hold; any of them may be answered.
type wrong []error

func (w *wrong) when(cond bool, err error) {
	if cond {
		*w = append(*w, err)
	}
}

func (w *wrong) name(name []byte) {
	w.when(len(name) > 255, meta.ErrNameTooLong)
	s := string(name)
	w.when(s == "" || s == "." || s == ".." || bytes.ContainsAny(name, "/\x00"), meta.ErrName)
}

func (w *wrong) dir(n *node) {
	w.when(n == nil, meta.ErrNotExist)
	w.when(n != nil && n.kind != meta.Dir, meta.ErrNotDir)
}

func (w *wrong) file(n *node, observed uint64) {
	w.when(n == nil, meta.ErrNotExist)
	if n != nil {
		w.when(n.kind == meta.Dir, meta.ErrIsDir)
		w.when(n.kind != meta.Dir && n.kind != meta.File, meta.ErrNotFile)
		w.when(observed != 0 && n.version != observed, meta.ErrConflict)
	}
}

// do executes an operation, or says what is wrong with it and does nothing.
func (m *model) do(op meta.Op, at meta.Stamp) wrong {
	switch o := op.(type) {
	case *meta.Make:
		return m.make(o, at)
	case *meta.Write:
		return m.write(o, at)
	case *meta.Truncate:
		return m.truncate(o, at)
	case *meta.PunchHole:
		return m.punch(o, at)
	case *meta.Clone:
		return m.clone(o, at)
	case *meta.Setattr:
		return m.setattr(o, at)
	case *meta.Unlink:
		return m.unlink(o, at)
	case *meta.Rmdir:
		return m.rmdir(o, at)
	case *meta.Rename:
		return m.rename(o, at)
	case *meta.Link:
		return m.link(o, at)
	case *meta.Setxattr:
		return m.setxattr(o, at)
	case *meta.Removexattr:
		return m.removexattr(o, at)
	}
	panic("the model does not know the operation")
}

func (m *model) make(o *meta.Make, at meta.Stamp) (w wrong) {
	dir := m.node(o.Parent)
	w.name(o.Name)
	if w.dir(dir); w != nil {
		return w
	}
	if w.when(dir.names[string(o.Name)] != nil, meta.ErrExist); w != nil {
		return w
	}
	n := &node{
		ref: o.Ref, kind: o.Kind, perm: o.Perm, uid: o.UID, gid: o.GID, rdev: o.Rdev, target: string(o.Target), nlink: 1,
		atime: at.Time, mtime: at.Time, ctime: at.Time, btime: at.Time, version: at.Version(),
	}
	if dir.perm&0o2000 != 0 {
		n.gid = dir.gid
	}
	m.add(n)
	if n.kind == meta.Dir {
		n.nlink, n.parent = 2, dir
		n.perm |= dir.perm & 0o2000
		dir.nlink++
	}
	dir.names[string(o.Name)] = n
	dir.stir(at)
	return nil
}

// stir is what a change of its names does to a directory's times.
func (n *node) stir(at meta.Stamp) {
	if !at.Time.Before(n.ctime) || n.mtime.Before(at.Time) {
		n.mtime = at.Time
	}
	n.changed(at.Time)
}

func (n *node) changed(t meta.Time) {
	if n.ctime.Before(t) {
		n.ctime = t
	}
}

func (n *node) written(mtime *meta.Time, at meta.Stamp) {
	n.version = at.Version()
	n.stamped(mtime)
}

func (n *node) stamped(mtime *meta.Time) {
	if mtime != nil {
		n.mtime = *mtime
		n.changed(*mtime)
	}
}

func (n *node) resize(size uint64) {
	for uint64(len(n.data)) < size {
		n.data = append(n.data, cell{})
	}
	n.data = n.data[:size]
}

func (m *model) write(o *meta.Write, at meta.Stamp) (w wrong) {
	n := m.node(o.Ref)
	if w.file(n, o.Observed); w != nil {
		return w
	}
	n.resize(max(uint64(len(n.data)), o.Size))
	for _, x := range o.Extents {
		n.resize(max(uint64(len(n.data)), x.Off+x.Len))
		for i := range x.Len {
			n.data[x.Off+i] = cell{x.Pack, x.PackOff + uint32(i)}
		}
	}
	n.written(o.Mtime, at)
	return nil
}

func (m *model) truncate(o *meta.Truncate, at meta.Stamp) (w wrong) {
	n := m.node(o.Ref)
	if w.file(n, o.Observed); w != nil {
		return w
	}
	if uint64(len(n.data)) == o.Size {
		n.stamped(o.Mtime)
		return nil
	}
	n.resize(o.Size)
	n.written(o.Mtime, at)
	return nil
}

func (m *model) punch(o *meta.PunchHole, at meta.Stamp) (w wrong) {
	n := m.node(o.Ref)
	if w.file(n, o.Observed); w != nil || o.Off >= uint64(len(n.data)) {
		return w
	}
	for i := o.Off; i < o.Off+o.Len && i < uint64(len(n.data)); i++ {
		n.data[i] = cell{}
	}
	n.written(&at.Time, at)
	return nil
}

func (m *model) clone(o *meta.Clone, at meta.Stamp) (w wrong) {
	n := m.node(o.Ref)
	if w.file(n, o.Observed); w != nil {
		return w
	}
	n.resize(max(uint64(len(n.data)), o.Off+o.Len))
	clear(n.data[o.Off : o.Off+o.Len])
	for _, x := range o.Extents {
		for i := range x.Len {
			n.data[x.Off+i] = cell{x.Pack, x.PackOff + uint32(i)}
		}
	}
	n.written(o.Mtime, at)
	return nil
}

func (m *model) setattr(o *meta.Setattr, at meta.Stamp) (w wrong) {
	n := m.node(o.Ref)
	if n == nil && o.Valid == meta.SetAtime|meta.KeepCtime {
		return nil
	}
	if w.when(n == nil, meta.ErrNotExist); w != nil {
		return w
	}
	has := func(bit meta.AttrMask) bool { return o.Valid&bit != 0 }
	if has(meta.SetPerm) {
		n.perm = o.Perm
	}
	if has(meta.SetUID) {
		n.uid = o.UID
	}
	if has(meta.SetGID) {
		n.gid = o.GID
	}
	if has(meta.SetAtime) {
		n.atime = o.Atime
	}
	if has(meta.SetMtime) {
		n.mtime = o.Mtime
	}
	if has(meta.SetCtime) {
		n.ctime = o.Ctime
	} else if !has(meta.KeepCtime) {
		n.changed(at.Time)
	}
	return nil
}

// lastName tells whether removing the node's name loses something unseen.
func (w *wrong) observed(n *node, observed uint64) {
	w.when(n.kind != meta.Dir && n.nlink == 1 && observed != 0 && observed != n.version, meta.ErrConflict)
}

func (n *node) drop(at meta.Stamp) {
	if n.kind == meta.Dir {
		n.nlink = 0
		n.parent.nlink--
		return
	}
	n.nlink--
	n.changed(at.Time)
}

func (m *model) unlink(o *meta.Unlink, at meta.Stamp) (w wrong) {
	dir := m.node(o.Parent)
	w.name(o.Name)
	if w.dir(dir); w != nil {
		return w
	}
	n := dir.names[string(o.Name)]
	if w.when(n == nil, meta.ErrNotExist); w != nil {
		return w
	}
	w.when(n.kind == meta.Dir, meta.ErrIsDir)
	w.when(n.ref != o.Ref, meta.ErrConflict)
	if w.observed(n, o.Observed); w != nil {
		return w
	}
	delete(dir.names, string(o.Name))
	n.drop(at)
	dir.stir(at)
	return nil
}

func (m *model) rmdir(o *meta.Rmdir, at meta.Stamp) (w wrong) {
	dir := m.node(o.Parent)
	w.name(o.Name)
	if w.dir(dir); w != nil {
		return w
	}
	n := dir.names[string(o.Name)]
	if w.when(n == nil, meta.ErrNotExist); w != nil {
		return w
	}
	w.when(n.kind != meta.Dir, meta.ErrNotDir)
	w.when(n.ref != o.Ref, meta.ErrConflict)
	if w.when(len(n.names) > 0, meta.ErrNotEmpty); w != nil {
		return w
	}
	delete(dir.names, string(o.Name))
	n.drop(at)
	dir.stir(at)
	return nil
}

func (m *model) rename(o *meta.Rename, at meta.Stamp) (w wrong) {
	from, to := m.node(o.Parent), m.node(o.NewParent)
	w.name(o.Name)
	w.name(o.NewName)
	w.dir(from)
	if w.dir(to); w != nil {
		return w
	}
	n, old := from.names[string(o.Name)], to.names[string(o.NewName)]
	if w.when(n == nil, meta.ErrNotExist); w != nil {
		return w
	}
	w.when(n.ref != o.Ref, meta.ErrConflict)
	w.when(old != nil && o.Flags == meta.NoReplace, meta.ErrExist)
	w.when(old == nil && o.Flags == meta.Exchange, meta.ErrNotExist)
	if n == old {
		return w
	}
	w.when((old == nil) != (o.Replaced == nil), meta.ErrConflict)
	w.when(old != nil && o.Replaced != nil && old.ref != *o.Replaced, meta.ErrConflict)
	w.when(n.holds(to), meta.ErrCycle)
	if o.Flags == meta.Exchange {
		if w.when(old != nil && old.holds(from), meta.ErrCycle); w != nil {
			return w
		}
		from.names[string(o.Name)], to.names[string(o.NewName)] = old, n
		n.moveTo(from, to, at)
		old.moveTo(to, from, at)
	} else {
		if old != nil {
			w.when(n.kind == meta.Dir && old.kind != meta.Dir, meta.ErrNotDir)
			w.when(n.kind != meta.Dir && old.kind == meta.Dir, meta.ErrIsDir)
			w.when(len(old.names) > 0, meta.ErrNotEmpty)
			w.observed(old, o.Observed)
		}
		if w != nil {
			return w
		}
		if old != nil {
			old.drop(at)
		}
		delete(from.names, string(o.Name))
		to.names[string(o.NewName)] = n
		n.moveTo(from, to, at)
	}
	from.stir(at)
	to.stir(at)
	return nil
}

func (n *node) moveTo(from, to *node, at meta.Stamp) {
	n.changed(at.Time)
	if n.kind == meta.Dir {
		n.parent = to
		from.nlink--
		to.nlink++
	}
}

// holds tells whether x is n or below it.
func (n *node) holds(x *node) bool {
	for ; x != n; x = x.parent {
		if x == x.parent {
			return false
		}
	}
	return true
}

func (m *model) link(o *meta.Link, at meta.Stamp) (w wrong) {
	n, dir := m.node(o.Ref), m.node(o.Parent)
	w.name(o.Name)
	w.dir(dir)
	w.when(n == nil, meta.ErrNotExist)
	w.when(n != nil && n.kind == meta.Dir, meta.ErrPerm)
	if w.when(dir != nil && dir.names[string(o.Name)] != nil, meta.ErrExist); w != nil {
		return w
	}
	n.nlink++
	n.changed(at.Time)
	dir.names[string(o.Name)] = n
	dir.stir(at)
	return nil
}

func (m *model) setxattr(o *meta.Setxattr, at meta.Stamp) (w wrong) {
	n := m.node(o.Ref)
	if w.when(n == nil, meta.ErrNotExist); w != nil {
		return w
	}
	_, has := n.xattrs[string(o.Name)]
	w.when(has && o.Flags == meta.XattrCreate, meta.ErrExist)
	if w.when(!has && o.Flags == meta.XattrReplace, meta.ErrNoAttr); w != nil {
		return w
	}
	n.xattrs[string(o.Name)] = string(o.Value)
	n.changed(at.Time)
	return nil
}

func (m *model) removexattr(o *meta.Removexattr, at meta.Stamp) (w wrong) {
	n := m.node(o.Ref)
	if w.when(n == nil, meta.ErrNotExist); w != nil {
		return w
	}
	_, has := n.xattrs[string(o.Name)]
	if w.when(!has, meta.ErrNoAttr); w != nil {
		return w
	}
	delete(n.xattrs, string(o.Name))
	n.changed(at.Time)
	return nil
}
