package fs

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
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
			id, ok := table.lookup(x, false, place{meta.RootRef, "name"}, table.now())
			if !ok {
				t.Fatal("the turn of now is not the present one")
			}
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
			turn := table.now()
			if old, _, ok := table.renew(x.Ino); ok != (current[x.Ino] != 0) || ok && old != current[x.Ino] {
				t.Fatalf("renew of inode %d gave %d, %v; its node was %d", x.Ino, old, ok, current[x.Ino])
			} else if ok {
				if _, found := table.lookup(x, false, place{}, turn); found {
					t.Fatal("attributes from before a renewal were taken")
				}
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
	if _, _, ok := table.renew(meta.Root); !ok {
		t.Fatal("the root has no node")
	}
	if ref, ok := table.ref(rootID); !ok || ref != meta.RootRef {
		t.Fatalf("the root is %v, %v", ref, ok)
	}
	if id, _, dir, ok := table.current(meta.Root); !ok || !dir || id != rootID {
		t.Fatalf("the root's node is %d, %v, %v", id, dir, ok)
	}
}

func TestALateRequestFindsNoNode(t *testing.T) {
	table := newNodes()
	id, _ := table.lookup(meta.Ref{Home: meta.Root, Ino: 7}, false, place{meta.RootRef, "a"}, table.now())
	table.forget(id, 1)
	if _, ok := table.ref(id); ok {
		t.Error("a forgotten node is still there")
	}
	table.forget(id, 1) // the kernel may be late with this too
	if again, _ := table.lookup(meta.Ref{Home: meta.Root, Ino: 7}, false, place{meta.RootRef, "a"}, table.now()); again == id {
		t.Error("a node id was used twice")
	}
}

// A node stands for what is open through it, whatever the inode is by then.
func TestANodeKeepsWhatIsOpen(t *testing.T) {
	table := newNodes()
	file := meta.Ref{Home: meta.Root, Ino: 7}
	at, other := place{meta.RootRef, "a"}, place{meta.RootRef, "b"}
	id, _ := table.lookup(file, false, at, table.now())
	table.lookup(file, false, other, table.now())
	held := meta.Ref{Home: meta.Root, Ino: 1 << 63}
	n, ref, ok := table.opening(id)
	if !ok || ref != file || !table.hold(n, held) {
		t.Fatalf("opened %v, %v", ref, ok)
	}
	if ref, _ := table.ref(id); ref != held {
		t.Errorf("the node is %v", ref)
	}
	if old, names, ok := table.renew(7); !ok || old != id || len(names) != 2 {
		t.Errorf("renewed %d, %v, %v", old, names, ok)
	}
	newer, _ := table.lookup(file, false, at, table.now())
	if newer == id {
		t.Error("the new content has the old node")
	}
	// Opened again through the old node it is what was opened before.
	if m, ref, ok := table.opening(id); !ok || m != n || ref != held || table.outdated(id) {
		t.Errorf("opened again: %v, %v", ref, ok)
	}
	// It becomes a copy, which is found by the same node.
	copied := meta.Ref{Home: meta.Root, Ino: 9}
	if ids, names := table.became([]meta.Ref{held}, file, copied); len(ids) != 1 || ids[0] != id || len(names) != 2 {
		t.Errorf("became %v, %v", ids, names)
	}
	if again, _ := table.lookup(copied, false, place{meta.RootRef, "copy"}, table.now()); again != id {
		t.Errorf("the copy is node %d, open as %d", again, id)
	}
	if now, _ := table.lookup(file, false, at, table.now()); now != newer {
		t.Errorf("the file is node %d, was %d", now, newer)
	}
	if _, renew := table.release(n); renew {
		t.Error("nothing was amended")
	}
	if ref, _ := table.ref(id); ref != copied {
		t.Errorf("closed, the node is %v", ref)
	}
	// A node that is not open any more is opened no more once there is another.
	table.renew(9)
	if _, _, ok := table.opening(id); ok || !table.outdated(id) {
		t.Error("an earlier content was opened")
	}
	if table.hold(n, held) {
		t.Error("an earlier content is held")
	}
}

