package volume

import (
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/heaptest"
	"github.com/hushfs/hushfs/store/mem"
)

// What somebody sealed with the right key must be got whole to tell that it is nobody's.
// However much of it there is, as large as a commit may be, little of it is in memory at
// a time: for who is new, who writes over it, and who comes back.
func TestLargeDeadSlots(t *testing.T) {
	const n, size, most = 600, chain.MaxCommit / 2, 128 << 20 // of 300 MiB
	b := &shelf{Bucket: mem.New()}
	w := &world{t: t}
	machine := func(name string) *machine {
		m := w.machine(name)
		m.bucket = b
		return m
	}
	w.laptop = machine("laptop")
	w.unlock, w.vol = makeDrive(t, b, w.laptop.state())
	if err := b.takeOver(w.vol); err != nil {
		t.Fatal(err)
	}
	w.laptop.unlock = w.unlock
	desk := machine("desk")
	as(w.laptop, write("a", "1"), drained)
	as(desk, read("a", "1"), write("z", "1"), drained, lock)
	as(w.laptop, upToDate)
	l := seen(w, b, w.laptop)
	junk, _, err := crypt.NewSealer(l.Chain.Key, w.vol, crypt.TypeCommit, l.Chain.Epoch).Seal(nil, make([]byte, size))
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := b.fill(l.Next+chain.Slot(i), junk); err != nil { // one for all: they take no memory themselves
			t.Fatal(err)
		}
	}
	stage := func(what string, fn func()) {
		t.Helper()
		grown := heaptest.Peak(fn)
		t.Logf("%s: the heap grew by %d MiB", what, grown>>20)
		if grown > most {
			t.Errorf("%s: the heap grew by %d MiB, for %d dead slots of %d KiB", what, grown>>20, n, size>>10)
		}
	}
	stage("a new machine reads", func() { as(machine("new"), read("a", "1"), stateOf(0, n, t), lock) })
	stage("a machine that was there writes over them", func() { as(w.laptop, write("b", "1"), drained) })
	stage("one that was away comes back", func() { as(desk, read("b", "1"), stateOf(n, 0, t)) })
}
