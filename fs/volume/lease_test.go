package volume

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
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

// What was leased once, in part or with more, can be leased again: when it was given back,
// and when who had it is gone.
func TestLeasedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		desk := w.machine("desktop")
		as(w.laptop, mkdir("d"), mkdir("d/sub"), write("d/sub/f", "0"), drained)
		w.laptop.run()
		desk.run()
		as(desk, write("mine", "0"), drained)
		refs := map[string]meta.Ref{}
		for _, path := range []string{"d", "d/sub", "d/sub/f"} {
			_, _, a, err := desk.find(path)
			if err != nil {
				t.Fatal(err)
			}
			refs[path] = a.Ref
		}
		ctx := t.Context()
		free := func(m *machine, path string, from uint64) uint64 {
			t.Helper()
			if err := m.v.Lease(ctx, refs[path], from); err != nil {
				t.Fatalf("%s leases %s: %v", m.name, path, err)
			}
			var number uint64
			err := m.v.view.Read(func(r meta.Reader) error {
				l, of, err := meta.LeaseOf(r, refs[path].Ino)
				if l == nil || of != refs[path].Ino || l.Device != m.v.device {
					t.Errorf("%s does not have %s", m.name, path)
				} else {
					number = l.Number
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
			return number
		}
		back := func(m *machine, path string) {
			t.Helper()
			if err := m.v.GiveBack(ctx, refs[path]); err != nil {
				t.Fatalf("%s gives back %s: %v", m.name, path, err)
			}
		}
		for _, path := range []string{"d/sub/f", "d", "d/sub", "d"} {
			number := free(w.laptop, path, 0)
			as(desk, caughtUp)
			free(desk, path, number) // taken away
			back(desk, path)
			free(desk, path, 0)
			back(desk, path)
		}
		// While another has a part, or more, it stays that.
		number := free(w.laptop, "d/sub", 0)
		for _, path := range []string{"d", "d/sub/f"} {
			if err := desk.v.Lease(ctx, refs[path], 0); err == nil {
				t.Errorf("%s is leased beside a lease of %d", path, number)
			}
		}
		w.laptop.halt()
		for i := range meta.LeaseTerm + 1 {
			as(desk, write("mine", fmt.Sprint(i)), drained)
		}
		free(desk, "d/sub/f", 0)
		back(desk, "d/sub/f")
		free(desk, "d", 0)
		desk.halt()
	})
}

// What a machine does not have it cannot give back, and hears so each time: it never had it,
// gave it back, lost it to another, let it run out. What it gave back while the store was
// away is given back once more until the store knows.
func TestGivenBackOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		laptop, desk := w.laptop, w.machine("desktop")
		as(laptop, mkdir("d"), write("d/f.txt", "base"), drained)
		laptop.run()
		desk.run()
		as(desk, write("mine", "0"), drained)
		_, _, d, err := laptop.find("d")
		if err != nil {
			t.Fatal(err)
		}
		back := func(m *machine, want error) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			if err := m.v.GiveBack(ctx, d.Ref); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", m.name, err, want)
			}
		}
		lease := func() {
			t.Helper()
			if err := laptop.v.Lease(t.Context(), d.Ref, 0); err != nil {
				t.Fatal(err)
			}
		}
		back(laptop, meta.ErrNoAttr)
		lease()
		as(desk, caughtUp)
		back(desk, meta.ErrNoAttr)
		back(laptop, nil)
		back(laptop, meta.ErrNoAttr)

		lease()
		w.faults.Add(fault.On(fault.Put, 1, fault.Fail(store.ErrUnavailable)).Onwards())
		back(laptop, context.DeadlineExceeded)
		back(laptop, context.DeadlineExceeded)
		w.faults.Clear()
		back(laptop, nil)
		back(laptop, meta.ErrNoAttr)

		laptop.halt()
		as(laptop, does(func(v *Volume) (meta.Op, error) {
			return &meta.SetLease{Act: meta.LeaseTake, Ref: d.Ref, Until: v.view.Slot() + 3}, nil
		}), drained)
		for i := range 4 {
			as(desk, write("mine", fmt.Sprint(i)), drained)
		}
		as(laptop, caughtUp)
		back(laptop, meta.ErrNoAttr)
		desk.halt()
	})
}

// What the holder moves into a folder that it has leased is under the lease as well.
func TestLeaseOfWhatIsMovedIn(t *testing.T) {
	laptop, desk := two(t, "base")
	as(desk, write("mine/theirs", "0"), drained)
	as(laptop, caughtUp, leases("d"), rename("mine/theirs", "d/moved"), drained)
	as(desk, caughtUp, refuses(patched("d/moved", 0, "X"), meta.ErrLeased), refuses(unlink("d/moved"), meta.ErrLeased))
}

