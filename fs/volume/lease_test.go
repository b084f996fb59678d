package volume

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
)

// A lease is held while its holder takes part, however much others write, and runs out
// by their commits when it does not.
func TestLeaseIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		desk := w.machine("desktop")
		as(w.laptop, write("a", "0"), drained)
		desk.run()
		as(desk, write("mine", "0"), drained)
		w.laptop.run()
		_, _, a, err := w.laptop.find("a")
		if err != nil {
			t.Fatal(err)
		}
		if err := w.laptop.v.Lease(t.Context(), a.Ref, 0); err != nil {
			t.Fatal(err)
		}
		end := w.laptop.using(t, time.Second)
		if err := desk.v.sync.CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		refused := func() error { return desk.v.Writable(t.Context(), a.Ref) }
		for i := range meta.LeaseTerm * 3 / 2 {
			as(desk, write("mine", fmt.Sprint(i)), drained)
			if i%16 > 0 {
				continue
			}
			time.Sleep(pollBound)
			synctest.Wait()
			if err := refused(); !errors.Is(err, meta.ErrLeased) {
				t.Fatalf("after %d commits: %v", i, err)
			}
		}
		if err := desk.v.Lease(t.Context(), a.Ref, 0); !errors.Is(err, meta.ErrLeased) {
			t.Errorf("leased by another: %v", err)
		}
		end()
		w.laptop.halt()
		n := 0
		for ; refused() != nil; n++ {
			if n > 2*meta.LeaseTerm {
				t.Fatal("a machine that is gone holds it for ever")
			}
			as(desk, write("mine", fmt.Sprint(n)), drained)
		}
		if n < meta.LeaseTerm/4 {
			t.Errorf("it ran out after %d commits", n)
		}
		if err := desk.v.Lease(t.Context(), a.Ref, 0); err != nil {
			t.Errorf("when it had run out: %v", err)
		}
		desk.halt()
	})
}
