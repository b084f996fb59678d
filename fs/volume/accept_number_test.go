package volume

import (
	"testing"

	"github.com/hushfs/hushfs/fs/chain"
)

// What was a device only in commits that the store lost may have the number of another
// when that is accepted, and number its inodes and operations from 1 on again. What waits
// finds nothing of the other's by a number that was its own.
func TestAcceptWhereAnotherHasTheNumber(t *testing.T) {
	t.Run("little is missing", func(t *testing.T) { anotherHasTheNumber(t, 0) })
	t.Run("more than is remembered", func(t *testing.T) { anotherHasTheNumber(t, chain.RememberedMax+4) })
}

// anotherHasTheNumber has so many more commits be missing, behind two checkpoints.
func anotherHasTheNumber(t *testing.T, more int) {
	w := newWorld(t)
	as(w.laptop, write("shared", "base"), drained)
	old := w.objects.Clone()
	desk := w.machine("desk")
	// Both do the same, so that all their numbers are the same.
	same := func(m *machine) {
		as(m, mkdir("of "+m.name), write("of "+m.name+"/x", m.name+" made x"), drained)
		as(m, rewrite("shared", m.name+" wrote"), drained)
		for i := range more {
			as(m, rewrite("shared", m.name+" wrote"), drained)
			if i < 2 {
				as(m, write(m.name, "1"), drained, folded)
			}
		}
	}
	same(desk)
	as(desk, patched("shared", 0, "DESK"), fsync("shared"))
	as(desk, patched("of desk/x", 0, "DESK"), fsync("of desk/x"))
	as(desk, write("of desk/y", "desk made y"), fsync("of desk/y"))
	as(desk, write("top", "desk made top"), fsync("top"))
	as(desk, rename("of desk/x", "moved"), unlink("of desk/y"))
	if err := desk.v.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, was, _ := desk.v.state.Device()
	_, _, x, err := desk.find("moved")
	if err != nil {
		t.Fatal(err)
	}
	desk.crash()
	w.laptop.crash()

	phone, fresh := w.machine("phone"), w.machine("new")
	phone.bucket, desk.bucket, fresh.bucket = old, old, old
	same(phone)
	_, _, theirs, err := phone.find("of phone/x")
	if err != nil {
		t.Fatal(err)
	}
	if _, no, _ := phone.v.state.Device(); no != was || theirs.Ref.Ino != x.Ref.Ino {
		t.Fatalf("device %d and inode %d, which were %d and %d: this shows nothing", no, theirs.Ref.Ino, was, x.Ref.Ino)
	}
	desk.mustAccept()
	as(desk, drained)
	for _, m := range []*machine{desk, fresh} {
		as(m, read("shared", "phone wrote"), read("of phone/x", "phone made x"), read("top", "desk made top"), missing("moved"))
	}
	if _, no, _ := desk.v.state.Device(); no == was {
		t.Errorf("it is device %d again", no)
	}
}

// Nor where it gets its own number again.
func TestAcceptWithTheSameNumber(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("shared", "base"), drained)
	old := w.objects.Clone()
	desk := w.machine("desk")
	as(desk, mkdir("d"), write("d/a", "1"), drained)
	as(desk, write("d/b", "2"), fsync("d/b"), write("top", "3"), fsync("top"))
	_, was, _ := desk.v.state.Device()
	desk.crash()
	w.laptop.crash()
	fresh := w.machine("new")
	desk.bucket, fresh.bucket = old, old
	desk.mustAccept()
	as(desk, drained)
	if _, no, _ := desk.v.state.Device(); no != was {
		t.Fatalf("device %d, which was %d: this shows nothing", no, was)
	}
	for _, m := range []*machine{desk, fresh} {
		as(m, read("top", "3"), read("shared", "base"), missing("d"))
		var kept bool
		for _, f := range m.files(map[uint64]string{}) {
			kept = kept || f.content == "2"
		}
		if !kept {
			t.Errorf("%s: what waited for a folder that is gone is nowhere in\n%s", m.name, m.tree())
		}
	}
}
