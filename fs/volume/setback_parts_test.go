package volume

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/fs/pack"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/mem"
)

// A store of which single objects alone are what they were earlier, or not there, is
// refused by a machine that saw more, or shows all that this machine knows; whatever the
// matter is, it is named: in the refusal, or in status or log.
func TestSingleObjectsAreSetBack(t *testing.T) {
	gone := func(w *world, names ...string) {
		for _, n := range names {
			if err := w.objects.Delete(w.t.Context(), n); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	newer := func(w *world, old *mem.Bucket, kind string) (l []string) {
		for _, n := range w.names(kind) {
			if !slices.Contains(names(old, kind), n) {
				l = append(l, n)
			}
		}
		if len(l) == 0 {
			w.t.Fatalf("no newer object of kind %s: this shows nothing", kind)
		}
		return l // the newest first
	}
	for name, c := range map[string]struct {
		harm    func(w *world, old *mem.Bucket) (object string)
		refused error // at the mount; nil: all is shown
		missing uint64
		read    error // of what was written since; nil: it is shown
	}{
		"the newest slot is gone": {func(w *world, _ *mem.Bucket) string {
			gone(w, w.names("l")[0])
			return ""
		}, ErrRollback, 1, nil},
		"a slot below it is gone": {func(w *world, _ *mem.Bucket) string {
			n := w.names("l")[1]
			gone(w, n)
			return n
		}, ErrRollback, 2, nil},
		"the newest slot holds what the one before does": {func(w *world, _ *mem.Bucket) string {
			l := w.names("l")
			w.change(l[0], func([]byte) []byte { return w.object(l[1]) })
			return l[0]
		}, ErrRollback, 1, nil},
		"two slots are exchanged": {func(w *world, _ *mem.Bucket) string {
			l := w.names("l")
			a, b := w.object(l[0]), w.object(l[1])
			w.change(l[0], func([]byte) []byte { return b })
			w.change(l[1], func([]byte) []byte { return a })
			return l[1]
		}, ErrRollback, 2, nil},
		"the newest slots but one are gone": {func(w *world, old *mem.Bucket) string {
			l := newer(w, old, "l")
			gone(w, l[1:]...)
			return l[len(l)-1]
		}, ErrRollback, 0, nil},
		"newer hints are gone": {func(w *world, old *mem.Bucket) string {
			gone(w, newer(w, old, "k")...)
			return ""
		}, nil, 0, nil},
		"the newest hint holds an older one": {func(w *world, old *mem.Bucket) string {
			k := w.names("k")
			w.change(k[0], func([]byte) []byte { return w.object(k[len(k)-1]) })
			return k[0]
		}, nil, 0, nil},
		"newer tables are gone": {func(w *world, old *mem.Bucket) string {
			gone(w, newer(w, old, "t")...)
			return "/t/"
		}, nil, 0, nil},
		"newer packs are gone": {func(w *world, old *mem.Bucket) string {
			gone(w, newer(w, old, "p")...)
			return "/p/"
		}, nil, 0, store.ErrNotExist},
		"packs hold what older ones do": {func(w *world, old *mem.Bucket) string {
			for _, n := range newer(w, old, "p") {
				w.change(n, func([]byte) []byte { return w.object(names(old, "p")[0]) })
			}
			return "/p/"
		}, nil, 0, pack.ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			m := w.laptop
			as(m, write("old", big), write("small", "1"), drained, folded, lock)
			old := w.objects.Clone()
			as(m, write("small", "2"), drained, folded, write("new", big+"new"), drained, write("small", "3"), drained, write("last", "1"), drained)
			seen := m.v.state.Head().Slot
			m.crash()
			object := c.harm(w, old)
			err := m.open()
			if c.refused != nil {
				var s *Setback
				if !errors.As(err, &s) || !errors.Is(err, c.refused) {
					t.Fatalf("%v, want %v", err, c.refused)
				}
				if c.missing != 0 && s.Missing.Slots != c.missing || s.Seen.Slot != seen || s.Missing.Unknown != 0 || !strings.Contains(s.Error(), fmt.Sprint("device 1 (laptop): ", s.Missing.Slots)) {
					t.Errorf("%v: %+v", s, s.Missing)
				}
				if object != "" && !strings.Contains(s.Error(), object) {
					t.Errorf("%s is not named: %v", object, s)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			as(m, read("old", big))
			for path, content := range map[string]string{"new": big + "new", "small": "3", "last": "1"} {
				if err := read(path, content)(m); !errors.Is(err, c.read) {
					t.Errorf("read %s: %v, want %v", path, err, c.read)
				}
			}
			if object != "" {
				status := fmt.Sprint(m.v.Status().Damaged, m.v.Status().Warnings)
				if !strings.Contains(status+m.log.String(), object) {
					t.Errorf("%s is named neither in status %s nor in the log", object, status)
				}
			}
			if c.read == nil {
				as(m, write("more", "1"), lock)
				as(w.machine("fresh"), read("small", "3"), read("more", "1"))
			}
		})
	}
}
