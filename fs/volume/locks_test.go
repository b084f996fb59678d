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
					if err := m.v.LockFile(t.Context(), at, LockWish{Mode: meta.LockExclusive, Wait: true}); err != nil {
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

// rivals are two machines that work, each with the same file open.
func rivals(t *testing.T) (w *world, desk *machine, mine, other meta.Ref) {
	w = newWorld(t)
	desk = w.machine("desktop")
	as(w.laptop, write("a", "0"), drained)
	w.laptop.run()
	desk.run()
	mine, closeMine := opens(t, w.laptop, "a")
	other, closeOther := opens(t, desk, "a")
	t.Cleanup(func() {
		closeMine()
		closeOther()
		w.laptop.halt()
		desk.halt()
	})
	return w, desk, mine, other
}

// Who is gone holds nothing for ever, and what it wrote late counts nowhere in place of
// what was written since. One who waits makes the time pass.
func TestLockOfOneWhoIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, desk, mine, other := rivals(t)
		if err := w.laptop.v.LockFile(t.Context(), mine, LockWish{Mode: meta.LockExclusive}); err != nil {
			t.Fatal(err)
		}
		if err := desk.v.LockFile(t.Context(), other, LockWish{Mode: meta.LockShared}); !errors.Is(err, ErrLocked) {
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
		if err := desk.v.LockFile(t.Context(), other, LockWish{Mode: meta.LockExclusive}); !errors.Is(err, ErrLocked) {
			t.Fatalf("while another keeps it: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if err := desk.v.LockFile(ctx, other, LockWish{Mode: meta.LockExclusive, Wait: true}); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("while another keeps it: %v", err)
		}
		cancel()

		// It sleeps.
		w.laptop.halt()
		began := time.Now()
		if err := desk.v.LockFile(t.Context(), other, LockWish{Mode: meta.LockExclusive, Wait: true}); err != nil {
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
			if err := w.laptop.v.LockFile(t.Context(), at, LockWish{Mode: meta.LockShared, Wait: wait}); !errors.Is(err, ErrNoLock) {
				t.Errorf("wait %v: %v", wait, err)
			}
		}
		w.laptop.halt()
	})
}

// Whoever stops waiting while the store is away hears that he was interrupted, whatever the
// store says by then: a program takes EIO of a lock for a broken disk.
func TestLockIsInterruptedOffLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		as(w.laptop, write("a", "0"), drained)
		w.laptop.run()
		at, release := opens(t, w.laptop, "a")
		defer release()
		ctx, interrupt := context.WithCancel(t.Context())
		w.faults.Add(fault.On(fault.Get, 1, func(context.Context, fault.Request) fault.Answer {
			interrupt()
			return fault.Answer{Err: store.ErrUnavailable}
		}).Onwards())
		if err := w.laptop.v.LockFile(ctx, at, LockWish{Mode: meta.LockShared, Wait: true}); !errors.Is(err, context.Canceled) {
			t.Errorf("it hears %v", err)
		}
		w.laptop.halt()
	})
}

// Of two who find a lock free the one has it whose commit is the first.
func TestLockOfTheFaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, desk, mine, other := rivals(t)
		as(desk, write("b", "0"), drained)
		gate := make(chan struct{})
		w.faults.Add(fault.On(fault.Put, 1, fault.Delay(gate)).Prefix(chain.SlotPrefix(w.vol)))
		slower := make(chan error, 1)
		go func() { slower <- desk.v.LockFile(t.Context(), other, LockWish{Mode: meta.LockExclusive}) }()
		synctest.Wait()
		if err := w.laptop.v.LockFile(t.Context(), mine, LockWish{Mode: meta.LockExclusive}); err != nil {
			t.Fatal(err)
		}
		close(gate)
		if err := <-slower; !errors.Is(err, ErrLocked) {
			t.Errorf("the slower one: %v", err)
		}
	})
}

