package volume

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/table"
)

// batchOf encodes puts, whatever they are: docs/format.md, "Batch". None is longer than 127
// bytes, so that numbers are bytes.
func batchOf(puts ...meta.KV) []byte {
	slices.SortFunc(puts, func(a, b meta.KV) int { return bytes.Compare(a.Key, b.Key) })
	b := []byte{0, 0, byte(len(puts))}
	for _, kv := range puts {
		b = append(append(b, byte(len(kv.Key))), kv.Key...)
		b = append(append(b, byte(len(kv.Value))), kv.Value...)
	}
	return b
}

// A device that may write breaks a rule in what it signs: it makes itself an administrator
// through the batch, gives names that are none, leaves operations out, takes what is others'.
// All of it is void for everybody, and named; what the device wrote before stays.
func TestAttackWriterCommits(t *testing.T) {
	w := newWorld(t)
	evil, desk := w.machine("evil"), w.machine("desk")
	as(w.laptop, write("precious", big), drained)
	as(evil, write("e", "1"), drained)
	as(desk, write("d", "1"), drained, lock)
	by, no := evil.stolen()
	own := identity.NewDevice()
	entry := func(name string) meta.KV {
		return meta.KV{Key: meta.DirentKey(meta.Root, []byte(name)), Value: meta.AppendDirent(nil, meta.Dirent{Ref: meta.Ref{Home: meta.Root, Ino: meta.MakeIno(no, 1<<30)}, Kind: meta.Dir})}
	}
	putting := func(kvs ...meta.KV) func(f *forger, c forged) forged {
		return func(_ *forger, c forged) forged { c.batch, c.last = batchOf(kvs...), c.first; return c }
	}
	pack := func(no meta.PackNo, epoch uint32) meta.KV {
		return meta.KV{Key: meta.PackKey(no), Value: meta.AppendPackRecord(nil, meta.PackRecord{Name: [32]byte{1}, Length: 10, Epoch: epoch})}
	}
	for _, c := range []struct {
		name string
		do   func(f *forger, c forged) forged
	}{
		{"a member is put into the batch", putting(meta.KV{Key: []byte("u\x00\x00"), Value: []byte("rws")})},
		{"a device is put into the batch", putting(meta.KV{Key: []byte("v\x00\x09"), Value: own.Public().Encode()})},
		{"an epoch is put into the batch", putting(meta.KV{Key: []byte("e\x00\x00\x00\x02"), Value: make([]byte, 32)})},
		{"settings are put into the batch", putting(entry("forged"), meta.KV{Key: []byte("s\x00"), Value: []byte("x")}, meta.KV{Key: []byte("~"), Value: []byte("x")})},
		{"..", putting(entry(".."))},
		{"a name with a slash", putting(entry("a/../forged"))},
		{"a name with a NUL", putting(entry("forged\x00"))},
		{"no name", putting(entry(""))},
		{"a batch out of order", func(_ *forger, c forged) forged {
			c = c.making("forged")
			c.batch = append([]byte{0, 0, 2}, slices.Concat(batchOf(entry("z"))[3:], batchOf(entry("forged"))[3:])...)
			return c
		}},
		{"a count that is a lie", func(_ *forger, c forged) forged {
			c.batch, c.last = append([]byte{0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f}, batchOf(entry("forged"))[3:]...), c.first
			return c
		}},
		{"operations left out", func(_ *forger, c forged) forged { c = c.making("forged"); c.first++; c.last++; return c }},
		{"operations once more", func(_ *forger, c forged) forged { c = c.making("forged"); c.first--; c.last--; return c }},
		{"operations of all time", func(_ *forger, c forged) forged { c = c.making("forged"); c.last = 1<<64 - 1; return c }},
		{"another ledger", func(_ *forger, c forged) forged { c = c.making("forged"); c.ledger[3]++; return c }},
		{"an epoch to come, in the body", func(f *forger, c forged) forged { c = c.making("forged"); c.ledger = f.st.Head; return c }},
		{"a device of its own", func(f *forger, c forged) forged {
			body := append([]byte{0, 9, 0}, own.Public().Encode()...)
			return c.with(f.record(f.st.Slot+1, chain.KindDevice, body, f.id.Public().Principal(), f.id))
		}},
		{"the device of another is removed, in the owner's name", func(f *forger, c forged) forged {
			return c.with(f.record(f.st.Slot+1, chain.KindRemove, []byte{0, 1}, f.st.Ledger.Owner().Principal(), f.id))
		}},
		{"a pack with another's number", putting(pack(meta.MakePack(1, 1<<30), 1))},
		{"a pack that is there, once more", func(f *forger, c forged) forged {
			c.batch, c.last = batchOf(pack(meta.MakePack(1, 1), 1)), c.first
			return c
		}},
		{"a pack of an epoch to come", putting(pack(meta.MakePack(no, 1<<30), 2))},
		{"a pack's record is dropped", func(f *forger, c forged) forged {
			key := meta.PackKey(meta.MakePack(1, 1))
			c.batch, c.last = append(append([]byte{0, 1, byte(len(key))}, key...), 0), c.first
			return c
		}},
		{"it says what another works with", putting(meta.KV{Key: meta.ProgramKey(1), Value: meta.AppendProgram(nil, meta.Program{Version: "forged"})})},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.t, w.laptop.t, desk.t = t, t, t
			as(w.laptop, upToDate)
			f := w.forger()
			slot := f.st.Slot + 1
			o, _ := f.commit(slot, by, c.do(f, f.next(no)))
			object := f.put(slot, o)
			before := w.laptop.v.Status().DeadSlots
			third := w.machine("third")
			as(desk, lock)
			for _, m := range []*machine{w.laptop, desk, third} {
				as(m, upToDate, missing("forged"), read("precious", big), read("e", "1"))
				m.tells(object, before)
				before = 0 // the others mounted since
				if s := m.v.Status(); s.Stopped != "" {
					t.Errorf("the %s stopped: %s", m.name, s.Stopped)
				}
				for _, n := range m.listed() {
					if !slices.Contains([]string{"precious", "e", "d", "laptop"}, n) {
						t.Errorf("the %s lists %q", m.name, n)
					}
				}
			}
			third.crash()
			as(w.laptop, write("laptop", c.name), drained)
			as(desk, upToDate, read("laptop", c.name))
			if l := w.load().Chain.Ledger; l.HighestDevice() != 3 || len(l.Devices()) != 3 {
				t.Errorf("%d devices", len(l.Devices()))
			}
		})
	}
}

