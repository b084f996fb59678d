package volume

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
)

func unneeded() meta.LockMode { return meta.LockNone }

// opens has a machine open a file whose locks are those of all.
func opens(t *testing.T, m *machine, path string) (as meta.Ref, release func()) {
	t.Helper()
	_, _, a, err := m.find(path)
	if err != nil {
		t.Fatal(err)
	}
	v := m.v
	if as, err = v.Open(t.Context(), a.Ref, true); err != nil {
		t.Fatal(err)
	}
	if !v.Following(as) {
		t.Fatal("it does not follow")
	}
	return as, func() { v.Release(as) }
}

// Machines that count in one file under its lock lose nothing, though they keep it open.
func TestLockedCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		desk := w.machine("desktop")
		as(w.laptop, write("n", "\x00\x00"), drained)
		w.laptop.run()
		desk.run()
		const each = 60
		var g sync.WaitGroup
		for _, m := range []*machine{w.laptop, desk} {
			at, release := opens(t, m, "n")
			g.Go(func() {
				defer release()
				for range each {
					if err := m.v.LockFile(t.Context(), at, meta.LockExclusive, true); err != nil {
						t.Error(err)
						return
					}
					b := make([]byte, 2)
					_, err := m.v.Read(t.Context(), at, 0, b)
					if b[1]++; err == nil {
						err = m.v.Write(t.Context(), at, 0, b)
					}
					if err != nil {
						t.Error(err)
					}
					m.v.UnlockFile(at, unneeded)
				}
			})
		}
		g.Wait()
		as(w.laptop, drained)
		as(desk, drained)
		for _, m := range []*machine{w.laptop, desk} {
			if err := m.v.sync.CatchUp(t.Context()); err != nil {
				t.Fatal(err)
			}
			as(m, read("n", string([]byte{0, 2 * each})))
		}
		w.laptop.halt()
		desk.halt()
	})
}

// Who is gone holds nothing for ever, and what it wrote late counts nowhere in place of
// what was written since. One who waits makes the time pass.
func TestLockOfOneWhoIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		desk := w.machine("desktop")
		as(w.laptop, write("a", "0"), drained)
		w.laptop.run()
		desk.run()
		mine, release := opens(t, w.laptop, "a")
		if err := w.laptop.v.LockFile(t.Context(), mine, meta.LockExclusive, false); err != nil {
			t.Fatal(err)
		}
		other, releaseOther := opens(t, desk, "a")
		if err := desk.v.LockFile(t.Context(), other, meta.LockShared, false); !errors.Is(err, ErrLocked) {
			t.Fatalf("while another has it: %v", err)
		}

		// While it is looked after it is kept, whatever others commit.
		for i := range 2 * meta.LockTerm {
			as(desk, write("b", fmt.Sprint(i)), drained)
			if i%16 == 0 {
				time.Sleep(2 * keepLocksEvery)
				synctest.Wait()
			}
		}
		if err := desk.v.LockFile(t.Context(), other, meta.LockExclusive, false); !errors.Is(err, ErrLocked) {
			t.Fatalf("while another keeps it: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if err := desk.v.LockFile(ctx, other, meta.LockExclusive, true); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("while another keeps it: %v", err)
		}
		cancel()

		// It sleeps.
		w.laptop.halt()
		began := time.Now()
		if err := desk.v.LockFile(t.Context(), other, meta.LockExclusive, true); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d > 2*meta.LockTerm*askEvery {
			t.Errorf("waited for %v", d)
		}
		// It wrote before it slept, and wakes.
		if err := w.laptop.v.Write(t.Context(), mine, 0, []byte("late")); err != nil {
			t.Fatal(err)
		}
		as(w.laptop, drained)
		if err := desk.v.sync.CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		as(desk, read("a", "0"))
		if err := desk.v.Write(t.Context(), other, 0, []byte("desk")); err != nil {
			t.Fatal(err)
		}
		desk.v.UnlockFile(other, unneeded)
		as(desk, drained)
		for _, m := range []*machine{w.laptop, desk} {
			if err := m.v.sync.CatchUp(t.Context()); err != nil {
				t.Fatal(err)
			}
			as(m, read("a", "desk"))
		}
		release()
		releaseOther()
		desk.halt()
	})
}

// Without the store there is no lock.
func TestLockOffLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		as(w.laptop, write("a", "0"), drained)
		w.laptop.run()
		at, release := opens(t, w.laptop, "a")
		defer release()
		w.faults.Add(fault.On(fault.Get, 1, fault.Fail(store.ErrUnavailable)).Onwards())
		for _, wait := range []bool{false, true} {
			if err := w.laptop.v.LockFile(t.Context(), at, meta.LockShared, wait); !errors.Is(err, ErrNoLock) {
				t.Errorf("wait %v: %v", wait, err)
			}
		}
		w.laptop.halt()
	})
}

// Of two who find a lock free the one has it whose commit is the first.
func TestLockOfTheFaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		desk := w.machine("desktop")
		as(w.laptop, write("a", "0"), drained)
		w.laptop.run()
		desk.run()
		as(desk, write("b", "0"), drained)
		mine, release := opens(t, w.laptop, "a")
		other, releaseOther := opens(t, desk, "a")
		gate := make(chan struct{})
		w.faults.Add(fault.On(fault.Put, 1, fault.Delay(gate)).Prefix(chain.SlotPrefix(w.vol)))
		slower := make(chan error, 1)
		go func() { slower <- desk.v.LockFile(t.Context(), other, meta.LockExclusive, false) }()
		synctest.Wait()
		if err := w.laptop.v.LockFile(t.Context(), mine, meta.LockExclusive, false); err != nil {
			t.Fatal(err)
		}
		close(gate)
		if err := <-slower; !errors.Is(err, ErrLocked) {
			t.Errorf("the slower one: %v", err)
		}
		release()
		releaseOther()
		w.laptop.halt()
		desk.halt()
	})
}
