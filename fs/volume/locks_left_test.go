package volume

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
)

// lockWorld is two machines at work, and a file that both know.
func lockWorld(t *testing.T) (laptop, desk *machine) {
	w := newWorld(t)
	laptop, desk = w.laptop, w.machine("desktop")
	as(laptop, write("a", "0"), drained)
	laptop.run()
	desk.run()
	as(desk, write("b", "0"), drained)
	return laptop, desk
}

// toldLocks are the locks as a machine tells them, once it has looked.
func toldLocks(t *testing.T, m *machine) (lines []string) {
	t.Helper()
	if err := m.v.sync.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	all, err := m.v.Locked(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		if l.Slot >= l.Until {
			t.Errorf("it is over: %+v", l)
		}
		lines = append(lines, fmt.Sprintf("%s %s this=%v mode=%s waits=%s", l.Path, l.Name, l.This, l.Mode, l.Waits))
	}
	return lines
}

// What machines have of locks, and wait for, all of them can tell. A machine that was killed
// while it waited is waited for by nobody once it is back: its wish is gone.
func TestWantOfOneWhoWasKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		laptop, desk := lockWorld(t)
		other, release := opens(t, desk, "a")
		defer release()
		if got := toldLocks(t, laptop); len(got) != 0 {
			t.Errorf("before: %q", got)
		}
		if err := desk.v.LockFile(t.Context(), other, LockWish{Mode: meta.LockShared}); err != nil {
			t.Fatal(err)
		}
		has := "/a desktop this=%v mode=shared waits="
		if got, want := toldLocks(t, desk), []string{fmt.Sprintf(has, true)}; !slices.Equal(got, want) {
			t.Errorf("who has it says %q", got)
		}
		mine, _ := opens(t, laptop, "a")
		ended := make(chan error, 1)
		v := laptop.v
		ctx, cancel := context.WithCancel(t.Context())
		go func() { ended <- v.LockFile(ctx, mine, LockWish{Mode: meta.LockExclusive, Wait: true}) }()
		time.Sleep(askEvery + 2*keepLocksEvery) // the chain says by then that it waits
		wish := "/a laptop this=%v mode= waits=exclusive"
		if got, want := toldLocks(t, laptop), []string{fmt.Sprintf(wish, true), fmt.Sprintf(has, false)}; !slices.Equal(got, want) {
			t.Errorf("who waits says %q, want %q", got, want)
		}
		laptop.crash()
		cancel()
		if err := <-ended; err == nil {
			t.Error("a machine that was killed got a lock")
		}
		if got, want := toldLocks(t, desk), []string{fmt.Sprintf(wish, false), fmt.Sprintf(has, true)}; !slices.Equal(got, want) {
			t.Errorf("after the kill: %q, want %q", got, want)
		}

		laptop.run()
		time.Sleep(10 * keepLocksEvery)
		if got, want := toldLocks(t, desk), []string{fmt.Sprintf(has, true)}; !slices.Equal(got, want) {
			t.Errorf("after it was mounted again: %q, want %q", got, want)
		}
		if s := desk.v.Status(); s.Slot > meta.LockTerm/2 {
			t.Fatalf("slot %d: it may have run out", s.Slot)
		}
		laptop.halt()
		desk.halt()
	})
}

// Who unmounts gives back what its programs had, and another has it without waiting, with
// what was written.
func TestShutdownGivesLocksBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		laptop, desk := lockWorld(t)
		mine, _ := opens(t, laptop, "a")
		other, release := opens(t, desk, "a")
		defer release()
		if err := laptop.v.LockFile(t.Context(), mine, LockWish{Mode: meta.LockExclusive}); err != nil {
			t.Fatal(err)
		}
		if err := laptop.v.Write(t.Context(), mine, 0, []byte("last")); err != nil {
			t.Fatal(err)
		}
		as(laptop, lock)
		before := desk.v.Status().Slot
		if err := desk.v.LockFile(t.Context(), other, LockWish{Mode: meta.LockExclusive}); err != nil {
			t.Errorf("at once: %v", err)
		}
		if s := desk.v.Status().Slot; s > before+meta.LockTerm/2 {
			t.Errorf("slot %d after %d: it may have run out", s, before)
		}
		as(desk, shows(other, "last"))
		desk.halt()
	})
}

// A file can be leased, asked about and given back by what its handles call it, as the mount
// calls a file that is open and locked.
func TestLeaseOfWhatIsLocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		laptop, desk := lockWorld(t)
		mine, release := opens(t, laptop, "a")
		defer release()
		v := laptop.v
		if err := v.LockFile(t.Context(), mine, LockWish{Mode: meta.LockExclusive}); err != nil {
			t.Fatal(err)
		}
		if err := v.Lease(t.Context(), mine, 0); err != nil {
			t.Fatal(err)
		}
		if l, err := v.LeaseOf(t.Context(), mine); err != nil || !l.This || l.Path != "/a" {
			t.Errorf("%+v, %v", l, err)
		}
		if err := v.GiveBack(t.Context(), mine); err != nil {
			t.Error(err)
		}
		laptop.halt()
		desk.halt()
	})
}
