package chain

import (
	"errors"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/meta"
)

// folded is a world whose commit in slot 7 announces the checkpoint of slot 4; slots 3
// and 6 are dead.
func folded(t *testing.T) (w *world, at4 *State, objects map[Slot][]byte) {
	w = newWorld(t)
	objects = map[Slot][]byte{}
	put := func(slot Slot, with Content) {
		t.Helper()
		c, err := w.Build(slot, w.laptop, 1, noon, with)
		if err != nil {
			t.Fatal(err)
		}
		objects[slot] = c.Object
		w.take(slot, c.Object)
	}
	w.first()
	objects[1] = w.one
	put(2, Content{First: 1, Last: 1, Batch: file(meta.MakePack(1, 1), 1)})
	put(4, Content{First: 2, Last: 5})
	at4 = w.Clone()
	k := w.Checkpoint()
	k.Tables = []byte("tables")
	put(5, Content{First: 6, Last: 6})
	put(7, Content{First: 7, Last: 6, Checkpoint: k})
	return w, at4, objects
}

// A machine without memory begins at the checkpoint and comes to the same state as one
// that saw everything.
func TestBeginAtACheckpoint(t *testing.T) {
	w, at4, objects := folded(t)
	announced := Link{7, w.Head}
	next := mustBuild(t, w, 8, Content{First: 7, Last: 7})
	c, err := OpenAnnouncing(w.Volume, w.Key, w.Ledger, announced, objects[7])
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewStateAt(w.Volume, w.Key, w.Ledger, c)
	if err != nil {
		t.Fatal(err)
	}
	if s.Slot != 4 || s.Head != at4.Head || s.LastOp[1] != 5 || s.Announced() != announced || s.Folded() != (Link{4, at4.Head}) || s.Above() != 0 {
		t.Fatalf("begins at %+v", s)
	}
	for _, slot := range []Slot{5, 7} {
		j := s.Judge(slot, objects[slot], nil)
		if j.Verdict != Valid {
			t.Fatalf("slot %d: %v: %s", slot, j.Verdict, j.Reason)
		}
		if err := s.Advance(j.Commit); err != nil {
			t.Fatal(err)
		}
	}
	if s.Remember() != w.Remember() || s.LastOp[1] != w.LastOp[1] {
		t.Error("another state than that of who saw all")
	}
	// Who saw all takes the checkpoint over when it passes.
	if w.Above() != 5 {
		t.Errorf("%d commits above no checkpoint", w.Above())
	}
	if err := w.Fold(c); err != nil {
		t.Fatal(err)
	}
	for name, st := range map[string]*State{"who saw all": w.State, "who began there": s} {
		if err := st.Advance(st.Judge(8, next, nil).Commit); err != nil {
			t.Fatal(err)
		}
		k := st.Checkpoint()
		if st.Above() != 3 || k.Base != (Link{4, at4.Head}) || k.Before != announced || len(k.Steps) != 3 {
			t.Errorf("%s: the next checkpoint is %+v", name, k)
		}
		ids, err := k.IDs(w.Volume)
		if err != nil || ids[7] != announced.ID || ids[4] != at4.Head || len(ids) != 4 {
			t.Errorf("%s: ids %v, %v", name, ids, err)
		}
	}
}

func mustBuild(t *testing.T, w *world, slot Slot, with Content) []byte {
	t.Helper()
	c, err := w.Build(slot, w.laptop, 1, noon, with)
	if err != nil {
		t.Fatal(err)
	}
	return c.Object
}

// A checkpoint that does not follow from the commits that are known changes nothing.
func TestFoldRefuses(t *testing.T) {
	for name, change := range map[string]func(k *Checkpoint){
		"another commit":         func(k *Checkpoint) { k.ID[0]++; k.Base, k.Steps = k.Link, nil },
		"steps that lead away":   func(k *Checkpoint) { k.Steps[0].BodyHash[0]++ },
		"a slot without commit":  func(k *Checkpoint) { k.Slot = 3; k.Base, k.Steps = k.Link, nil },
		"another beginning":      func(k *Checkpoint) { k.Base.ID[0]++ },
		"a step that is missing": func(k *Checkpoint) { k.Steps = k.Steps[1:] },
		"another operation":      func(k *Checkpoint) { k.LastOp = map[meta.Device]meta.OpNo{1: 9} },
		"a device too many":      func(k *Checkpoint) { k.LastOp = map[meta.Device]meta.OpNo{1: 5, 2: 1} },
		"other sums":             func(k *Checkpoint) { k.Usage.Bytes++ },
	} {
		w, _, objects := folded(t)
		j := (&State{Volume: w.Volume, Epoch: w.Epoch, keys: w.keys})
		c, err := j.open(7, objects[7])
		if err != nil {
			t.Fatal(err)
		}
		k := *c.Checkpoint
		k.Steps = append([]Step(nil), k.Steps...)
		change(&k)
		bad := *c
		bad.Checkpoint = &k
		if err := w.Fold(&bad); !errors.Is(err, ErrForged) {
			t.Errorf("%s: %v", name, err)
		}
		if w.Folded().Slot != 0 || w.Above() != 5 {
			t.Errorf("%s: left a trace", name)
		}
		if err := w.Fold(c); err != nil {
			t.Errorf("%s: the true one: %v", name, err)
		}
		// An older one comes too late.
		if err := w.Fold(&bad); err != nil || w.Folded().Slot != 4 {
			t.Errorf("%s: too late: %v", name, err)
		}
	}
}

