package check

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/state"
	"github.com/hushfs/hushfs/store/fault"
)

// shape makes what lies in a dead slot.
type shape struct {
	name string
	of   func(slot chain.Slot) []byte
}

// shapes are those that somebody without the key can put there, and with a copy of it.
func (w *world) shapes() []shape {
	w.t.Helper()
	l := w.load()
	whole := w.get(chain.SlotName(w.vol, l.Chain.Slot))
	content, _, err := crypt.Open(l.Chain.Key, w.vol, crypt.TypeCommit, whole)
	must(w.t, err)
	again, _, err := crypt.NewSealer(l.Chain.Key, w.vol, crypt.TypeCommit, l.Chain.Epoch).Seal(nil, content)
	must(w.t, err)
	other, _, err := crypt.NewSealer(crypt.NewKey(), w.vol, crypt.TypeCommit, l.Chain.Epoch).Seal(nil, content)
	must(w.t, err)
	of := func(o []byte) func(chain.Slot) []byte { return func(chain.Slot) []byte { return o } }
	return []shape{
		{"noise", of(pattern(9, 700))}, {"empty", of([]byte{})}, {"a copy of a commit", of(whole)},
		{"a commit in a new envelope", of(again)}, {"a commit under another key", of(other)},
	}
}

// removed has the laptop remove a second device, and returns what that would still sign.
func (w *world) removed() shape {
	w.t.Helper()
	desk := &world{t: w.t, objects: w.objects, unlock: w.unlock, vol: w.vol, dir: w.t.TempDir()}
	desk.write("of the desk", pattern(1, 10))
	desk.lock()
	old := w.load().Chain
	must(w.t, w.open().RemoveDevices(w.t.Context(), []int{2}))
	w.lock()
	u := w.drive()
	defer u.Wipe()
	s, _, err := state.Open(desk.state(), u.Root(), u.ID, "desk")
	must(w.t, err)
	w.t.Cleanup(s.Wipe)
	device, no, _ := s.Device()
	return shape{"a commit of a removed device", func(slot chain.Slot) []byte {
		op := old.LastOp[no] + 1
		c, err := old.Build(slot, device, no, time.Unix(1, 0), chain.Content{First: op, Last: op, Batch: &meta.Batch{}})
		must(w.t, err)
		return c.Object
	}}
}

// fill puts shapes by turns into the next n slots.
func (w *world) fill(n int, all ...shape) (first chain.Slot) {
	w.t.Helper()
	first = w.load().Next
	for i := range n {
		slot := first + chain.Slot(i)
		must(w.t, w.objects.PutIfAbsent(w.t.Context(), chain.SlotName(w.vol, slot), all[i%len(all)].of(slot)))
	}
	return first
}

// What is said of dead slots is one note, however many there are, and takes no room from
// what is lost. Whether they lie above or below a checkpoint makes no difference.
func TestManyDeadSlots(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	removed := w.removed()
	w.write("a", pattern(1, 300_000))
	kept := w.pack(w.at("a").Ref)
	w.lock()
	const n = maxFindings + 500
	first := w.fill(n, append(w.shapes(), removed)...)
	w.write("b", pattern(2, 10))
	w.lock()
	want := func(r *Report, lost bool) {
		t.Helper()
		var notes []Finding
		for _, f := range r.Findings {
			if f.Severity == Note {
				notes = append(notes, f)
			}
		}
		if len(notes) != 1 || notes[0].Slots == nil || r.More+r.Notes != 0 || r.Healthy() == lost {
			t.Fatalf("%d findings, %d and %d more, the first %+v", len(r.Findings), r.More, r.Notes, r.Findings[:min(1, len(r.Findings))])
		}
		s := notes[0].Slots
		if s.Count != n || s.From != uint64(first) || s.To != uint64(first)+n-1 || s.Since.IsZero() || notes[0].Slot != s.From {
			t.Errorf("%+v", s)
		}
		for _, word := range []string{fmt.Sprintf("%d slots, from %d to %d,", n, s.From, s.To), s.Since.Format(time.DateOnly)} {
			if !strings.Contains(notes[0].Detail, word) {
				t.Errorf("%q is missing in %q", word, notes[0].Detail)
			}
		}
	}
	want(w.check(0), false)
	must(t, w.open().Refold(t.Context(), false))
	w.lock()
	// What is known to be junk is not fetched.
	counted := fault.Wrap(w.objects)
	var gets atomic.Int64
	counted.Add(fault.On(fault.Get, 1, func(ctx context.Context, r fault.Request) fault.Answer {
		gets.Add(1)
		return r.Do(ctx)
	}).Onwards())
	r, err := w.try(counted, Options{})
	must(t, err)
	want(r, false)
	if g := gets.Load(); g > 100 {
		t.Errorf("%d objects were got for %d dead slots under a checkpoint", g, n)
	}
	w.delete(kept)
	r = w.check(0)
	want(r, true)
	if f := only(t, r); f.Severity != Lost || f.Object != kept || len(f.Files) != 1 || r.Findings[0].Object != kept {
		t.Errorf("%+v", r.Findings)
	}
}

