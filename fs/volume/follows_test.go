package volume

import (
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// A program that locks a file, which others removed and brought back meanwhile, sees at any
// time what other machines make of it, also where another program has opened it anew.
func TestFollowingWhereTwoOpenFilesBecomeOne(t *testing.T) {
	w := newWorld(t)
	desk, phone := w.machine("desk"), w.machine("phone")
	as(w.laptop, write("f", "one"), drained)
	as(phone, write("of phone", "1"), drained, read("f", "one"))
	as(desk, write("of desk", "1"), drained, read("f", "one"))
	opens := func() meta.Ref {
		t.Helper()
		_, _, a, err := desk.find("f")
		if err != nil {
			t.Fatal(err)
		}
		ref, err := desk.v.Open(t.Context(), a.Ref, true)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if desk.v != nil {
				desk.v.Release(ref)
			}
		})
		return ref
	}
	shows := func(ref meta.Ref, want string) {
		t.Helper()
		b := make([]byte, len(want))
		if n, err := desk.v.Read(t.Context(), ref, 0, b); err != nil || string(b[:n]) != want {
			t.Errorf("it shows %q, %v, and not %q", b[:n], err, want)
		}
	}
	follow := func(m *machine) error { return m.v.sync.CatchUp(t.Context()) }
	locks := opens()
	if !desk.v.Following(locks) {
		t.Fatal("it does not follow")
	}
	as(w.laptop, follow, unlink("f"), drained)
	as(desk, follow, missing("f"))
	if desk.v.frozen(locks) == nil {
		t.Fatal("what others removed is not kept: this shows nothing")
	}
	as(phone, write("f", "one"), drained) // it had not heard of the removal
	as(desk, follow, read("f", "one"))
	looks := opens()
	desk.v.Following(looks)
	if err := desk.v.Write(t.Context(), locks, 0, []byte("two")); err != nil {
		t.Fatal(err)
	}
	if desk.v.held[locks.Ino] != desk.v.held[looks.Ino] {
		t.Fatal("they are two files: this shows nothing")
	}
	as(desk, drained)
	as(phone, follow, read("f", "two"), rewrite("f", "six"), drained)
	as(desk, follow, read("f", "six"))
	shows(locks, "six")
}
