package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
)

// is finds a path as far on its way to the store as want says.
func is(path, want string) act {
	return func(m *machine) error {
		_, _, a, err := m.find(path)
		if err != nil {
			return err
		}
		d, err := m.v.Durable(a.Ref)
		if err == nil && d.String() != want {
			err = fmt.Errorf("%s is %q, want %q", path, d, want)
		}
		return err
	}
}

func persist(m *machine) error { return m.v.persist() }

// floating writes to a file and leaves it open, so that its bytes are no operation.
func floating(path string, data []byte) act {
	return func(m *machine) error {
		a, err := m.touch(path)
		if err != nil {
			return err
		}
		return m.v.Write(context.Background(), a.Ref, 0, data)
	}
}

// What was written says where it is on its way to the store, also after a crash.
func TestDurable(t *testing.T) {
	w := newWorld(t)
	m := w.laptop
	as(m, mkdir("d"), is("d", "no"), persist, is("d", "local"),
		write("d/f", "1"), is("d/f", "no"), is("d", "no"),
		write("g", "1"), fsync("d/f"), is("d/f", "local"), is("d", "local"), is("g", "local"),
		floating("g", []byte("2")), is("g", "no"), persist, is("g", "no"), fsync("g"), is("g", "local"))
	m.crash()
	as(m, is("d/f", "local"), is("g", "local"),
		drained, is("d/f", "bucket 2"), is("d", "bucket 2"), is("g", "bucket 2"),
		write("g", "3"), is("g", "no"), is("d/f", "bucket 2"), fsync("g"), is("g", "local"),
		drained, is("g", "bucket 3"), is("d/f", "bucket 2"),
		rename("d/f", "d/h"), is("d/h", "no"), is("d", "no"), drained, is("d/h", "bucket 4"), is("g", "bucket 3"), lock)
	// Folded, all that is known is that the checkpoint has it.
	m.fold = 1
	m.mustOpen()
	if err := m.v.sync.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	as(m, is("g", "bucket 4"), is("d/h", "bucket 4"), write("new", "1"), drained, is("new", "bucket 6"), lock)
	as(w.machine("desk"), is("g", "bucket 6"), is("d/h", "bucket 6")) // folded again when the laptop left
}

// Of a file without a name nothing ever goes to the store; one that is gone is gone.
func TestDurableOfWhatHasNoName(t *testing.T) {
	w := newWorld(t)
	m := w.laptop
	as(m, write("f", "1"), drained)
	_, _, a, err := m.find("f")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.v.Open(t.Context(), a.Ref, true); err != nil {
		t.Fatal(err)
	}
	as(m, unlink("f"))
	if d, err := m.v.Durable(a.Ref); err != nil || d.String() != "no" {
		t.Errorf("unlinked and open: %v, %v", d, err)
	}
	if err := m.v.Confirm(t.Context(), a.Ref); err != nil {
		t.Errorf("waited for what will never be in the store: %v", err)
	}
	m.v.Release(a.Ref)
	if d, err := m.v.Durable(a.Ref); !errors.Is(err, ErrStale) {
		t.Errorf("gone: %v, %v", d, err)
	}
}

// large is more than goes into the journal with an operation.
func large() []byte { return bytes.Repeat([]byte("large"), pack.Size/5+1) }

// gated is a machine on which files of packs are written only when the gate opens.
func gated(w *world) (m *machine, open func()) {
	gate := make(chan struct{})
	m = w.laptop
	m.step = func(name string) {
		if name == "pack.write" {
			<-gate
		}
	}
	return m, sync.OnceFunc(func() { close(gate) })
}

// An fsync does not wait for the data of other files: not for that which is being
// written, not for that of a file that was closed.
func TestFsyncDoesNotWaitForOthers(t *testing.T) {
	for name, closed := range map[string]bool{"being written": false, "closed": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				m, open := gated(w)
				defer open()
				defer time.AfterFunc(time.Minute, open).Stop() // rather than hang
				m.run()
				for !m.v.packs.Running() {
					runtime.Gosched() // until then a write that fills a pack writes it itself
				}
				as(m, floating("large", large()))
				if closed {
					as(m, func(m *machine) error {
						_, _, a, err := m.find("large")
						if err != nil {
							return err
						}
						return m.v.Flush(context.Background(), a.Ref)
					})
				}
				// As when the tick of the clock meets it.
				ripe := make(chan error, 1)
				go func() { ripe <- m.v.ripen(context.Background(), 0) }()
				as(m, write("small", "1"), fsync("small"), is("small", "local"), is("large", "no"),
					read("large", string(large())))
				open()
				if err := <-ripe; err != nil {
					t.Error(err)
				}
				as(m, persist, is("large", "local"))
				m.crash()
				m.step = nil
				as(m, read("small", "1"), read("large", string(large())), lock)
			})
		})
	}
}

