package volume

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/fs/journal"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
)

var big = strings.Repeat("0123456789abcdef", 400<<10/16) // more than goes inline

func TestEverythingIsInTheStoreAfterLock(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, mkdir("d"), write("d/a", "1"), write("b", big), rename("b", "d/b"), write("c", "gone"), unlink("c"))
	was := w.laptop.tree()
	as(w.laptop, lock)

	as(w.laptop, read("d/a", "1"), read("d/b", big), missing("c"))
	if got := w.laptop.tree(); got != was {
		t.Errorf("after a lock:\n%s\nbefore:\n%s", got, was)
	}
	w.laptop.forget()
	as(w.laptop, read("d/a", "1"), read("d/b", big))
	desk := w.machine("desktop")
	as(desk, read("d/a", "1"), write("d/a", "2"), lock)
	if number := desk.number(); number != 2 {
		t.Errorf("desktop is device %d", number)
	}
	// The laptop has no state any more: it is a new device.
	as(w.laptop, write("e", "3"), lock)
	if number := w.laptop.number(); number != 3 {
		t.Errorf("laptop is device %d", number)
	}
	desk.crash()
	as(desk, read("d/a", "2"), read("e", "3"))
}

// number is the device number that the machine comes to.
func (m *machine) number() int {
	m.t.Helper()
	m.mustOpen()
	return m.v.Status().Device
}

func TestFsyncedSurvivesCrash(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("small", "inline"), fsync("small"), write("large", big), fsync("large"))
	was := w.laptop.tree()
	as(w.laptop, write("late", "not synced"))
	w.laptop.crash()
	as(w.laptop, read("small", "inline"), read("large", big), missing("late"))
	if got := w.laptop.tree(); got != was {
		t.Errorf("replayed:\n%s\nbefore:\n%s", got, was)
	}
	as(w.laptop, lock)
	desk := w.machine("desktop")
	as(desk, read("small", "inline"), read("large", big))
	if got := desk.tree(); got != was {
		t.Errorf("elsewhere:\n%s\nbefore:\n%s", got, was)
	}
}

func TestUnsyncedReachesTheJournalWithinFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.faults.Add(fault.On(fault.Put, 0, fault.Fail(store.ErrUnavailable)))
		w.laptop.run()
		as(w.laptop, mkdir("d"))
		// No close, no fsync: what a program has open for long.
		m := w.laptop
		a, err := m.touch("d/log")
		if err != nil {
			t.Fatal(err)
		}
		if err := m.v.Write(t.Context(), a.Ref, 0, []byte("line")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		m.crash()
		as(m, read("d/log", "line"))
	})
}

func TestRunPublishesByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.laptop.run()
		as(w.laptop, write("a", big))
		time.Sleep(2 * longIdle)
		synctest.Wait()
		if s := w.laptop.v.Status(); !s.Stored || s.PendingOps != 0 {
			t.Errorf("status %+v", s)
		}
		desk := w.machine("desktop")
		as(desk, read("a", big))
		w.laptop.halt()
	})
}

// longIdle is longer than what is pending waits to be published.
const longIdle = 6 * time.Second

func TestWaitStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.laptop.run()
		as(w.laptop, write("a", "1"))
		if err := w.laptop.v.WaitStored(t.Context()); err != nil {
			t.Fatal(err)
		}
		as(w.machine("desktop"), read("a", "1"))
		as(w.laptop, write("a", "2"))
		w.laptop.halt()
		// Nobody publishes: that must be said, not waited for.
		if err := w.laptop.v.WaitStored(t.Context()); err == nil {
			t.Error("stored by nobody")
		}
	})
}

func TestShutdownWithDeadStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, action := range map[string]fault.Action{"refuses": fault.Fail(store.ErrUnavailable), "hangs": fault.Hang} {
			w := newWorld(t)
			w.laptop.run()
			as(w.laptop, write("a", big), write("b", "1"))
			w.faults.Add(fault.On(fault.Put, 0, action))
			begin := time.Now()
			err := w.laptop.shut(10 * time.Second)
			var left *Undrained
			if !errors.As(err, &left) || !errors.Is(err, ErrUndrained) || left.Ops == 0 || left.Lost != 0 {
				t.Errorf("store %s: %v", name, err)
			}
			if d := time.Since(begin); d > 11*time.Second {
				t.Errorf("store %s: took %v", name, d)
			}
			w.faults.Clear()
			as(w.laptop, read("a", big), lock)
			as(w.machine("desktop"), read("a", big), read("b", "1"))
		}
	})
}

func TestShutdownWithoutRun(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("a", "1"), lock)
	as(w.machine("desktop"), read("a", "1"))
}

