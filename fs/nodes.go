package fs

import (
	"maps"
	"slices"
	"sync"
	"unique"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
)

// nodes gives inodes the numbers by which the kernel calls them. A node id is
// never used again: a file whose content another machine changed gets a new
// one, and what is open keeps the old. The kernel counts its look-ups and gives
// them back by FORGET.
//
// The kernel may know a million files, of which few are open: what a node has only then,
// or of which few have any, lies apart.
type nodes struct {
	mu    sync.Mutex // guards the fields below; nothing is taken after it
	byID  index
	byIno index // the current node of an inode
	next  uint64
	turn  uint64 // rises when inodes get other nodes
}

type node struct {
	id    uint64
	ref   meta.Ref
	count uint64 // of look-ups, doubled; the lowest bit is that of a directory

	// The name under which the kernel found it last: a dentry to be dropped when the
	// inode gets a new node id.
	dir  unique.Handle[meta.Ref] // the zero value: it never had a name
	name string

	rare *rare // nil: nothing of that
}

// rare is what few nodes have.
type rare struct {
	also map[place]bool // further names under which the kernel found it

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
	t := &nodes{next: rootID}
	t.add(meta.RootRef, true).looked(1)
	return t
}

// add makes the current node of an inode; t is locked.
func (t *nodes) add(ref meta.Ref, dir bool) *node {
	n := &node{id: t.next, ref: ref}
	if dir {
		n.count = 1
	}
	t.next++
	t.byID.set(n.id, n)
	t.byIno.set(uint64(ref.Ino), n)
	return n
}

// of returns the current node of an inode, or nil; t is locked.
func (t *nodes) of(ino meta.Ino) *node { return t.byIno.get(uint64(ino)) }

// isCurrent says that a node is that of its inode; t is locked.
func (t *nodes) isCurrent(n *node) bool { return t.of(n.ref.Ino) == n }

func (n *node) isDir() bool     { return n.count&1 != 0 }
func (n *node) lookups() uint64 { return n.count >> 1 }

// looked counts look-ups.
func (n *node) looked(times uint64) { n.count += times << 1 }

// at is the name under which it was found last.
func (n *node) at() place {
	if n.dir == (unique.Handle[meta.Ref]{}) {
		return place{}
	}
	return place{n.dir.Value(), n.name}
}

func (n *node) put(at place) {
	if at == (place{}) {
		n.dir, n.name = unique.Handle[meta.Ref]{}, ""
		return
	}
	n.dir, n.name = unique.Make(at.dir), at.name
}

func (n *node) handles() int {
	if n.rare == nil {
		return 0
	}
	return n.rare.handles
}

// more is what few nodes have, to be written to.
func (n *node) more() *rare {
	if n.rare == nil {
		n.rare = &rare{}
	}
	return n.rare
}

// less lets go of rare when nothing is in it.
func (n *node) less() {
	if r := n.rare; r != nil && len(r.also) == 0 && r.handles == 0 && !r.amended && r.gone == nil {
		n.rare = nil
	}
}

// ref returns what the kernel calls id: an inode, or a file as it was when it was
// opened. A late request for a node that was forgotten gets none.
func (t *nodes) ref(id uint64) (meta.Ref, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.byID.get(id)
	if n == nil {
		return meta.Ref{}, false
	}
	if n.handles() > 0 {
		return n.rare.held, true
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
	n := t.of(ref.Ino)
	if n == nil {
		n = t.add(ref, dir)
	}
	n.looked(1)
	n.found(at)
	return n.id, true
}

func (n *node) found(at place) {
	was := n.at()
	if at == was || at == (place{}) {
		return
	}
	if was != (place{}) {
		r := n.more()
		if r.also == nil {
			r.also = map[place]bool{}
		}
		r.also[was] = true
		delete(r.also, at)
	}
	n.put(at)
}

// places lists the names of a node.
func (n *node) places() []place {
	var l []place
	if n.rare != nil {
		l = slices.Collect(maps.Keys(n.rare.also))
	}
	if at := n.at(); at != (place{}) {
		l = append(l, at)
	}
	return l
}

// name is that by which the kernel found a node last.
func (t *nodes) name(n *node) (at place, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at = n.at()
	return at, at != (place{})
}

// directory is where a node was found last; ok is false when the node never had a name.
func (t *nodes) directory(id uint64) (dir meta.Ref, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.byID.get(id); n != nil {
		at := n.at()
		return at.dir, at != (place{})
	}
	return meta.Ref{}, false
}

// moved notes that an inode has another name now in place of was, which the kernel knows
// without a look-up.
func (t *nodes) moved(ino meta.Ino, was, is place) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.of(ino)
	if n == nil {
		return
	}
	n.found(is)
	if n.rare != nil {
		delete(n.rare.also, was)
		n.less()
	}
}

// forget gives count look-ups back.
func (t *nodes) forget(id, count uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.byID.get(id)
	if n == nil || id == rootID {
		return
	}
	if n.lookups() > count {
		n.count -= count << 1
		return
	}
	t.byID.remove(id)
	if t.isCurrent(n) {
		t.byIno.remove(uint64(n.ref.Ino))
	}
}

// opening returns the node that a file is opened through, and what to open. There is none
// where the inode has got another node since: the kernel is to look the name up again.
func (t *nodes) opening(id uint64) (n *node, ref meta.Ref, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n = t.byID.get(id)
	switch {
	case n == nil:
		return nil, meta.Ref{}, false
	case n.handles() > 0:
		return n, n.rare.held, true
	}
	return n, n.ref, t.isCurrent(n)
}

