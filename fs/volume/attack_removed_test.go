package volume

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/store/mem"
)

// A device that was removed, and the store with it: all that it had is its key, its ledger
// and the keys of the epochs until then. What it writes counts for nobody.
func TestAttackRemovedDevice(t *testing.T) {
	w := newWorld(t)
	evil, desk := w.machine("evil"), w.machine("desk")
	as(w.laptop, write("precious", "1"), drained)
	as(evil, write("e", "1"), drained)
	as(desk, write("d", "1"), drained, write("off line", big), fsync("off line"))
	desk.crash()
	as(evil, upToDate)
	old := w.forger()
	before := w.objects.Clone()
	by, no := evil.stolen()
	evil.crash()
	removed := old.st.Slot + 1
	as(w.laptop, upToDate, remove(int(no)), write("after", "2"), drained)
	as(desk, upToDate, lock)
	as(w.laptop, upToDate, commits("more", 4), folded)
	w.openNothing(old, before, removed)

	rows := []struct {
		name string
		do   func(f *forger, slot chain.Slot) (object string)
	}{
		{"it goes on, under the epoch that it knows", func(f *forger, slot chain.Slot) string {
			c := f.next(no).making("forged")
			c.epoch, c.ledger = 1, old.st.Ledger.Head()
			o, _ := f.commit(slot, by, c)
			return f.put(slot, o)
		}},
		{"it goes on from what it knew", func(f *forger, slot chain.Slot) string {
			o, _ := old.commit(slot, by, old.next(no).making("forged"))
			return f.put(slot, o)
		}},
		{"it goes on from before that, as if there were two histories", func(f *forger, slot chain.Slot) string {
			c := old.next(no).making("forged")
			c.prev = chain.ID{7}
			o, _ := old.commit(slot, by, c)
			return f.put(slot, o)
		}},
		{"with its enrolment once more", func(f *forger, slot chain.Slot) string {
			var again chain.Record
			for _, r := range old.st.Ledger.Suffix(0) {
				if r.Kind == chain.KindDevice && len(r.Body) > 1 && r.Body[1] == byte(no) {
					again = r
				}
			}
			c := old.next(no).with(again)
			c.first, c.last = 1, 0
			o, _ := old.commit(slot, by, c)
			return f.put(slot, o)
		}},
		{"somebody told it the new key", func(f *forger, slot chain.Slot) string {
			o, _ := f.commit(slot, by, f.next(no).making("forged"))
			return f.put(slot, o)
		}},
		{"the same, under another's number", func(f *forger, slot chain.Slot) string {
			o, _ := f.commit(slot, by, f.next(1).making("forged"))
			return f.put(slot, o)
		}},
		{"the same, with a checkpoint, and a hint to it", func(f *forger, slot chain.Slot) string {
			_, k, _, _ := f.checkpoint(by, renames("after", "after, forged"))
			c := f.next(no)
			c.checkpoint = k
			o, id := f.commit(slot, by, c)
			f.w.objects.Overwrite(chain.HintName(w.vol, slot), f.leads(f.w.object(f.w.names("k")[0]), by, slot, id, f.st.Ledger, no))
			return f.put(slot, o)
		}},
		{"a checkpoint of what it knew, and a hint to it under the ledger of then", func(f *forger, slot chain.Slot) string {
			_, k, _, _ := old.checkpoint(by, renames("precious", "precious, forged"))
			c := old.next(no)
			c.checkpoint = k
			o, id := old.commit(slot, by, c)
			like, err := before.Get(t.Context(), names(before, "k")[0], 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			f.w.objects.Overwrite(chain.HintName(w.vol, slot), old.leads(like, by, slot, id, old.st.Ledger, no))
			return f.put(slot, o)
		}},
	}
	for _, c := range rows {
		t.Run(c.name, func(t *testing.T) {
			w.t, w.laptop.t, desk.t = t, t, t
			as(w.laptop, upToDate)
			f := w.forger()
			slot := f.st.Slot + 1
			object := c.do(f, slot)
			before := w.laptop.v.Status().DeadSlots
			third := w.machine("third")
			for _, m := range []*machine{w.laptop, desk, third} {
				as(m, upToDate, missing("forged"), missing("after, forged"), missing("precious, forged"), read("precious", "1"), read("after", "2"))
				m.tells(object, before)
				before = 0 // the others mounted since
				if s := m.v.Status(); s.Stopped != "" {
					t.Errorf("the %s stopped: %s", m.name, s.Stopped)
				}
			}
			as(desk, write("desk", c.name), drained)
			as(w.laptop, upToDate, write("laptop", c.name), drained)
			for _, m := range []*machine{desk, third} {
				as(m, upToDate)
				if m.tree() != w.laptop.tree() {
					t.Errorf("the %s sees another tree than the laptop", m.name)
				}
			}
			third.crash()
			as(desk, lock)
		})
	}

	w.t, w.laptop.t, desk.t = t, t, t
	// The store is set back to before the removal, and the device makes a longer history
	// of it than the true one.
	t.Run("the removal is taken back", func(t *testing.T) {
		w.t, w.laptop.t, desk.t = t, t, t
		as(w.laptop, upToDate, lock)
		head := w.forger().st.Slot
		liar := &world{t: t, objects: before, faults: w.faults, unlock: w.unlock, vol: w.vol}
		st := old.st.Clone()
		for st.Slot <= head+3 {
			c, err := st.Build(st.Slot+1, by, no, time.Now(), chain.Content{First: st.LastOp[no] + 1, Last: st.LastOp[no]})
			if err != nil {
				t.Fatal(err)
			}
			if err := st.Advance(st.Judge(c.Slot, c.Object, nil).Commit); err != nil {
				t.Fatal(err)
			}
			liar.objects.Overwrite(chain.SlotName(w.vol, c.Slot), c.Object)
		}
		f := &forger{w: liar, l: old.l, st: st, id: old.id}
		o, _ := f.commit(st.Slot+1, by, f.next(no).making("forged"))
		liar.objects.Overwrite(chain.SlotName(w.vol, st.Slot+1), o)
		for _, m := range []*machine{w.laptop, desk} {
			m.crash()
			m.bucket = liar.objects
			err := m.open()
			if !errors.Is(err, ErrRollback) && !errors.Is(err, ErrFork) {
				t.Errorf("the %s, which saw the removal: %v", m.name, err)
			}
			m.v = nil
			m.bucket = w.faults
			as(m, read("precious", "1"), read("after", "2"), missing("forged"), lock)
		}
	})
}

// put puts an object into a slot, and returns its name.
func (f *forger) put(slot chain.Slot, object []byte) string {
	name := chain.SlotName(f.w.vol, slot)
	f.w.objects.Overwrite(name, object)
	return name
}

// openNothing finds that none of the objects that are in the store since opens with a key
// that was known before, but the commit in a slot.
func (w *world) openNothing(old *forger, before *mem.Bucket, but chain.Slot) {
	w.t.Helper()
	tried := map[string]int{}
	for _, name := range w.objects.Names() {
		if _, err := before.Get(w.t.Context(), name, 0, 1); err == nil || name == chain.SlotName(w.vol, but) || strings.Contains(name, "/h/") {
			continue
		}
		tried[strings.Split(name, "/")[3]]++
		object := w.object(name)
		for _, key := range old.st.Keys() {
			if hint, err := chain.ParseHint(object); err == nil {
				if _, err = hint.Open(w.vol, key); err == nil {
					w.t.Errorf("%s opens", name)
				}
				continue
			}
			tail, err := crypt.ParseTail(object)
			if err != nil {
				w.t.Fatal(err)
			}
			if _, err := tail.Unlock(key, w.vol, tail.Type()); err == nil {
				w.t.Errorf("%s opens", name)
			}
		}
	}
	for _, kind := range []string{"l", "p", "k", "a", "t"} {
		if tried[kind] == 0 {
			w.t.Errorf("of kind %s none is there: %v", kind, tried)
		}
	}
}