// What a program asks of what is leased is refused, and nothing of it is left over.
func TestAskedOfWhatIsLeased(t *testing.T) {
	laptop, desk := two(t, "base")
	h := desk.opens("d/f.txt", false)
	as(laptop, leases("d"), drained)
	as(desk, caughtUp)
	dir, _, d, err := desk.find("d")
	_, _, f, ferr := desk.find("d/f.txt")
	if err := errors.Join(err, ferr); err != nil {
		t.Fatal(err)
	}
	ctx, v, name := t.Context(), desk.v, []byte("f.txt")
	_, lerr := v.Link(ctx, f.Ref, dir, []byte("link"))
	_, cerr := v.Copy(ctx, Span{h, 0, 2}, Span{h, 2, 0})
	for what, err := range map[string]error{
		"open":                 v.Writable(ctx, f.Ref),
		"open of what is open": v.Writable(ctx, h),
		"truncate":             v.Truncate(ctx, f.Ref, 1, nil),
		"truncate to nothing":  v.Truncate(ctx, f.Ref, 0, nil),
		"ftruncate":            v.Truncate(ctx, h, 1, nil),
		"a hole":               v.PunchHole(ctx, h, 1, 2),
		"a clone":              cerr,
		"chmod":                v.Setattr(ctx, f.Ref, meta.Setattr{Valid: meta.SetPerm, Perm: 0o600}),
		"fchmod":               v.Setattr(ctx, h, meta.Setattr{Valid: meta.SetPerm, Perm: 0o600}),
		"utimes":               v.Setattr(ctx, f.Ref, meta.Setattr{Valid: meta.SetAtime | meta.SetMtime}),
		"setxattr":             v.SetXattr(ctx, f.Ref, []byte("user.x"), []byte("1"), 0),
		"fsetxattr":            v.SetXattr(ctx, h, []byte("user.x"), []byte("1"), 0),
		"chmod of the folder":  v.Setattr(ctx, d.Ref, meta.Setattr{Valid: meta.SetPerm, Perm: 0o700}),
		"rename":               v.Rename(ctx, d.Ref, name, dir, name, 0),
		"rename of the folder": v.Rename(ctx, dir, []byte("d"), dir, []byte("e"), 0),
		"rename over":          v.Rename(ctx, dir, []byte("mine"), d.Ref, name, meta.Exchange),
		"unlink":               v.Unlink(ctx, d.Ref, name),
		"link":                 lerr,
	} {
		if !errors.Is(err, meta.ErrLeased) {
			t.Errorf("%s: %v", what, err)
		}
	}
	as(desk, shows(h, "base"), synced(h), write("mine/x", "1"), write("d/new", "2"), drained, read("d/f.txt", "base"))
	if got := desk.conflicts(); len(got) != 0 {
		t.Errorf("conflicts %v", got)
	}
	as(laptop, rewrite("d/f.txt", "theirs"), drained)
	as(desk, caughtUp, read("d/f.txt", "theirs"), shows(h, "base"), closes(h), refuses(patched("d/f.txt", 0, "X"), meta.ErrLeased), lock)
	as(laptop, caughtUp, read("d/new", "2"), read("mine/x", "1"))
}

// A program that waits for a name in what another machine has just leased hears of it, and
// nothing of what it asked for is done, nor recorded.
func TestTentativeUnderALease(t *testing.T) {
	laptop, desk := two(t, "base")
	as(laptop, leases("d/f.txt"), drained)
	dir, _, d, err := desk.find("d")
	_, _, f, ferr := desk.find("d/f.txt")
	if err := errors.Join(err, ferr); err != nil {
		t.Fatal(err)
	}
	v := desk.v
	ops := map[string]meta.Op{
		"linked":  &meta.Link{Ref: f.Ref, Parent: dir, Name: []byte("linked")},
		"renamed": &meta.Rename{Parent: d.Ref, Name: []byte("f.txt"), NewParent: dir, NewName: []byte("renamed"), Ref: f.Ref},
	}
	given := map[string]Given{}
	for _, name := range []string{"linked", "renamed"} {
		unlock, err := v.change(t.Context())
		if err == nil {
			given[name], err = v.executeName(true, ops[name], nil)
			unlock()
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	as(desk, read("renamed", "base"), caughtUp)
	for name := range ops {
		if err := v.Named(given[name]); !errors.Is(err, meta.ErrLeased) {
			t.Errorf("%s: %v", name, err)
		}
		as(desk, missing(name))
	}
	if got := desk.conflicts(); len(got) != 0 {
		t.Errorf("conflicts %v", got)
	}
	as(desk, read("d/f.txt", "base"), write("mine/x", "1"), lock)
}
