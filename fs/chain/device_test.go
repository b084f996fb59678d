package chain

import (
	"errors"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/meta"
)

// remove makes the records that remove devices, for the slot given.
func (w *world) remove(slot Slot, ek *crypt.Key, devices ...meta.Device) []Record {
	w.tb.Helper()
	recs, err := w.Ledger.NewRemoveRecords(w.owner, slot, devices, ek, w.Key)
	if err != nil {
		w.tb.Fatal(err)
	}
	return recs
}

// removedWorld has laptop, device 1, and desktop, device 2, which wrote two operations
// and was removed in slot 4; before is the state at slot 3.
func removedWorld(t *testing.T) (w *world, desktop *identity.Device, before *State) {
	w = newWorld(t)
	desktop = device(t, 0x60)
	w.first()
	w.enrol(desktop, "desktop")
	w.take(3, w.build(3, desktop, 2, 1, 2, file(meta.MakePack(2, 1), 1)).Object)
	before = w.Clone()
	w.take(4, w.build(4, w.laptop, 1, 1, 0, nil, w.remove(4, crypt.NewKey(), 2)...).Object)
	return w, desktop, before
}

func TestADeviceIsRemoved(t *testing.T) {
	w, _, before := removedWorld(t)
	if _, ok := w.Ledger.Device(2); ok {
		t.Error("it is a device still")
	}
	d, ok := w.Ledger.Removed(2)
	if !ok || d.Name != "desktop" || d.Enrolled != 2 || d.Removed != 4 {
		t.Errorf("removed: %+v, %v", d, ok)
	}
	if all := w.Ledger.AllDevices(); len(all) != 2 || all[0].No != 1 || all[1].No != 2 || len(w.Ledger.Devices()) != 1 {
		t.Errorf("devices %+v", all)
	}
	if w.Epoch != 2 || before.Epoch != 1 || before.Ledger.wasRemoved(2) {
		t.Errorf("epoch %d, and %d before", w.Epoch, before.Epoch)
	}
	// Its number is used up.
	phone := device(t, 0x70)
	if no := w.enrol(phone, "phone"); no != 3 {
		t.Errorf("the next device is %d", no)
	}
	// Another machine learns the same from the ledger alone.
	again, err := DecodeLedger(w.Volume, w.Ledger.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := again.Removed(2); !ok || again.HighestDevice() != 3 {
		t.Error("the ledger came back changed")
	}
	until, err := again.Until(3)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := until.Device(2); !ok {
		t.Error("it was a device at slot 3")
	}
	// What it signed before stays good: a new machine follows all of it.
	w.take(6, w.build(6, phone, 3, 1, 1, file(meta.MakePack(3, 1), 2)).Object)
}

// A removed device has all its keys, and those of the member: which are all that
// there are.
func TestWhatARemovedDeviceTries(t *testing.T) {
	other := ID{7}
	for _, c := range []struct {
		name   string
		make   func(w *world, desktop *identity.Device, before *State) []byte
		reason string
	}{
		{"it goes on", func(w *world, d *identity.Device, _ *State) []byte {
			return w.forge(forgery{slot: 5, by: d, no: 2, first: 3, last: 3})
		}, "device 2 was removed"},
		{"with files, under the new key", func(w *world, d *identity.Device, _ *State) []byte {
			return w.forge(forgery{slot: 5, by: d, no: 2, first: 3, last: 3, batch: file(meta.MakePack(2, 2), 2).Encode()})
		}, "device 2 was removed"},
		{"on the head that it knew", func(w *world, d *identity.Device, before *State) []byte {
			return w.forge(forgery{slot: 5, by: d, no: 2, first: 3, last: 3, prev: &before.Head})
		}, "device 2 was removed"},
		{"on a head of its own making", func(w *world, d *identity.Device, _ *State) []byte {
			return w.forge(forgery{slot: 5, by: d, no: 2, first: 3, last: 3, prev: &other})
		}, "device 2 was removed"},
		{"under the old key", func(w *world, d *identity.Device, before *State) []byte {
			return w.forge(forgery{slot: 5, by: d, no: 2, first: 3, last: 3, epoch: 1, key: before.Key})
		}, "device 2 was removed"},
		{"under the old key on the head that it knew", func(w *world, d *identity.Device, before *State) []byte {
			return w.forge(forgery{slot: 5, by: d, no: 2, first: 3, last: 3, epoch: 1, key: before.Key, prev: &before.Head})
		}, "device 2 was removed"},
		{"a commit for the slot of its removal, one later", func(w *world, d *identity.Device, before *State) []byte {
			f := &world{tb: w.tb, State: before.Clone()}
			return f.forge(forgery{slot: 4, by: d, no: 2, first: 3, last: 3})
		}, "device 2 was removed"},
		{"a commit of another sealed again", func(w *world, _ *identity.Device, _ *State) []byte {
			return reseal(w, w.build(5, w.laptop, 1, 1, 0, nil).Object)
		}, "signature"},
		{"its enrolment again", func(w *world, d *identity.Device, _ *State) []byte {
			return w.forge(forgery{slot: 5, by: d, no: 2, first: 3, last: 2, recs: []Record{w.Ledger.Suffix(3)[0]}})
		}, "device 2 was removed"},
		{"its old number, certified anew", func(w *world, d *identity.Device, _ *State) []byte {
			r := w.record(w.owner, 5, KindDevice, deviceBody{2, "desktop", d.Public()}.encode())
			return w.forge(forgery{slot: 5, by: d, no: 2, first: 3, last: 2, recs: []Record{r}})
		}, "device 2 was removed"},
		{"its old number, with another key", func(w *world, _ *identity.Device, _ *State) []byte {
			other := device(w.tb, 0x61)
			r := w.record(w.owner, 5, KindDevice, deviceBody{2, "desktop", other.Public()}.encode())
			return w.forge(forgery{slot: 5, by: other, no: 2, first: 3, last: 2, recs: []Record{r}})
		}, "device 2 was removed"},
		{"a new number with its old key", func(w *world, d *identity.Device, _ *State) []byte {
			r := w.record(w.owner, 5, KindDevice, deviceBody{3, "desktop", d.Public()}.encode())
			return w.forge(forgery{slot: 5, by: d, no: 3, last: 0, recs: []Record{r}})
		}, "device 2 has that key already"},
		{"a record of tomorrow, so that all stop", func(w *world, d *identity.Device, _ *State) []byte {
			return w.forge(forgery{slot: 5, by: d, no: 2, first: 3, last: 2, recs: []Record{w.record(w.owner, 5, 200, nil)}})
		}, "device 2 was removed"},
		{"the removal of the other one", func(w *world, d *identity.Device, _ *State) []byte {
			return w.forge(forgery{slot: 5, by: d, no: 2, first: 3, last: 2, recs: w.remove(5, crypt.NewKey(), 1)})
		}, "device 2 was removed"},
		{"its own removal undone by a name", func(w *world, _ *identity.Device, _ *State) []byte {
			r := w.record(w.owner, 5, KindRename, renameBody{2, "desktop"}.encode())
			return w.forge(forgery{slot: 5, recs: []Record{r}})
		}, "device 2 is none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, desktop, before := removedWorld(t)
			if j := w.expect(5, c.make(w, desktop, before), Junk); !strings.Contains(j.Reason, c.reason) {
				t.Errorf("reason %q", j.Reason)
			}
			// Nobody is stopped by it.
			w.take(6, w.build(6, w.laptop, 1, 1, 1, nil).Object)
		})
	}
}

