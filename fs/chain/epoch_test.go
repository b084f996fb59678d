package chain

import (
	"errors"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/meta"
)

// turn makes the record that opens the next epoch.
func (w *world) turn(slot Slot, ek *crypt.Key) Record {
	w.tb.Helper()
	r, err := w.Ledger.NewEpochRecord(w.owner, slot, ek, w.Key)
	if err != nil {
		w.tb.Fatal(err)
	}
	return r
}

func TestAnEpochTurns(t *testing.T) {
	w := newWorld(t)
	w.first()
	next := crypt.NewKey()
	opening := w.build(2, w.laptop, 1, 1, 0, nil, w.turn(2, next))
	w.take(2, opening.Object)
	if w.Epoch != 2 || !w.Key.Equal(next) {
		t.Fatalf("epoch %d after the turn", w.Epoch)
	}
	if k, ok := w.EpochKey(1); !ok || !k.Equal(w.ek) {
		t.Error("the key of epoch 1 is gone, and with it all old packs")
	}
	old := w.forge(forgery{slot: 3, epoch: 1, key: w.ek})
	if j := w.expect(3, old, Junk); !strings.Contains(j.Reason, "epoch 1, not 2") {
		t.Errorf("a commit under the old epoch: %s", j.Reason)
	}
	w.expect(3, w.forge(forgery{slot: 3, epoch: 1, key: w.ek, prev: &ID{1}}), Evidence)
	// Who was removed with epoch 1 could read it.
	w.expect(3, w.forge(forgery{slot: 3, epoch: 2, under: 1, key: w.ek}), Junk)
	w.expect(3, w.forge(forgery{slot: 3, last: 1, batch: file(meta.MakePack(1, 1), 1).Encode()}), Junk)
	w.take(3, w.build(3, w.laptop, 1, 1, 1, file(meta.MakePack(1, 1), 2)).Object)

	// Another machine begins with the newest key and the newest ledger, and finds
	// the way through both epochs.
	s, err := NewState(w.Volume, next, w.Ledger)
	if err != nil {
		t.Fatal(err)
	}
	if s.Epoch != 1 || !s.Key.Equal(w.ek) {
		t.Errorf("a new state is in epoch %d", s.Epoch)
	}
	again := &world{tb: t, laptop: w.laptop, State: s}
	again.take(1, w.one)
	// What others could not open then is junk to this machine, too, which can.
	again.expect(2, again.forge(forgery{slot: 2, epoch: 2, key: next, prev: &ID{1}}), Junk)
	again.take(2, opening.Object) // needs no identity: the key is known
	if again.Epoch != 2 || !again.Key.Equal(next) {
		t.Errorf("epoch %d after following", again.Epoch)
	}
}

func TestAnEpochWithoutAKeyForMe(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(w *world, b *epochBody)
		known bool // whether the follower has an identity
		want  Verdict
	}{
		{"all is well", func(*world, *epochBody) {}, true, Valid},
		{"nobody can open wraps", func(*world, *epochBody) {}, false, Stop},
		{"no wrap", func(_ *world, b *epochBody) { b.wraps = nil }, true, Stop},
		{"a wrap for another", func(_ *world, b *epochBody) { b.wraps[0].principal[0]++ }, true, Stop},
		{"a wrap of noise", func(_ *world, b *epochBody) { b.wraps[0].box[99]++ }, true, Stop},
		{"another key than the others got", func(w *world, b *epochBody) {
			p := w.owner.Public()
			box, err := identity.Wrap(p, identity.WrapInfo(w.Volume, 2, p.Principal(), b.kcv), crypt.NewKey())
			if err != nil {
				w.tb.Fatal(err)
			}
			b.wraps[0].box = box
		}, true, Stop},
		{"another key than the others got, which leads back", func(w *world, b *epochBody) {
			p, other := w.owner.Public(), crypt.NewKey()
			box, err := identity.Wrap(p, identity.WrapInfo(w.Volume, 2, p.Principal(), b.kcv), other)
			if err != nil {
				w.tb.Fatal(err)
			}
			b.wraps[0].box = box
			b.previous = previousSeal(other, w.Volume, 2).Seal(nil, w.ek.Bytes(), nil)
		}, true, Stop},
		{"a key that does not lead back", func(_ *world, b *epochBody) { b.previous[20]++ }, true, Stop},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.first()
			body, err := decodeEpoch(w.turn(2, crypt.NewKey()).Body)
			if err != nil {
				t.Fatal(err)
			}
			c.spoil(w, &body)
			if !c.known {
				w.Identity = nil
			}
			j := w.expect(2, w.forge(forgery{slot: 2, recs: []Record{w.record(w.owner, 2, KindEpoch, body.encode())}}), c.want)
			if c.want == Stop && !strings.Contains(j.Reason, "laptop") {
				t.Errorf("reason %q does not name who did it", j.Reason)
			}
		})
	}
}

func TestWhatMayNotStandBesideAnEpoch(t *testing.T) {
	w := newWorld(t)
	w.first()
	r := w.turn(2, crypt.NewKey())
	w.expect(2, w.forge(forgery{slot: 2, recs: []Record{r}, batch: root.Encode()}), Junk)
	w.expect(2, w.forge(forgery{slot: 2, recs: []Record{r}, last: 1}), Junk)

	l := w.Ledger.Clone()
	if err := l.Append(r); err != nil {
		t.Fatal(err)
	}
	phone := device(t, 0x70)
	d, err := l.NewDeviceRecord(w.owner, 2, 2, phone.Public(), "phone")
	if err != nil {
		t.Fatal(err)
	}
	w.expect(2, w.forge(forgery{slot: 2, recs: []Record{r, d}}), Junk)
	w.expect(2, w.forge(forgery{slot: 2, recs: []Record{r, d}, by: phone, no: 2}), Junk)

	body := epochBody{epoch: 3, previous: make([]byte, previousSize)}
	twice := Record{
		N: uint32(l.Len()), Prev: l.Head(), Slot: 2, Kind: KindEpoch, Body: body.encode(),
		Signer: w.owner.Public().Principal(),
	}.sign(w.Volume, w.owner)
	w.expect(2, w.forge(forgery{slot: 2, recs: []Record{r, twice}}), Junk)
}

func TestKeysThatTheLedgerDoesNotName(t *testing.T) {
	w := newWorld(t)
	if _, err := NewState(w.Volume, crypt.NewKey(), w.start); !errors.Is(err, ErrKey) {
		t.Errorf("a state with a key of somebody else: %v", err)
	}
	if _, err := NewState(crypt.VolumeID{1}, w.ek, w.start); !errors.Is(err, ErrForged) {
		t.Errorf("a state of another volume: %v", err)
	}
	if _, err := w.Ledger.NewEpochRecord(w.owner, 1, crypt.NewKey(), crypt.NewKey()); !errors.Is(err, ErrKey) {
		t.Errorf("an epoch after another key: %v", err)
	}
	if _, err := w.Ledger.NewEpochRecord(w.owner, 1, crypt.NewKey(), nil); !errors.Is(err, ErrKey) {
		t.Errorf("an epoch after no key: %v", err)
	}
	if _, err := w.Ledger.NewEpochRecord(identity.New(), 1, crypt.NewKey(), w.Key); !errors.Is(err, ErrForged) {
		t.Errorf("an epoch by a stranger: %v", err)
	}
}