// hold counts a handle of a node, which calls the file as. It does not when the node has
// become another meanwhile.
func (t *nodes) hold(n *node, as meta.Ref) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n.handles() > 0 && n.rare.held != as || n.handles() == 0 && !t.isCurrent(n) {
		return false
	}
	n.hold(as)
	return true
}

func (n *node) hold(as meta.Ref) {
	r := n.more()
	r.held = as
	r.handles++
}

// made counts the handle with which the inode of a node was made.
func (t *nodes) made(id uint64, as meta.Ref) *node {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.byID.get(id)
	n.hold(as)
	return n
}

// release gives a handle back, and says whether the inode is to get another node now.
func (t *nodes) release(n *node) (ino meta.Ino, renew bool) {
	if n == nil {
		return 0, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n.rare.handles--
	renew = n.rare.handles == 0 && n.rare.amended && t.isCurrent(n)
	n.less()
	return n.ref.Ino, renew
}

// amend notes that an inode has other attributes now, and keeps its node; ok is false where
// it is to get another. A file is, as soon as nobody has it open: of a file that it knows
// the kernel takes no times. A directory is a way to others, and keeps its node unless it was
// removed here: for the kernel that one leads nowhere any more.
func (t *nodes) amend(ino meta.Ino) (ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.of(ino)
	switch {
	case n == nil:
		return false
	case n.isDir():
		return n.rare == nil || n.rare.gone == nil
	case n.handles() == 0:
		return false
	}
	n.rare.amended = true
	return true
}

// outdated says whether an inode has another node by now, and nobody has it open through
// this one.
func (t *nodes) outdated(id uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.byID.get(id)
	return n != nil && n.handles() == 0 && !t.isCurrent(n)
}

// left keeps what an inode was when its last name went, as long as the kernel
// knows it: a directory that is open, or the working directory of a program, still
// has attributes, and so has what is held by O_PATH alone.
// back, called when the name was not taken in the end, forgets it.
func (t *nodes) left(a volume.Attr) (back func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.of(a.Ref.Ino)
	if n == nil {
		return func() {}
	}
	n.more().gone = &a
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if n.rare == nil || n.rare.gone != &a {
			return // another may have taken it since
		}
		n.rare.gone = nil
		n.less()
		if n.isDir() && t.of(a.Ref.Ino) == nil && t.byID.get(n.id) == n {
			t.byIno.set(uint64(a.Ref.Ino), n) // taken for dead when it was there again, see amend
		}
	}
}

// gone returns what left kept of an inode. The caller may change the Inode under
// edit alone, which runs locked.
func (t *nodes) gone(id uint64, edit func(*meta.Inode)) (volume.Attr, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.byID.get(id)
	if n == nil || n.rare == nil || n.rare.gone == nil {
		return volume.Attr{}, false
	}
	was := n.rare.gone
	if edit != nil {
		inode := *was.Inode
		edit(&inode)
		was.Inode = &inode
	}
	return *was, true
}

// current returns the node of an inode that the kernel knows.
func (t *nodes) current(ino meta.Ino) (id uint64, ref meta.Ref, dir, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.of(ino)
	if n == nil {
		return 0, meta.Ref{}, false, false
	}
	return n.id, n.ref, n.isDir(), true
}

// names lists the names by which the kernel found an inode.
func (t *nodes) names(ino meta.Ino) []place {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.of(ino); n != nil {
		return n.places()
	}
	return nil
}

// all lists the inodes that the kernel knows.
func (t *nodes) all() []meta.Ino {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := make([]meta.Ino, 0, t.byIno.n)
	for n := range t.byIno.all() {
		l = append(l, n.ref.Ino)
	}
	return l
}

// renew makes the next look-up of an inode give a new node id, and returns the
// old one with the names that lead to it. The old one stays until the kernel
// forgets it.
func (t *nodes) renew(ino meta.Ino) (old uint64, at []place, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.of(ino)
	if n == nil {
		return 0, nil, false
	}
	if n.id != rootID {
		t.byIno.remove(uint64(ino))
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
		if t.isCurrent(n) {
			t.byIno.remove(uint64(n.ref.Ino))
		}
		other := t.of(is.Ino)
		if other != nil && other.handles() == 0 { // nobody reads and writes through that cache
			t.byIno.remove(uint64(is.Ino))
			ids, at = append(ids, other.id), append(at, other.places()...)
			other = nil
		}
		if other == nil {
			n.ref = is
			t.byIno.set(uint64(is.Ino), n)
		}
		ids = append(ids, n.id)
		at = append(at, n.places()...)
		n.put(place{})
		if n.rare != nil {
			n.rare.also = nil
			n.less()
		}
	}
	for n := range t.byID.all() {
		if n.handles() > 0 && slices.Contains(as, n.rare.held) {
			change(n)
		}
	}
	// Nobody has it open, or who is about to is not known to: see hold.
	if n := t.of(was.Ino); len(ids) == 0 && n != nil && n.handles() == 0 {
		change(n)
	}
	return ids, at
}

// merged says that the inodes that were made in a directory are called by another one.
func (t *nodes) merged(from, to meta.Ref) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := unique.Make(from)
	for n := range t.byID.all() {
		if n.ref.Home == from.Ino {
			n.ref.Home = to.Ino
		}
		if n.dir == old {
			n.dir = unique.Make(to)
		}
		if n.rare == nil {
			continue
		}
		for p := range n.rare.also {
			if p.dir == from {
				delete(n.rare.also, p)
				n.rare.also[place{to, p.name}] = true
			}
		}
	}
}
