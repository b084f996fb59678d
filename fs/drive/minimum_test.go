package drive

import (
	"bytes"
	"errors"
	"math"
	"os"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hushfs/hushfs/crypt/keyslot"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/store"
	"github.com/hushfs/hushfs/store/fault"
)

func head(slot uint64) chain.Head {
	return chain.Head{Slot: chain.Slot(slot), ID: chain.ID{byte(slot), 1}, Ledger: chain.ID{byte(slot), 2}}
}

// raise raises the minimum to a slot and says whether that was done.
func (w *world) raise(u *Unlocked, slot uint64, now time.Time) bool {
	w.t.Helper()
	done, err := u.RaiseMinimum(ctx, w.bucket, head(slot), chain.Link{}, now, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return done
}

// minimum is what a machine without memory is told.
func (w *world) minimum() keyslot.VolumeEntry {
	w.t.Helper()
	u, err := w.unlock("")
	must(w.t, err)
	defer u.Wipe()
	return u.Main()
}

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func TestRaiseMinimum(t *testing.T) {
	w := newWorld(t)
	w.create()
	u, err := w.unlock(w.root)
	must(t, err)
	slots := u.header.Slots
	for _, c := range []struct {
		name string
		slot uint64
		at   time.Duration
		done bool
		want uint64
	}{
		{"for the first time", 5, 0, true, 5},
		{"the same day", 6, 23 * time.Hour, false, 5},
		{"a day later", 7, 24 * time.Hour, true, 7},
		{"nothing new", 7, 72 * time.Hour, false, 7},
		{"an older slot", 6, 72 * time.Hour, false, 7},
		{"a clock that is a little behind", 8, 20 * time.Hour, false, 7},
		{"a clock that is years behind", 9, -5 * 365 * 24 * time.Hour, true, 9},
		{"right again", 10, 73 * time.Hour, true, 10},
		{"a clock that is years ahead", 11, 5 * 365 * 24 * time.Hour, true, 11},
	} {
		before := len(w.headers())
		if done := w.raise(u, c.slot, noon.Add(c.at)); done != c.done {
			t.Errorf("%s: %v", c.name, done)
		}
		if n := len(w.headers()) - before; n != 0 != c.done || n > 1 {
			t.Errorf("%s: %d headers more", c.name, n)
		}
		if v := w.minimum(); v.MinSlot != c.want || v.MinCommit != head(c.want).ID || v.MinLedger != head(c.want).Ledger {
			t.Errorf("%s: %+v", c.name, v)
		}
	}
	// A person gave the minimum up: it is lowered at once; another one is not.
	for _, gone := range []struct {
		chain.Link
		done bool
	}{
		{chain.Link{Slot: 11, ID: chain.ID{9}}, false}, {chain.Link{Slot: 10, ID: head(10).ID}, false},
		{chain.Link{Slot: 11, ID: head(11).ID}, true}, {chain.Link{Slot: 11, ID: head(11).ID}, false},
	} {
		if done, err := u.RaiseMinimum(ctx, w.bucket, head(4), gone.Link, noon, nil); done != gone.done || err != nil {
			t.Errorf("%v: %v, %v", gone, done, err)
		}
	}
	if v := w.minimum(); v.MinSlot != 4 {
		t.Errorf("slot %d", v.MinSlot)
	}
	if !w.raise(u, 11, noon.Add(48*time.Hour)) {
		t.Error("not raised again")
	}
	// The ways in are those that were there, and the drive is the same to whoever goes on.
	v, err := w.unlock("")
	must(t, err)
	if len(v.header.Slots) != len(slots) {
		t.Fatalf("%d slots of %d", len(v.header.Slots), len(slots))
	}
	for i := range slots {
		if !bytes.Equal(slots[i].Body, v.header.Slots[i].Body) || slots[i].Label != v.header.Slots[i].Label {
			t.Errorf("slot %d is another", i)
		}
	}
	if !v.root.Equal(u.root) || u.HeaderName() != v.HeaderName() || !bytes.Equal(u.Identity().Seed(), v.Identity().Seed()) {
		t.Error("another drive")
	}
	id, words := w.paper()
	r, err := Unlock(ctx, w.mem, UnlockOptions{Recovery: words, Expect: id})
	must(t, err)
	if r.Main().MinSlot != 11 {
		t.Error("by the words: another header")
	}
}

// Machines that raise it at once, and a lost answer, leave a whole header and the higher
// slot.
func TestRaiseMinimumTogether(t *testing.T) {
	for range 20 {
		w := newWorld(t)
		w.create()
		var g sync.WaitGroup
		for i := range 4 {
			u, err := w.unlock(w.root)
			must(t, err)
			g.Go(func() {
				if _, err := u.RaiseMinimum(ctx, w.bucket, head(uint64(10+i)), chain.Link{}, noon, nil); err != nil {
					t.Error(err)
				}
			})
		}
		g.Wait()
		// Once a day, whoever was first.
		if n := len(w.headers()); n != 2 {
			t.Errorf("%d headers", n)
		}
		u, err := w.unlock("")
		must(t, err)
		if !w.raise(u, 14, noon.Add(24*time.Hour)) || w.minimum().MinSlot != 14 {
			t.Errorf("slot %d", w.minimum().MinSlot)
		}
	}
	w := newWorld(t)
	w.create()
	u, err := w.unlock(w.root)
	must(t, err)
	w.bucket.Add(fault.On(fault.Put, 1, fault.LostAnswer))
	if _, err := u.RaiseMinimum(ctx, w.bucket, head(5), chain.Link{}, noon, nil); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("no answer: %v", err)
	}
	if w.raise(u, 6, noon) || w.minimum().MinSlot != 5 {
		t.Error("what arrived without an answer does not count")
	}
}

