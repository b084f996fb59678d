package volume

import (
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// A request of the kernel for a file that is open may still be on its way when another
// program closes it, and what the file is called by is given back.
func TestAskedForWhileClosed(t *testing.T) {
	m := newWorld(t).laptop
	m.mustOpen()
	a, err := m.v.Make(t.Context(), meta.RootRef, []byte("f"), Node{Kind: meta.File, Perm: 0o644}, true)
	if err != nil {
		t.Fatal(err)
	}
	m.v.Release(a.Held)
	if is, err := m.v.Attr(t.Context(), a.Held); err != nil || is.Ref != a.Ref {
		t.Errorf("of a file just closed: %v, %v", is.Ref, err)
	}
	as, err := m.v.Open(t.Context(), a.Held, true)
	if err != nil {
		t.Fatalf("opened by what it was called before: %v", err)
	}
	if m.v.Ino(as) != a.Ref.Ino {
		t.Errorf("opened inode %d, want %d", m.v.Ino(as), a.Ref.Ino)
	}
	m.v.Release(as)
	for range 2 * closedMax {
		if as, err = m.v.Open(t.Context(), a.Ref, false); err != nil {
			t.Fatal(err)
		}
		m.v.Release(as)
	}
	if n := len(m.v.former.ref); n != closedMax {
		t.Errorf("%d former numbers are kept, want %d", n, closedMax)
	}
}