// What lies above the newest commit may be a commit that was damaged since: one finding,
// however much there is. What a device signed for its place is as it was put there.
func TestDeadSlotsAboveTheNewestCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	removed := w.removed()
	w.write("a", pattern(1, 10))
	w.lock()
	shapes := w.shapes()
	const n = 300
	first := w.fill(n, removed)
	r := w.check(0)
	healthy(t, r)
	if len(r.Findings) != 1 || r.Findings[0].Slots == nil || r.Findings[0].Slots.Count != n {
		t.Errorf("%+v", r.Findings)
	}
	for _, s := range shapes {
		slot := first + n - 1
		o := chain.SlotName(w.vol, slot)
		w.objects.Overwrite(o, s.of(slot))
		if f := only(t, w.check(0)); f.Severity != Damaged || f.Slots == nil || f.Slots.Count != n || f.Slots.From != uint64(first) || f.Slots.To != uint64(slot) || f.Slots.Since.IsZero() {
			t.Errorf("%s: %+v", s.name, f)
		}
	}
	w.fill(n, shapes...)
	if f := only(t, w.check(0)); f.Slots == nil || f.Slots.Count != 2*n {
		t.Errorf("%+v", f)
	}
	// The next commit goes on over them.
	w.write("b", pattern(2, 10))
	w.lock()
	r = w.check(0)
	healthy(t, r)
	if len(r.Findings) != 1 || r.Findings[0].Slots == nil || r.Findings[0].Slots.Count != 2*n {
		t.Errorf("%+v", r.Findings)
	}
}

// Notes without end take no room from damage, nor this from what is lost.
func TestFindingsFirst(t *testing.T) {
	c := begin(Options{Drive: newWorld(t).drive()})
	defer c.blocks.Close()
	for range maxFindings + 7 {
		c.find(Finding{Kind: KindHint, Severity: Note})
	}
	for range maxFindings + 5 {
		c.find(Finding{Kind: KindCommit, Severity: Damaged})
	}
	c.find(Finding{Kind: KindPack, Severity: Lost})
	c.publish()
	c.report.finish(time.Now())
	if r := c.report; r.Findings[0].Severity != Lost || r.Findings[1].Severity != Damaged || len(r.Findings) != 2*maxFindings+1 || r.More != 5 || r.Notes != 7 {
		t.Errorf("%d findings, %d and %d more, the first %+v", len(r.Findings), r.More, r.Notes, r.Findings[:2])
	}
}

// commitAt puts a commit of the laptop's, which changes nothing, into a slot above the
// newest commit.
func (w *world) commitAt(slot chain.Slot) {
	w.t.Helper()
	u := w.drive()
	defer u.Wipe()
	s, _, err := state.Open(w.state(), u.Root(), u.ID, "laptop")
	must(w.t, err)
	defer s.Wipe()
	device, no, _ := s.Device()
	l := w.load()
	op := l.Chain.LastOp[no] + 1
	c, err := l.Chain.Build(slot, device, no, time.Unix(1, 0), chain.Content{First: op, Last: op, Batch: &meta.Batch{}})
	must(w.t, err)
	must(w.t, w.objects.PutIfAbsent(w.t.Context(), chain.SlotName(w.vol, slot), c.Object))
}
