package chain

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
)

var acceptance = Accepted{
	Seen: Link{9, ID(bytes.Repeat([]byte{0x90}, 32))}, Had: Link{3, ID(bytes.Repeat([]byte{0x30}, 32))},
	Device: 1, Time: time.Unix(1700000000, 7),
}

func TestAcceptedRecord(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		change func(*Accepted)
		slot   Slot
		want   error
	}{
		"a rollback":                    {func(*Accepted) {}, 4, nil},
		"another history of one length": {func(a *Accepted) { a.Had.Slot = 9 }, 10, nil},
		"everything":                    {func(a *Accepted) { a.Had = Link{} }, 4, nil},
		"nothing was seen":              {func(a *Accepted) { a.Seen.Slot, a.Had.Slot = 0, 0 }, 4, ErrMalformed},
		"more is there than was seen":   {func(a *Accepted) { a.Had.Slot = 10 }, 11, ErrMalformed},
		"by nobody":                     {func(a *Accepted) { a.Device = 0 }, 4, ErrMalformed},
		"by a device that is none":      {func(a *Accepted) { a.Device = 7 }, 4, ErrRefused},
		"of the slot that it stands in": {func(a *Accepted) {}, 3, ErrRefused},
	} {
		a := acceptance
		c.change(&a)
		r, err := w.start.NewAcceptedRecord(w.owner, c.slot, a)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if err != nil {
			continue
		}
		l := w.start.Clone()
		if err := l.Append(r); err != nil {
			t.Fatal(err)
		}
		got := l.Accepted()
		if len(got) != 1 || got[0].At != c.slot || got[0].Seen != a.Seen || got[0].Had != a.Had || got[0].Device != a.Device || !got[0].Time.Equal(a.Time) {
			t.Errorf("%s: %+v", name, got)
		}
		for slot := Slot(1); slot < 12; slot++ {
			given := slot > a.Had.Slot && slot <= a.Seen.Slot
			for _, head := range []ID{{}, w.start.Head()} {
				if l.GaveUp(slot, head) != given {
					t.Errorf("%s: slot %d", name, slot)
				}
			}
			if l.GaveUp(slot, l.Head()) {
				t.Errorf("%s: slot %d, by one who knew", name, slot)
			}
		}
		if len(w.start.Accepted()) != 0 {
			t.Error("the ledger before has it too")
		}
	}
	body := acceptance.encode()
	for n := range body {
		if _, err := decodeAccepted(body[:n]); !errors.Is(err, ErrMalformed) {
			t.Errorf("cut to %d: %v", n, err)
		}
	}
	if _, err := decodeAccepted(append(bytes.Clone(body), 0)); !errors.Is(err, ErrMalformed) {
		t.Errorf("a byte more: %v", err)
	}
}

// It stands alone in a commit of the device that it names, or the commit is junk.
func TestAcceptedCommit(t *testing.T) {
	accepted := func(change func(*Accepted)) func(w *world) []Record {
		return func(w *world) []Record {
			a := acceptance
			a.Had.Slot = 2
			change(&a)
			return []Record{w.record(w.owner, 3, KindAccepted, a.encode())}
		}
	}
	for name, c := range map[string]struct {
		recs func(*world) []Record
		want Verdict
	}{
		"alone":                  {accepted(func(*Accepted) {}), Valid},
		"in the name of another": {accepted(func(a *Accepted) { a.Device = 2 }), Junk},
		"of what is to come":     {accepted(func(a *Accepted) { a.Had.Slot = 3 }), Junk},
		"with another record": {func(w *world) []Record {
			recs := accepted(func(*Accepted) {})(w)
			after := w.Ledger.Clone()
			if err := after.Append(recs[0]); err != nil {
				t.Fatal(err)
			}
			r, err := after.NewAcceptedRecord(w.owner, 3, Accepted{Seen: Link{8, ID{}}, Had: Link{1, ID{}}, Device: 1, Time: noon})
			if err != nil {
				t.Fatal(err)
			}
			return append(recs, r)
		}, Junk},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.first()
			w.enrol(device(t, 0x60), "desktop")
			w.expect(3, w.forge(forgery{slot: 3, recs: c.recs(w)}), c.want)
		})
	}
}

func TestRememberedCommits(t *testing.T) {
	w := newWorld(t)
	w.first()
	at := w.Clone()
	for i := range RememberedMax + 10 {
		slot, op := Slot(2+2*i), meta.OpNo(1+i) // with a dead slot between
		w.take(slot, w.build(slot, w.laptop, 1, op, op, nil).Object)
	}
	all := w.Remembered()
	if len(all) != RememberedMax {
		t.Fatalf("%d", len(all))
	}
	for i, r := range all {
		if i > 0 && r.Slot <= all[i-1].Slot || r.Device == 0 || r.Name == "" || r.Time.IsZero() {
			t.Errorf("%d: %+v", i, r)
		}
	}
	if last := all[len(all)-1]; last.Link != (Link{w.Slot, w.Head}) {
		t.Errorf("%+v", last)
	}
	if len(at.Remembered()) != 1 {
		t.Error("the clone moved")
	}
}

func TestFingerprint(t *testing.T) {
	w := newWorld(t)
	at := Link{5, ID{1, 2}}
	f := Fingerprint(w.Volume, at)
	other := w.Volume
	other[31]++
	for name, g := range map[string][32]byte{
		"another volume": Fingerprint(other, at), "another slot": Fingerprint(w.Volume, Link{6, at.ID}), "another commit": Fingerprint(w.Volume, Link{5, ID{1, 3}}),
		"the commit itself": at.ID,
	} {
		if f == g {
			t.Error(name)
		}
	}
	if f != Fingerprint(w.Volume, at) {
		t.Error("twice")
	}
}