// Whoever holds the volume's key but no device's cannot announce anything.
func TestOpenAnnouncingRefuses(t *testing.T) {
	w, _, objects := folded(t)
	at := Link{7, w.Head}
	thief := device(t, 0x77)
	fake := w.Checkpoint()
	forged := w.forge(forgery{slot: 8, by: thief, no: 1, first: 7, last: 6, checkpoint: fake})
	unknown := w.forge(forgery{slot: 8, by: thief, no: 9, first: 7, last: 6, checkpoint: fake})
	plain := w.forge(forgery{slot: 8, first: 7, last: 6})
	id := func(object []byte) ID {
		c, err := w.open(8, object)
		if err != nil {
			t.Fatal(err)
		}
		return c.ID
	}
	for name, c := range map[string]struct {
		at     Link
		object []byte
		key    *crypt.Key
		want   error
	}{
		"another id":           {Link{7, ID{1}}, objects[7], w.Key, ErrForged},
		"another slot":         {Link{8, at.ID}, objects[7], w.Key, ErrForged},
		"no checkpoint":        {Link{8, id(plain)}, plain, w.Key, ErrForged},
		"a reader's":           {Link{8, id(forged)}, forged, w.Key, ErrForged},
		"nobody's":             {Link{8, id(unknown)}, unknown, w.Key, ErrForged},
		"another key":          {at, objects[7], crypt.NewKey(), ErrKey},
		"a bit flipped":        {at, changed(objects[7], 50), w.Key, crypt.ErrForged},
		"a commit's beginning": {at, objects[7][:40], w.Key, crypt.ErrForged},
	} {
		if _, err := OpenAnnouncing(w.Volume, c.key, w.Ledger, c.at, c.object); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// With more commits than a checkpoint lists it has no steps, and says so by its base.
func TestTooManySteps(t *testing.T) {
	w := newWorld(t)
	w.first()
	for i := range MaxSteps + 5 {
		w.pass(&Commit{Slot: Slot(i + 2), ID: ID{byte(i), byte(i >> 8), 1}})
	}
	w.Slot, w.Head = MaxSteps+6, w.steps[len(w.steps)-1].id
	if k := w.Checkpoint(); k.Base != k.Link || k.Steps != nil {
		t.Errorf("%d steps from slot %d", len(k.Steps), k.Base.Slot)
	}
	if w.Above() != MaxSteps+6 {
		t.Errorf("%d above", w.Above())
	}
}

// The ledger inside a hint is believed no more than the object.
func TestInlineLedger(t *testing.T) {
	w := newWorld(t)
	hint, object := w.hinted()
	sealed, err := ParseHint(hint)
	if err != nil {
		t.Fatal(err)
	}
	h, err := sealed.Open(w.Volume, w.Key)
	if err != nil {
		t.Fatal(err)
	}
	inside, err := h.InlineLedger(w.Volume, w.Key)
	if err != nil {
		t.Fatal(err)
	}
	outside, err := OpenLedger(w.Volume, w.Key, h, object)
	if err != nil || outside.Head() != inside.Head() {
		t.Fatalf("two ledgers: %v", err)
	}
	for name, c := range map[string]struct {
		change func(h *Hint)
		want   error
	}{
		"a byte changed": {func(h *Hint) { h.Ledger.Inline = changed(h.Ledger.Inline, -1) }, ErrForged},
		"another head":   {func(h *Hint) { h.Ledger.Head[0]++ }, ErrForged},
		"cut":            {func(h *Hint) { h.Ledger.Inline = h.Ledger.Inline[:9] }, ErrMalformed},
	} {
		bad := *h
		c.change(&bad)
		if _, err := bad.InlineLedger(w.Volume, w.Key); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := h.InlineLedger(w.Volume, crypt.NewKey()); !errors.Is(err, ErrKey) {
		t.Errorf("another key: %v", err)
	}
}
