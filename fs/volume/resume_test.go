package volume

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
)

// A machine that was asleep tries at once what had to wait for its next try.
func TestResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		as(w.laptop, write("a", "1"), drained)
		w.laptop.run()
		w.faults.Add(fault.On(fault.Put, 1, fault.Fail(store.ErrUnavailable)).Onwards())
		as(w.laptop, write("b", "2"))
		time.Sleep(10 * time.Minute) // virtual: by now it is tried every 30 s
		next := w.laptop.v.Status().NextTry
		if until := time.Until(next); until < time.Second {
			time.Sleep(until + time.Second)
			next = w.laptop.v.Status().NextTry
		}
		w.faults.Clear()
		w.laptop.v.Resumed()
		synctest.Wait()
		if s := w.laptop.v.Status(); !s.Stored {
			t.Errorf("it still waits for %v: %+v", next, s)
		}
		as(w.laptop, drained)
	})
}

// What is in memory is in the journal after Save: of files that are open, too.
func TestSave(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("a", "1"), drained)
	as(w.laptop, func(m *machine) error {
		a, err := m.touch("b")
		if err != nil {
			return err
		}
		if err := m.v.Write(t.Context(), a.Ref, 0, []byte("not closed")); err != nil {
			return err
		}
		return m.v.Save(t.Context())
	})
	w.laptop.crash()
	as(w.laptop, read("b", "not closed"), read("a", "1"))
	if _, err := w.laptop.v.Lookup(t.Context(), meta.RootRef, []byte("b")); err != nil {
		t.Error(err)
	}
}
