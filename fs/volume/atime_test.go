package volume

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
)

func (m *machine) atime(path string) meta.Time {
	m.t.Helper()
	m.mustOpen()
	_, _, a, err := m.find(path)
	if err != nil {
		m.t.Fatal(err)
	}
	return a.Inode.Atime
}

func accessed(path string) act {
	return func(m *machine) error {
		_, _, a, err := m.find(path)
		if err == nil {
			m.v.Accessed(a.Ref)
		}
		return err
	}
}

// Reading shows at once, by the rule of relatime. It is no change: it goes along with
// one, and without one nothing is written.
func TestAtime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m := w.laptop
		as(m, write("f", "1"), drained)
		made := m.atime("f")
		time.Sleep(time.Minute)
		as(m, accessed("f"))
		read := m.atime("f")
		if !made.Before(read) {
			t.Fatalf("atime %v after reading, %v before", read, made)
		}
		time.Sleep(23 * time.Hour)
		as(m, accessed("f"))
		if got := m.atime("f"); got != read {
			t.Errorf("atime %v after a further reading on the same day, was %v", got, read)
		}
		before := len(w.objects.Names())
		as(m, drained, func(m *machine) error { m.v.settle(t.Context(), 0); return nil }, drained)
		if s := m.v.Status(); !s.Stored || len(w.objects.Names()) != before {
			t.Errorf("reading alone was stored: %d operations wait", s.PendingOps)
		}
		as(m, mkdir("d"), drained)
		m.crash()
		if got := m.atime("f"); got != read {
			t.Errorf("atime %v after a crash, was %v: it did not go along", got, read)
		}
		time.Sleep(2 * time.Hour)
		as(m, accessed("f"))
		again := m.atime("f")
		if !read.Before(again) {
			t.Errorf("atime %v after a day", again)
		}
		// A change of the inode's attributes takes it along, or sets it itself.
		_, _, a, err := m.find("f")
		if err != nil {
			t.Fatal(err)
		}
		if err := m.v.Setattr(context.Background(), a.Ref, meta.Setattr{Valid: meta.SetPerm, Perm: 0o600}); err != nil {
			t.Fatal(err)
		}
		as(m, func(m *machine) error { return m.v.persist() })
		m.crash()
		if got := m.atime("f"); got != again {
			t.Errorf("atime %v after chmod and a crash, want %v", got, again)
		}
		as(m, accessed("f"), func(m *machine) error {
			return m.v.Setattr(context.Background(), a.Ref, meta.Setattr{Valid: meta.SetAtime, Atime: meta.Time{Sec: 5}})
		})
		if got := m.atime("f"); got.Sec != 5 {
			t.Errorf("atime %v, set to 5", got)
		}
		as(m, lock)
	})
}

func TestAtimesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m := w.laptop
		const files = accessesKept + 200
		for i := range files {
			as(m, write(fmt.Sprint(i), ""))
		}
		as(m, drained)
		time.Sleep(time.Minute)
		for i := range files {
			as(m, accessed(fmt.Sprint(i)))
		}
		kept := func() (n int) {
			as(m, mkdir(fmt.Sprint("d", time.Now().UnixNano())))
			before := m.v.nextOp
			m.v.settle(t.Context(), 0)
			return int(m.v.nextOp - before)
		}
		for i, want := range []int{accessesKept, 0} {
			if n := kept(); n != want {
				t.Errorf("settled the %d. time: %d were stored, want %d", i+1, n, want)
			}
		}
		time.Sleep(accessHour)
		if n := kept(); n != files-accessesKept {
			t.Errorf("an hour later: %d were stored, want %d", n, files-accessesKept)
		}
		as(m, lock)
	})
}

// That another machine deleted what was read here is no conflict.
func TestAtimeOfWhatIsGone(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("f", "1"), drained)
	desk := w.machine("desktop")
	as(desk, read("f", "1"), mkdir("mine"), drained)
	as(desk, accessed("f"), mkdir("more"), func(m *machine) error { m.v.settle(t.Context(), 0); return nil })
	as(w.laptop, mkdir("news"), unlink("f"), drained)
	as(desk, drained, missing("f"), lock)
	as(w.machine("third"), missing("f"))
}

// A mount that may change nothing notes nothing, and one that never changed anything
// becomes no device for it.
func TestAtimeOfReaders(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("f", "1"), drained)
	for name, change := range map[string]func(m *machine){"read-only": func(m *machine) { m.ro = true }, "a reader": func(*machine) {}} {
		m := w.machine(name)
		change(m)
		was := m.atime("f")
		as(m, accessed("f"))
		if shown := m.atime("f") != was; shown == m.ro {
			t.Errorf("%s: the atime changes: %v", name, shown)
		}
		m.v.settle(t.Context(), 0)
		if n := m.v.Status().Device; n != 0 {
			t.Errorf("%s: became device %d", name, n)
		}
		as(m, lock)
	}
}
