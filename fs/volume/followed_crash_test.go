package volume

import (
	"testing"

	"github.com/hushfs/hushfs/fs/journal"
)

// A machine is killed after it followed another's slot and before what stands for its
// operations is on the disk with them. The operations had not been acknowledged, and are
// gone; the next ones get their numbers, and mean what they say.
func TestKilledBeforeFollowedIsWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	as(w.laptop, write("a", "base"), write("b", "base"), fsync("b"), drained)
	desk := w.machine("desk")
	as(desk, write("a", "theirs"), fsync("a"), drained)

	as(w.laptop, write("a", "mine"))
	m := w.laptop
	if err := m.v.gather(); err != nil {
		t.Fatal(err)
	}
	killed := false
	m.step = func(name string) {
		if name == "sync.followed" {
			killed = true
			m.v.mu.Lock()
			m.v.queue = nil
			m.v.mu.Unlock()
			_ = m.v.journal.Close()
		}
	}
	if err := m.v.sync.CatchUp(t.Context()); !killed {
		t.Fatalf("killed: %v, %v", killed, err)
	}
	m.step = nil
	m.crash()
	as(m, read("a", "theirs"), write("b", "new"), write("c", "more"), fsync("b"), fsync("c"))
	m.crash()
	as(m, read("b", "new"), read("c", "more"), read("a", "theirs"), drained)
	as(desk, drained, func(m *machine) error { return m.v.sync.CatchUp(t.Context()) }, read("b", "new"), read("c", "more"), read("a", "theirs"))
	if desk.v.Status().Conflicts != 0 {
		t.Error("a conflict of what was never acknowledged")
	}
}

// What was written of a slot in several records counts when all are there. One that was
// begun before a kill is not completed by what the next process writes.
func TestFollowedInPartIsForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.laptop
	as(m, write("a", "base"), drained, write("a", "mine"), fsync("a"))
	last := m.v.lastOp()
	pos, err := m.v.journal.Append(journal.Followed(journal.FollowedRecord{Slot: m.v.view.Slot(), More: true, Replaced: []journal.Replaced{{No: last}}}))
	if err == nil {
		err = m.v.journal.Sync(pos)
	}
	if err != nil {
		t.Fatal(err)
	}
	m.crash()
	as(m, read("a", "mine"), write("b", "more"), fsync("b"))
	m.crash()
	as(m, read("a", "mine"), read("b", "more"), drained)
}
