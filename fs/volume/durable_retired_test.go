package volume

import (
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// A pack in which files lie is told to be one that goes: by a device that means harm, or one
// that did not see what waits. Whoever changes such a file, or writes more of the pack, takes
// that back, and nobody is stuck.
func TestPackThatIsRetiredMeanwhile(t *testing.T) {
	for name, change := range map[string]act{
		"other attributes": func(m *machine) error {
			_, _, a, err := m.find("f")
			if err != nil {
				return err
			}
			return m.v.Setattr(t.Context(), a.Ref, meta.Setattr{Valid: meta.SetPerm, Perm: 0o600})
		},
		"another name": rename("f", "g"),
		"more of it":   patched("f", 1, "X"),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			laptop, evil := w.laptop, w.machine("evil")
			as(laptop, write("f", "mine"), drained)
			as(evil, write("e", "1"), drained)
			as(laptop, caughtUp, change)
			by, no := evil.stolen()
			f := w.forger()
			c := f.next(no)
			retired := meta.RetiredKey(meta.MakePack(1, 1))
			c.batch, c.last = batchOf(meta.KV{Key: retired, Value: meta.AppendRetired(nil, 1)}), c.first
			o, _ := f.commit(f.st.Slot+1, by, c)
			f.put(f.st.Slot+1, o)
			as(laptop, drained)
			if s := laptop.v.Status(); s.Stopped != "" {
				t.Fatalf("it is stuck: %s", s.Stopped)
			}
			desk := w.machine("desk")
			as(desk, caughtUp)
			if _, err := desk.v.view.Confirmed().Get(retired); err == nil {
				t.Error("the pack is to go, and a file lies in it")
			}
			as(desk, lock)
			as(laptop, lock)
		})
	}
}
