package volume

import (
	"errors"
	"fmt"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/view"
)

// frozenMax is how many extents of a frozen file are copied, and how many names are
// looked through for that of a directory above it. A file for which that is not enough,
// or of which something is not near, keeps the map as it was.
const frozenMax = 4096

// freeze makes an open file be what it was in the map was, whatever it is now; v is
// locked.
func (v *Volume) freeze(o *opened, was meta.Reader) {
	f := &orphan{ref: o.ref, frozen: true, m: view.NewConfirmed(0, was, meta.Usage{})}
	if m, err := extract(was, o.ref, frozenMax); err == nil {
		if err := v.lineage(m, was, o.ref); err == nil {
			f.m = m
		}
	}
	v.become(o, o.as[0])
	v.orphans[o.as[0].Ino] = f
	o.guessed = false // the time of receipt is that of an earlier content
}

// frozen returns what of ref is frozen; nil: it is not; v is locked.
func (v *Volume) frozen(ref meta.Ref) *orphan {
	if f := v.orphans[v.at(ref).Ino]; f != nil && f.frozen {
		return f
	}
	return nil
}

// lineage adds to m what a map says of the name of a file and of the directories above
// it: they may have to be made again for the file's sake; v is locked.
func (v *Volume) lineage(m *view.Confirmed, was meta.Reader, ref meta.Ref) error {
	dir, name, ok := v.places.find(ref)
	if !ok {
		return nil // nobody knows it, and so it is not looked for
	}
	val, err := was.Get(meta.DirentKey(dir.Ino, name))
	if errors.Is(err, meta.ErrAbsent) {
		return nil // it has another
	}
	b := meta.Batch{Puts: []meta.KV{{Key: meta.DirentKey(dir.Ino, name), Value: val}}}
	for depth := 0; err == nil && depth < depthMax; depth++ {
		var above meta.Ref
		if above, err = ancestor(&b, was, dir); dir == meta.RootRef {
			break
		}
		dir = above
	}
	if err == nil {
		m.Apply(0, &b, meta.Delta{})
	}
	return err
}

// ancestor adds to b what a map says of a directory and of its name, and returns the one
// above.
func ancestor(b *meta.Batch, was meta.Reader, dir meta.Ref) (above meta.Ref, err error) {
	m, err := extract(was, dir, frozenMax)
	if err != nil {
		return above, err
	}
	n, err := meta.GetInode(m, dir)
	if err != nil {
		return above, err
	}
	err = m.Scan(nil, []byte{0xff}, func(k, val []byte) bool {
		b.Puts = append(b.Puts, meta.KV{Key: append([]byte(nil), k...), Value: append([]byte(nil), val...)})
		return true
	})
	if err != nil || dir == meta.RootRef {
		return above, err
	}
	name, err := nameOf(was, n.Parent.Ino, dir)
	if err == nil {
		b.Puts = append(b.Puts, meta.KV{Key: meta.DirentKey(n.Parent.Ino, name), Value: meta.AppendDirent(nil, meta.Dirent{Ref: dir, Kind: meta.Dir})})
	}
	return n.Parent, err
}

// nameOf finds the name of a directory in the one above it.
func nameOf(r meta.Reader, parent meta.Ino, dir meta.Ref) (name []byte, err error) {
	left := frozenMax
	err = meta.ReadDir(r, parent, nil, func(k []byte, d meta.Dirent) bool {
		if d.Ref == dir {
			name = append([]byte(nil), k...)
		}
		left--
		return name == nil && left > 0
	})
	if err == nil && name == nil {
		err = errMany
	}
	return name, err
}

// errMany: an inode has more extents than were wanted.
var errMany = errors.New("too many extents")

// extract copies what a map says of an inode: all of its attributes, and its extents if
// they are most at most.
func extract(r meta.Reader, ref meta.Ref, most int) (*view.Confirmed, error) {
	var b meta.Batch
	key := meta.InodeKey(ref)
	val, err := r.Get(key)
	if err != nil {
		return nil, err
	}
	b.Puts = append(b.Puts, meta.KV{Key: key, Value: val})
	for _, all := range []meta.Range{meta.ExtentRange(ref.Ino), meta.XattrRange(ref)} {
		err := r.Scan(all.From, all.To, func(k, val []byte) bool {
			b.Puts = append(b.Puts, meta.KV{Key: append([]byte(nil), k...), Value: append([]byte(nil), val...)})
			return len(b.Puts) <= most
		})
		if err != nil {
			return nil, err
		}
		if len(b.Puts) > most {
			return nil, errMany
		}
	}
	m := view.NewConfirmed(0, nil, meta.Usage{})
	m.Apply(0, &b, meta.Delta{})
	return m, nil
}

