package volume

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// A crash while a file without a name gets one leaves the whole file, or none.
func TestCrashWhileATmpfileIsNamed(t *testing.T) {
	w := newWorld(t)
	m := w.laptop
	as(m, mkdir("d"))
	whole := false
	for done := 1; !whole; done++ {
		m.mustOpen()
		_, _, d, err := m.find("d")
		if err != nil {
			t.Fatal(err)
		}
		a, err := m.v.Tmpfile(t.Context(), d.Ref, Node{Kind: meta.File, Perm: 0o600})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.v.Write(t.Context(), a.Ref, 0, []byte("content")); err != nil {
			t.Fatal(err)
		}
		if err := m.v.SetXattr(t.Context(), a.Ref, []byte("user.x"), []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprint("named", done)
		n := &naming{v: m.v, o: m.v.orphans[a.Ref.Ino], parent: meta.RootRef, name: []byte(name), temp: incomplete(a.Ref.Ino)}
		err = m.v.locked(t.Context(), func() error {
			if err := n.gather(); err != nil {
				return err
			}
			whole = done == len(n.ops)
			n.ops = n.ops[:done]
			return n.run()
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.v.persist(); err != nil {
			t.Fatal(err)
		}
		m.crash()
		if whole {
			as(m, read(name, "content"))
		} else {
			as(m, missing(name))
		}
		if tree := m.tree(); strings.Contains(tree, "incomplete") {
			t.Errorf("after %d operations there is\n%s", done, tree)
		}
	}
	as(m, lock)
	as(w.machine("desktop"), mkdir("more"))
}