// Other times of a file that is open are shown when it is closed.
func TestAmendedWhileOpen(t *testing.T) {
	table := newNodes()
	id, _ := table.lookup(meta.Ref{Home: meta.Root, Ino: 7}, false, place{meta.RootRef, "a"}, table.now())
	if table.amend(7) {
		t.Error("nobody has it open")
	}
	n, ref, _ := table.opening(id)
	table.hold(n, ref)
	table.hold(n, ref)
	if !table.amend(7) {
		t.Error("it is open")
	}
	if _, renew := table.release(n); renew {
		t.Error("it is open still")
	}
	if ino, renew := table.release(n); !renew || ino != 7 {
		t.Errorf("closed: %d, %v", ino, renew)
	}
}

// Since a WRITE that failed, a file that is open has two nodes: the one through which it is
// open, and the one by which the kernel looks it up now. Both are the file, and both go
// with it where it becomes another one.
func TestTwoNodesOfOneFile(t *testing.T) {
	table := newNodes()
	ref, held := meta.Ref{Home: meta.Root, Ino: 7}, meta.Ref{Home: meta.Root, Ino: 1 << 63}
	name := place{meta.RootRef, "f"}
	find := func(ref meta.Ref) uint64 {
		t.Helper()
		id, ok := table.lookup(ref, false, name, table.now())
		if !ok {
			t.Fatal("not found")
		}
		return id
	}
	open := func(id uint64) *node {
		t.Helper()
		n, _, ok := table.opening(id)
		if !ok || !table.hold(n, held) {
			t.Fatalf("node %d is not opened", id)
		}
		return n
	}
	first := find(ref)
	a := open(first)
	if _, at, ok := table.renew(ref.Ino); !ok || len(at) != 1 {
		t.Fatalf("renewed: %v, %v", at, ok)
	}
	second := find(ref)
	if second == first {
		t.Fatal("the kernel has not to ask for the size again")
	}
	b := open(second)
	for _, id := range []uint64{first, second} {
		if got, ok := table.ref(id); !ok || got != held {
			t.Errorf("node %d is %v", id, got)
		}
	}
	copied := meta.Ref{Home: meta.Root, Ino: 8}
	ids, _ := table.became([]meta.Ref{held}, ref, copied)
	if len(ids) != 2 {
		t.Errorf("nodes %v go with what is open, of %d and %d", ids, first, second)
	}
	third := find(ref)
	if third == first || third == second {
		t.Error("by its name the file is what was open")
	}
	if got, _ := table.ref(third); got != ref {
		t.Errorf("by its name it is %v", got)
	}
	if id := find(copied); id != first && id != second {
		t.Error("the copy is a node of its own beside those who have it open")
	}
	for _, n := range []*node{a, b} {
		table.release(n)
	}
	for _, id := range []uint64{first, second, third} {
		table.forget(id, 9)
	}
	if table.byID.n != 1 || table.byIno.n != 1 || len(table.byID.pages) != 1 || len(table.byIno.pages) != 1 {
		t.Errorf("%d nodes of %d inodes are left", table.byID.n, table.byIno.n)
	}
}

// The kernel may know very many files that nobody has open.
func TestManyNodesTakeLittleMemory(t *testing.T) {
	const (
		files = 200_000
		most  = 110 // bytes of one of them
	)
	heap := func() uint64 {
		debug.FreeOSMemory()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	ref := func(i int) meta.Ref {
		return meta.Ref{Home: meta.MakeIno(1, uint64(i/500+2)), Ino: meta.MakeIno(1, uint64(i+1<<20))}
	}
	table := newNodes()
	empty := heap()
	for i := range files {
		r := ref(i)
		id, _ := table.lookup(r, false, place{meta.Ref{Home: meta.Root, Ino: r.Home}, fmt.Sprintf("IMG_%06d.jpg", i)}, table.now())
		n, as, _ := table.opening(id)
		table.hold(n, as)
		table.release(n)
	}
	each := int(heap()-empty) / files
	t.Logf("%d bytes for each", each)
	if each > most {
		t.Errorf("%d bytes for a node, at most %d are allowed", each, most)
	}
	for id := range table.next {
		table.forget(id, 1)
	}
	if table.byID.n != 1 || len(table.byID.pages) != 1 || table.byIno.n != 1 || len(table.byIno.pages) != 1 {
		t.Errorf("%d nodes of %d inodes are left", table.byID.n, table.byIno.n)
	}
	runtime.KeepAlive(table)
}
