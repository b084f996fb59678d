package volume

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/chain"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
	"github.com/hushfs/hushfs/store/mem"
)

// copySlots puts the commits of slots from one store into another, over what lies there.
func (w *world) copySlots(from, to *mem.Bucket, slots ...chain.Slot) {
	w.t.Helper()
	for _, s := range slots {
		b, err := from.Get(w.t.Context(), chain.SlotName(w.vol, s), 0, -1)
		if err != nil {
			w.t.Fatal(err)
		}
		to.Overwrite(chain.SlotName(w.vol, s), b)
	}
}

// forked is a drive whose laptop has slots 4 and on from the store, while desk went on
// from slot 3 with two commits in fork.
func forked(t *testing.T) (w *world, desk *machine, fork *mem.Bucket) {
	w = newWorld(t)
	desk = w.machine("desk")
	desk.near = 64 << 20
	as(w.laptop, write("before", "1"), lock) // slot 2
	as(desk, write("x", "1"), lock)          // slots 3 and 4
	as(w.laptop, read("x", "1"), lock)
	fork = w.objects.Clone()
	desk.bucket = fork
	as(desk, write("fork", "1"), drained, write("fork2", "2"), drained, lock) // slots 5 and 6
	as(w.laptop, write("a", "1"), drained, lock)                              // slot 5
	return w, desk, fork
}

// The first message that crosses is the end of it: both machines stop, keep the proof and
// name the other, also when the store takes it back; and a person who compared the heads
// with those of a third machine lets them go on.
func TestForkIsSettled(t *testing.T) {
	w, desk, fork := forked(t)
	third := w.machine("third")
	as(third, read("a", "1"))
	third.crash()
	w.copySlots(fork, w.objects, 6)

	as(w.laptop, write("b", "2"), fsync("b"), refuses(drained, publish.ErrFork))
	s := w.laptop.v.Status()
	evidence := w.look(w.objects, w.laptop.state())
	if len(evidence.Proofs) != 1 {
		t.Fatalf("proofs %v", evidence.Proofs)
	}
	p := evidence.Proofs[0]
	for _, word := range []string{"desk", p.Commit.String(), p.Prev.String(), p.Here.String(), "device 2"} {
		if !strings.Contains(s.Stopped, word) || !strings.Contains(w.laptop.log.String(), word) {
			t.Errorf("%q is not in the alarm: %s", word, s.Stopped)
		}
	}
	if p.Name != "desk" || p.Slot != 6 || evidence.Store.Slot != 5 {
		t.Errorf("%+v, store %d", p, evidence.Store.Slot)
	}
	w.laptop.crash()

	// The alarm outlives the mount, and the store's second thoughts.
	hidden := w.objects.Clone()
	if err := hidden.Delete(t.Context(), chain.SlotName(w.vol, 6)); err != nil {
		t.Fatal(err)
	}
	for _, b := range []*mem.Bucket{w.objects, hidden} {
		w.laptop.bucket = b
		as(w.laptop, read("b", "2"), refuses(drained, publish.ErrFork))
		if s := w.laptop.v.Status(); !strings.Contains(s.Stopped, "desk") || !strings.Contains(s.Stopped, p.Commit.String()) {
			t.Errorf("after mounting again: %q", s.Stopped)
		}
		w.laptop.crash()
	}
	w.laptop.bucket = w.faults

	// Words of the other history, of a time before the two parted, or made up, settle nothing.
	h := w.look(w.objects, w.laptop.state())
	before, ok, err := h.At(t.Context(), 4)
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	for name, words := range map[string][]string{
		"of the other":     w.look(fork, t.TempDir()).Store.Words,
		"from before":      before.Words,
		"of another place": h.Store.Words[1:],
	} {
		if n, err := h.Settle(words); !errors.Is(err, ErrFork) {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
	as(w.laptop, refuses(drained, publish.ErrFork))
	w.laptop.crash()

	// The third machine has the same words: its history is the laptop's.
	as(third, read("a", "1"))
	third.crash()
	said := w.look(hidden, third.state())
	if said.Store.Slot != 5 || !slices.Equal(said.Store.Words, h.Store.Words) {
		t.Fatalf("%v and %v", said.Store, h.Store)
	}
	if n, err := h.Settle(said.Store.Words); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	as(w.laptop, read("b", "2"), drained, missing("fork2"), lock)
	if names := folders(t, w.laptop.state()); !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "evidence-") }) {
		t.Error("the proof is gone")
	}
	// What goes on from the commit that was settled is no news.
	if h := w.look(w.objects, w.laptop.state()); len(h.Proofs) != 0 || h.Trouble != "" || h.Store.Slot != 7 {
		t.Errorf("%v, %q, slot %d", h.Proofs, h.Trouble, h.Store.Slot)
	}
	// The other history is refused there, and has to be given up.
	desk.bucket = w.faults
	if s := desk.setBack(); s.Missing.Slots != 2 || s.Same.Slot != 4 {
		t.Errorf("%v", s)
	}
	// The third one, which was shown it too, has to settle it by itself.
	as(third, refuses(write("c", "3"), publish.ErrFork))
	third.crash()
	h3 := w.look(w.objects, third.state())
	if n, err := h3.Settle(h.Store.Words); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	as(third, read("b", "2"), write("c", "3"), lock)
	as(w.laptop, read("c", "3"), lock)
}

