package fs

import (
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
)

// A file that is open, and holds what it held, is one for the kernel, also after a machine
// that slept went on from where others are: two nodes of one file have a cache each. One
// that holds something else is another.
func TestOneNodeOfWhatIsOpen(t *testing.T) {
	n, s := notifying(t, &told{})
	file, as := meta.Ref{Home: 1, Ino: 7}, meta.Ref{Home: 1, Ino: 1<<63 | 1}
	find := func() uint64 {
		id, ok := s.nodes.lookup(file, false, place{meta.RootRef, "f"}, s.nodes.now())
		if !ok {
			t.Fatal("it is not found")
		}
		return id
	}
	id := find()
	open, _, _ := s.nodes.opening(id)
	if !s.nodes.hold(open, as) {
		t.Fatal("it cannot be opened")
	}
	n.Changed(volume.Change{All: true, Amended: []meta.Ref{file}})
	if again := find(); again != id {
		t.Errorf("what is open as node %d is found as node %d", id, again)
	}
	if ino, renew := s.nodes.release(open); ino != file.Ino || !renew {
		t.Error("closed, it keeps the times that the kernel has")
	}
	if !s.nodes.hold(open, as) {
		t.Fatal("it cannot be opened again")
	}
	n.Changed(volume.Change{All: true, Renewed: []meta.Ref{file}})
	if again := find(); again == id {
		t.Error("who opens what it is now gets what it was")
	}
}

// A directory that was removed here leads nowhere any more, for the kernel: one that is there
// again gets another node, and one that was not removed in the end keeps its own.
func TestNodeOfADirectoryThatIsBack(t *testing.T) {
	dir := meta.Ref{Home: 1, Ino: 8}
	removed := volume.Attr{Ref: dir, Inode: &meta.Inode{Kind: meta.Dir}}
	for _, change := range []volume.Change{{Amended: []meta.Ref{dir}}, {All: true}} {
		n, s := notifying(t, &told{})
		find := func() uint64 {
			id, ok := s.nodes.lookup(dir, true, place{meta.RootRef, "d"}, s.nodes.now())
			if !ok {
				t.Fatal("it is not found")
			}
			return id
		}
		id := find()
		if n.Changed(change); find() != id {
			t.Errorf("%v: another node, though it is where it was", change)
		}
		back := s.nodes.left(removed)
		if n.Changed(change); s.nodes.of(dir.Ino) != nil {
			t.Errorf("%v: it is found by the node that was removed", change)
		}
		if back(); find() != id {
			t.Errorf("%v: another node, though it was not removed in the end", change)
		}
		s.nodes.left(removed)
		if n.Changed(change); find() == id {
			t.Errorf("%v: it is found by the node that was removed", change)
		}
		if back(); find() == id {
			t.Errorf("%v: what was removed since is not", change)
		}
	}
}
