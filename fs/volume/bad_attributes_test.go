package volume

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// attribute is the nth of a file, as long as one may be.
func attribute(n int) (name, value []byte) {
	return fmt.Appendf(nil, "user.%02d", n), []byte(strings.Repeat(string(rune('a'+n)), meta.MaxXattr))
}

// foreign gives a file so many attributes, as a machine does that asks nobody.
func foreign(path string, n int) act {
	return func(m *machine) error {
		_, _, a, err := m.find(path)
		for i := range n {
			name, value := attribute(i)
			err = errors.Join(err, m.v.amend(context.Background(), a.Ref, func(ref meta.Ref) meta.Op {
				return &meta.Setxattr{Ref: ref, Name: name, Value: value}
			}))
		}
		return err
	}
}

// A file has room for so many attributes as fit into a commit with all else.
func TestRoomForAttributes(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("f", "1"))
	_, _, a, err := w.laptop.find("f")
	if err != nil {
		t.Fatal(err)
	}
	v := w.laptop.v
	set := func(n, size int) error {
		name, value := attribute(n)
		return v.SetXattr(t.Context(), a.Ref, name, value[:size], 0)
	}
	rest := meta.MaxXattrs - meta.MaxXattr - 2*len("user.00")
	for i, c := range []struct {
		n, size int
		want    error
	}{
		{0, meta.MaxXattr, nil}, {1, meta.MaxXattr, ErrAttributes}, {1, rest + 1, ErrAttributes}, {1, rest, nil}, {2, 0, ErrAttributes},
		{1, rest, nil}, {0, meta.MaxXattr, nil}, {0, 0, nil}, {2, 1000, nil},
	} {
		if err := set(c.n, c.size); !errors.Is(err, c.want) {
			t.Errorf("step %d: %v, want %v", i, err, c.want)
		}
	}
}

// What must come into one commit, a file that is made again, may have more attributes
// than that has room for, of which each came by itself. That stops nobody.
func TestMoreAttributesThanACommitHolds(t *testing.T) {
	for _, c := range []struct {
		name   string
		theirs act
		at     string
		lost   int // records that say that not all attributes could be kept
	}{
		{"written by both", write("d/f", "theirs"), "d/f (conflict, desktop, ", 1},
		{"written here, deleted there", series(unlink("d/f"), rmdir("d")), "d/f", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			m := w.machine("desktop")
			as(w.laptop, mkdir("d"), write("d/f", "1"), foreign("d/f", 24), foreign("d", 24), drained)
			as(m, write("b", "1"), drained, read("d/f", "1"))
			as(w.laptop, c.theirs, drained)
			as(m, write("d/f", "mine"), write("after", "x"), persisted)
			m.crash()
			as(m, drained, read("after", "x"))
			as(w.laptop, upToDate, read("after", "x"))
			lost := 0
			for _, c := range w.laptop.unresolved() {
				if c.Kind == "lost" && !c.Mine.Gone && c.What == attributesShort {
					lost++
				}
			}
			if lost != c.lost {
				t.Errorf("%d records of lost attributes, want %d: %+v", lost, c.lost, w.laptop.unresolved())
			}
			d, err := w.laptop.v.Lookup(t.Context(), meta.RootRef, []byte("d"))
			if err != nil {
				t.Fatal(err)
			}
			all, err := w.laptop.v.List(t.Context(), d.Ref)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range all {
				if !strings.HasPrefix("d/"+string(e.Name), c.at) {
					continue
				}
				as(w.laptop, read("d/"+string(e.Name), "mine"))
				for i := range meta.MaxXattrs/meta.MaxXattr - 1 {
					name, value := attribute(i)
					if got, err := w.laptop.v.Xattr(t.Context(), e.Ref, name); err != nil || string(got) != string(value) {
						t.Errorf("attribute %d: %d bytes, %v", i, len(got), err)
					}
				}
				return
			}
			t.Errorf("what was written is not there: %v", all)
		})
	}
}
