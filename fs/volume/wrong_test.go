package volume

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/table"
)

// forgeFold announces a checkpoint of the newest slot, as a device that may write, whose
// tables hold what change makes of what there is, and more.
func forgeFold(w *world, m *machine, change func(table.Entry) []table.Entry, more ...table.Entry) {
	w.t.Helper()
	l := seen(w, w.objects, m)
	var all []table.Entry
	err := publish.Retry(w.t.Context(), func() error {
		all = slices.Clone(more)
		return l.Confirmed.Scan([]byte{0}, []byte{0xff}, func(k, v []byte) bool {
			all = append(all, change(table.Entry{Key: bytes.Clone(k), Value: bytes.Clone(v)})...)
			return true
		})
	})
	if err != nil {
		w.t.Fatal(err)
	}
	slices.SortFunc(all, func(a, b table.Entry) int { return bytes.Compare(a.Key, b.Key) })
	runs, err := table.Fold(w.t.Context(), nil, func(yield func(table.Entry, error) bool) {
		for _, e := range all {
			if !yield(e, nil) {
				return
			}
		}
	}, table.FoldOptions{Epoch: l.Chain.Epoch, Write: func(ctx context.Context, content []byte) (crypt.Name, error) {
		object, name, err := crypt.NewSealer(l.Chain.Key, w.vol, crypt.TypeTable, l.Chain.Epoch).Seal(nil, content)
		if err == nil {
			err = w.objects.PutIfAbsent(ctx, chain.TableName(w.vol, name), object)
		}
		return name, err
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	forge(w, w.objects, m, func(k *chain.Checkpoint) { k.Tables = table.AppendRuns(nil, runs) })
	lead(w, w.objects, m)
}

// asItIs changes nothing of what is folded.
func asItIs(e table.Entry) []table.Entry { return []table.Entry{e} }

// A writer who folds what was never written deceives those who were not there. Whoever
// is about to delete the commits finds out, says who it was, deletes nothing, and goes
// on from what is true; and so do the others.
func TestWrongFold(t *testing.T) {
	lie := meta.DirentKey(meta.Root, []byte("a0.3"))
	for name, change := range map[string]func(e table.Entry) []table.Entry{
		"a file is left out": func(e table.Entry) []table.Entry {
			if bytes.Equal(e.Key, lie) {
				return nil
			}
			return []table.Entry{e}
		},
		"a file gets another name": func(e table.Entry) []table.Entry {
			if bytes.Equal(e.Key, lie) {
				e.Key = meta.DirentKey(meta.Root, []byte("a0.3x"))
			}
			return []table.Entry{e}
		},
		"an old value comes back": func(e table.Entry) []table.Entry {
			if bytes.Equal(e.Key, lie) {
				e.Value = bytes.Clone(e.Value)
				e.Value[len(e.Value)-1] ^= 3
			}
			return []table.Entry{e}
		},
	} {
		t.Run(name, func(t *testing.T) {
			later(t, func(t *testing.T) {
				w := newWorld(t)
				w.laptop.trim = publish.TrimOptions{Keep: 5}
				evil, desktop := w.machine("evil"), w.machine("desktop")
				rounds(w, w.laptop, "a", 2, 9)
				as(desktop, write("d", "1"), drained)
				as(evil, write("e", "1"), drained)
				true1 := seen(w, w.objects, evil).Chain.Folded().Slot
				forgeFold(w, evil, change)
				as(w.laptop, upToDate)
				if read("a0.3", "3")(w.laptop) == nil {
					t.Fatal("the forged checkpoint deceives nobody")
				}
				as(desktop, upToDate)
				rounds(w, desktop, "b", 3, 9) // others fold on top of it
				sleeps(30*day, w.laptop)
				as(desktop, write("d", "2"), drained)
				as(w.laptop, upToDate)
				for {
					did, err := w.laptop.v.sync.Trim(t.Context(), 100)
					if err != nil {
						t.Fatal(err)
					}
					if !did.More {
						break
					}
				}
				if s := w.laptop.v.Status(); len(s.Warnings) == 0 || !strings.Contains(s.Warnings[0], "(evil)") {
					t.Errorf("warnings: %q", s.Warnings)
				}
				for _, s := range seen(w, w.objects, w.laptop).Chain.Remembered() {
					if _, err := w.objects.Get(t.Context(), chain.SlotName(w.vol, s.Slot), 0, 1); err != nil && s.Slot > true1 {
						t.Errorf("slot %d was deleted", s.Slot)
					}
				}
				as(w.laptop, read("a0.3", "3"), read("b2.8", "8"), lock)
				as(w.laptop, read("a0.3", "3"), write("f", "1"), drained, folded)
				as(w.machine("third"), read("a0.3", "3"), read("b2.8", "8"), read("d", "2"))
				as(desktop, upToDate, read("a0.3", "3"), write("g", "1"), drained, folded)
				as(w.laptop, upToDate, read("a0.3", "3"), read("g", "1"), lock)
				as(w.laptop, read("a0.3", "3"), read("b1.1", "1"))
			})
		})
	}
}
