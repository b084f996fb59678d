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
	sure   bool      // the program waits for the store
	ops    []meta.Op // nil: not gathered yet
	done   int       // of ops
	given  Given     // by the last of them
}

// half is a file that is not whole yet, under the name that says so.
type half struct {
	home meta.Ref // the directory that it is in
	ino  meta.Ino
	temp []byte
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
	last := len(n.ops) - 1
	for ; n.done < last; n.done++ {
		if err := v.execute(n.ops[n.done]); err != nil {
			return err
		}
	}
	var err error
	if n.given, err = v.executeName(n.sure, n.ops[last], &half{n.o.home, n.o.ref.Ino, n.temp}); err != nil {
		return err
	}
	n.done++
	delete(v.orphans, n.o.ref.Ino)
	ref := meta.Ref{Home: n.o.home.Ino, Ino: n.o.ref.Ino}
	if o := v.open[ref.Ino]; o != nil {
		o.ref = ref
	}
	v.gave(v.nextOp-1, ref, n.parent, n.name)
	return nil
}

// gather lists the operations that make the file what it is.
func (n *naming) gather() error {
	home, m := n.o.home, n.o.m
	was, err := meta.GetInode(m, n.o.ref)
	if err != nil {
		return err
	}
	ref := meta.Ref{Home: home.Ino, Ino: n.o.ref.Ino} // home may have become another
	ops := []meta.Op{&meta.Make{Parent: home, Name: n.temp, Ref: ref, Kind: meta.File, Perm: was.Perm, UID: was.UID, GID: was.GID}}
	if was.Size > 0 {
		ops = append(ops, &meta.Truncate{Ref: ref, Size: was.Size})
	}
	w := &meta.Write{Ref: ref}
	err = meta.Extents(m, n.o.ref, was, 0, was.Size, func(e meta.Extent) bool {
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
	err = meta.ListXattrs(m, n.o.ref, was, func(name []byte) bool {
		names = append(names, bytes.Clone(name))
		return true
	})
	for _, name := range names {
		var value []byte
		if err == nil {
			value, err = meta.GetXattr(m, n.o.ref, was, name)
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
	return n.v.execute(&meta.Unlink{Parent: n.o.home, Name: n.temp, Ref: meta.Ref{Home: n.o.home.Ino, Ino: n.o.ref.Ino}})
}

// nameIt gives the file o, which Tmpfile made, a name in the directory parent.
func (v *Volume) nameIt(ctx context.Context, o *orphan, parent meta.Ref, name []byte) (Given, error) {
	sure, err := v.sure(ctx, parent)
	if err != nil {
		return Given{}, err
	}
	n := &naming{v: v, o: o, parent: parent, name: name, temp: incomplete(o.ref.Ino), sure: sure}
	if err = v.changing(ctx, n.run); err == nil {
		return n.given, nil
	}
	// Not with ctx: the program may be interrupted, and what is half made must go.
	return Given{}, errors.Join(err, v.changing(v.life, n.undo))
}

// takeBack takes away the files whose first name another machine was faster to give; v is
// locked. Who has such a file open can give it another name.
func (v *Volume) takeBack() error {
	for _, h := range v.tentative.leftover() {
		if err := v.unname(h); err != nil {
			return fmt.Errorf("remove a file that did not get its name: %w", err)
		}
		v.tentative.gone(h)
	}
	return nil
}

func (v *Volume) unname(h *half) error {
	d, err := v.lookup(h.home, h.temp)
	if errors.Is(err, meta.ErrNotExist) || err == nil && d.Ref.Ino != h.ino {
		return nil // another machine may have the name of a file of its own
	}
	if err != nil {
		return err
	}
	gone, err := v.parting(d.Ref)
	if err != nil {
		return err
	}
	if err := v.execute(&meta.Unlink{Parent: h.home, Name: h.temp, Ref: d.Ref}); err != nil {
		return err
	}
	gone()
	if o := v.orphans[d.Ref.Ino]; o != nil {
		o.home = h.home
	}
	if v.watcher != nil {
		v.watcher.Changed(Change{Amended: []meta.Ref{h.home}, Names: []Name{{Parent: h.home.Ino, Name: h.temp}}})
	}
	return nil
}

// rehomeHalves says in which directory files without a name were made, where that was
// merged into another; v is locked.
func (v *Volume) rehomeHalves(moved map[meta.Ref]meta.Ref) {
	v.tentative.rehome(moved)
	for _, o := range v.orphans {
		if to, ok := moved[o.home]; ok {
			o.home = to
		}
	}
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
