package meta_test

import (
	"strings"

	"github.com/hushfs/hushfs/fs/meta"
)

// op draws an operation. Most make sense on the state, some do not.
func (w *world) op() meta.Op {
	dir := w.pick(meta.Dir)
	name := w.name(dir)
	switch k := w.rng.IntN(100); {
	case k < 22:
		return w.makeOp(dir)
	case k < 41:
		return w.writeOp()
	case k < 45:
		return w.cloneOp()
	case k < 51:
		n := w.pick(meta.File)
		return &meta.Truncate{Ref: n.ref, Observed: w.observed(n), Size: w.near(n), Mtime: w.mtime()}
	case k < 56:
		n := w.pick(meta.File)
		return &meta.PunchHole{Ref: n.ref, Observed: w.observed(n), Off: w.near(n), Len: 1 + w.rng.Uint64N(700)}
	case k < 63:
		return w.setattrOp()
	case k < 70:
		n := w.target(dir, name)
		return &meta.Unlink{Parent: dir.ref, Name: name, Ref: n.ref, Observed: w.observed(n)}
	case k < 75:
		return &meta.Rmdir{Parent: dir.ref, Name: name, Ref: w.target(dir, name).ref}
	case k < 87:
		return w.renameOp(dir, name)
	case k < 91:
		return &meta.Link{Ref: w.pick(0).ref, Parent: dir.ref, Name: w.name(dir)}
	case k < 97:
		o := &meta.Setxattr{Ref: w.pick(0).ref, Name: []byte{'u', byte('a' + w.rng.IntN(4))}, Flags: meta.XattrFlags(w.rng.IntN(3))}
		if w.rng.IntN(3) > 0 {
			o.Flags = 0
		}
		o.Value = []byte(strings.Repeat("v", w.rng.IntN(5)))
		return o
	default:
		return &meta.Removexattr{Ref: w.pick(0).ref, Name: []byte{'u', byte('a' + w.rng.IntN(4))}}
	}
}

func (w *world) makeOp(dir *node) meta.Op {
	w.inos++
	kinds := []meta.Kind{meta.File, meta.File, meta.File, meta.File, meta.Dir, meta.Dir, meta.Symlink, meta.Fifo, meta.Char, meta.Block, meta.Socket}
	o := &meta.Make{
		Parent: dir.ref, Name: w.name(dir), Kind: kinds[w.rng.IntN(len(kinds))],
		Ref:  meta.Ref{Home: dir.ref.Ino, Ino: meta.MakeIno(w.at.Device, 1+w.inos)},
		Perm: uint16(w.rng.UintN(0o10000)), UID: w.rng.Uint32(), GID: w.rng.Uint32(),
	}
	switch o.Kind {
	case meta.Symlink:
		o.Target = []byte(strings.Repeat("t/", 1+w.rng.IntN(4)))
	case meta.Char, meta.Block:
		o.Rdev = w.rng.Uint32()
	}
	return o
}

// writeOp sometimes continues a pack, so that extents can be joined, and
// sometimes writes the same again.
func (w *world) writeOp() meta.Op {
	n := w.pick(meta.File)
	o := &meta.Write{Ref: n.ref, Observed: w.observed(n), Mtime: w.mtime()}
	off := w.near(n)
	for range w.rng.IntN(6) {
		if w.rng.IntN(2) == 0 {
			w.packs++
		}
		x := meta.Extent{Off: off, Len: 1 + w.rng.Uint64N(60), Pack: meta.MakePack(w.at.Device, 1+w.packs), PackOff: w.rng.Uint32N(1000)}
		if w.rng.IntN(3) == 0 {
			x.Len += w.rng.Uint64N(600)
		}
		if off > 0 && off <= uint64(len(n.data)) && w.rng.IntN(2) == 0 {
			if c := n.data[off-1]; c.pack != 0 {
				x.Pack, x.PackOff = c.pack, c.off+1
			}
		} else if off < uint64(len(n.data)) && w.rng.IntN(2) == 0 && n.data[off].pack != 0 {
			x.Pack, x.PackOff = n.data[off].pack, n.data[off].off
		}
		o.Extents = append(o.Extents, x)
		if off = x.End(); w.rng.IntN(3) > 0 {
			off += w.rng.Uint64N(50)
		}
	}
	if w.rng.IntN(4) == 0 {
		o.Size = w.near(n)
	}
	return o
}

