package meta

import (
	"bytes"
	"errors"
	"slices"
)

// edit collects what one operation changes: inodes that it loaded, and keys.
type edit struct {
	r      Reader
	at     Stamp
	loaded [4]loadedInode // a rename with Exchange has four: two directories, two inodes
	n      int            // of loaded
	arena  []byte         // keys and values of the batch are cut from it
	out    Batch
}

type loadedInode struct {
	Inode
	ref   Ref
	state inodeState
}

type inodeState uint8

const (
	inodeSame inodeState = iota
	inodeChanged
	inodeGone
)

func newEdit(r Reader, at Stamp) *edit {
	return &edit{r: r, at: at, arena: make([]byte, 0, 512)}
}

// cut makes a slice of what append adds to the arena. Earlier slices keep the
// array they were cut from when the arena moves.
func (e *edit) cut(add func(dst []byte) []byte) []byte {
	from := len(e.arena)
	e.arena = add(e.arena)
	return e.arena[from:len(e.arena):len(e.arena)]
}

// inode loads an inode; asked again it returns the same one.
func (e *edit) inode(ref Ref) (*loadedInode, error) {
	for i := range e.n {
		if e.loaded[i].ref == ref {
			return &e.loaded[i], nil
		}
	}
	n := &e.loaded[e.n]
	if err := readInode(e.r, ref, &n.Inode); err != nil {
		return nil, err
	}
	n.ref = ref
	e.n++
	return n, nil
}

// dir loads a directory that an operation changes the names of.
func (e *edit) dir(ref Ref) (*loadedInode, error) {
	n, err := e.inode(ref)
	if err == nil && n.Kind != Dir {
		return nil, ErrNotDir
	}
	return n, err
}

// file loads a regular file whose version must be observed, unless that is 0.
func (e *edit) file(ref Ref, observed uint64) (*loadedInode, error) {
	n, err := e.inode(ref)
	switch {
	case err != nil:
		return nil, err
	case n.Kind == Dir:
		return nil, ErrIsDir
	case n.Kind != File:
		return nil, ErrNotFile
	case observed != 0 && observed != n.Version:
		return nil, ErrConflict
	}
	return n, nil
}

// touch sets the ctime of an inode whose attributes or names change. ctime
// never goes back, so that an operation that is executed again, after later
// ones of another machine, does not hide those.
func (e *edit) touch(n *loadedInode) {
	n.state = inodeChanged
	n.Ctime = later(n.Ctime, e.at.Time)
}

// touchDir sets the times of a directory whose names change. An mtime in the
// future, which a program has set, becomes the present again, but not when the
// directory has changed since the time of the stamp.
func (e *edit) touchDir(n *loadedInode) {
	if e.at.Time.Before(n.Ctime) {
		n.Mtime = later(n.Mtime, e.at.Time)
	} else {
		n.Mtime = e.at.Time
	}
	e.touch(n)
}

// changed records that the content of a file changed at the given time; nil:
// the kernel will say when.
func (e *edit) changed(n *loadedInode, at *Time) {
	n.state = inodeChanged
	n.Version = e.at.Version()
	if at != nil {
		n.Mtime, n.Ctime = *at, later(n.Ctime, *at)
	}
}

func (e *edit) lookup(dir Ref, name []byte) (Dirent, error) { return Lookup(e.r, dir.Ino, name) }

func (e *edit) putDirent(dir Ref, name []byte, d Dirent) {
	e.put(
		e.cut(func(b []byte) []byte { return appendDirentKey(b, dir.Ino, name) }),
		e.cut(func(b []byte) []byte { return AppendDirent(b, d) }))
}

func (e *edit) deleteDirent(dir Ref, name []byte) {
	e.delete(e.cut(func(b []byte) []byte { return appendDirentKey(b, dir.Ino, name) }))
}

func (e *edit) putInode(ref Ref, n *Inode) {
	e.put(
		e.cut(func(b []byte) []byte { return appendInodeKey(b, ref) }),
		e.cut(func(b []byte) []byte { return AppendInode(b, n) }))
}

func (e *edit) putExtent(ino Ino, x Extent) {
	e.put(
		e.cut(func(b []byte) []byte { return appendExtentKey(b, ino, x.End()) }),
		e.cut(func(b []byte) []byte { return AppendExtent(b, x) }))
}

func (e *edit) deleteExtent(ino Ino, end uint64) {
	e.delete(e.cut(func(b []byte) []byte { return appendExtentKey(b, ino, end) }))
}

func (e *edit) put(key, value []byte) { e.out.Puts = append(e.out.Puts, KV{key, value}) }
func (e *edit) delete(key []byte)     { e.out.Deletes = append(e.out.Deletes, key) }
func (e *edit) deleteRange(r Range)   { e.out.Ranges = append(e.out.Ranges, r) }

// unlink takes one name from an inode, and the last with all that it has.
func (e *edit) unlink(n *loadedInode) {
	if n.Kind != Dir && n.Nlink > 1 {
		n.Nlink--
		e.touch(n)
		return
	}
	n.state = inodeGone
	if n.Indexed {
		e.deleteRange(ExtentRange(n.ref.Ino))
	}
	if n.Xattrs {
		e.deleteRange(XattrRange(n.ref))
	}
}

// emptyDir answers nil when a directory has no names, else ErrNotEmpty.
func (e *edit) emptyDir(dir Ref) error {
	empty := true
	all := DirentRange(dir.Ino)
	err := e.r.Scan(all.From, all.To, func(_, _ []byte) bool {
		empty = false
		return false
	})
	if !empty {
		return ErrNotEmpty // even if what follows is not known
	}
	return err
}

// batch is the finished batch. The edit is not used any more.
func (e *edit) batch() (*Batch, error) {
	for i := range e.n {
		n := &e.loaded[i]
		switch n.state {
		case inodeChanged:
			e.putInode(n.ref, &n.Inode)
		case inodeGone:
			e.delete(e.cut(func(b []byte) []byte { return appendInodeKey(b, n.ref) }))
		}
	}
	slices.SortFunc(e.out.Puts, compareKV)
	slices.SortFunc(e.out.Deletes, bytes.Compare)
	slices.SortFunc(e.out.Ranges, compareRange)
	out := e.out
	return &out, nil
}

// isAbsent tells a missing name from a reader that failed.
func isAbsent(err error) bool { return errors.Is(err, ErrNotExist) }
