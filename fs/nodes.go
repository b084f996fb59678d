package fs

import (
	"sync"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
)

// nodes gives inodes the numbers by which the kernel calls them. A node id is
// never used again: an inode whose content another machine changed gets a new
// one, and what is open keeps the old. The kernel counts its look-ups and gives
// them back by FORGET.
type nodes struct {
	mu    sync.Mutex // guards the fields below; nothing is taken after it
	byID  map[uint64]*node
	byIno map[meta.Ino]*node // the current node of an inode
	next  uint64
}

type node struct {
	id      uint64
	ref     meta.Ref
	lookups uint64

	// The name under which the kernel last found it: the dentry to be dropped
	// when the inode gets a new node id.
	parent uint64
	name   string

	gone *volume.Attr // what it was when its last name went; nil: it has names
}

// rootID is the kernel's name for the root of every mount (FUSE_ROOT_ID).
const rootID = 1

func newNodes() *nodes {
	root := &node{id: rootID, ref: meta.RootRef, lookups: 1}
	return &nodes{
		byID:  map[uint64]*node{rootID: root},
		byIno: map[meta.Ino]*node{meta.Root: root},
		next:  rootID + 1,
	}
}

// ref returns the inode that the kernel calls id. A late request for a node that
// was forgotten gets none.
func (t *nodes) ref(id uint64) (meta.Ref, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.byID[id]
	if n == nil {
		return meta.Ref{}, false
	}
	return n.ref, true
}

// lookup returns the node id of an inode, found under a name of the directory
// parent, and counts one look-up.
func (t *nodes) lookup(ref meta.Ref, parent uint64, name string) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.byIno[ref.Ino]
	if n == nil {
		n = &node{id: t.next, ref: ref}
		t.next++
		t.byID[n.id] = n
		t.byIno[ref.Ino] = n
	}
	n.lookups++
	n.parent, n.name = parent, name
	return n.id
}

// directory is where a node was found last; ok is false when the kernel has forgotten
// that, or the node never had a name.
func (t *nodes) directory(id uint64) (dir meta.Ref, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.byID[id]; n != nil {
		if parent := t.byID[n.parent]; parent != nil {
			return parent.ref, true
		}
	}
	return meta.Ref{}, false
}

// moved notes that an inode has another name now, which the kernel knows without a
// look-up.
func (t *nodes) moved(ino meta.Ino, parent uint64, name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.byIno[ino]; n != nil {
		n.parent, n.name = parent, name
	}
}

// forget gives count look-ups back.
func (t *nodes) forget(id, count uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.byID[id]
	if n == nil || id == rootID {
		return
	}
	if n.lookups > count {
		n.lookups -= count
		return
	}
	delete(t.byID, id)
	if t.byIno[n.ref.Ino] == n {
		delete(t.byIno, n.ref.Ino)
	}
}

// left keeps what an inode was when its last name went, as long as the kernel
// knows it: a directory that is open, or the working directory of a program, still
// has attributes, and so has what is held by O_PATH alone.
func (t *nodes) left(a volume.Attr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.byIno[a.Ref.Ino]; n != nil {
		n.gone = &a
	}
}

// gone returns what left kept of an inode. The caller may change the Inode under
// edit alone, which runs locked.
func (t *nodes) gone(id uint64, edit func(*meta.Inode)) (volume.Attr, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.byID[id]
	if n == nil || n.gone == nil {
		return volume.Attr{}, false
	}
	if edit != nil {
		inode := *n.gone.Inode
		edit(&inode)
		n.gone = &volume.Attr{Ref: n.gone.Ref, Inode: &inode, Blocks: n.gone.Blocks}
	}
	return *n.gone, true
}

// current returns the node id of an inode that the kernel knows.
func (t *nodes) current(ino meta.Ino) (uint64, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.byIno[ino]
	if n == nil {
		return 0, false
	}
	return n.id, true
}

// renew makes the next look-up of an inode give a new node id, and returns the
// old one with the dentry that leads to it. The old one stays until the kernel
// forgets it.
func (t *nodes) renew(ino meta.Ino) (old node, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.byIno[ino]
	if n == nil {
		return node{}, false
	}
	if n.id != rootID {
		delete(t.byIno, ino)
	}
	return *n, true
}
