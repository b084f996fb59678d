package fs

import (
	"maps"
	"slices"
	"sync"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
)

// nodes gives inodes the numbers by which the kernel calls them. A node id is
// never used again: a file whose content another machine changed gets a new
// one, and what is open keeps the old. The kernel counts its look-ups and gives
// them back by FORGET.
type nodes struct {
	mu    sync.Mutex // guards the fields below; nothing is taken after it
	byID  map[uint64]*node
	byIno map[meta.Ino]*node // the current node of an inode
	next  uint64
	turn  uint64 // rises when inodes get other nodes
}

type node struct {
	id      uint64
	ref     meta.Ref
	dir     bool
	lookups uint64

	// The names under which the kernel found it: the dentries to be dropped when the
	// inode gets a new node id. Few inodes have more than one.
	at   place
	also map[place]bool

	// What those call the file who have it open through this node, and how many they
	// are. It stands for the content that they opened, whatever ref holds now.
	held    meta.Ref
	handles int
	amended bool // its times are others now, which the kernel takes of no file that it knows

	gone *volume.Attr // what it was when its last name went; nil: it has names
}

// place is a name in a directory; the zero value is none.
type place struct {
	dir  meta.Ref
	name string
}

// rootID is the kernel's name for the root of every mount (FUSE_ROOT_ID).
const rootID = 1

func newNodes() *nodes {
	root := &node{id: rootID, ref: meta.RootRef, dir: true, lookups: 1}
	return &nodes{
		byID:  map[uint64]*node{rootID: root},
		byIno: map[meta.Ino]*node{meta.Root: root},
		next:  rootID + 1,
	}
}

// ref returns what the kernel calls id: an inode, or a file as it was when it was
// opened. A late request for a node that was forgotten gets none.
func (t *nodes) ref(id uint64) (meta.Ref, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.byID[id]
	if n == nil {
		return meta.Ref{}, false
	}
	if n.handles > 0 {
		return n.held, true
	}
	return n.ref, true
}

// now is to be asked for before the attributes that an answer to a look-up has.
func (t *nodes) now() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.turn
}

// lookup returns the node id of an inode, found under a name of a directory, and counts
// one look-up. It does nothing when inodes have got other nodes since turn: the
// attributes that the caller has may be those of an earlier content, and the kernel never
// asks for the size of a file again.
func (t *nodes) lookup(ref meta.Ref, dir bool, at place, turn uint64) (id uint64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if turn != t.turn {
		return 0, false
	}
	n := t.byIno[ref.Ino]
	if n == nil {
		n = &node{id: t.next, ref: ref, dir: dir}
		t.next++
		t.byID[n.id] = n
		t.byIno[ref.Ino] = n
	}
	n.lookups++
	n.found(at)
	return n.id, true
}

func (n *node) found(at place) {
	if at == n.at || at == (place{}) {
		return
	}
	if n.at != (place{}) {
		if n.also == nil {
			n.also = map[place]bool{}
		}
		n.also[n.at] = true
		delete(n.also, at)
	}
	n.at = at
}

// places lists the names of a node.
func (n *node) places() []place {
	l := slices.Collect(maps.Keys(n.also))
	if n.at != (place{}) {
		l = append(l, n.at)
	}
	return l
}

// directory is where a node was found last; ok is false when the node never had a name.
func (t *nodes) directory(id uint64) (dir meta.Ref, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.byID[id]; n != nil && n.at != (place{}) {
		return n.at.dir, true
	}
	return meta.Ref{}, false
}

