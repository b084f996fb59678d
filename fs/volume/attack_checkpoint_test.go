package volume

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/table"
)

// checkpoint folds what there is, changed, into tables of his own, which are good ones, and
// returns a checkpoint of the head that names them. Its ledger is that of a volume of his:
// so that a commit can be built with it, whose checkpoint is then cut out.
func (f *forger) checkpoint(own *identity.Device, change func(table.Entry) []table.Entry) (object, checkpoint []byte, id chain.ID, mine *chain.Ledger) {
	t := f.w.t
	t.Helper()
	var all []table.Entry
	err := publish.Retry(t.Context(), func() error {
		all = nil
		return f.l.Confirmed.Scan([]byte{0}, []byte{0xff}, func(k, v []byte) bool {
			all = append(all, change(table.Entry{Key: bytes.Clone(k), Value: bytes.Clone(v)})...)
			return true
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	runs, err := table.Fold(t.Context(), nil, func(yield func(table.Entry, error) bool) {
		for _, e := range all {
			if !yield(e, nil) {
				return
			}
		}
	}, table.FoldOptions{Epoch: f.st.Epoch, Write: func(ctx context.Context, content []byte) (crypt.Name, error) {
		object, name, err := crypt.NewSealer(f.st.Key, f.w.vol, crypt.TypeTable, f.st.Epoch).Seal(nil, content)
		if err == nil {
			err = f.w.objects.PutIfAbsent(ctx, chain.TableName(f.w.vol, name), object)
		}
		return name, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	k := f.st.Checkpoint()
	k.Usage, k.Tables = f.l.Confirmed.Usage(), table.AppendRuns(nil, runs)
	fake := f.st.Clone()
	if mine, err = chain.NewLedger(f.id, f.st.Key, own.Public(), "laptop"); err != nil {
		t.Fatal(err)
	}
	fake.Ledger = mine
	first := fake.LastOp[1] + 1
	c, err := fake.Build(f.st.Slot+1, own, 1, time.Now(), chain.Content{First: first, Last: first - 1, Checkpoint: k})
	if err != nil {
		t.Fatal(err)
	}
	content, _, err := crypt.Open(f.st.Key, f.w.vol, crypt.TypeCommit, c.Object)
	if err != nil {
		t.Fatal(err)
	}
	rest := content[32+4+62:]
	cut := func() []byte {
		n := int(rest[0])<<24 | int(rest[1])<<16 | int(rest[2])<<8 | int(rest[3])
		field := rest[4 : 4+n]
		rest = rest[4+n:]
		return field
	}
	cut() // the batch
	rest = rest[16:]
	return c.Object, bytes.Clone(cut()), c.ID, mine
}

// A member who may read folds what was never written, into tables that are well formed and
// sealed under the epoch's key, announces them, and leads to that with hints of his own, the
// store helping him. Nobody begins there, and nobody takes it over.
func TestAttackReaderCheckpoint(t *testing.T) {
	change := renames("precious", "xforged")
	own := identity.NewDevice()
	for name, do := range map[string]func(f *forger, like []byte) (object string, hint []byte){
		"in the name of a device": func(f *forger, like []byte) (string, []byte) {
			_, k, _, _ := f.checkpoint(own, change)
			c := f.next(1)
			c.checkpoint = k
			return f.announced(like, own, f.st.Slot+1, c, f.st.Ledger, 1)
		},
		"as a device that is none": func(f *forger, like []byte) (string, []byte) {
			_, k, _, _ := f.checkpoint(own, change)
			c := f.next(9)
			c.checkpoint = k
			return f.announced(like, own, f.st.Slot+1, c, f.st.Ledger, 9)
		},
		"far above the newest slot": func(f *forger, like []byte) (string, []byte) {
			_, k, _, _ := f.checkpoint(own, change)
			c := f.next(1)
			c.checkpoint = k
			return f.announced(like, own, 1<<40, c, f.st.Ledger, 1)
		},
		"with a ledger of his own": func(f *forger, like []byte) (string, []byte) {
			object, _, id, mine := f.checkpoint(own, change)
			at := f.st.Slot + 1
			f.w.objects.Overwrite(chain.SlotName(f.w.vol, at), object)
			return chain.SlotName(f.w.vol, at), f.leads(like, own, at, id, mine, 1)
		},
		"with a hint in the name of a device, under its true ledger": func(f *forger, like []byte) (string, []byte) {
			object, _, id, _ := f.checkpoint(own, change)
			at := f.st.Slot + 1
			f.w.objects.Overwrite(chain.SlotName(f.w.vol, at), object)
			return chain.SlotName(f.w.vol, at), f.leads(like, own, at, id, f.st.Ledger, 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			desk := w.machine("desk")
			as(w.laptop, write("precious", "1"), commits("a", 2), folded)
			as(desk, write("desk", "1"), lock)
			as(w.laptop, upToDate, mkdir("newest"), drained)
			f := w.forger()
			var hint []byte
			object := ""
			for i, like := range w.names("k") {
				if i == 0 { // the newest comes first
					object, hint = do(f, w.object(like))
				}
			}
			slot := f.st.Slot + 1
			w.objects.Overwrite(chain.HintName(w.vol, slot), hint)
			w.objects.Overwrite(chain.HintName(w.vol, slot+1000), hint)
			third := w.machine("third")
			for _, m := range []*machine{w.laptop, desk, third} {
				as(m, upToDate, missing("xforged"), read("precious", "1"), isThere("newest"))
				if s := m.v.Status(); s.Stopped != "" {
					t.Errorf("the %s stopped: %s", m.name, s.Stopped)
				}
				if object == chain.SlotName(w.vol, slot) {
					m.tells(object, 0)
				}
			}
			if s := third.v.Status(); !strings.Contains(third.log.String(), chain.HintName(w.vol, slot+1000)) || !strings.Contains(strings.Join(s.Warnings, " "), "hint") {
				t.Errorf("the hints are not told of: warnings %q, log\n%s", s.Warnings, third.log.String())
			}
			as(third, write("third", "3"), drained)
			as(desk, write("desk", "2"), drained, lock)
			as(w.laptop, upToDate, read("desk", "2"), folded, lock)
			as(w.laptop, upToDate, read("third", "3"), read("precious", "1"), missing("xforged"))
			as(w.machine("fourth"), read("third", "3"), read("precious", "1"), missing("xforged"))
		})
	}
}

// announced puts a commit with a checkpoint into a slot, and leads to it.
func (f *forger) announced(like []byte, own *identity.Device, at chain.Slot, c forged, l *chain.Ledger, no meta.Device) (string, []byte) {
	object, id := f.commit(at, own, c)
	f.w.objects.Overwrite(chain.SlotName(f.w.vol, at), object)
	return chain.SlotName(f.w.vol, at), f.leads(like, own, at, id, l, no)
}

// leads is a hint of a slot, which says that the checkpoint is announced there.
func (f *forger) leads(like []byte, own *identity.Device, at chain.Slot, id chain.ID, l *chain.Ledger, no meta.Device) []byte {
	f.w.t.Helper()
	ledger := l.Encode()
	sealed, name, err := crypt.NewSealer(f.st.Key, f.w.vol, crypt.TypeLedger, f.st.Epoch).Seal(nil, ledger)
	if err != nil {
		f.w.t.Fatal(err)
	}
	f.w.objects.Overwrite(chain.LedgerName(f.w.vol, name), sealed)
	h := chain.Hint{Slot: at, Commit: id, Fold: chain.Link{Slot: at, ID: id}, Device: no, Ledger: chain.LedgerRef{Name: name, Size: int64(len(sealed)), Head: l.Head()}}
	return f.hint(like, h, ledger, own)
}

// renames gives what has a name in the root another, which must not stand before any that
// comes after it.
func renames(from, to string) func(table.Entry) []table.Entry {
	was := meta.DirentKey(meta.Root, []byte(from))
	return func(e table.Entry) []table.Entry {
		if bytes.Equal(e.Key, was) {
			e.Key = meta.DirentKey(meta.Root, []byte(to))
		}
		return []table.Entry{e}
	}
}
