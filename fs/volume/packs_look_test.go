package volume

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
)

// The packs of a commit took long to send, and the store is set back to before them and to
// before the newest slot: nothing is put above the hole.
func TestPacksAndHeadAreGone(t *testing.T) {
	content := strings.Repeat(big, 8)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		as(w.laptop, write("a", "1"), drained)
		before := w.objects.Clone()
		as(w.laptop, write("a", "2"), drained)
		w.laptop.crash()
		b := &either{one: w.objects, other: before}
		slow := fault.Wrap(b, fault.On(fault.Put, 0, fault.Slow(3*time.Second)).Prefix(w.prefix("p")))
		w.laptop.bucket = slow
		w.laptop.step = func(name string) {
			if name == "sync.build" && !b.swapped.Load() {
				b.swapped.Store(true)
				slow.Clear()
			}
		}
		as(w.laptop, write("b", content))
		w.laptop.run()
		defer w.laptop.halt()
		time.Sleep(time.Minute)
		w.laptop.step = nil
		if s := w.laptop.v.Status(); s.PendingOps == 0 || !strings.Contains(s.Stopped, "missing commits") {
			t.Fatalf("%d operations wait, status says %q", s.PendingOps, s.Stopped)
		}
		b.swapped.Store(false)
		time.Sleep(10 * time.Minute)
		if err := w.laptop.v.WaitStored(t.Context()); err != nil {
			t.Fatal(err)
		}
		as(w.machine("late"), read("b", content))
	})
}

// A machine with much to send over a slow line gets its slots, though others write all the
// time, and shows what these do.
func TestFollowsWhilePacksAreLookedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		as(w.laptop, mkdir("d"), drained)
		desk := w.machine("desk")
		as(desk, write("desk", "0"), drained)
		w.laptop.crash()
		w.laptop.near = 2 << 30
		way := fault.Slow(100 * time.Millisecond)
		w.laptop.bucket = fault.Wrap(w.objects, fault.On(fault.Put, 0, fault.Slow(3*time.Second)).Prefix(w.prefix("p")),
			fault.On(fault.Get, 0, way), fault.On(fault.Put, 0, way))
		for i := range 30 {
			as(w.laptop, write(fmt.Sprintf("d/%d", i), strings.Repeat(big, 20)))
		}
		w.laptop.run()
		defer w.laptop.halt()
		end := w.laptop.using(t, time.Second)
		defer end()
		began := time.Now()
		for i := 0; w.laptop.v.Status().PendingOps > 0; i++ {
			if time.Since(began) > 10*time.Minute {
				t.Fatalf("%d operations wait", w.laptop.v.Status().PendingOps)
			}
			as(desk, write("desk", fmt.Sprint(i)), drained)
			written := time.Now()
			for read("desk", fmt.Sprint(i))(w.laptop) != nil {
				time.Sleep(20 * time.Millisecond)
			}
			if d := time.Since(written); d > 3*time.Second {
				t.Errorf("seen after %v", d)
			}
			time.Sleep(500 * time.Millisecond)
		}
	})
}

// killedSending leaves a machine that was killed, with packs in the store whose commit is not.
func killedSending(w *world, m *machine, files int) {
	w.t.Helper()
	m.near = 2 << 30
	as(m, mkdir("d"), drained)
	for i := range files {
		as(m, write(fmt.Sprintf("d/%d", i), strings.Repeat(big, 20)))
	}
	w.faults.Add(fault.On(fault.Put, 0, fault.Fail(store.ErrUnavailable)).Prefix(w.prefix("l")))
	if err := m.v.pinOld(w.t.Context(), 0); err != nil {
		w.t.Fatal(err)
	}
	m.run()
	time.Sleep(time.Minute)
	m.crash()
	w.faults.Clear()
	if packs := len(w.names("p")); packs < 2 {
		w.t.Fatalf("%d packs are sent", packs)
	}
}

// A machine that was killed with a commit of many packs on its way mounts in no time, also
// where a request takes two seconds.
func TestMountsWithManyPacksOnTheirWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		killedSending(w, w.laptop, 30)
		w.laptop.bucket = fault.Wrap(w.objects, fault.On(fault.Get, 0, fault.Slow(2*time.Second)).Prefix(w.prefix("p")))
		began := time.Now()
		w.laptop.mustOpen()
		if d := time.Since(began); d > 20*time.Second {
			t.Errorf("mounted after %v", d)
		}
		as(w.machine("late"), read("d/29", strings.Repeat(big, 20)))
	})
}

// What was on its way when a machine was killed takes longer to send than a mount waits: it
// is sent while the drive is mounted, once, before what is written then, and a machine that
// is killed a second time has it still.
func TestMountsWithPacksToBeSentAgain(t *testing.T) {
	content := strings.Repeat(big, 20)
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprintf("killed again %v", again), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				killedSending(w, w.laptop, 3)
				w.without(w.names("p")...) // the store was set back to before them
				w.laptop.bucket = fault.Wrap(w.objects, fault.On(fault.Put, 0, belated(sendLimit+10*time.Second)).Prefix(w.prefix("p")))
				slot := w.load().Chain.Slot
				as(w.laptop, write("d/1", "1"), write("after", "2"))
				if w.load().Chain.Slot != slot {
					t.Fatal("it was sent at the mount: this shows nothing")
				}
				if again {
					as(w.laptop, fsync("after"))
					w.laptop.crash()
					as(w.laptop, read("d/1", "1"), read("d/2", content))
				}
				w.laptop.run()
				if err := w.laptop.v.WaitStored(t.Context()); err != nil {
					t.Error(err)
				}
				w.laptop.halt()
				as(w.machine("late"), read("d/0", content), read("d/1", "1"), read("d/2", content), read("after", "2"))
				w.checkOps(0)
			})
		})
	}
}
