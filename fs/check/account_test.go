package check

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
)

// accounts explains all objects, or one.
func (w *world) accounts(object string) map[string]Account {
	w.t.Helper()
	u := w.drive()
	defer u.Wipe()
	all := map[string]Account{}
	must(w.t, Explain(w.t.Context(), Options{Bucket: w.objects, Drive: u}, object, func(a Account) error {
		if _, ok := all[a.Object]; ok {
			w.t.Errorf("%s is told twice", a.Object)
		}
		all[a.Object] = a
		return nil
	}))
	return all
}

// whole says that all objects of the store are accounted for, and none is unknown.
func (w *world) whole(all map[string]Account) {
	w.t.Helper()
	for _, n := range w.objects.Names() {
		a, ok := all[n]
		if !ok {
			w.t.Errorf("%s is not accounted for", n)
		} else if a.Kind == "unknown" || a.Detail == "" || a.State == Unneeded && a.Since == nil {
			w.t.Errorf("%+v", a)
		}
		delete(all, n)
	}
	for n := range all {
		w.t.Errorf("%s is not in the store", n)
	}
}

func TestAccounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mkdir("letters")
	a := w.write("letters/ann", pattern(1, 5000))
	w.lock()
	b := w.write("letters/bob", pattern(2, 7000))
	w.link("letters/bob", "bob too")
	w.lock()
	packA, packB := w.pack(a), w.pack(b)

	all := w.accounts("")
	got := all[packA]
	if got.State != InUse || got.Used != 5000 || len(got.Files) != 1 || !slices.Equal(got.Files[0].Paths, []string{"/letters/ann"}) ||
		!slices.Equal(got.Files[0].Bytes, []Bytes{{0, 5000}}) {
		t.Errorf("%+v", got)
	}
	if got := all[packB]; !slices.Equal(got.Files[0].Paths, []string{"/bob too", "/letters/bob"}) {
		t.Errorf("%+v", got)
	}
	first := all[chain.SlotName(w.vol, 1)]
	if first.State != InUse || first.Slot != 1 || !strings.Contains(first.Detail, "device 1 laptop") {
		t.Errorf("%+v", first)
	}
	w.whole(all)

	one := w.accounts(packB)
	if len(one) != 1 || one[packB].Used != 7000 {
		t.Errorf("%+v", one)
	}
	u := w.drive()
	defer u.Wipe()
	err := Explain(t.Context(), Options{Bucket: w.objects, Drive: u}, "v0/none", func(Account) error { return nil })
	if !errors.Is(err, ErrNoObject) {
		t.Errorf("an object that is not there: %v", err)
	}
}

// Garbage tells since when: by the commit that made it so.
func TestAccountOfGarbage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.write("a", pattern(1, 5000))
	w.lock()
	pack := w.pack(a)
	w.change(a, 1000, pattern(3, 2000))
	w.lock()
	if got := w.accounts(pack)[pack]; got.State != InUse || got.Used != 3000 || !slices.Equal(got.Files[0].Bytes, []Bytes{{0, 1000}, {3000, 2000}}) {
		t.Errorf("%+v", got)
	}
	v := w.open()
	must(t, v.Unlink(t.Context(), meta.RootRef, []byte("a")))
	w.lock()
	w.write("c", pattern(4, 10))
	w.lock()
	gone := slotWithout(w, a)
	got := w.accounts(pack)[pack]
	if got.State != Unneeded || got.Since.Slot != uint64(gone) || got.Since.Before || got.Since.Time.IsZero() || got.Files != nil {
		t.Errorf("want slot %d: %+v, since %+v", gone, got, got.Since)
	}

	// An upload that no commit names, a slot of junk, and something else.
	u := w.drive()
	object, name, err := crypt.NewSealer(u.Root(), w.vol, crypt.TypePack, 1).Seal(nil, []byte("orphan"))
	must(t, err)
	u.Wipe()
	orphan := chain.PackName(w.vol, name)
	must(t, w.objects.PutIfAbsent(t.Context(), orphan, object))
	table := chain.TableName(w.vol, name)
	must(t, w.objects.PutIfAbsent(t.Context(), table, object))
	head := uint64(w.load().Chain.Slot)
	junk := chain.SlotName(w.vol, chain.Slot(head+1))
	must(t, w.objects.PutIfAbsent(t.Context(), junk, []byte("junk")))
	must(t, w.objects.PutIfAbsent(t.Context(), "v0/letter.txt", []byte("junk")))
	all := w.accounts("")
	for name, words := range map[string]string{
		orphan: "no commit names", table: "no checkpoint in the store names", junk: "above the newest commit", "v0/letter.txt": "nothing of this drive",
	} {
		if got := all[name]; got.State != Unneeded || !strings.Contains(got.Detail, words) || got.Since == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	delete(all, "v0/letter.txt")
	must(t, w.objects.Delete(t.Context(), "v0/letter.txt"))
	w.whole(all)
}

// slotWithout is the first slot after which an inode is gone.
func slotWithout(w *world, ref meta.Ref) chain.Slot {
	w.t.Helper()
	l := w.load()
	for slot := chain.Slot(1); slot <= l.Chain.Slot; slot++ {
		c, err := l.Chain.Open(slot, w.get(chain.SlotName(w.vol, slot)))
		must(w.t, err)
		for _, d := range c.Batch.Deletes {
			if r, err := meta.ParseInodeKey(d); err == nil && r == ref {
				return slot
			}
		}
	}
	w.t.Fatal("the inode was never deleted")
	return 0
}

// Tables and hints of before a fold are garbage since it.
func TestAccountOfFolds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.folds = 3
	for i := range 12 {
		w.write(string(rune('a'+i)), pattern(byte(i), 400))
		w.lock()
	}
	all := w.accounts("")
	states := map[string]map[Purpose]int{}
	for _, a := range all {
		if states[a.Kind] == nil {
			states[a.Kind] = map[Purpose]int{}
		}
		states[a.Kind][a.State]++
		if a.Kind == "table" && a.State == Unneeded && (a.Since.Slot == 0 || a.Since.Time.IsZero()) {
			t.Errorf("%+v since %+v", a, a.Since)
		}
	}
	if states["table"][InUse] == 0 || states["table"][Unneeded] == 0 || states["hint"][InUse] == 0 || states["commit"][Kept] == 0 || states["commit"][InUse] == 0 {
		t.Errorf("%v", states)
	}
	w.whole(all)
}
