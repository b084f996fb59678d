package volume

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
)

// without takes objects out of the store, and returns how they come back.
func (w *world) without(names ...string) (back func()) {
	w.t.Helper()
	had := map[string][]byte{}
	for _, n := range names {
		b, err := w.objects.Get(w.t.Context(), n, 0, -1)
		if err != nil {
			w.t.Fatal(err)
		}
		had[n] = b
		if err := w.objects.Delete(w.t.Context(), n); err != nil {
			w.t.Fatal(err)
		}
	}
	return func() {
		for n, b := range had {
			w.objects.Overwrite(n, b)
		}
	}
}

// idleWorld is a drive that two machines know, and on which nothing happens any more.
func idleWorld(t *testing.T) (w *world, desk *machine) {
	w = newWorld(t)
	as(w.laptop, mkdir("d"), write("d/a", "1"), drained)
	desk = w.machine("desk")
	as(w.laptop, write("d/a", "2"), drained, write("d/b", "1"), drained, lock)
	return w, desk
}

// A mount on which nothing happens finds out by itself that the store was set back, says
// it, goes on to show what it has and to take what is written, and finds out as well
// when the store is what it was.
func TestIdleMountNoticesASetback(t *testing.T) {
	for _, readOnly := range []bool{false, true} {
		t.Run(fmt.Sprintf("read-only %v", readOnly), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, desk := idleWorld(t)
				if desk.ro = readOnly; !readOnly {
					as(desk, write("desk", "1"), drained)
					as(w.laptop, write("d/a", "3"), drained, write("d/b", "2"), drained, lock)
				}
				desk.run()
				defer desk.halt()
				time.Sleep(3 * time.Minute)
				content := map[bool]string{true: "1", false: "2"}[readOnly]
				as(desk, read("d/b", content))
				commits := w.names("l") // the newest first
				back := w.without(commits[:2]...)
				time.Sleep(sightBound)
				synctest.Wait()
				if s := desk.v.Status(); !strings.Contains(s.Stopped, "missing commits") || !strings.Contains(s.Stopped, "2 changes") || s.Offline != "" {
					t.Fatalf("status says %q, %q", s.Stopped, s.Offline)
				}
				if n := strings.Count(desk.log.String(), "it was set back"); n != 1 {
					t.Errorf("the log says it %d times", n)
				}
				as(desk, read("d/b", content))
				if !readOnly {
					as(desk, write("mine", "1"), fsync("mine"), read("mine", "1"))
				}
				w.asked()
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				if n, _ := w.asked(); n > 250 {
					t.Errorf("%d requests in ten minutes for a store that was set back", n)
				}
				if n := len(w.names("l")); n != len(commits)-2 {
					t.Errorf("%d commits in a store that was set back", n)
				}
				back()
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				if s := desk.v.Status(); s.Stopped != "" || !s.Stored {
					t.Errorf("status says %q of a store that is what it was; all stored: %v", s.Stopped, s.Stored)
				}
			})
		})
	}
}

// sightBound is for how long an idle mount may take the store to be what it was.
const sightBound = 11*time.Minute + time.Second

// Only what is newest is looked at often, after an outage and a sleep at once.
func TestSetbackBehindAnOutage(t *testing.T) {
	for _, c := range []struct {
		name string
		come func(w *world, desk *machine)
	}{
		{"the store was away", func(w *world, desk *machine) {
			w.faults.Add(fault.On(fault.Get, 0, fault.Fail(store.ErrUnavailable)))
			time.Sleep(2 * time.Minute)
			w.faults.Clear()
			time.Sleep(61 * time.Second)
		}},
		{"the machine slept", func(w *world, desk *machine) {
			desk.v.Resumed()
		}},
		{"it slept, and nobody told", func(w *world, desk *machine) {
			desk.slept.Add(int64(20 * time.Minute))
			time.Sleep(61 * time.Second)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, desk := idleWorld(t)
				desk.run()
				defer desk.halt()
				time.Sleep(time.Minute)
				commits := w.names("l") // the newest first
				w.without(commits[0])
				c.come(w, desk)
				synctest.Wait()
				if s := desk.v.Status(); !strings.Contains(s.Stopped, "missing commits") {
					t.Errorf("status says %q", s.Stopped)
				}
			})
		})
	}
}