// What a device folds that may stand in no batch either makes nobody a member, an
// administrator or a device: these come from the ledger alone.
func TestAttackWriterTables(t *testing.T) {
	w := newWorld(t)
	evil := w.machine("evil")
	as(w.laptop, write("precious", "1"), drained)
	as(evil, write("e", "1"), drained)
	own := identity.NewDevice()
	var added []table.Entry
	for _, key := range []string{"c\x00", "e\x00\x00\x00\x02", "u\x00\x00", "v\x00\x09"} {
		added = append(added, table.Entry{Key: []byte(key), Value: own.Public().Encode()})
	}
	forgeFold(w, evil, asItIs, added...)
	third := w.machine("third")
	for _, m := range []*machine{third, w.laptop} {
		as(m, upToDate, read("precious", "1"), read("e", "1"), write(m.name, "1"), drained)
		if devices, err := m.v.Devices(t.Context()); err != nil || len(devices) != 3 {
			t.Errorf("%s: %d devices, %v", m.name, len(devices), err)
		}
	}
	// The device of the table writes.
	f := w.forger()
	slot := f.st.Slot + 1
	o, _ := f.commit(slot, own, f.next(9).making("forged"))
	f.put(slot, o)
	for i, m := range []*machine{third, w.laptop, w.machine("fourth")} {
		as(m, upToDate, missing("forged"), write(fmt.Sprint("x", i), "1"), drained)
	}
}