// changeable returns the inode to which a change of ref's content is to be made. One
// that was changed elsewhere since it was opened becomes a file beside the other's, or
// comes back where it was deleted; v is locked.
func (v *Volume) changeable(ref meta.Ref) (meta.Ref, error) {
	f := v.frozen(ref)
	if f == nil {
		return v.at(ref), nil
	}
	o := v.held[v.at(ref).Ino]
	ops, to, err := v.detach(f)
	if err != nil {
		return meta.Ref{}, err
	}
	delete(v.orphans, o.ref.Ino)
	o.copied = o.copied || to.Ino != f.ref.Ino
	v.become(o, to)
	if to == f.ref && len(ops) == 0 { // it holds the same again
		if v.watcher != nil {
			v.watcher.Became(o.as, f.ref, to)
		}
		return to, nil
	}
	v.log.Warn("file is written here that was changed elsewhere; both are kept", "inode", uint64(f.ref.Ino), "as", uint64(to.Ino))
	if v.watcher != nil {
		v.watcher.Became(o.as, f.ref, to)
		v.watcher.Changed(given(ops)) // no request of the kernel's made these names
	}
	return to, nil
}

// detach executes what makes a frozen file one of the map: to, by the operations ops, or
// the file itself where it holds the same and may be written; v is locked.
func (v *Volume) detach(f *orphan) (ops []meta.Op, to meta.Ref, err error) {
	o := v.rebase()
	o.Slot = v.view.Slot() + 1
	if f.by != (Given{}) {
		o.Same = nil // nobody waits for bytes to be compared, which were written here
	}
	open := v.open[f.ref.Ino]
	apart := open != nil && !open.follows // as one file the two would have a cache each in the kernel
	err = v.view.Read(func(now meta.Reader) (err error) {
		ops, to, err = meta.Detach(f.m, now, f.ref, v.stamp(), o, apart, incomplete)
		return err
	})
	for _, op := range ops {
		if err == nil {
			err = v.execute(op)
		}
	}
	if err != nil {
		return nil, meta.Ref{}, fmt.Errorf("keep inode %d as it was: %w", f.ref.Ino, err)
	}
	return ops, to, nil
}

// given lists the names that operations give, and their directories.
func given(ops []meta.Op) (c Change) {
	for _, op := range ops {
		switch op := op.(type) {
		case *meta.Make:
			c.Names = append(c.Names, Name{Parent: op.Parent.Ino, Name: op.Name, Ref: op.Ref})
			c.Amended = append(c.Amended, op.Parent)
		case *meta.Rename:
			c.Names = append(c.Names, Name{Parent: op.NewParent.Ino, Name: op.NewName, Ref: op.Ref})
		}
	}
	return c
}

// current makes n, of a frozen file, have those attributes that are not its content's as
// the file has them now, if it is there; v is locked.
func (v *Volume) current(f *orphan, n *meta.Inode) error {
	return v.view.Read(func(r meta.Reader) error {
		now, err := meta.GetInode(r, f.ref)
		if err == nil {
			n.Perm, n.UID, n.GID, n.Nlink = now.Perm, now.UID, now.GID, now.Nlink
		}
		if errors.Is(err, meta.ErrNotExist) {
			return nil
		}
		return err
	})
}

// applyTo changes attributes of what is open and in the map no more. Of a file that was
// changed elsewhere they are the file's, but for the times: those are of what was
// written here, and the copy gets them; v is locked.
func (v *Volume) applyTo(o *orphan, op meta.Op) error {
	if !o.frozen {
		return v.applyOrphan(o, op)
	}
	if set, ok := op.(*meta.Setattr); ok {
		const times = meta.SetAtime | meta.SetMtime | meta.SetCtime | meta.KeepCtime
		mine := *set
		if set.Valid&^times == 0 {
			return v.applyOrphan(o, &mine)
		}
		if mine.Valid &= times; mine.Valid&(meta.SetAtime|meta.SetMtime) != 0 {
			if err := v.applyOrphan(o, &mine); err != nil {
				return err
			}
		}
		theirs := *set
		theirs.Valid &^= meta.SetAtime | meta.SetMtime
		op = &theirs
	}
	err := v.execute(op)
	if errors.Is(err, meta.ErrNotExist) {
		return v.applyOrphan(o, op) // it was deleted
	}
	return err
}
