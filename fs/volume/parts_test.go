package volume

import (
	"bytes"
	"context"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// A file of more extents than one commit holds is written by two machines, or written by
// one and deleted by the other: all is kept, nobody sees a part of it, and the machine is
// killed before, at and after a commit that brings a part.
func TestFileOfVeryManyExtents(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		gone  bool
		step  string
		files int
	}{
		{"written by both, killed before it sends a part", false, "sync.put", 2},
		{"written by both, killed when a part is in the store", false, "sync.taken", 2},
		{"deleted by the other, killed when a part was written down", true, "sync.moved", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const extents = 24_000
			w := newWorld(t)
			ctx := context.Background()
			put := func(m *machine, b string, offs ...int) {
				t.Helper()
				m.mustOpen()
				a, err := m.touch("big")
				for _, off := range offs {
					if err == nil {
						err = m.v.Write(ctx, a.Ref, uint64(off), []byte(b))
					}
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			base := make([]byte, 2*extents)
			var offs []int
			for i := range extents {
				offs = append(offs, 2*i+1)
				base[2*i+1] = 'b'
			}
			put(w.laptop, "b", offs...)
			as(w.laptop, drained)
			desk := w.machine("desk")
			if c.gone {
				as(desk, unlink("big"), drained)
			} else {
				put(desk, "d", 0)
				as(desk, fsync("big"), drained)
			}

			put(w.laptop, "l", 2)
			as(w.laptop, write("after", "x"), fsync("big"), func(m *machine) error { return m.v.sync.CatchUp(t.Context()) })
			w.laptop.crash()
			parts := 0
			w.laptop.mustOpen()
			w.laptop.step = func(name string) {
				if name != c.step {
					return
				}
				if parts++; parts == 2 {
					_ = w.laptop.v.journal.Close()
				}
			}
			if err := w.laptop.v.sync.Publish(ctx); err == nil || parts < 2 {
				t.Fatalf("killed: %v at part %d", err, parts)
			}
			w.laptop.step = nil
			w.laptop.crash()
			as(desk, func(m *machine) error { return m.v.sync.CatchUp(t.Context()) }, write("other", "1"), drained)
			as(w.laptop, drained)
			as(desk, func(m *machine) error { return m.v.sync.CatchUp(t.Context()) })
			fresh := w.machine("fresh")
			as(fresh, drained)
			as(w.laptop, func(m *machine) error { return m.v.sync.CatchUp(t.Context()) })

			theirs, ours := bytes.Clone(base), bytes.Clone(base)
			theirs[0], ours[2] = 'd', 'l'
			for _, m := range []*machine{w.laptop, desk, fresh} {
				if got, want := m.tree(), w.laptop.tree(); got != want {
					t.Fatalf("%s sees\n%.400s\nlaptop sees\n%.400s", m.name, got, want)
				}
				found := map[string]bool{}
				list, err := m.v.List(ctx, meta.RootRef)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range list {
					_, _, a, err := m.find(string(e.Name))
					if err != nil {
						t.Fatal(err)
					}
					got, err := m.content(a)
					if err != nil {
						t.Fatal(err)
					}
					found[string(got)] = true
				}
				if len(list) != c.files+2 || found[string(theirs)] == c.gone || !found[string(ours)] {
					t.Errorf("%s has %d files; theirs: %v, ours: %v", m.name, len(list), found[string(theirs)], found[string(ours)])
				}
			}
		})
	}
}

// Somebody writes at the bottom of some thousand folders that another machine deletes: they
// are there again, one inside the other. It is killed when it has followed.
func TestDeepFolderIsMadeAgain(t *testing.T) {
	t.Parallel()
	const depth = 3200
	w := newWorld(t)
	ctx := t.Context()
	m := w.laptop
	m.mustOpen()
	way := []meta.Ref{meta.RootRef}
	for range depth {
		a, err := m.v.Make(ctx, way[len(way)-1], []byte("d"), Node{Kind: meta.Dir, Perm: 0o755}, false)
		if err != nil {
			t.Fatal(err)
		}
		way = append(way, a.Ref)
	}
	as(m, drained)
	desk := w.machine("desk")
	as(desk, write("b", "1"), drained) // it is a device now
	for i := depth; i > 0; i-- {
		if err := m.v.Rmdir(ctx, way[i-1], []byte("d")); err != nil {
			t.Fatal(err)
		}
	}
	as(m, drained)
	a, err := desk.v.Make(ctx, way[depth], []byte("f"), Node{Kind: meta.File, Perm: 0o644}, false)
	if err == nil {
		err = desk.v.Write(ctx, a.Ref, 0, []byte("kept"))
	}
	if err == nil {
		err = desk.v.Fsync(ctx, a.Ref)
	}
	if err != nil {
		t.Fatal(err)
	}
	as(desk, func(m *machine) error { return m.v.sync.CatchUp(ctx) })
	desk.crash()
	as(desk, drained)
	fresh := w.machine("fresh")
	as(fresh, drained)
	as(m, func(m *machine) error { return m.v.sync.CatchUp(ctx) })
	for _, m := range []*machine{w.laptop, desk, fresh} {
		at := meta.RootRef
		for i := range depth {
			a, err := m.v.Lookup(ctx, at, []byte("d"))
			if err != nil {
				t.Fatalf("%s, folder %d: %v", m.name, i, err)
			}
			at = a.Ref
		}
		a, err := m.v.Lookup(ctx, at, []byte("f"))
		if err != nil {
			t.Fatalf("%s: %v", m.name, err)
		}
		if got, err := m.content(a); err != nil || string(got) != "kept" {
			t.Errorf("%s reads %q, %v", m.name, got, err)
		}
	}
}
