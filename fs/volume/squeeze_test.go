package volume

import (
	"bytes"
	"context"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// A file of more extents than one step or one commit holds is written by two machines:
// both are kept, the slower machine is not stuck, and neither is it after a crash.
func TestConflictOfVeryManyExtents(t *testing.T) {
	t.Parallel()
	const extents = 40_000
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
	put(desk, "d", 0)
	as(desk, fsync("big"), drained)

	put(w.laptop, "l", 2)
	as(w.laptop, fsync("big"), func(m *machine) error { return m.v.sync.CatchUp(t.Context()) })
	w.laptop.crash()
	as(w.laptop, drained)
	as(desk, func(m *machine) error { return m.v.sync.CatchUp(t.Context()) })

	theirs, ours := bytes.Clone(base), bytes.Clone(base)
	theirs[0], ours[2] = 'd', 'l'
	if l, d := w.laptop.tree(), desk.tree(); l != d {
		t.Fatalf("laptop sees\n%.400s\ndesk sees\n%.400s", l, d)
	}
	found := map[string]bool{}
	for _, m := range []*machine{w.laptop, desk} {
		clear(found)
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
		if len(list) != 2 || !found[string(theirs)] || !found[string(ours)] {
			t.Errorf("%s has %d files; theirs: %v, ours: %v", m.name, len(list), found[string(theirs)], found[string(ours)])
		}
	}
}
