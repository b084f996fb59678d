package chain

import (
	"strings"
	"testing"

	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/meta"
)

// Who may hand the writing on, to whom, and what else may be in that commit. The
// devices are laptop 1 and desktop 2; phone is none yet.
func TestHandOver(t *testing.T) {
	desktop, phone := device(t, 0x60), device(t, 0x70)
	hand := func(w *world, slot Slot, from, to meta.Device) Record {
		return w.record(w.owner, slot, KindWriter, writerBody{from, to}.encode())
	}
	withPhone := func(w *world, from meta.Device) []Record {
		recs, err := w.Ledger.NewWriterRecords(w.owner, 3, from, 0, phone.Public(), "phone")
		if err != nil {
			t.Fatal(err)
		}
		return recs
	}
	for _, c := range []struct {
		name   string
		make   func(w *world) forgery
		want   Verdict
		reason string
	}{
		{"to a device", func(w *world) forgery { return forgery{recs: []Record{hand(w, 3, 1, 2)}} }, Valid, ""},
		{"to a machine that becomes a device", func(w *world) forgery { return forgery{recs: withPhone(w, 1)} }, Valid, ""},
		{"in another's name", func(w *world) forgery { return forgery{by: desktop, no: 2, recs: []Record{hand(w, 3, 1, 2)}} }, Junk, "hands on"},
		{"in another's name, to a new device", func(w *world) forgery { return forgery{by: desktop, no: 2, recs: withPhone(w, 1)} }, Junk, "hands on"},
		{"by who becomes a device with it", func(w *world) forgery { return forgery{by: phone, no: 3, recs: withPhone(w, 1)} }, Junk, "hands on"},
		{"to nobody", func(w *world) forgery { return forgery{recs: []Record{hand(w, 3, 1, 3)}} }, Junk, "is none"},
		{"to itself", func(w *world) forgery { return forgery{recs: []Record{hand(w, 3, 1, 1)}} }, Junk, "malformed"},
		{"with an operation", func(w *world) forgery { return forgery{last: 1, recs: []Record{hand(w, 3, 1, 2)}} }, Junk, "in one commit"},
		{"for another slot", func(w *world) forgery { return forgery{recs: []Record{hand(w, 4, 1, 2)}} }, Junk, "for slot 4"},
		{"a device is made, and another is handed it", func(w *world) forgery {
			first := w.device(3, 3, phone, "phone")
			after := *w
			st := *w.State
			st.Ledger = w.Ledger.Clone()
			if err := st.Ledger.Append(first); err != nil {
				t.Fatal(err)
			}
			after.State = &st
			return forgery{recs: []Record{first, hand(&after, 3, 1, 2)}}
		}, Junk, "with other records"},
		{"not by the owner", func(w *world) forgery {
			return forgery{recs: []Record{w.record(identity.New(), 3, KindWriter, writerBody{1, 2}.encode())}}
		}, Junk, "right"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.first()
			w.enrol(desktop, "desktop")
			f := c.make(w)
			f.slot = 3
			if j := w.expect(3, w.forge(f), c.want); !strings.Contains(j.Reason, c.reason) {
				t.Errorf("reason %q does not say %q", j.Reason, c.reason)
			}
		})
	}
}

// Once the writing was handed on, nobody else's commit counts: not the one before,
// not a new machine's, not a third one's; and it can be handed back.
func TestSingleWriterOfTheLedger(t *testing.T) {
	desktop, phone := device(t, 0x60), device(t, 0x70)
	w := newWorld(t)
	w.first()
	w.enrol(desktop, "desktop")
	if _, single := w.Ledger.Writer(); single {
		t.Error("the ledger names a writer before any was handed it")
	}
	late := w.State.Clone()
	recs, err := w.Ledger.NewWriterRecords(w.owner, 3, 1, 2, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	handed := w.take(3, w.build(3, w.laptop, 1, 1, 0, nil, recs...).Object)
	if only, single := w.Ledger.Writer(); !single || only != 2 {
		t.Errorf("writer %d, %v", only, single)
	}
	if _, err := w.Build(4, w.laptop, 1, noon, Content{First: 1}); err == nil {
		t.Error("the former writer builds a commit")
	}
	for name, f := range map[string]forgery{
		"the former writer":       {slot: 4},
		"a machine that enrols":   {slot: 4, by: phone, no: 3, recs: []Record{w.device(4, 3, phone, "phone")}},
		"handing on what is gone": {slot: 4, recs: []Record{w.record(w.owner, 4, KindWriter, writerBody{1, 2}.encode())}},
	} {
		if j := w.expect(4, w.forge(f), Junk); j.Reason == "" {
			t.Error(name)
		}
	}
	// One that does not know yet that it is none any more is junk too, whatever
	// it signs, when it had no way to know: its predecessor is older.
	old, err := late.Build(3, w.laptop, 1, noon, Content{First: 1})
	if err != nil {
		t.Fatal(err)
	}
	if j := w.Judge(4, old.Object, nil); j.Verdict == Valid {
		t.Error("a commit from before the hand-over is valid after it")
	}
	back, err := w.Ledger.NewWriterRecords(w.owner, 4, 2, 1, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	w.take(4, w.build(4, desktop, 2, 1, 0, nil, back...).Object)
	w.take(5, w.build(5, w.laptop, 1, 1, 0, nil).Object)

	// A machine without memory learns it from the ledger.
	l, err := DecodeLedger(w.Volume, w.Ledger.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if only, single := l.Writer(); !single || only != 1 {
		t.Errorf("writer %d, %v", only, single)
	}
	if then, err := l.Until(handed.Slot); err != nil {
		t.Error(err)
	} else if only, _ := then.Writer(); only != 2 {
		t.Errorf("after slot %d the writer is %d", handed.Slot, only)
	}
}

// A checkpoint that another than the single writer announces is no place to begin.
func TestAnnouncedByWhoMayNotWrite(t *testing.T) {
	desktop := device(t, 0x60)
	w := newWorld(t)
	w.first()
	w.enrol(desktop, "desktop")
	recs, err := w.Ledger.NewWriterRecords(w.owner, 3, 1, 2, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	w.take(3, w.build(3, w.laptop, 1, 1, 0, nil, recs...).Object)
	k := &Checkpoint{Link: Link{w.Slot, w.Head}, LastOp: map[meta.Device]meta.OpNo{}, Base: Link{w.Slot, w.Head}}
	for no, by := range map[meta.Device]*identity.Device{1: w.laptop, 2: desktop} {
		object := w.forge(forgery{slot: 4, by: by, no: no, checkpoint: k})
		c, err := w.Open(4, object)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := OpenAnnouncing(w.Volume, w.Key, w.Ledger, Link{4, c.ID}, object); (err == nil) != (no == 2) {
			t.Errorf("device %d: %v", no, err)
		}
	}
}
