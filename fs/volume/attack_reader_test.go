package volume

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
)

// What a store puts into the next slot that has the epoch's key from a member who may read
// changes nothing, for nobody: who is mounted, who comes back, who is new. Each names it.
func TestAttackReaderCommits(t *testing.T) {
	w, own := newWorld(t), identity.NewDevice()
	desk := w.machine("desk")
	as(w.laptop, write("precious", "1"), mkdir("newest"), drained)
	as(desk, mkdir("b"), drained, lock)
	enrolling := func(no meta.Device) []byte {
		return append(append(binary.BigEndian.AppendUint16(nil, uint16(no)), 0), own.Public().Encode()...)
	}
	for name, c := range map[string]func(f *forger, slot chain.Slot) []byte{
		"in the name of a device": func(f *forger, slot chain.Slot) []byte {
			o, _ := f.commit(slot, own, f.next(1).making("forged"))
			return o
		},
		"as a device that is none": func(f *forger, slot chain.Slot) []byte {
			o, _ := f.commit(slot, own, f.next(9).making("forged"))
			return o
		},
		"he enrols himself": func(f *forger, slot chain.Slot) []byte {
			r := f.record(slot, chain.KindDevice, enrolling(3), f.id.Public().Principal(), f.id)
			o, _ := f.commit(slot, own, f.next(3).with(r))
			return o
		},
		"he enrols himself in the owner's name": func(f *forger, slot chain.Slot) []byte {
			r := f.record(slot, chain.KindDevice, enrolling(3), f.st.Ledger.Owner().Principal(), f.id)
			o, _ := f.commit(slot, own, f.next(3).with(r))
			return o
		},
		"he enrols himself with a file": func(f *forger, slot chain.Slot) []byte {
			r := f.record(slot, chain.KindDevice, enrolling(3), f.st.Ledger.Owner().Principal(), f.id)
			o, _ := f.commit(slot, own, f.next(3).making("forged").with(r))
			return o
		},
		"he removes a device": func(f *forger, slot chain.Slot) []byte {
			r := f.record(slot, chain.KindRemove, []byte{0, 1}, f.st.Ledger.Owner().Principal(), f.id)
			o, _ := f.commit(slot, own, f.next(2).with(r))
			return o
		},
		"he opens an epoch of his own": func(f *forger, slot chain.Slot) []byte {
			key, kcv := crypt.NewKey(), [32]byte{}
			kcv = key.Check(f.w.vol, f.st.Epoch+1)
			owner := f.st.Ledger.Owner()
			box, err := identity.Wrap(owner, identity.WrapInfo(f.w.vol, f.st.Epoch+1, owner.Principal(), kcv), key)
			if err != nil {
				t.Fatal(err)
			}
			before := crypt.NewLocal(key, "hushfs/previous-epoch", binary.BigEndian.AppendUint32(bytes.Clone(f.w.vol[:]), uint32(f.st.Epoch+1))).Seal(nil, f.st.Key.Bytes(), nil)
			body := append(binary.BigEndian.AppendUint32(nil, uint32(f.st.Epoch+1)), kcv[:]...)
			body = append(sized(body, before), 0, 1)
			p := owner.Principal()
			body = append(append(body, p[:]...), box...)
			r := f.record(slot, chain.KindEpoch, body, owner.Principal(), f.id)
			o, _ := f.commit(slot, own, f.next(1).with(r))
			return o
		},
		"a record of tomorrow": func(f *forger, slot chain.Slot) []byte {
			r := f.record(slot, 200, []byte("stop"), f.st.Ledger.Owner().Principal(), f.id)
			o, _ := f.commit(slot, own, f.next(9).with(r))
			return o
		},
		"a fork in the name of a device": func(f *forger, slot chain.Slot) []byte {
			c := f.next(1).making("forged")
			c.prev[0]++
			o, _ := f.commit(slot, own, c)
			return o
		},
		"a writer's commit, sealed again": func(f *forger, slot chain.Slot) []byte { return f.again(slot-1, nil) },
		"a writer's commit, with another name in it": func(f *forger, slot chain.Slot) []byte {
			return f.again(slot-1, func(b []byte) []byte { return bytes.Replace(b, []byte("newest"), []byte("forged"), 1) })
		},
		"a writer's commit, under other bytes of padding": func(f *forger, slot chain.Slot) []byte {
			segments, header := f.opened(f.w.object(chain.SlotName(f.w.vol, slot-1)))
			last := segments[len(segments)-1]
			last[len(last)-1] ^= 1
			return f.resealed(segments, header, nil)
		},
		"a writer's commit of an earlier slot": func(f *forger, slot chain.Slot) []byte {
			return f.w.object(chain.SlotName(f.w.vol, slot-2))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w.t, w.laptop.t, desk.t = t, t, t
			as(w.laptop, rmdir("newest"), drained, mkdir("newest"), drained)
			as(desk, upToDate, lock)
			f := w.forger()
			slot := f.st.Slot + 1
			object := chain.SlotName(w.vol, slot)
			w.objects.Overwrite(object, c(f, slot))
			before := w.laptop.v.Status().DeadSlots
			third := w.machine("third")
			for _, m := range []*machine{w.laptop, desk, third} {
				as(m, upToDate, missing("forged"), read("precious", "1"), isThere("newest"))
				m.tells(object, before)
				before = 0 // the others mounted since
				if s := m.v.Status(); s.Stopped != "" {
					t.Errorf("the %s stopped: %s", m.name, s.Stopped)
				}
			}
			as(desk, write("desk", name), drained)
			as(w.laptop, upToDate, write("laptop", name), drained)
			for _, m := range []*machine{desk, third} {
				as(m, upToDate)
				if m.tree() != w.laptop.tree() {
					t.Errorf("the %s sees another tree than the laptop", m.name)
				}
			}
			if l := w.load().Chain.Ledger; l.HighestDevice() != 2 || len(l.Devices()) != 2 {
				t.Errorf("%d devices", len(l.Devices()))
			}
			third.crash()
		})
	}
}

// again is what a commit holds, changed, under another salt.
func (f *forger) again(slot chain.Slot, change func([]byte) []byte) []byte {
	f.w.t.Helper()
	content, tail, err := crypt.Open(f.st.Key, f.w.vol, crypt.TypeCommit, f.w.object(chain.SlotName(f.w.vol, slot)))
	if err != nil {
		f.w.t.Fatal(err)
	}
	if change != nil {
		content = change(bytes.Clone(content))
	}
	object, _, err := crypt.NewSealer(f.st.Key, f.w.vol, crypt.TypeCommit, tail.Epoch()).Seal(nil, content)
	if err != nil {
		f.w.t.Fatal(err)
	}
	return object
}
