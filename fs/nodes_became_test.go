package fs

import (
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
)

// A file that becomes another inode while a program opens it is that for the kernel too: who
// looks it up has no other node of it, with a cache of its own.
func TestNodeOfWhatBecomesAnotherWhileItIsOpened(t *testing.T) {
	n, s := notifying(t, &told{})
	file, is, as := meta.Ref{Home: 1, Ino: 7}, meta.Ref{Home: 1, Ino: 9}, meta.Ref{Home: 1, Ino: 1<<63 | 1}
	at := place{meta.RootRef, "f"}
	id, _ := s.nodes.lookup(file, false, at, s.nodes.now())
	open, _, ok := s.nodes.opening(id)
	if !ok {
		t.Fatal("it cannot be opened")
	}
	n.Became([]meta.Ref{as}, file, is) // the volume has said how it is called
	if !s.nodes.hold(open, as) {
		t.Fatal("the node is none of it any more")
	}
	n.Changed(volume.Change{Gone: []volume.Attr{{Ref: file, Inode: &meta.Inode{Kind: meta.File}}}, Amended: []meta.Ref{is}})
	if again, _ := s.nodes.lookup(is, false, at, s.nodes.now()); again != id {
		t.Errorf("it is open as node %d, and found as node %d", id, again)
	}
}
