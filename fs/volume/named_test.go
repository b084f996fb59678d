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

// gives gives a name of the root, and tells by what.
type gives func(m *machine) (Given, error)

// surely makes a file, as a program does that relies on having been the first.
func surely(name string) gives {
	return func(m *machine) (Given, error) {
		a, err := m.v.Make(m.t.Context(), meta.RootRef, []byte(name), Node{Kind: meta.File, Perm: 0o644, UID: 1000, GID: 1000, Sure: true}, false)
		return a.Given, err
	}
}

// linked gives a file of the root a further name.
func linked(path, name string) gives {
	return func(m *machine) (Given, error) {
		_, _, a, err := m.find(path)
		if err == nil {
			a, err = m.v.Link(m.t.Context(), a.Ref, meta.RootRef, []byte(name))
		}
		return a.Given, err
	}
}

// moved gives a file of the root, or of a folder in it, another name of the root.
func moved(path, name string) gives {
	return func(m *machine) (Given, error) {
		dir, was, _, err := m.find(path)
		if err != nil {
			return Given{}, err
		}
		return m.v.RenameSure(m.t.Context(), dir, was, meta.RootRef, []byte(name), 0)
	}
}

// must is what a program waits for then.
func (g gives) must(m *machine) Given {
	m.t.Helper()
	m.mustOpen()
	given, err := g(m)
	if err != nil {
		m.t.Fatal(err)
	}
	return given
}

// remote has names wait for the store, for some seconds.
func remote(o *Options) { o.Remote, o.RemoteTimeout = true, 7*time.Second }

// A program that gave up waiting for a name leaves nothing behind: the next that wants the
// name hears what became of its own operation.
func TestNameAfterOneThatWasGivenUp(t *testing.T) {
	for name, give := range map[string]gives{
		"made":        surely("n"),
		"linked":      linked("a", "n"),
		"renamed":     moved("a", "n"),
		"interrupted": moved("a", "n"),
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
				given := give.must(laptop)
				ctx, stop := context.WithCancel(t.Context())
				if name == "interrupted" {
					time.AfterFunc(time.Second, stop)
				}
				if err := laptop.v.ConfirmName(ctx, given); err == nil || errors.Is(err, publish.ErrFaster) {
					t.Fatalf("with the store away: %v", err)
				}
				stop()
				w.faults.Clear()
				laptop.halt()
				as(laptop, drained, unlink("n"), drained)
				as(desk, caughtUp)

				given = surely("n").must(laptop)
				as(desk, write("n", "theirs"), drained)
				laptop.run()
				synctest.Wait() // it was halted, and says so until it works again
				if err := laptop.v.ConfirmName(t.Context(), given); !errors.Is(err, publish.ErrFaster) {
					t.Errorf("another machine has the name, and the program hears %v", err)
				}
				as(laptop, read("n", "theirs"), unlink("n"))
				if err := laptop.v.ConfirmName(t.Context(), surely("n").must(laptop)); err != nil {
					t.Errorf("nobody else has the name, and the program hears %v", err)
				}
				if n := len(laptop.v.tentative.waiting); n != 0 {
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
	given := surely("n").must(laptop)
	told := make(chan error, 1)
	var early error
	show := func() (view.Followed, error) {
		f := view.Followed{Refused: []meta.Refusal{{No: laptop.v.nextOp - 1, Err: meta.ErrExist}}}
		go func() { told <- laptop.v.Named(given) }()
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
