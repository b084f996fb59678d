package fs

import (
	"math/rand/v2"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// TestNodesAgainstAModel does random look-ups, forgets and renewals and compares
// with the rules told plainly: a node lives while the kernel has look-ups of it,
// no id is used twice, and an inode's current node is the one made last.
func TestNodesAgainstAModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	type known struct {
		ref     meta.Ref
		lookups uint64
	}
	table, model := newNodes(), map[uint64]*known{}
	current := map[meta.Ino]uint64{}
	used := map[uint64]bool{rootID: true}
	ref := func() meta.Ref { return meta.Ref{Home: meta.Root, Ino: meta.Ino(2 + r.IntN(20))} }
	for range 20000 {
		switch r.IntN(10) {
		case 0, 1, 2, 3, 4:
			x := ref()
			id := table.lookup(x, rootID, "name")
			if want, ok := current[x.Ino]; ok && id != want {
				t.Fatalf("inode %d became node %d, had %d", x.Ino, id, want)
			} else if !ok {
				if used[id] {
					t.Fatalf("node id %d was used before", id)
				}
				used[id], current[x.Ino], model[id] = true, id, &known{ref: x}
			}
			model[id].lookups++
		case 5, 6, 7, 8:
			for id, k := range model { // any one
				n := 1 + r.Uint64N(k.lookups)
				table.forget(id, n)
				if k.lookups -= n; k.lookups == 0 {
					delete(model, id)
					if current[k.ref.Ino] == id {
						delete(current, k.ref.Ino)
					}
				}
				break
			}
		case 9:
			x := ref()
			if old, ok := table.renew(x.Ino); ok != (current[x.Ino] != 0) || ok && old.id != current[x.Ino] {
				t.Fatalf("renew of inode %d gave %d, %v; its node was %d", x.Ino, old.id, ok, current[x.Ino])
			}
			delete(current, x.Ino)
		}
		for id := range used {
			got, ok := table.ref(id)
			k := model[id]
			if id != rootID && (ok != (k != nil) || ok && got != k.ref) {
				t.Fatalf("node %d is %v, %v; the model has %v", id, got, ok, k)
			}
		}
		if len(used) > 300 {
			clear(used) // keeps the check quick; ids only grow
			used[rootID] = true
			for id := range model {
				used[id] = true
			}
		}
	}
}

func TestTheRootIsNeverForgotten(t *testing.T) {
	table := newNodes()
	table.forget(rootID, 1000)
	if _, ok := table.renew(meta.Root); !ok {
		t.Fatal("the root has no node")
	}
	if ref, ok := table.ref(rootID); !ok || ref != meta.RootRef {
		t.Fatalf("the root is %v, %v", ref, ok)
	}
	if id, ok := table.current(meta.Root); !ok || id != rootID {
		t.Fatalf("the root's node is %d, %v", id, ok)
	}
}

func TestALateRequestFindsNoNode(t *testing.T) {
	table := newNodes()
	id := table.lookup(meta.Ref{Home: meta.Root, Ino: 7}, rootID, "a")
	table.forget(id, 1)
	if _, ok := table.ref(id); ok {
		t.Error("a forgotten node is still there")
	}
	table.forget(id, 1) // the kernel may be late with this too
	if again := table.lookup(meta.Ref{Home: meta.Root, Ino: 7}, rootID, "a"); again == id {
		t.Error("a node id was used twice")
	}
}