// While a file is being written, what of it is on the disk becomes an operation, and
// the rest floats on.
func TestHalfOfAFileIsDurable(t *testing.T) {
	w := newWorld(t)
	m := w.laptop
	m.mustOpen()
	data := large()
	for len(data)%pack.Size < 2*inlineMax {
		data = append(data, "more"...)
	}
	as(m, floating("f", data))
	_, _, a, err := m.find("f")
	if err != nil {
		t.Fatal(err)
	}
	m.v.mu.Lock()
	d := m.v.dirty[a.Ref.Ino]
	safe, loose, n := m.v.loose(d)
	since := time.Now()
	err = m.v.pinSealed(a.Ref.Ino, since)
	rest := m.v.dirty[a.Ref.Ino]
	m.v.mu.Unlock()
	if err != nil || len(safe) == 0 || n <= inlineMax {
		t.Fatalf("%v; %d pieces on the disk, %d bytes in memory", err, len(safe), n)
	}
	if rest == nil || len(rest.extents) != len(loose) || !rest.first.Equal(since) || rest.base == 0 {
		t.Fatalf("what floats on: %+v", rest)
	}
	as(m, read("f", string(data)), is("f", "no"), persist)
	m.crash()
	as(m, read("f", string(data[:pack.Size])), is("f", "local"))
	// What floated on becomes an operation over the rest, and nothing is taken for
	// another machine's.
	as(m, floating("f", data))
	m.v.mu.Lock()
	err = m.v.pinSealed(a.Ref.Ino, time.Now())
	m.v.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	as(m, fsync("f"), missing(fmt.Sprintf("recovered-%x-1", uint64(a.Ref.Ino))))
	m.crash()
	as(m, read("f", string(data)), lock)
}

// What a close hands over, or the kernel writes back, is in the journal within five
// seconds, though nobody asked for it.
func TestWrittenIsSyncedWithinFiveSeconds(t *testing.T) {
	for _, c := range []struct {
		name   string
		data   []byte
		closed bool
	}{
		{"small, closed", []byte("small"), true},
		{"small, open", []byte("small"), false},
		{"large, closed", large(), true},
		{"large, open", large(), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				m := w.laptop
				w.faults.Add(fault.On(fault.Put, 1, fault.Fail(store.ErrUnavailable)).Onwards())
				m.run()
				defer m.crash()
				time.Sleep(time.Second / 3)
				as(m, floating("f", c.data), is("f", "no"))
				if c.closed {
					as(m, func(m *machine) error {
						_, _, a, err := m.find("f")
						if err != nil {
							return err
						}
						return m.v.Flush(context.Background(), a.Ref)
					})
				}
				time.Sleep(5 * time.Second)
				synctest.Wait()
				as(m, is("f", "local"))
			})
		})
	}
}

// confirming has so many programs make a file each and wait until the store has it.
func confirming(m *machine, n int) <-chan error {
	done := make(chan error, n)
	for i := range n {
		go func() {
			a, err := m.v.Make(context.Background(), meta.RootRef, fmt.Append(nil, "f", i), Node{Kind: meta.File, Perm: 0o644}, false)
			if err == nil {
				err = m.v.Confirm(context.Background(), a.Ref)
			}
			done <- err
		}()
	}
	return done
}

// Programs that wait at the same time share commits, and do not wait for the clock.
func TestConfirmShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m := w.laptop
		w.faults.Add(fault.On(fault.Put, 1, fault.Slow(100*time.Millisecond)).Onwards())
		m.run()
		defer m.crash()
		began, before := time.Now(), len(w.names("l"))
		const n = 50
		done := confirming(m, n)
		for range n {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(began); took > 400*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		if slots := len(w.names("l")) - before; slots > 3 {
			t.Errorf("%d commits for %d programs that wait at once", slots, n)
		}
	})
}

// What is done after that which a program waits for goes with a later commit: its
// data may take long, or never come.
func TestConfirmDoesNotWaitForWhatComesAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m := w.laptop
		m.mustOpen()
		as(m, write("before", "1"), write("f", "1"), write("large", string(large())))
		_, _, f, err := m.find("f")
		if err != nil {
			t.Fatal(err)
		}
		// Of large there are two packs; the little that comes before it is in the first.
		gate := make(chan struct{})
		w.faults.Add(fault.On(fault.Put, 2, fault.Delay(gate)).Prefix(chain.PackPrefix(w.vol)).Onwards())
		m.run()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := m.v.Confirm(ctx, f.Ref); err != nil {
			t.Fatal(err)
		}
		as(m, is("f", "bucket 2"), is("before", "bucket 2"), is("large", "local"))
		close(gate)
		as(m, lock, is("large", "bucket 3"))
	})
}