func TestNothingIsTakenAfterShutdown(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("a", "1"))
	v := w.laptop.v
	as(w.laptop, lock)
	root := meta.RootRef
	for name, err := range map[string]error{
		"unlink":   v.Unlink(t.Context(), root, []byte("a")),
		"rename":   v.Rename(t.Context(), root, []byte("a"), root, []byte("b"), 0),
		"setattr":  v.Setattr(t.Context(), root, meta.Setattr{Valid: meta.SetPerm, Perm: 0o700}),
		"run":      v.Run(t.Context()),
		"shutdown": v.Shutdown(t.Context()),
	} {
		if name == "run" && err != nil || name != "run" && !errors.Is(err, ErrShutdown) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReadOnlyWritesNothing(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("a", "1"), fsync("a"))
	w.laptop.crash()
	puts := w.faults.Counts()[fault.Put]
	w.laptop.ro = true
	synctest.Test(t, func(t *testing.T) {
		w.laptop.run()
		time.Sleep(time.Minute)
		synctest.Wait()
		as(w.laptop, read("a", "1"), refuses(write("a", "2"), ErrReadOnly))
		if err := w.laptop.v.WaitStored(t.Context()); !errors.Is(err, ErrReadOnly) {
			t.Errorf("wait: %v", err)
		}
		if err := w.laptop.shut(time.Minute); err != nil {
			t.Errorf("lock: %v", err)
		}
	})
	if n := w.faults.Counts()[fault.Put] - puts; n != 0 {
		t.Errorf("%d objects were written", n)
	}
	w.laptop.ro = false
	as(w.laptop, read("a", "1"), lock)
}

func TestTemporaryFilesAreNotUploaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m := w.laptop
		m.run()
		a, err := m.touch("tmp")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.v.Open(context.Background(), a.Ref, true); err != nil {
			t.Fatal(err)
		}
		if err := m.v.Write(t.Context(), a.Ref, 0, make([]byte, 5<<20)); err != nil {
			t.Fatal(err)
		}
		if err := m.v.SetXattr(t.Context(), a.Ref, []byte("user.a"), []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
		as(m, unlink("tmp"))
		if err := m.v.WaitStored(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		// Open, it still has all that it had.
		got := make([]byte, 5<<20)
		if n, err := m.v.Read(t.Context(), a.Ref, 0, got); n != len(got) || err != nil {
			t.Errorf("read %d bytes: %v", n, err)
		}
		if x, err := m.v.Xattr(context.Background(), a.Ref, []byte("user.a")); string(x) != "1" {
			t.Errorf("attribute %q: %v", x, err)
		}
		if n := len(m.v.packs.Locals()); n != 1 {
			t.Errorf("%d packs while it is open", n)
		}
		m.v.Release(a.Ref)
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(m.v.packs.Locals()); n != 0 {
			t.Errorf("%d packs stay on the local disk", n)
		}
		if p := w.names("p"); len(p) != 0 {
			t.Errorf("uploaded: %v", p)
		}
		as(m, lock)
	})
}

func TestRefusedOperationLeavesFilesAlone(t *testing.T) {
	w := newWorld(t)
	m := w.laptop
	as(m, mkdir("d"), write("a", "1"), write("d/x", "2"))
	_, _, a, _ := m.find("a")
	if _, err := m.v.Open(context.Background(), a.Ref, true); err != nil {
		t.Fatal(err)
	}
	if err := m.v.Write(t.Context(), a.Ref, 1, []byte("2")); err != nil {
		t.Fatal(err)
	}
	as(m,
		refuses(rename("d", "a"), meta.ErrNotDir),
		refuses(rename("a", "d"), meta.ErrIsDir),
		func(m *machine) error {
			_, _, a, err := m.find("a")
			if err == nil && a.Inode.Nlink != 1 {
				return errors.New("it lost its name")
			}
			return err
		},
		read("a", "12"), lock)
	as(w.machine("desktop"), read("a", "12"))
}

func TestBrokenJournalTakesNoChange(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("a", "1"), fsync("a"))
	w.laptop.v.mu.Lock()
	w.laptop.v.queue = append(w.laptop.v.queue, queued{no: 1, op: &meta.Setattr{Ref: meta.RootRef, Valid: meta.KeepCtime}})
	w.laptop.v.mu.Unlock()
	as(w.laptop, refuses(fsync("a"), journal.ErrOrder), refuses(write("b", "2"), journal.ErrOrder))
	w.laptop.crash()
	as(w.laptop, read("a", "1"), missing("b"), write("b", "2"), lock)
}

func TestManyExtentsAndPacks(t *testing.T) {
	w := newWorld(t)
	m := w.laptop
	m.mustOpen()
	a, err := m.touch("sparse")
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 2*3000)
	for i := range 3000 {
		want[2*i] = byte(i) | 1
		if err := m.v.Write(t.Context(), a.Ref, uint64(2*i), want[2*i:2*i+1]); err != nil {
			t.Fatal(err)
		}
	}
	want = want[:len(want)-1]
	as(m, fsync("sparse"))
	m.crash()
	as(m, read("sparse", string(want)), lock)
	as(w.machine("desktop"), read("sparse", string(want)))
}
