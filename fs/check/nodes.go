package check

import "github.com/hushfs/hushfs/fs/meta"

// node is what the check remembers of an inode: 40 bytes, since there may be millions.
type node struct {
	ino    meta.Ino
	home   meta.Ino
	parent meta.Ino // of a directory, as it says; of others that of a name, 0: none was seen
	links  uint32   // as the inode says
	names  uint32   // that were seen; of a directory the directories in it
	kind   meta.Kind
	flags  uint8
}

const (
	nodeIndexed = 1 << iota // extents under their own keys
	nodeXattrs              // attributes may be there
	nodePlaced              // a directory whose name is in its parent
	nodeReached             // it can be reached from the root
	nodeLost                // and it cannot
	nodePassed              // on the way that is gone at the moment
)

func (n *node) ref() meta.Ref { return meta.Ref{Home: n.home, Ino: n.ino} }

func (n *node) is(flag uint8) bool { return n.flags&flag != 0 }

// nodes are all inodes, found by number. They stand in blocks, so that they need not be
// copied as they become more.
type nodes struct {
	at     map[meta.Ino]uint32
	blocks [][]node
}

const nodesInBlock = 1 << 14

// add returns a new node of that number; false when there is one already.
func (t *nodes) add(ino meta.Ino) (*node, bool) {
	if t.at == nil {
		t.at = map[meta.Ino]uint32{}
	}
	if _, ok := t.at[ino]; ok {
		return nil, false
	}
	n := uint32(len(t.at))
	t.at[ino] = n
	if n%nodesInBlock == 0 {
		t.blocks = append(t.blocks, make([]node, nodesInBlock))
	}
	p := t.index(n)
	p.ino = ino
	return p, true
}

func (t *nodes) index(n uint32) *node { return &t.blocks[n/nodesInBlock][n%nodesInBlock] }

// get returns the node of a number; nil when there is none.
func (t *nodes) get(ino meta.Ino) *node {
	n, ok := t.at[ino]
	if !ok {
		return nil
	}
	return t.index(n)
}

// each calls fn for all nodes, in the order in which they came.
func (t *nodes) each(fn func(*node)) {
	for n := range uint32(len(t.at)) {
		fn(t.index(n))
	}
}