// Who waits for a store that is away can be interrupted, or gives up in time; what was
// written is in the journal, and who waits on gets it when the store is back.
func TestConfirmWithTheStoreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m := w.laptop
		w.faults.Add(fault.On(fault.Put, 1, fault.Fail(store.ErrUnavailable)).Onwards())
		m.run()
		defer m.crash()
		as(m, write("f", "1"))
		_, _, f, err := m.find("f")
		if err != nil {
			t.Fatal(err)
		}
		ctx, interrupt := context.WithCancel(t.Context())
		ended := make(chan error, 2)
		go func() { ended <- m.v.Confirm(ctx, f.Ref) }()
		time.Sleep(time.Minute)
		if s := m.v.Status(); s.Confirming != 1 || time.Since(s.ConfirmSince) != time.Minute {
			t.Errorf("status: %d wait, since %v", s.Confirming, s.ConfirmSince)
		}
		as(m, is("f", "local"))
		interrupt()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("interrupted: %v", err)
		}
		began := time.Now()
		m.v.o.RemoteTimeout = 7 * time.Second
		if err := m.v.Confirm(t.Context(), f.Ref); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 7*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if n, _ := m.v.confirming.count(); n != 0 {
			t.Errorf("%d wait still", n)
		}
		m.v.o.RemoteTimeout = 0
		go func() { ended <- m.v.Confirm(t.Context(), f.Ref) }()
		time.Sleep(time.Second)
		w.faults.Clear()
		if err := <-ended; err != nil {
			t.Errorf("when the store was back: %v", err)
		}
		as(m, is("f", "bucket 2"))
	})
}

// The nearest directory that has the attribute decides, and what is moved goes by
// where it is then.
func TestRemote(t *testing.T) {
	w := newWorld(t)
	m := w.laptop
	set := func(path, value string) act {
		return func(m *machine) error {
			_, _, a, err := m.find(path)
			if err == nil {
				err = m.v.SetXattr(context.Background(), a.Ref, []byte(DurabilityAttr), []byte(value), 0)
			}
			m.v.Redecide()
			return err
		}
	}
	remote := func(path string, want bool) act {
		return func(m *machine) error {
			_, _, a, err := m.find(path)
			if err != nil {
				return err
			}
			got, err := m.v.Remote(context.Background(), a.Ref)
			if err == nil && got != want {
				err = fmt.Errorf("%s: remote %v, want %v", path, got, want)
			}
			return err
		}
	}
	rename := func(from, to string) act {
		return func(m *machine) error {
			defer m.v.Redecide()
			return rename(from, to)(m)
		}
	}
	as(m, mkdir("a"), mkdir("a/b"), mkdir("a/b/c"), mkdir("x"),
		remote("a/b/c", false), set("a", DurabilityRemote),
		remote("a", true), remote("a/b/c", true), remote("x", false),
		set("a/b", DurabilityLocal), remote("a/b", false), remote("a/b/c", false),
		rename("a/b/c", "a/c"), remote("a/c", true),
		rename("a/c", "x/c"), remote("x/c", false),
		rename("x", "a/x"), remote("a/x/c", true))
	if remote, err := m.v.Remote(t.Context(), meta.RootRef); remote || err != nil {
		t.Errorf("the root is remote: %v, %v", remote, err)
	}
	m.v.o.Remote = true
	m.v.Redecide()
	as(m, remote("a/b", false), remote("a/x", true), lock)
	// Another machine's word counts as well.
	desk := w.machine("desk")
	as(desk, remote("a/x/c", true), remote("a/b", false))
}

// A loop of renames ends like one of writes: where the store takes nothing and all
// room is used. Removing goes on.
func TestRenamesAreHeldBack(t *testing.T) {
	w := newWorld(t)
	m := w.laptop
	as(m, write("f", "1"), write("g", "1"))
	y := &yard{free: 1000 * mib, waiting: 513 * mib} // nothing is left of what is set aside
	m.v.room = y.room()
	m.v.room.progressed = time.Time{} // and nothing goes
	_, _, a, err := m.find("f")
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"rename": rename("f", "h")(m),
		"link":   func() error { _, err := m.v.Link(t.Context(), a.Ref, meta.RootRef, []byte("h")); return err }(),
		"chmod":  m.v.Setattr(t.Context(), a.Ref, meta.Setattr{Valid: meta.SetPerm, Perm: 0o600}),
		"touch":  m.v.Setattr(t.Context(), a.Ref, meta.Setattr{Valid: meta.SetMtime | meta.SetCtime}),
	} {
		if !errors.Is(err, ErrNoSpace) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The kernel tells times of a file with bytes that it has accepted.
	m.v.mu.Lock()
	m.v.hold(a.Ref)
	m.v.mu.Unlock()
	if err := m.v.Setattr(t.Context(), a.Ref, meta.Setattr{Valid: meta.SetMtime | meta.SetCtime}); err != nil {
		t.Errorf("times of an open file: %v", err)
	}
	m.v.Release(a.Ref)
	as(m, unlink("f"), unlink("g"), missing("f"))
}