// Who had a lock lets another machine have it that waits, before it takes it again, also
// where its programs hand it on among themselves and never give it back.
func TestLockIsYielded(t *testing.T) {
	for _, handed := range []bool{false, true} {
		t.Run(fmt.Sprintf("handed on %v", handed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				desk := w.machine("desktop")
				as(w.laptop, write("a", "0"), drained)
				w.laptop.run()
				desk.run()
				as(desk, write("b", "0"), drained)
				mine, release := opens(t, w.laptop, "a")
				other, releaseOther := opens(t, desk, "a")
				wish := LockWish{Mode: meta.LockExclusive, Wait: true}
				if err := w.laptop.v.LockFile(t.Context(), mine, wish); err != nil {
					t.Fatal(err)
				}
				had := make(chan error, 1)
				go func() {
					err := desk.v.LockFile(t.Context(), other, wish)
					had <- err
					if err == nil {
						desk.v.UnlockFile(other, unneeded)
					}
				}()
				time.Sleep(askEvery + 2*keepLocksEvery) // the chain says by then that it waits
				if !handed {
					w.laptop.v.UnlockFile(mine, unneeded)
				}
				if err := w.laptop.v.LockFile(t.Context(), mine, wish); err != nil {
					t.Fatal(err)
				}
				select {
				case err := <-had:
					if err != nil {
						t.Error(err)
					}
				default:
					t.Error("who waited did not have it before")
				}
				w.laptop.v.UnlockFile(mine, unneeded)
				release()
				releaseOther()
				w.laptop.halt()
				desk.halt()
			})
		})
	}
}

// A lock file that two machines make at once is one file, with one lock.
func TestLockOfTwins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		desk := w.machine("desktop")
		as(w.laptop, write("a", "0"), drained)
		as(desk, write("b", "0"), drained)
		machines := []*machine{w.laptop, desk}
		var g sync.WaitGroup
		busy := make(chan struct{}, 1)
		var refs []meta.Ref
		for _, m := range machines {
			as(m, write("lock", ""))
			at, release := opens(t, m, "lock")
			defer release()
			refs = append(refs, at)
		}
		for i, m := range machines {
			m.run()
			g.Go(func() {
				for range 10 {
					if err := m.v.LockFile(t.Context(), refs[i], LockWish{Mode: meta.LockExclusive, Wait: true}); err != nil {
						t.Error(err)
						return
					}
					select {
					case busy <- struct{}{}:
					default:
						t.Error("both have it")
					}
					time.Sleep(time.Second)
					select {
					case <-busy:
					default:
					}
					m.v.UnlockFile(refs[i], unneeded)
				}
			})
		}
		g.Wait()
		if a, b := w.laptop.v.Ino(refs[0]), desk.v.Ino(refs[1]); a != b {
			t.Errorf("inodes %d and %d", a, b)
		}
		w.laptop.halt()
		desk.halt()
	})
}

// Who has a lock gives it to a further program without a look at the store, but not when
// the machine slept meanwhile: by then another may have it. Most clocks stand still in
// sleep.
func TestLockAfterSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, desk, mine, other := rivals(t)
		wish := LockWish{Mode: meta.LockExclusive}
		if err := w.laptop.v.LockFile(t.Context(), mine, wish); err != nil {
			t.Fatal(err)
		}
		w.laptop.halt()
		for range meta.LockTerm {
			as(desk, write("b", "0"), write("b", "1"), drained)
		}
		if err := desk.v.LockFile(t.Context(), other, wish); err != nil {
			t.Fatal(err)
		}
		w.laptop.slept.Add(int64(time.Hour))
		// The laptop knew a moment ago, as far as it was awake.
		f, done := w.laptop.v.locks.use(w.laptop.v.Ino(mine))
		w.laptop.v.locks.mu.Lock()
		f.at = time.Now()
		w.laptop.v.locks.mu.Unlock()
		done()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.laptop.v.LockFile(ctx, mine, wish); err == nil {
			t.Error("two machines have the lock")
		}
	})
}
