package volume

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
)

// stuck returns a machine at work whose commit is on its way, and the line to a store that
// does not take it, but answers err.
func stuck(w *world, err error) *fault.Bucket {
	w.t.Helper()
	w.laptop.crash()
	line := fault.Wrap(w.objects, fault.On(fault.Put, 0, fault.Fail(err)).Prefix(w.prefix("l")))
	w.laptop.bucket = line
	as(w.laptop, write("mine", "1"))
	w.laptop.run()
	time.Sleep(time.Minute)
	synctest.Wait()
	if puts := line.Counts()[fault.Put]; puts < 3 {
		w.t.Fatalf("%d tries: this shows nothing", puts)
	}
	return line
}

// A machine that can read and not send shows what others do, also behind junk, and sends
// what it has as soon as that is possible and somebody waits for it.
func TestFollowsWhileItCannotSend(t *testing.T) {
	for name, err := range map[string]error{"away": store.ErrUnavailable, "denied": store.ErrDenied, "full": store.ErrFull} {
		for _, junk := range []int{0, 1} {
			t.Run(fmt.Sprintf("%s, %d slots of junk", name, junk), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					as(w.laptop, mkdir("d"), drained)
					desk := w.machine("desk")
					as(desk, write("desk", "0"), drained)
					line := stuck(w, err)
					defer w.laptop.halt()
					end := w.laptop.using(t, time.Second)
					defer end()
					for i := range 5 {
						w.squat(w.objects, junk)
						as(desk, write("desk", fmt.Sprint(i)), drained)
						time.Sleep(pollBound)
						synctest.Wait()
						as(w.laptop, read("desk", fmt.Sprint(i)))
					}
					time.Sleep(10 * time.Minute) // the next try is far
					line.Clear()
					began := time.Now()
					if err := w.laptop.v.WaitStored(t.Context()); err != nil || time.Since(began) > 5*time.Second {
						t.Errorf("after %v: %v", time.Since(began), err)
					}
					as(desk, caughtUp, read("mine", "1"))
				})
			})
		}
	}
}

// While nobody uses the mount, what cannot be sent costs a look for its slot before each try.
func TestUnsentCostsLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		as(w.laptop, mkdir("d"), drained)
		line := stuck(w, store.ErrFull)
		defer w.laptop.halt()
		before := line.Counts()
		time.Sleep(time.Hour)
		synctest.Wait()
		after := line.Counts()
		gets, puts := after[fault.Get]-before[fault.Get], after[fault.Put]-before[fault.Put]
		if puts == 0 || puts > 130 || gets > 5*puts {
			t.Errorf("%d gets and %d puts in an hour", gets, puts)
		}
		line.Clear()
	})
}

// Who gives a command up has not to wait until the store takes what is on its way.
func TestCommandsEndWhileItCannotSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		as(w.laptop, mkdir("d"), drained)
		desk := w.machine("desk")
		as(desk, write("desk", "0"), drained)
		line := stuck(w, store.ErrFull)
		defer w.laptop.halt()
		defer line.Clear()
		for name, command := range map[string]func(context.Context) error{
			"rename": func(ctx context.Context) error { return w.laptop.v.RenameDevice(ctx, 1, "other") },
			"remove": func(ctx context.Context) error { return w.laptop.v.RemoveDevices(ctx, []int{2}) },
			"owed":   func(ctx context.Context) error { return w.laptop.v.sync.Owed(ctx) },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			if err := command(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", name, err)
			}
			cancel()
		}
	})
}

// Who asks for leases and devices is answered while a commit is on its way that the store
// does not take, by what others said of devices meanwhile.
func TestDevicesAreToldWhileItCannotSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		as(w.laptop, mkdir("d"), write("f", "1"), drained)
		desk := w.machine("desk")
		as(desk, leases("f"), drained)
		as(w.laptop, caughtUp)
		line := stuck(w, store.ErrFull)
		defer w.laptop.halt()
		defer line.Clear()
		end := w.laptop.using(t, time.Second)
		defer end()
		told := func(name string) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if l, err := w.laptop.v.Leases(ctx); err != nil || len(l) != 1 || l[0].Name != name {
				t.Errorf("leases of %s: %+v, %v", name, l, err)
			}
			if l, err := w.laptop.v.Devices(ctx); err != nil || len(l) != 2 || l[1].Name != name {
				t.Errorf("devices with %s: %+v, %v", name, l, err)
			}
		}
		told("desk")
		if err := desk.v.RenameDevice(t.Context(), 2, "tower"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(pollBound)
		told("tower")
	})
}

// A commit without operations that was on its way when a machine was killed is sent after a
// mount that did not wait for it, though nothing else waits there.
func TestRenameIsSentAfterTheMount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		as(w.laptop, mkdir("d"), drained)
		w.faults.Add(fault.On(fault.Put, 0, fault.Fail(store.ErrFull)).Prefix(w.prefix("l")))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := w.laptop.v.RenameDevice(ctx, 1, "other"); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		w.laptop.crash()
		w.laptop.mustOpen()
		w.laptop.run()
		defer w.laptop.halt()
		w.faults.Clear()
		time.Sleep(time.Minute)
		synctest.Wait()
		if d, _ := w.load().Chain.Ledger.Device(1); d.Name != "other" {
			t.Errorf("it is called %s", d.Name)
		}
	})
}