// What the member's keys are good for they are good for in a thief's hands, too: a
// removed device makes itself another one, openly, and removes who removed it. That is
// what rotating is for.
func TestWhatARemovedDeviceCanDo(t *testing.T) {
	w, _, _ := removedWorld(t)
	thief := device(t, 0x61)
	no := w.enrol(thief, "not the desktop")
	if no != 3 {
		t.Fatalf("device %d", no)
	}
	w.take(6, w.build(6, thief, 3, 1, 0, nil, w.remove(6, crypt.NewKey(), 1)...).Object)
	w.expect(7, w.forge(forgery{slot: 7}), Junk)
}

// Before it knows, and in the very slot of its removal, a device's commit counts when
// it comes first, and not at all when it comes second.
func TestARaceWithTheRemoval(t *testing.T) {
	w := newWorld(t)
	desktop := device(t, 0x60)
	w.first()
	w.enrol(desktop, "desktop")
	mine := w.build(3, desktop, 2, 1, 1, file(meta.MakePack(2, 1), 1)).Object
	removal := w.build(3, w.laptop, 1, 1, 0, nil, w.remove(3, crypt.NewKey(), 2)...).Object
	for _, first := range []string{"the device", "the removal"} {
		s := &world{tb: t, owner: w.owner, laptop: w.laptop, State: w.Clone()}
		if first == "the device" {
			s.take(3, mine)
			s.expect(4, removal, Junk) // made for slot 3
			s.take(4, s.build(4, s.laptop, 1, 1, 0, nil, s.remove(4, crypt.NewKey(), 2)...).Object)
		} else {
			s.take(3, removal)
			s.expect(4, mine, Junk)
		}
		if _, ok := s.Ledger.Device(2); ok {
			t.Errorf("%s first: it is a device still", first)
		}
	}
}

