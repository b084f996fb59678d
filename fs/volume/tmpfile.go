package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/view"
)

// Tmpfile makes a file that has no name, in the directory parent, and takes a
// handle of it (O_TMPFILE). It ends with its handles, unless Link names it before.
func (v *Volume) Tmpfile(ctx context.Context, parent meta.Ref, n Node) (a Attr, err error) {
	if err := v.writable(ctx); err != nil {
		return Attr{}, err
	}
	if err := v.room.enter(ctx); err != nil {
		return Attr{}, err
	}
	ino, err := v.state.NextIno()
	if err != nil {
		return Attr{}, err
	}
	ref := meta.Ref{Home: parent.Ino, Ino: ino}
	err = v.changing(ctx, func() error {
		dir, err := v.inode(parent)
		if err != nil {
			return err
		}
		if dir.Kind != meta.Dir {
			return meta.ErrNotDir
		}
		const setgid = 0o2000
		if dir.Perm&setgid != 0 {
			n.GID = dir.GID
		}
		t := v.Now()
		inode := &meta.Inode{Kind: meta.File, Perm: n.Perm, UID: n.UID, GID: n.GID, Nlink: 1, Atime: t, Mtime: t, Ctime: t, Btime: t}
		o := &orphan{ref: ref, m: view.NewConfirmed(0, nil, meta.Usage{}), home: parent}
		o.m.Apply(0, &meta.Batch{Puts: []meta.KV{{Key: meta.InodeKey(ref), Value: meta.AppendInode(nil, inode)}}}, meta.Delta{})
		v.orphans[ino] = o
		held := v.hold(ref)
		a, err = v.attr(ref)
		a.Held = held
		return err
	})
	return a, err
}

// naming gives a file that Tmpfile made its first name. The file is made under a
// name that says that it is not complete, gets all that it has, and is renamed in the
// end: whoever sees the name, after a crash or on another machine, sees the whole file.
type naming struct {
	v      *Volume
	o      *orphan
	parent meta.Ref
	name   []byte
	temp   []byte
	ops    []meta.Op // nil: not gathered yet
	done   int       // of ops
}

// run does what is left to do; it is called again when something was not near.
func (n *naming) run() error {
	v := n.v
	if v.orphans[n.o.ref.Ino] != n.o {
		return meta.ErrNotExist
	}
	if n.ops == nil {
		if _, err := v.lookup(n.parent, n.name); err == nil {
			return meta.ErrExist
		} else if !errors.Is(err, meta.ErrNotExist) {
			return err
		}
		if err := n.gather(); err != nil {
			return err
		}
	}
	for ; n.done < len(n.ops); n.done++ {
		if err := v.execute(n.ops[n.done]); err != nil {
			return err
		}
	}
	delete(v.orphans, n.o.ref.Ino)
	return nil
}

// gather lists the operations that make the file what it is.
func (n *naming) gather() error {
	ref, home, m := n.o.ref, n.o.home, n.o.m
	was, err := meta.GetInode(m, ref)
	if err != nil {
		return err
	}
	ops := []meta.Op{&meta.Make{Parent: home, Name: n.temp, Ref: ref, Kind: meta.File, Perm: was.Perm, UID: was.UID, GID: was.GID}}
	if was.Size > 0 {
		ops = append(ops, &meta.Truncate{Ref: ref, Size: was.Size})
	}
	w := &meta.Write{Ref: ref}
	err = meta.Extents(m, ref, was, 0, was.Size, func(e meta.Extent) bool {
		if len(w.Extents) == extentsMax {
			ops = append(ops, w)
			w = &meta.Write{Ref: ref}
		}
		w.Extents = append(w.Extents, e)
		return true
	})
	if err != nil {
		return err
	}
	if len(w.Extents) > 0 {
		ops = append(ops, w)
	}
	var names [][]byte
	err = meta.ListXattrs(m, ref, was, func(name []byte) bool {
		names = append(names, bytes.Clone(name))
		return true
	})
	for _, name := range names {
		var value []byte
		if err == nil {
			value, err = meta.GetXattr(m, ref, was, name)
		}
		ops = append(ops, &meta.Setxattr{Ref: ref, Name: name, Value: bytes.Clone(value)})
	}
	if err != nil {
		return err
	}
	n.ops = append(ops,
		&meta.Setattr{
			Ref: ref, Valid: meta.SetPerm | meta.SetUID | meta.SetGID | meta.SetAtime | meta.SetMtime,
			Perm: was.Perm, UID: was.UID, GID: was.GID, Atime: was.Atime, Mtime: was.Mtime,
		},
		&meta.Rename{Parent: home, Name: n.temp, NewParent: n.parent, NewName: n.name, Flags: meta.NoReplace, Ref: ref})
	return nil
}

// undo takes the half made file away again; v is locked.
func (n *naming) undo() error {
	if n.done == 0 || n.done == len(n.ops) {
		return nil
	}
	n.done = 0
	return n.v.execute(&meta.Unlink{Parent: n.o.home, Name: n.temp, Ref: n.o.ref})
}

// nameIt gives the file o, which Tmpfile made, a name in the directory parent.
func (v *Volume) nameIt(ctx context.Context, o *orphan, parent meta.Ref, name []byte) error {
	n := &naming{v: v, o: o, parent: parent, name: name, temp: incomplete(o.ref.Ino)}
	err := v.changing(ctx, n.run)
	if err == nil {
		return nil
	}
	// Not with ctx: the program may be interrupted, and what is half made must go.
	return errors.Join(err, v.changing(v.life, n.undo))
}

// incomplete is the name of a file that has not all yet that it is to have.
func incomplete(ino meta.Ino) []byte { return fmt.Appendf(nil, ".incomplete-%x", uint64(ino)) }

// dropIncomplete removes what naming had half made when the machine stopped: the rest
// did not reach the journal, so nobody was told that the file has a name.
func (v *Volume) dropIncomplete(ctx context.Context) error {
	for p := range v.view.Pending().All() {
		m, ok := p.Op.(*meta.Make)
		if !ok || m.Kind != meta.File || !bytes.Equal(m.Name, incomplete(m.Ref.Ino)) {
			continue
		}
		err := v.locked(ctx, func() error {
			switch d, err := v.lookup(m.Parent, m.Name); {
			case errors.Is(err, meta.ErrNotExist), err == nil && d.Ref != m.Ref:
				return nil // it was completed, or taken away
			case err != nil:
				return err
			}
			return v.execute(&meta.Unlink{Parent: m.Parent, Name: m.Name, Ref: m.Ref})
		})
		if err != nil {
			return fmt.Errorf("remove a file that was not complete: %w", err)
		}
	}
	return nil
}
