package volume

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/view"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
)

// surely makes a file under a name of the root, as a program does that relies on having
// been the first.
func surely(name string) act {
	return func(m *machine) error {
		_, err := m.v.Make(m.t.Context(), meta.RootRef, []byte(name), Node{Kind: meta.File, Perm: 0o644, UID: 1000, GID: 1000, Sure: true}, false)
		return err
	}
}

// linked gives a file of the root a further name there.
func linked(path, name string) act {
	return func(m *machine) error {
		_, _, a, err := m.find(path)
		if err == nil {
			_, err = m.v.Link(m.t.Context(), a.Ref, meta.RootRef, []byte(name))
		}
		return err
	}
}

// confirms waits for names of the root.
func confirms(ctx context.Context, m *machine, names ...string) error {
	var l []NameIn
	for _, n := range names {
		l = append(l, NameIn{meta.RootRef, []byte(n)})
	}
	return m.v.ConfirmNames(ctx, l...)
}

// remote has names wait for the store, for some seconds.
func remote(o *Options) { o.Remote, o.RemoteTimeout = true, 7*time.Second }

// A program that gave up waiting for a name leaves nothing behind: the next that wants the
// name hears what became of its own operation.
func TestNameAfterOneThatWasGivenUp(t *testing.T) {
	for name, c := range map[string]struct {
		give  act
		names []string
	}{
		"made":        {surely("n"), []string{"n"}},
		"linked":      {linked("a", "n"), []string{"n"}},
		"renamed":     {rename("a", "n"), []string{"a", "n"}},
		"interrupted": {rename("a", "n"), []string{"a", "n"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				laptop, desk := w.laptop, w.machine("desk")
				laptop.set = remote
				as(laptop, write("a", "1"), drained)
				as(desk, write("b", "1"), drained)
				w.faults.Add(fault.On(fault.Put, 0, fault.Fail(store.ErrUnavailable)))
				laptop.run()
				as(laptop, c.give)
				ctx, stop := context.WithCancel(t.Context())
				if name == "interrupted" {
					time.AfterFunc(time.Second, stop)
				}
				if err := confirms(ctx, laptop, c.names...); err == nil || errors.Is(err, publish.ErrFaster) {
					t.Fatalf("with the store away: %v", err)
				}
				stop()
				w.faults.Clear()
				laptop.halt()
				as(laptop, drained, unlink("n"), drained)
				as(desk, caughtUp)

				as(laptop, surely("n"))
				as(desk, write("n", "theirs"), drained)
				laptop.run()
				if err := confirms(t.Context(), laptop, "n"); !errors.Is(err, publish.ErrFaster) {
					t.Errorf("another machine has the name, and the program hears %v", err)
				}
				as(laptop, read("n", "theirs"), unlink("n"), surely("n"))
				if err := confirms(t.Context(), laptop, "n"); err != nil {
					t.Errorf("nobody else has the name, and the program hears %v", err)
				}
				if n := len(laptop.v.tentative.waiting) + len(laptop.v.tentative.names); n != 0 {
					t.Errorf("%d operations are waited for still", n)
				}
				as(laptop, lock)
			})
		})
	}
}

// An operation that another machine was faster than is gone from the view a moment before
// it is known why. Who asks in that moment waits.
func TestVerdictOfAMoment(t *testing.T) {
	w := newWorld(t)
	laptop, desk := w.laptop, w.machine("desk")
	laptop.set = remote
	as(laptop, write("a", "1"), drained)
	as(desk, write("n", "theirs"), drained)
	as(laptop, surely("n"))
	told := make(chan error, 1)
	var early error
	show := func() (view.Followed, error) {
		f := view.Followed{Refused: []meta.Refusal{{No: laptop.v.nextOp - 1, Err: meta.ErrExist}}}
		go func() { told <- laptop.v.Named(meta.RootRef, []byte("n")) }()
		select {
		case err := <-told: // it cannot be known
			early = errors.Join(errors.New("told"), err)
		case <-time.After(50 * time.Millisecond):
		}
		return f, nil
	}
	if err := laptop.v.switched(nil, show); err != nil {
		t.Fatal(err)
	}
	if early != nil {
		t.Fatal("it was told before it was known")
	}
	if err := <-told; !errors.Is(err, publish.ErrFaster) {
		t.Errorf("it was told %v", err)
	}
}