// cloneOp takes a part of a file, as its cells say, to a place in a file.
func (w *world) cloneOp() meta.Op {
	from, to := w.pick(meta.File), w.pick(meta.File)
	at := w.near(from)
	o := &meta.Clone{Ref: to.ref, Observed: w.observed(to), Off: w.near(to), Len: 1 + w.rng.Uint64N(900), Mtime: w.mtime()}
	for i := range o.Len {
		if at+i >= uint64(len(from.data)) {
			break
		}
		c := from.data[at+i]
		n := len(o.Extents)
		switch {
		case c.pack == 0:
		case n > 0 && o.Extents[n-1].End() == o.Off+i && o.Extents[n-1].Pack == c.pack && uint64(o.Extents[n-1].PackOff)+o.Extents[n-1].Len == uint64(c.off):
			o.Extents[n-1].Len++
		default:
			o.Extents = append(o.Extents, meta.Extent{Off: o.Off + i, Len: 1, Pack: c.pack, PackOff: c.off})
		}
	}
	return o
}

func (w *world) setattrOp() meta.Op {
	o := &meta.Setattr{
		Ref: w.pick(0).ref, Valid: meta.AttrMask(w.rng.UintN(1 << 7)),
		Perm: uint16(w.rng.UintN(0o10000)), UID: w.rng.Uint32(), GID: w.rng.Uint32(),
		Atime: w.time(), Mtime: w.time(), Ctime: w.at.Time,
	}
	if o.Valid&meta.SetCtime != 0 {
		o.Valid &^= meta.KeepCtime
	}
	if w.rng.IntN(6) == 0 {
		o.Valid = meta.SetAtime | meta.KeepCtime
	}
	return o
}

func (w *world) renameOp(dir *node, name []byte) meta.Op {
	to := w.pick(meta.Dir)
	o := &meta.Rename{
		Parent: dir.ref, Name: name, NewParent: to.ref, NewName: w.name(to),
		Ref: w.target(dir, name).ref, Flags: meta.RenameFlags(w.rng.IntN(3)),
	}
	if w.rng.IntN(2) == 0 {
		o.Flags = 0
	}
	if old := to.names[string(o.NewName)]; old != nil && w.rng.IntN(20) > 0 {
		o.Replaced, o.Observed = &old.ref, w.observed(old)
	}
	return o
}

// pick draws a node of the kind, of any with 0. One in 20 is of another kind
// or dead.
func (w *world) pick(kind meta.Kind) *node {
	odd := w.rng.IntN(20) == 0
	for range 200 {
		n := w.model.nodes[w.rng.IntN(len(w.model.nodes))]
		if odd || n.nlink > 0 && (kind == 0 || n.kind == kind) {
			return n
		}
	}
	return w.model.root
}

// name draws a name that is in the directory, one that may be, or a bad one.
func (w *world) name(dir *node) []byte {
	switch k := w.rng.IntN(60); {
	case k == 0:
		bad := []string{"", ".", "..", "a/b", "a\x00", strings.Repeat("n", 256)}
		return []byte(bad[w.rng.IntN(len(bad))])
	case k == 1:
		return []byte(strings.Repeat("n", 255))
	case k < 35:
		return []byte{byte('a' + w.rng.IntN(12))}
	}
	for c := byte('a') + byte(w.rng.IntN(6)); c < 'a'+12; c++ {
		if dir.names[string(c)] != nil {
			return []byte{c}
		}
	}
	return []byte("z")
}

// target is what the name stands for, one in 20 times something else.
func (w *world) target(dir *node, name []byte) *node {
	if n := dir.names[string(name)]; n != nil && w.rng.IntN(20) > 0 {
		return n
	}
	for range 50 {
		if n := w.pick(0); n != w.model.root {
			return n
		}
	}
	return &node{ref: meta.Ref{Home: 1, Ino: 2}}
}

func (w *world) observed(n *node) uint64 {
	switch w.rng.IntN(20) {
	case 0:
		return n.version + 1
	case 1, 2, 3:
		return n.version
	}
	return 0
}

// near is an offset in or behind a file, 0 at times.
func (w *world) near(n *node) uint64 {
	if w.rng.IntN(10) == 0 {
		return 0
	}
	size := uint64(len(n.data))
	if w.rng.IntN(6) == 0 {
		return size
	}
	return w.rng.Uint64N(min(size+100, 3000))
}

func (w *world) mtime() *meta.Time {
	if w.rng.IntN(2) == 0 {
		return nil
	}
	t := w.time()
	return &t
}

func (w *world) time() meta.Time {
	switch w.rng.IntN(4) {
	case 0:
		return meta.Time{Sec: int64(w.rng.Uint64()), Nsec: w.rng.Uint32N(1e9)}
	case 1:
		return meta.Time{Sec: w.at.Time.Sec + 1000, Nsec: w.rng.Uint32N(1e9)}
	}
	return w.at.Time
}
