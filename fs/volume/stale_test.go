package volume

import (
	"errors"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
)

// A file that another machine rewrites while it is open here: what is written through
// the handle is refused, or goes to a file of its own. Never do bytes of both become one
// content that nobody wrote.
func TestOpenWhileItIsRewrittenElsewhere(t *testing.T) {
	for name, c := range map[string]struct {
		known bool                                 // the machine is a device already
		write func(m *machine, ref meta.Ref) error // after the other machine's write
		then  act                                  // what makes this one follow
	}{
		"first change, a write": {false, func(m *machine, ref meta.Ref) error {
			return m.v.Write(m.t.Context(), ref, 0, []byte("XX"))
		}, nil},
		"first change, an append": {false, func(m *machine, ref meta.Ref) error {
			return m.v.Write(m.t.Context(), ref, 4, []byte("tail"))
		}, nil},
		"first change, a truncation": {false, func(m *machine, ref meta.Ref) error {
			return m.v.Truncate(m.t.Context(), ref, 0, nil)
		}, nil},
		"after it followed": {true, func(m *machine, ref meta.Ref) error {
			return m.v.Write(m.t.Context(), ref, 0, []byte("XX"))
		}, mkdir("other")},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			as(w.laptop, write("f", "base"), drained)
			m := w.machine("desktop")
			if c.known {
				as(m, mkdir("mine"), drained)
			}
			m.mustOpen()
			_, _, f, err := m.find("f")
			if err != nil {
				t.Fatal(err)
			}
			// To open for writing makes a machine a device, and so would come too early.
			if err := m.v.Open(t.Context(), f.Ref, c.known); err != nil {
				t.Fatal(err)
			}
			as(w.laptop, rewrite("f", "IMPORTANT from the laptop"), drained)
			if c.then != nil {
				as(m, c.then, drained)
			}
			if err := c.write(m, f.Ref); !errors.Is(err, ErrStale) {
				t.Errorf("written all the same: %v", err)
			}
			m.v.Release(f.Ref)
			// Opened anew it is the new one, and can be changed.
			as(m, read("f", "IMPORTANT from the laptop"), rewrite("f", "then mine"), drained)
			as(w.machine("third"), read("f", "then mine"))
		})
	}
}

// A machine becomes a device as it opens a file for writing. What it writes then, before
// it has heard of the other's write, is a change of its own that does not fit.
func TestFirstOpenWhileItIsRewrittenElsewhere(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("f", "base"), drained)
	m := w.machine("desktop")
	m.mustOpen()
	_, _, f, err := m.find("f")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.v.Open(t.Context(), f.Ref, true); err != nil {
		t.Fatal(err)
	}
	as(w.laptop, rewrite("f", "IMPORTANT from the laptop"), drained)
	if err := m.v.Write(t.Context(), f.Ref, 0, []byte("XX")); err != nil {
		t.Fatal(err)
	}
	as(m, fsync("f"), refuses(drained, publish.ErrConflict))
	as(w.machine("third"), read("f", "IMPORTANT from the laptop"))
}

// Bytes that were taken before the other machine's write came here are not lost, and
// not mixed with it.
func TestWrittenWhileItIsRewrittenElsewhere(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("f", "base"), drained)
	m := w.machine("desktop")
	as(m, mkdir("mine"), drained)
	_, _, f, err := m.find("f")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.v.Write(t.Context(), f.Ref, 0, []byte("XX")); err != nil {
		t.Fatal(err)
	}
	as(w.laptop, rewrite("f", "IMPORTANT from the laptop"), drained)
	if err := m.v.sync.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.v.pinOld(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	as(m, drained, read("f", "IMPORTANT from the laptop"))
	entries, err := m.v.List(t.Context(), meta.RootRef)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, e := range entries {
		if a, err := m.v.Lookup(t.Context(), meta.RootRef, e.Name); err == nil && e.Ref != f.Ref && a.Inode.Kind == meta.File {
			b, err := m.content(a)
			found = found || err == nil && string(b) == "XX"
		}
	}
	if !found {
		t.Error("what was written here is nowhere")
	}
	if s := m.v.Status(); len(s.Warnings) == 0 {
		t.Error("nothing is said of it")
	}
}

// A change of another machine that leaves the content alone, or one of our own, makes
// no handle stale.
func TestOpenWhileSomethingElseChanges(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("f", "base"), drained)
	m := w.machine("desktop")
	as(m, mkdir("mine"), drained)
	_, _, f, err := m.find("f")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.v.Open(t.Context(), f.Ref, true); err != nil {
		t.Fatal(err)
	}
	put := func(off uint64, s string) {
		t.Helper()
		if err := m.v.Write(t.Context(), f.Ref, off, []byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	chmod := func(perm uint16) act {
		return func(o *machine) error {
			return o.v.Setattr(t.Context(), f.Ref, meta.Setattr{Valid: meta.SetPerm, Perm: perm})
		}
	}
	as(w.laptop, chmod(0o600), drained)
	as(m, mkdir("x"), drained)
	put(0, "B")
	as(m, drained)
	as(w.laptop, mkdir("y"), drained, chmod(0o640), drained)
	as(m, mkdir("z"), drained)
	put(1, "A")
	as(m, drained, read("f", "BAse"))
}

// rewrite replaces a file's content.
func rewrite(name, content string) act {
	return func(m *machine) error {
		_, _, a, err := m.find(name)
		if err != nil {
			return err
		}
		if err := m.v.Truncate(m.t.Context(), a.Ref, 0, nil); err != nil {
			return err
		}
		return m.v.Write(m.t.Context(), a.Ref, 0, []byte(content))
	}
}