func TestWhatMayNotStandBesideARemoval(t *testing.T) {
	w := newWorld(t)
	desktop, phone := device(t, 0x60), device(t, 0x70)
	w.first()
	w.enrol(desktop, "desktop")
	w.enrol(phone, "phone")
	recs := w.remove(4, crypt.NewKey(), 2)
	both := w.remove(4, crypt.NewKey(), 3, 2)
	rename := w.record(w.owner, 4, KindRename, renameBody{2, "x"}.encode())
	after := func(r Record, kind Kind, body []byte) Record {
		return Record{N: r.N + 1, Prev: r.Hash(), Slot: 4, Kind: kind, Body: body, Signer: r.Signer}.sign(w.Volume, w.owner)
	}
	epoch, err := w.Ledger.NewEpochRecord(w.owner, 4, crypt.NewKey(), w.Key)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		f    forgery
		want Verdict
	}{
		"alone with its epoch":      {forgery{recs: recs}, Valid},
		"two at a time":             {forgery{recs: both}, Valid},
		"no epoch":                  {forgery{recs: recs[:1]}, Junk},
		"the epoch first":           {forgery{recs: []Record{epoch, after(epoch, KindRemove, removeBody{2}.encode())}}, Junk},
		"a name beside it":          {forgery{recs: append(recs[:2:2], after(recs[1], KindRename, renameBody{3, "x"}.encode()))}, Junk},
		"a name before it":          {forgery{recs: []Record{rename, after(rename, KindRemove, removeBody{3}.encode())}}, Junk},
		"a device beside it":        {forgery{recs: append(recs[:2:2], after(recs[1], KindDevice, deviceBody{4, "", device(t, 0x71).Public()}.encode()))}, Junk},
		"operations":                {forgery{recs: recs, last: 1}, Junk},
		"a batch":                   {forgery{recs: recs, batch: root.Encode()}, Junk},
		"of the author":             {forgery{recs: recs, by: desktop, no: 2}, Junk},
		"twice":                     {forgery{recs: []Record{recs[0], after(recs[0], KindRemove, removeBody{2}.encode())}}, Junk},
		"by another device":         {forgery{recs: recs, by: phone, no: 3}, Valid},
		"signed by a stranger":      {forgery{recs: []Record{w.record(identity.New(), 4, KindRemove, removeBody{2}.encode())}}, Junk},
		"for another slot":          {forgery{recs: w.remove(5, crypt.NewKey(), 2)}, Junk},
		"a name":                    {forgery{recs: []Record{rename}}, Valid},
		"two names":                 {forgery{recs: []Record{rename, after(rename, KindRename, renameBody{3, "y"}.encode())}}, Junk},
		"a name with an epoch":      {forgery{recs: []Record{rename, after(rename, KindEpoch, epoch.Body)}}, Junk},
		"a name with operations":    {forgery{recs: []Record{rename}, last: 1}, Junk},
		"a name by another machine": {forgery{recs: []Record{rename}, by: phone, no: 3}, Valid},
	} {
		t.Run(name, func(t *testing.T) {
			c.f.slot = 4
			w.expect(4, w.forge(c.f), c.want)
		})
	}
}

// An epoch without a wrap for the member, beside a removal that is as it should be:
// who cannot open it stops, and names who did it.
func TestARemovalWithoutAKeyForMe(t *testing.T) {
	w := newWorld(t)
	desktop := device(t, 0x60)
	w.first()
	w.enrol(desktop, "desktop")
	recs := w.remove(3, crypt.NewKey(), 2)
	body, err := decodeEpoch(recs[1].Body)
	if err != nil {
		t.Fatal(err)
	}
	body.wraps = nil
	recs[1].Body = body.encode()
	recs[1] = recs[1].sign(w.Volume, w.owner)
	if j := w.expect(3, w.forge(forgery{slot: 3, recs: recs}), Stop); !strings.Contains(j.Reason, "laptop") {
		t.Errorf("reason %q", j.Reason)
	}
}

