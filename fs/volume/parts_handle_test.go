package volume

import (
	"bytes"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// A file of more extents than a step makes again is deleted elsewhere while it is open and
// written here. It comes back as another inode; who has it open goes on with that, with
// what is written before, between and after the commits that bring it.
func TestHandleOfAFileOfManyExtents(t *testing.T) {
	t.Parallel()
	for _, extents := range []int{300, 12_000} {
		w := newWorld(t)
		m, ctx := w.laptop, t.Context()
		want := make([]byte, 2*extents+20)
		put := func(as meta.Ref, off int, b byte) {
			t.Helper()
			want[off] = b
			if err := m.v.Write(ctx, as, uint64(off), []byte{b}); err != nil {
				t.Fatal(err)
			}
		}
		m.mustOpen()
		a, err := m.touch("big")
		if err != nil {
			t.Fatal(err)
		}
		for i := range extents {
			put(a.Ref, 2*i+1, 'b')
		}
		put(a.Ref, len(want)-1, 'e')
		as(m, drained)
		desk := w.machine("desk")
		as(desk, unlink("big"), drained)

		h := m.opens("big", true)
		_, _, a, err = m.find("big")
		if err != nil {
			t.Fatal(err)
		}
		was := a.Ref
		put(h, 2, '1')
		as(m, fsync("big"))
		put(h, 4, '2') // in no operation yet
		as(m, caughtUp, shows(h, string(want)))
		if _, _, a, err = m.find("big"); err != nil || a.Ref.Ino == was.Ino {
			t.Fatalf("it came back as inode %d, which it was: %v", a.Ref.Ino, err)
		}
		if of, err := m.v.Attr(ctx, h); err != nil || of.Ref != a.Ref {
			t.Errorf("the handle is of inode %d, the name of %d: %v", of.Ref.Ino, a.Ref.Ino, err)
		}
		put(h, 6, '3')
		as(m, shows(h, string(want)))
		parts := 0
		m.step = func(name string) {
			if name == "sync.moved" && m.v.sync.Settled() < m.v.lastOp() {
				parts++
			}
		}
		put(h, 2*extents+2, '4')
		as(m, drained)
		m.step = nil
		put(h, 8, '5')
		as(desk, caughtUp, write("other", "1"), drained)
		as(m, caughtUp, shows(h, string(want)))
		put(h, 10, '6')
		as(m, fsync("big"), drained, shows(h, string(want)), read("big", string(want)))
		as(desk, caughtUp, read("big", string(want)))
		if m.v.Release(h); parts == 0 && extents > 5000 {
			t.Error("it went in one commit")
		}
		m.crash()
		as(m, read("big", string(want)))
		far := w.machine("far")
		as(far, drained, read("big", string(want)))
		if bytes.Count(want, []byte{'b'}) != extents {
			t.Error("the test wrote over what it counts on")
		}
	}
}