// moved notes that an inode has another name now in place of was, which the kernel knows
// without a look-up.
func (t *nodes) moved(ino meta.Ino, was, is place) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.byIno[ino]; n != nil {
		n.found(is)
		delete(n.also, was)
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

// opening returns the node that a file is opened through, and what to open. There is none
// where the inode has got another node since: the kernel is to look the name up again.
func (t *nodes) opening(id uint64) (n *node, ref meta.Ref, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n = t.byID[id]
	switch {
	case n == nil:
		return nil, meta.Ref{}, false
	case n.handles > 0:
		return n, n.held, true
	}
	return n, n.ref, t.byIno[n.ref.Ino] == n
}

// hold counts a handle of a node, which calls the file as. It does not when the node has
// become another meanwhile.
func (t *nodes) hold(n *node, as meta.Ref) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n.handles > 0 && n.held != as || n.handles == 0 && t.byIno[n.ref.Ino] != n {
		return false
	}
	n.held = as
	n.handles++
	return true
}

// made counts the handle with which the inode of a node was made.
func (t *nodes) made(id uint64, as meta.Ref) *node {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.byID[id]
	n.held = as
	n.handles++
	return n
}

// release gives a handle back, and says whether the inode is to get another node now.
func (t *nodes) release(n *node) (ino meta.Ino, renew bool) {
	if n == nil {
		return 0, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n.handles--
	return n.ref.Ino, n.handles == 0 && n.amended && t.byIno[n.ref.Ino] == n
}

// amend notes that a file that is open has other times now; ok is false where nobody has
// it open.
func (t *nodes) amend(ino meta.Ino) (ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.byIno[ino]
	if n == nil || n.handles == 0 {
		return false
	}
	n.amended = true
	return true
}

// outdated says whether an inode has another node by now, and nobody has it open through
// this one.
func (t *nodes) outdated(id uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.byID[id]
	return n != nil && n.handles == 0 && t.byIno[n.ref.Ino] != n
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

// current returns the node of an inode that the kernel knows.
func (t *nodes) current(ino meta.Ino) (id uint64, ref meta.Ref, dir, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.byIno[ino]
	if n == nil {
		return 0, meta.Ref{}, false, false
	}
	return n.id, n.ref, n.dir, true
}

// names lists the names by which the kernel found an inode.
func (t *nodes) names(ino meta.Ino) []place {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.byIno[ino]; n != nil {
		return n.places()
	}
	return nil
}

// all lists the inodes that the kernel knows.
func (t *nodes) all() []meta.Ino {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := make([]meta.Ino, 0, len(t.byIno))
	for ino := range t.byIno {
		l = append(l, ino)
	}
	return l
}

// renew makes the next look-up of an inode give a new node id, and returns the
// old one with the names that lead to it. The old one stays until the kernel
// forgets it.
func (t *nodes) renew(ino meta.Ino) (old uint64, at []place, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.byIno[ino]
	if n == nil {
		return 0, nil, false
	}
	if n.id != rootID {
		delete(t.byIno, ino)
		t.turn++
	}
	return n.id, n.places(), true
}

// became says that a node is another inode's now: the one that calls the file as, or the
// current one of was. It returns those that are, and the names that lead there no more.
func (t *nodes) became(as []meta.Ref, was, is meta.Ref) (ids []uint64, at []place) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.turn++
	change := func(n *node) {
		if t.byIno[n.ref.Ino] == n {
			delete(t.byIno, n.ref.Ino)
		}
		if t.byIno[is.Ino] == nil {
			n.ref, t.byIno[is.Ino] = is, n
		}
		ids = append(ids, n.id)
		at = append(at, n.places()...)
		n.at, n.also = place{}, nil
	}
	if len(as) == 0 {
		if n := t.byIno[was.Ino]; n != nil && n.handles == 0 {
			change(n)
		}
		return ids, at
	}
	for _, n := range t.byID {
		if n.handles > 0 && slices.Contains(as, n.held) {
			change(n)
		}
	}
	return ids, at
}

// merged says that the inodes that were made in a directory are called by another one.
func (t *nodes) merged(from, to meta.Ref) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.byID {
		if n.ref.Home == from.Ino {
			n.ref.Home = to.Ino
		}
		if n.at.dir == from {
			n.at.dir = to
		}
		for p := range n.also {
			if p.dir == from {
				delete(n.also, p)
				n.also[place{to, p.name}] = true
			}
		}
	}
}