func TestADeviceGetsAnotherName(t *testing.T) {
	w := newWorld(t)
	w.first()
	r, err := w.Ledger.NewRenameRecord(w.owner, 2, 1, "Küche")
	if err != nil {
		t.Fatal(err)
	}
	w.take(2, w.build(2, w.laptop, 1, 1, 0, nil, r).Object)
	if d, _ := w.Ledger.Device(1); d.Name != "Küche" || d.Key == nil {
		t.Errorf("%+v", d)
	}
	if _, err := w.Ledger.NewRenameRecord(w.owner, 3, 1, "a/b"); !errors.Is(err, ErrDeviceName) {
		t.Errorf("a bad name: %v", err)
	}
	if _, err := w.Ledger.NewRenameRecord(w.owner, 3, 9, "x"); !errors.Is(err, ErrRefused) {
		t.Errorf("nobody: %v", err)
	}
	if _, err := w.Ledger.NewRemoveRecords(w.owner, 3, []meta.Device{9}, crypt.NewKey(), w.Key); !errors.Is(err, ErrRefused) {
		t.Errorf("remove nobody: %v", err)
	}
	if _, err := w.Ledger.NewRemoveRecords(w.owner, 3, []meta.Device{1}, crypt.NewKey(), crypt.NewKey()); !errors.Is(err, ErrKey) {
		t.Errorf("after another key: %v", err)
	}
}

// The one that alone writes stays: nobody could write any more.
func TestTheSingleWriterIsNotRemoved(t *testing.T) {
	w := newWorld(t)
	w.first()
	w.enrol(device(t, 0x60), "desktop")
	recs, err := w.Ledger.NewWriterRecords(w.owner, 3, 1, 2, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	w.take(3, w.build(3, w.laptop, 1, 1, 0, nil, recs...).Object)
	if _, err := w.Ledger.NewRemoveRecords(w.owner, 4, []meta.Device{2}, crypt.NewKey(), w.Key); !errors.Is(err, ErrRefused) {
		t.Errorf("got %v", err)
	}
}

// Who begins at a checkpoint knows when each device was seen last, as who saw all.
func TestLastSeen(t *testing.T) {
	w, at4, objects := folded(t)
	if got := w.Seen()[1]; got != (Seen{7, noon.UnixNano()}) {
		t.Errorf("seen %+v", got)
	}
	c, err := OpenAnnouncing(w.Volume, w.Key, w.Ledger, Link{7, w.Head}, objects[7])
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewStateAt(w.Volume, w.Key, w.Ledger, c)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Seen()[1]; got != at4.Seen()[1] || got.Slot != 4 {
		t.Errorf("from the checkpoint: %+v", got)
	}
	// A checkpoint that says otherwise is not taken over by who knows better.
	lie := *c.Checkpoint
	lie.Seen = map[meta.Device]Seen{1: {3, 0}}
	if err := w.CheckFold(&lie); !errors.Is(err, ErrForged) {
		t.Errorf("a false time: %v", err)
	}
	if err := w.CheckFold(c.Checkpoint); err != nil {
		t.Error(err)
	}
}

// What a device works with it says itself.
func TestProgramsAreTheirAuthors(t *testing.T) {
	w := newWorld(t)
	desktop := device(t, 0x60)
	w.first()
	w.enrol(desktop, "desktop")
	says := func(d meta.Device) []byte {
		return batch(meta.KV{Key: meta.ProgramKey(d), Value: meta.AppendProgram(nil, meta.Program{Version: "v1"})}).Encode()
	}
	drops := func(d meta.Device) []byte { return (&meta.Batch{Deletes: [][]byte{meta.ProgramKey(d)}}).Encode() }
	w.expect(3, w.forge(forgery{slot: 3, last: 1, batch: says(1)}), Valid)
	w.expect(3, w.forge(forgery{slot: 3, last: 1, batch: drops(1)}), Valid)
	w.expect(3, w.forge(forgery{slot: 3, last: 1, batch: says(2)}), Junk)
	w.expect(3, w.forge(forgery{slot: 3, last: 1, batch: drops(2)}), Junk)
	w.expect(3, w.forge(forgery{slot: 3, by: desktop, no: 2, last: 1, batch: says(2)}), Valid)
	w.expect(3, w.forge(forgery{slot: 3, by: desktop, no: 2, last: 1, batch: says(1)}), Junk)
}
