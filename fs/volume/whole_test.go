package volume

import (
	"slices"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/fs/pack"
)

// A pack that was damaged, and lies there again as it was, is no longer in the status once
// it has been read, and the log says so.
func TestDamagedPackIsPutBack(t *testing.T) {
	w := newWorld(t)
	as(w.laptop, write("a", big), drained, lock)
	victim := w.names("p")[0]
	m := w.machine("desktop")
	m.mustOpen()
	back := w.without(victim)
	as(m, refuses(read("a", big), pack.ErrDamaged))
	if s := m.v.Status(); !slices.Contains(s.Damaged, victim) {
		t.Errorf("damaged: %v, want %s", s.Damaged, victim)
	}
	back()
	as(m, read("a", big))
	if s := m.v.Status(); len(s.Damaged) > 0 {
		t.Errorf("it was read whole, and is said to be damaged: %v", s.Damaged)
	}
	if n := strings.Count(m.log.String(), "object is whole again"); n != 1 {
		t.Errorf("the log says it %d times", n)
	}
	w.without(victim)
	as(m, read("a", big), lock)
}