// A header that has another way in since, from a machine that changed it, is the one to
// go on from.
func TestRaiseMinimumKeepsNewWaysIn(t *testing.T) {
	w := newWorld(t)
	made := w.create()
	u, err := w.unlock(w.root)
	must(t, err)
	more, err := keyslot.NewPassphrase(u.root, made.ID, []byte("another way"), fast, "more", noon)
	must(t, err)
	sealed, err := keyslot.SealKeyring(u.root, made.ID, 2, u.keyring)
	must(t, err)
	h, err := keyslot.New(u.root, made.ID, 2, append([]keyslot.Slot{more}, u.header.Slots[1:]...), sealed)
	must(t, err)
	w.mem.Overwrite(keyslot.ObjectName(2), h.Encode())
	if !w.raise(u, 9, noon) {
		t.Fatal("not raised")
	}
	v, err := Unlock(ctx, w.mem, UnlockOptions{Passphrase: []byte("another way")})
	must(t, err)
	if v.header.Counter != 3 || v.Main().MinSlot != 9 {
		t.Errorf("header %d, slot %d", v.header.Counter, v.Main().MinSlot)
	}
	if s := v.header.Slots; len(s) != len(h.Slots) || s[0].Label != "more" {
		t.Errorf("slots %v", s)
	}
}

// Strangers' objects among the headers.
func TestRaiseMinimumAmongJunk(t *testing.T) {
	w := newWorld(t)
	made := w.create()
	u, err := w.unlock(w.root)
	must(t, err)
	for n := uint64(2); n < 6; n++ {
		w.mem.Overwrite(keyslot.ObjectName(n), []byte("junk"))
	}
	w.mem.Overwrite(keyslot.ObjectName(math.MaxUint64), []byte("junk"))
	if !w.raise(u, 5, noon) || u.header.Counter != 6 || w.minimum().MinSlot != 5 {
		t.Errorf("header %d, slot %d", u.header.Counter, w.minimum().MinSlot)
	}
	must(t, u.KeepHeader(w.stateDir(made.ID)))

	// More of them than are looked at, in front: a machine that knows the drive finds its
	// header, and is not told that it was set back.
	for n := range uint64(headersMax + 3) {
		w.mem.Overwrite(keyslot.ObjectName(math.MaxUint64-n), []byte("junk"))
	}
	v, err := w.unlock(w.root)
	must(t, err)
	if v.header.Counter != 6 {
		t.Errorf("header %d", v.header.Counter)
	}
	if !w.raise(v, 6, noon.Add(24*time.Hour)) || v.header.Counter != 7 {
		t.Errorf("header %d", v.header.Counter)
	}

	// A header of the drive that does not open with this root: the ways in may have been
	// changed, and what was taken away must not come back.
	w = newWorld(t)
	made = w.create()
	u, err = w.unlock(w.root)
	must(t, err)
	w.mem.Overwrite(keyslot.ObjectName(9), stranger(t, made.ID, 1)(9))
	if _, err := u.RaiseMinimum(ctx, w.bucket, head(5), chain.Link{}, noon, nil); !errors.Is(err, ErrRotated) {
		t.Error(err)
	}
	if n := len(w.headers()); n != 2 {
		t.Errorf("%d headers", n)
	}
	w.mem.Overwrite(keyslot.ObjectName(9), append([]byte("HUSHDRV1"), make([]byte, 400)...))
	if _, err := u.RaiseMinimum(ctx, w.bucket, head(5), chain.Link{}, noon, nil); !errors.Is(err, ErrNewer) {
		t.Error(err)
	}
}