// A commit that removes the device which signed it ends a fork for everybody.
func TestForkEndsWithTheDevice(t *testing.T) {
	w, _, fork := forked(t)
	third := w.machine("third")
	as(third, read("a", "1"))
	third.crash()
	w.copySlots(fork, w.objects, 6)
	as(w.laptop, write("b", "2"), fsync("b"), refuses(drained, publish.ErrFork))
	w.laptop.crash()
	as(third, refuses(drained, publish.ErrFork))
	third.crash()
	h := w.look(w.objects, third.state())
	if n, err := h.Settle(h.Store.Words); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	as(third, write("c", "3"), drained) // a commit of its own before the one that removes
	if err := third.v.RemoveDevices(t.Context(), []int{2}); err != nil {
		t.Fatal(err)
	}
	as(third, lock)
	// Nobody settled anything here.
	as(w.laptop, read("b", "2"), read("c", "3"), drained, missing("fork2"), lock)
	if h := w.look(w.objects, w.laptop.state()); len(h.Proofs) != 0 {
		t.Errorf("%v", h.Proofs)
	}
	as(third, read("b", "2"), lock)
}

// The store says that the slot of a commit is taken, keeps the commit, and shows it to
// another machine in place of what took the slot.
func TestForkBySwap(t *testing.T) {
	w := newWorld(t)
	desk, third := w.machine("desk"), w.machine("third")
	as(desk, write("x", "1"), lock)
	as(third, write("t", "0"), lock)
	as(desk, read("t", "0"), lock)
	as(w.laptop, read("x", "1"), write("mine", "1"), fsync("mine"))
	w.laptop.crash()
	next := w.look(w.objects, t.TempDir()).Store.Slot + 1
	swapped := w.objects.Clone() // what the third machine is shown
	as(desk, write("winner", "1"), lock)
	w.laptop.bucket = swapped // where the commit arrives that lost
	as(w.laptop, drained)
	w.laptop.crash()
	third.bucket = swapped
	as(third, read("mine", "1"), missing("winner"), lock)
	// Desk's next commit is the first that crosses.
	as(desk, write("next", "1"), lock)
	w.copySlots(w.objects, swapped, next+1)
	as(third, read("mine", "1"), missing("next"), write("t", "1"), refuses(drained, publish.ErrFork))
	if s := third.v.Status(); !strings.Contains(s.Stopped, "(desk)") {
		t.Errorf("%q", s.Stopped)
	}
	third.crash()
	// And the other way round.
	if err := swapped.Delete(t.Context(), chain.SlotName(w.vol, next+1)); err != nil {
		t.Fatal(err)
	}
	as(w.laptop, write("mine", "2"), drained, write("mine", "3"), drained)
	w.copySlots(swapped, w.objects, next+2)
	as(desk, write("d", "1"), refuses(drained, publish.ErrFork), read("winner", "1"))
	if s := desk.v.Status(); !strings.Contains(s.Stopped, "(laptop)") {
		t.Errorf("%q", s.Stopped)
	}
}

// The real answer to a 412: the machine follows what lies there, and does its own again.
func TestForkBySwapSeenByItsVictim(t *testing.T) {
	w := newWorld(t)
	desk := w.machine("desk")
	as(desk, write("x", "1"), lock)
	as(w.laptop, read("x", "1"), write("mine", "1"), fsync("mine"))
	winner := w.objects.Clone()
	desk.bucket = winner
	as(desk, write("winner", "1"), lock) // slot 4, which the laptop does not see yet
	swallowed := mem.New()
	w.faults.Add(fault.On(fault.Put, 1, func(ctx context.Context, r fault.Request) fault.Answer {
		swallowed.Overwrite(r.Name, slices.Clone(r.Data))
		w.copySlots(winner, w.objects, 4)
		for _, n := range winner.Names() {
			if b, err := winner.Get(ctx, n, 0, -1); err == nil {
				w.objects.Overwrite(n, b)
			}
		}
		return fault.Answer{Err: store.ErrExist}
	}).Prefix(chain.SlotName(w.vol, 4)))
	as(w.laptop, drained, read("winner", "1"), read("mine", "1"), lock) // slot 5
	// Shown to somebody else in place of slot 4, with what the laptop said next.
	lie := w.objects.Clone()
	w.copySlots(swallowed, lie, 4)
	desk.bucket = lie
	if err := desk.open(); !errors.Is(err, ErrFork) {
		t.Errorf("who has seen slot 4: %v", err)
	}
	new := w.machine("new")
	new.bucket = lie
	as(new, read("mine", "1"), missing("winner"), refuses(write("n", "1"), publish.ErrFork))
	if h := w.look(lie, new.state()); len(h.Proofs) != 1 || h.Proofs[0].Name != "laptop" {
		t.Errorf("%v", h.Proofs)
	}
}