// A look at the newest slot costs little, and a machine that follows others makes none.
func TestSightCostsLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, desk := idleWorld(t)
		desk.run()
		defer desk.halt()
		time.Sleep(2 * time.Minute)
		w.asked()
		const hours = 3
		before := len(w.faults.Log())
		time.Sleep(hours * time.Hour)
		n, bytes := w.asked()
		lists := 0
		for _, c := range w.faults.Log()[before:] {
			if c.Op == fault.List {
				lists++
			}
		}
		if n > hours*67 || bytes > hours*6*64+1<<12 || lists > 2*hours {
			t.Errorf("%d requests, %d bytes, %d listings in %d idle hours", n, bytes, lists, hours)
		}
		as(w.laptop, write("d/a", "0"), drained)
		time.Sleep(61 * time.Second)
		w.asked()
		for i := range 20 {
			as(w.laptop, write("d/a", fmt.Sprint(i)), drained)
			w.asked()
			time.Sleep(5 * time.Minute)
			if n, _ := w.asked(); n > 20 {
				t.Errorf("%d requests in five minutes", n)
			}
		}
	})
}

// An older slot that is gone below newer ones is named, and folded over, after which
// nobody needs it.
func TestOlderSlotIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, desk := idleWorld(t)
		as(desk, write("d/c", "1"), drained) // a device
		desk.run()
		defer desk.halt()
		commits := w.names("l") // the newest first
		w.without(commits[1])
		as(w.machine("early"), missing("d/c"))
		time.Sleep(holeBound)
		synctest.Wait()
		if !strings.Contains(desk.log.String(), "slot is gone") {
			t.Error("the log says nothing")
		}
		s := desk.v.Status()
		if s.Stopped != "" || len(s.Warnings) > 0 {
			t.Errorf("status: %q, %q", s.Stopped, s.Warnings)
		}
		as(desk, write("d/d", "1"), drained)
		as(w.machine("late"), read("d/c", "1"), read("d/b", "1"), read("d/d", "1"))
	})
}

// A machine that may not fold goes on to say so until the slot is back.
func TestOlderSlotIsGoneForAReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, desk := idleWorld(t)
		desk.ro = true
		desk.run()
		defer desk.halt()
		commits := w.names("l") // the newest first
		back := w.without(commits[1])
		time.Sleep(holeBound)
		synctest.Wait()
		if s := desk.v.Status(); s.Stopped != "" || len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "gone from the store") {
			t.Errorf("status: %q, %q", s.Stopped, s.Warnings)
		}
		as(desk, read("d/a", "2"), read("d/b", "1"))
		back()
		time.Sleep(holeBound)
		synctest.Wait()
		if s := desk.v.Status(); len(s.Warnings) != 0 {
			t.Errorf("status: %q", s.Warnings)
		}
	})
}

const holeBound = time.Hour + 12*time.Minute

// A machine that has no number yet says before a change fails, and behind it, that its
// first one needs the store.
func TestFirstChangeNeedsTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := idleWorld(t)
		late := w.machine("late")
		late.run()
		defer late.halt()
		warns := func(words string) bool {
			return slices.ContainsFunc(late.v.Status().Warnings, func(s string) bool { return strings.Contains(s, words) })
		}
		as(late, read("d/b", "1"))
		if warns("first change: ") {
			t.Errorf("nothing is the matter: %q", late.v.Status().Warnings)
		}
		w.faults.Add(fault.On(fault.Get, 0, fault.Fail(store.ErrUnavailable)), fault.On(fault.Put, 0, fault.Fail(store.ErrUnavailable)))
		time.Sleep(2 * time.Minute)
		if !warns("until the store can be reached each fails (EIO)") {
			t.Errorf("before a change: %q", late.v.Status().Warnings)
		}
		as(late, refuses(write("mine", "1"), ErrEnroll), refuses(write("mine", "1"), ErrEnroll))
		if !warns("the last one failed (EIO)") || warns("until the store can be reached") {
			t.Errorf("behind a change: %q", late.v.Status().Warnings)
		}
		if n := strings.Count(late.log.String(), "changes fail: "); n != 1 {
			t.Errorf("the log says it %d times", n)
		}
		w.faults.Clear()
		as(late, write("mine", "1"), drained)
		if warns("first change: ") {
			t.Errorf("it is a device now: %q", late.v.Status().Warnings)
		}
	})
}

// An answer about the newest slot that is not true is asked for again, and named also
// where the second one is.
func TestUntrueAnswerAboutTheHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, desk := idleWorld(t)
		as(desk, write("d/c", "1"), drained)
		time.Sleep(time.Minute)
		w.faults.Add(fault.On(fault.Get, 1, fault.FlipBit(77)).Prefix(w.names("l")[0]))
		as(desk, write("d/c", "2"), drained)
		if n := strings.Count(desk.log.String(), "when it was asked again"); n != 1 || desk.v.Status().Stopped != "" {
			t.Errorf("the log says it %d times, status %q", n, desk.v.Status().Stopped)
		}
	})
}