// The name that this machine's header had in a store that was set back may be another
// object's by now: of a stranger, who can so keep it away for good unless it takes the next
// number; or of another machine that went on, whose header is as new.
func TestPutBackBehindAnother(t *testing.T) {
	for name, c := range map[string]struct {
		lie     func(w *world, name string)
		done    bool
		minimum uint64
	}{
		"junk": {func(w *world, name string) { w.mem.Overwrite(name, []byte("junk")) }, true, 5},
		"another drive's": {func(w *world, name string) {
			other := newWorld(t)
			other.create()
			b, err := other.mem.Get(ctx, keyslot.ObjectName(1), 0, -1)
			must(t, err)
			w.mem.Overwrite(name, b)
		}, true, 5},
		"one of this drive that does not verify": {func(w *world, name string) {
			counter, err := keyslot.ParseObjectName(name)
			must(t, err)
			id, err := Peek(ctx, w.mem, w.root)
			must(t, err)
			w.mem.Overwrite(name, stranger(t, id[0], 1)(counter))
		}, true, 5},
		"another machine's": {func(w *world, name string) {
			o, err := w.unlock("")
			must(t, err)
			if w.raise(o, 3, noon); o.HeaderName() != name {
				t.Fatal(o.HeaderName())
			}
		}, false, 3},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			made := w.create()
			u, err := w.unlock(w.root)
			must(t, err)
			slots := u.header.Slots
			w.raise(u, 5, noon)
			must(t, u.KeepHeader(w.stateDir(made.ID)))
			w.mem.Overwrite(chain.SlotName(u.Main().ID, 1), nil)
			must(t, w.mem.Delete(ctx, u.HeaderName()))
			c.lie(w, u.HeaderName())
			was := u.HeaderName()
			for _, want := range []bool{c.done, false} {
				done, junk, err := u.PutBack(ctx, w.mem)
				if done != want || err != nil {
					t.Errorf("%v, %v", done, err)
				}
				if done != slices.Equal(junk, []string{was}) || !done && len(junk) > 0 {
					t.Errorf("passed over: %v", junk)
				}
			}
			// Whoever comes, with a memory or without, is let in, by the same ways.
			for _, root := range []string{"", w.root} {
				v, err := w.unlock(root)
				must(t, err)
				if v.Main().MinSlot != c.minimum || !reflect.DeepEqual(v.header.Slots, slots) {
					t.Errorf("%+v", v.Main())
				}
			}
		})
	}
}

// A store that was set back: the kept header opens, when somebody asked for that, and can
// be put back.
func TestPutBackHeader(t *testing.T) {
	w := newWorld(t)
	made := w.create()
	u, err := w.unlock(w.root)
	must(t, err)
	w.raise(u, 5, noon)
	must(t, u.KeepHeader(w.stateDir(made.ID)))
	w.mem.Overwrite(chain.SlotName(u.Main().ID, 1), nil)
	must(t, w.mem.Delete(ctx, u.HeaderName()))
	if _, err := w.unlock(w.root); !errors.Is(err, ErrOlder) {
		t.Errorf("an older header: %v", err)
	}
	v, err := Unlock(ctx, w.mem, UnlockOptions{Passphrase: w.options().Passphrase, StateRoot: w.root, Older: true})
	must(t, err)
	if v.Main().MinSlot != 5 {
		t.Errorf("slot %d", v.Main().MinSlot)
	}
	for _, want := range []bool{true, false} {
		if done, junk, err := v.PutBack(ctx, w.mem); done != want || len(junk) > 0 || err != nil {
			t.Errorf("%v, %v", done, err)
		}
	}
	if w.minimum().MinSlot != 5 {
		t.Error("it is not there")
	}
	must(t, os.RemoveAll(w.root))
}
