package volume

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/hushfs/hushfs/fs/journal"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/view"
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

// What stands for one operation may be longer than a record of the journal: it goes on in
// the next.
func TestOperationOfSeveralRecords(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.laptop
	as(m, write("a", "1"), drained, write("a", "2"), fsync("a"))
	_, _, a, err := m.find("a")
	if err != nil {
		t.Fatal(err)
	}
	const attributes = 60
	var steps []meta.Change
	name := func(i int) []byte { return fmt.Appendf(nil, "user.%d", i) }
	for i := range attributes {
		steps = append(steps, &meta.Setxattr{Ref: a.Ref, Name: name(i), Value: bytes.Repeat([]byte{byte(i)}, meta.MaxXattr)})
	}
	at := meta.Stamp{Device: m.v.device, No: m.v.lastOp(), Time: m.v.Now()}
	f := &followed{slot: m.v.view.Slot(), replaced: view.Instead(at, steps)}
	pos, err := f.write(m.v.journal)
	if err == nil {
		err = m.v.journal.Sync(pos)
	}
	if err != nil {
		t.Fatal(err)
	}
	m.crash()
	m.mustOpen()
	for i := range attributes {
		if v, err := m.v.Xattr(t.Context(), a.Ref, name(i)); err != nil || !bytes.Equal(v, steps[i].(*meta.Setxattr).Value) {
			t.Errorf("attribute %d: %d bytes, %v", i, len(v), err)
		}
	}
}

// Of what stands for one operation in several records of the journal, one is damaged: it
// does not count in part. The operation is what it was, and the others are as they became.
func TestOperationOfSeveralRecordsIsDamaged(t *testing.T) {
	t.Parallel()
	for lost := range 3 {
		w := newWorld(t)
		m := w.laptop
		as(m, write("a", "1"), drained)
		before := steps(m, write("b", "2"))[0]
		_, _, a, err := m.find("a")
		if err != nil {
			t.Fatal(err)
		}
		const attributes = 45
		var all []meta.Change
		for i := range attributes {
			all = append(all, &meta.Setxattr{Ref: a.Ref, Name: fmt.Appendf(nil, "user.%d", i), Value: bytes.Repeat([]byte{byte(i)}, meta.MaxXattr)})
		}
		at := meta.Stamp{Device: m.v.device, No: m.v.lastOp(), Time: m.v.Now()}
		f := &followed{slot: m.v.view.Slot(), replaced: view.Instead(at, all)}
		pos, err := f.write(m.v.journal)
		if err == nil {
			err = m.v.journal.Sync(pos)
		}
		if err != nil {
			t.Fatal(err)
		}
		_, records := m.records()
		if n := len(records) - before; n != 3 {
			t.Fatalf("%d records", n)
		}
		steps(m, write("c", "3"), write("d", "4")) // they say that it was on the disk
		m.crash()
		m.damage(before + lost)
		as(m, read("b", "2"), read("c", "3"))
		for i := range attributes {
			if v, err := m.v.Xattr(t.Context(), a.Ref, fmt.Appendf(nil, "user.%d", i)); !errors.Is(err, meta.ErrNoAttr) {
				t.Errorf("without record %d, attribute %d: %d bytes, %v", lost, i, len(v), err)
			}
		}
	}
}

// What stands for an operation fits only in part, as what is before it in the journal is
// damaged: the drive is mounted, and what was written is there.
func TestStepsFitInPart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.laptop
	as(m, write("a", "1"), drained)
	ends := steps(m, mkdir("lost"), write("b", "kept"))
	_, _, a, err := m.find("a")
	if err != nil {
		t.Fatal(err)
	}
	_, _, b, err := m.find("b")
	if err != nil {
		t.Fatal(err)
	}
	gone := b.Ref
	gone.Ino += 100
	at := meta.Stamp{Device: m.v.device, No: m.v.lastOp(), Time: m.v.Now()}
	f := &followed{slot: m.v.view.Slot(), replaced: view.Instead(at, []meta.Change{
		&meta.Setxattr{Ref: a.Ref, Name: []byte("user.x"), Value: []byte("1")},
		&meta.Setxattr{Ref: gone, Name: []byte("user.x"), Value: []byte("1")},
	})}
	place := journal.Placed(journal.PlaceRecord{No: 1, Ref: a.Ref, Parent: meta.RootRef, Name: []byte("a")})
	pos, err := m.v.journal.Append(place)
	if err == nil {
		pos, err = f.write(m.v.journal)
	}
	if err == nil {
		err = m.v.journal.Sync(pos)
	}
	if err != nil {
		t.Fatal(err)
	}
	steps(m, write("c", "3"), write("d", "4")) // they say that it was on the disk
	m.crash()
	m.damage(ends[1]) // no operation is lost
	as(m, read("a", "1"), read("c", "3"))
	found := false
	list, _ := m.list("")
	for _, name := range list {
		_, _, a, err := m.find(name)
		if err != nil || a.Inode.Kind != meta.File {
			continue
		}
		got, err := m.content(a)
		if err != nil {
			t.Fatal(err)
		}
		found = found || string(got) == "kept"
	}
	if !found {
		t.Errorf("what was written is in none of %q", list)
	}
}
