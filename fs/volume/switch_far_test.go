package volume

import (
	"bytes"
	"errors"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/view"
)

// farOf is a state in which one value is not near, until it was brought.
type farOf struct {
	meta.Reader
	key     []byte
	brought *bool
}

func (f farOf) Get(k []byte) ([]byte, error) {
	if bytes.Equal(k, f.key) && !*f.brought {
		return nil, meta.ErrUnknown
	}
	return f.Reader.Get(k)
}

// openAndFar is a file that laptop has open, and desk changed: what laptop knew of it is not
// near, until it was brought.
func openAndFar(t *testing.T) (laptop, desk *machine, h meta.Ref, brought *bool) {
	laptop, desk = two(t, "base")
	h = laptop.opens("d/f.txt", true)
	_, _, a, err := laptop.find("d/f.txt")
	if err != nil {
		t.Fatal(err)
	}
	as(desk, rewrite("d/f.txt", "theirs"), drained)
	was, brought := laptop.v.view, new(bool)
	far := farOf{was.Confirmed(), meta.InodeKey(a.Ref), brought}
	laptop.v.view = view.New(view.NewConfirmed(was.Slot(), far, was.Usage()))
	return laptop, desk, h, brought
}

// A machine that slept, and goes on from where others are, brings first what it knew of the
// files that are open: those that the others changed stay what they were for who has them open,
// and what he writes goes to a copy.
func TestOpenIsBroughtBeforeTheJump(t *testing.T) {
	laptop, desk, h, brought := openAndFar(t)
	if err := laptop.jumpsTo(desk); !errors.Is(err, meta.ErrUnknown) {
		t.Errorf("it goes on and does not know what is open: %v", err)
	}
	*brought = true
	if err := laptop.jumpsTo(desk); err != nil {
		t.Fatal(err)
	}
	as(laptop, shows(h, "base"), puts(h, 0, "MINE"), synced(h), shows(h, "MINE"), read("d/f.txt", "theirs"))
	as(laptop, read(laptop.copyOf("d", "f.txt"), "MINE"), closes(h))
}

// What cannot be brought, since the store has lost it, keeps no machine from going on: who has
// it open has what it was, or nothing, and writes to no other version.
func TestOpenThatCannotBeBroughtBeforeTheJump(t *testing.T) {
	laptop, desk, h, _ := openAndFar(t)
	for _, want := range []error{meta.ErrUnknown, nil} {
		if err := laptop.jumpsTo(desk); !errors.Is(err, want) {
			t.Fatalf("%v, want %v", err, want)
		}
	}
	if err := laptop.v.Write(t.Context(), h, 0, []byte("MINE")); err == nil {
		t.Error("it writes to what it does not know")
	}
	as(laptop, read("d/f.txt", "theirs"), closes(h))
}

// jumpsTo has a machine go on from the state that another shows.
func (m *machine) jumpsTo(other *machine) error {
	return m.v.switched(nil, func() (view.Followed, error) {
		return m.v.view.Jump(other.v.view.Snapshot(), 0, m.v.rebase(), m.v.replace)
	})
}