// A reader seals what a writer signed again, in an envelope of its own: that is junk for
// everybody, and nobody applies anything twice.
func TestForkByAnotherEnvelope(t *testing.T) {
	w := newWorld(t)
	desk := w.machine("desk")
	as(desk, write("x", "1"), lock)
	as(w.laptop, read("x", "1"), write("a", "1"), drained, lock) // slot 4
	l := w.load()
	name := chain.SlotName(w.vol, 4)
	object, err := w.objects.Get(t.Context(), name, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	content, _, err := crypt.Open(l.Chain.Key, w.vol, crypt.TypeCommit, object)
	if err != nil {
		t.Fatal(err)
	}
	again, _, err := crypt.NewSealer(l.Chain.Key, w.vol, crypt.TypeCommit, l.Chain.Epoch).Seal(nil, content)
	if err != nil {
		t.Fatal(err)
	}
	lie := w.objects.Clone()
	lie.Overwrite(name, again)
	w.laptop.bucket = lie
	if s := w.laptop.setBack(); s.Fork || s.Missing.Slots != 1 {
		t.Errorf("its author: %v", s)
	}
	desk.bucket = lie
	as(desk, missing("a"), write("d", "1"), lock) // slot 5, on slot 3
	// That is another history to the author, and says so.
	w.laptop.bucket = w.faults
	w.copySlots(lie, w.objects, 5)
	as(w.laptop, read("a", "1"), missing("d"), write("b", "2"), refuses(drained, publish.ErrFork))
	if s := w.laptop.v.Status(); !strings.Contains(s.Stopped, "desk") {
		t.Errorf("%q", s.Stopped)
	}
}

// Two commits of one device for one slot, each shown to one machine; then the other one to
// the same machine, and what went on from it.
func TestForkByOneDevice(t *testing.T) {
	w := newWorld(t)
	one, two := w.machine("one"), w.machine("two")
	as(one, write("one", "1"), lock)
	as(two, write("two", "1"), lock)
	as(one, read("two", "1"), lock)
	as(w.laptop, read("two", "1"), lock)
	other, saved := w.objects.Clone(), t.TempDir()
	copyFolder(t, w.laptop.state(), saved)
	slot := w.look(w.objects, t.TempDir()).Store.Slot + 1
	as(w.laptop, write("a", "1"), drained)
	w.laptop.crash()
	w.laptop.restore(saved)
	w.laptop.bucket = other
	as(w.laptop, write("b", "1"), drained) // the same slot, the same operation numbers
	w.laptop.crash()

	two.bucket = other
	as(one, read("a", "1"), missing("b"), lock)
	as(two, read("b", "1"), missing("a"), lock)
	lie := w.objects.Clone()
	w.copySlots(other, lie, slot)
	one.bucket = lie
	if s := one.setBack(); !s.Fork || s.Seen.Slot != slot {
		t.Errorf("the same slot with the other content: %v", s)
	}
	as(two, write("two", "2"), drained, lock)
	w.copySlots(other, w.objects, slot+1)
	one.bucket = w.faults
	as(one, read("a", "1"), write("c", "1"), refuses(drained, publish.ErrFork))
	if s := one.v.Status(); !strings.Contains(s.Stopped, "(two)") {
		t.Errorf("%q", s.Stopped)
	}
}

// restore puts a copy back in the place of the machine's state: the same folder with an
// older content.
func (m *machine) restore(from string) {
	m.t.Helper()
	for _, n := range folders(m.t, m.state()) {
		if err := os.RemoveAll(filepath.Join(m.state(), n)); err != nil {
			m.t.Fatal(err)
		}
	}
	copyFolder(m.t, from, m.state())
}

// Words are compared slot by slot.
func TestComparingHeads(t *testing.T) {
	w, _, fork := forked(t)
	mine, theirs := w.look(w.objects, w.laptop.state()), w.look(fork, t.TempDir())
	if mine.Setback != nil || mine.Machine.Link != mine.Store.Link || len(mine.Store.Words) != 8 || mine.Store.Name != "laptop" {
		t.Errorf("%+v", mine)
	}
	if !mine.Store.Time.After(time.Now().Add(-time.Hour)) {
		t.Errorf("%v", mine.Store.Time)
	}
	for slot := chain.Slot(1); slot <= 5; slot++ {
		a, _, err := mine.At(t.Context(), slot)
		if err != nil {
			t.Fatal(err)
		}
		b, _, err := theirs.At(t.Context(), slot)
		if err != nil {
			t.Fatal(err)
		}
		if same := slices.Equal(a.Words, b.Words); same != (slot < 5) {
			t.Errorf("slot %d: %v", slot, same)
		}
		at, ok := mine.Find(b.Words)
		if ok != (slot < 5) || ok && at != slot {
			t.Errorf("slot %d is found at %d, %v", slot, at, ok)
		}
	}
	if _, ok, err := mine.At(t.Context(), 6); ok || err != nil {
		t.Errorf("slot 6: %v, %v", ok, err)
	}
	// Nothing was written by looking.
	as(w.laptop, read("a", "1"), lock)
}
