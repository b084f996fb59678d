package volume

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/chain"
)

// A device that may open epochs keeps its key from this member, or gives him another one
// than the others have. He stops there, says who did it, and judges nothing that comes after;
// what is near is read on, and what is written waits.
func TestAttackEpochKeyIsKept(t *testing.T) {
	const head = 4 + 32 // of an epoch record: its number, its check value
	for name, spoil := range map[string]func(w *world, body []byte, key *crypt.Key, owner *identity.Identity) []byte{
		"no wrap": func(w *world, body []byte, _ *crypt.Key, _ *identity.Identity) []byte {
			n := head + 4 + int(binary.BigEndian.Uint32(body[head:]))
			return append(bytes.Clone(body[:n]), 0, 0)
		},
		"a wrap of noise": func(w *world, body []byte, _ *crypt.Key, _ *identity.Identity) []byte {
			body[len(body)-9] ^= 1
			return body
		},
		"another key than the others": func(w *world, body []byte, _ *crypt.Key, owner *identity.Identity) []byte {
			p, kcv := owner.Public(), [32]byte(body[4:head])
			box, err := identity.Wrap(p, identity.WrapInfo(w.vol, 2, p.Principal(), kcv), crypt.NewKey())
			if err != nil {
				w.t.Fatal(err)
			}
			copy(body[len(body)-len(box):], box)
			return body
		},
		"a key that does not lead back": func(w *world, body []byte, _ *crypt.Key, _ *identity.Identity) []byte {
			body[head+4+20] ^= 1
			return body
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			evil, desk := w.machine("evil"), w.machine("desk")
			as(w.laptop, write("a", "1"), drained)
			as(evil, write("e", "1"), drained)
			as(desk, write("d", "1"), drained, lock)
			as(w.laptop, upToDate)
			f, owner, key := w.forger(), w.owner(), crypt.NewKey()
			by, no := evil.stolen()
			evil.crash()
			slot := f.st.Slot + 1
			r, err := f.st.Ledger.NewEpochRecord(owner, slot, key, f.st.Key)
			if err != nil {
				t.Fatal(err)
			}
			r.Body = spoil(w, bytes.Clone(r.Body), key, owner)
			r = f.signed(r, owner)
			object, _ := f.commit(slot, by, f.next(no).with(r))
			w.objects.Overwrite(chain.SlotName(w.vol, slot), object)
			// What comes after is sealed under the key that this member does not have.
			after, _, err := crypt.NewSealer(key, w.vol, crypt.TypeCommit, 2).Seal(nil, []byte("whatever those say who have the key"))
			if err != nil {
				t.Fatal(err)
			}
			w.objects.Overwrite(chain.SlotName(w.vol, slot+1), after)

			as(w.laptop, write("mine", "1"), fsync("mine"))
			third := w.machine("third")
			for _, m := range []*machine{w.laptop, desk, third} {
				m.mustOpen()
				if err := upToDate(m); err == nil {
					t.Errorf("the %s goes on", m.name)
				}
				as(m, read("a", "1"), read("d", "1"), read("e", "1"))
				s := m.v.Status()
				if !strings.Contains(s.Stopped, "(evil)") || !strings.Contains(s.Stopped, "without a key") {
					t.Errorf("the status of the %s: %q", m.name, s.Stopped)
				}
				if !strings.Contains(m.log.String(), "(evil)") {
					t.Errorf("the log of the %s does not name who did it:\n%s", m.name, m.log.String())
				}
				if s.Slot >= uint64(slot) {
					t.Errorf("the %s is at slot %d", m.name, s.Slot)
				}
			}
			if err := drained(w.laptop); err == nil {
				t.Error("the laptop sends")
			}
			for _, m := range []*machine{desk, third} {
				if err := drainedWith(m, "x"); err == nil {
					t.Errorf("the %s sends", m.name)
				}
			}
			if n := w.names("l"); n[0] != chain.SlotName(w.vol, slot+1) {
				t.Errorf("somebody wrote %s", n[0])
			}
			// It waits still after a kill.
			w.laptop.crash()
			as(w.laptop, read("mine", "1"), read("a", "1"))
			if s := w.laptop.v.Status(); !strings.Contains(s.Stopped, "(evil)") || s.PendingOps == 0 {
				t.Errorf("mounted anew: %+v", s)
			}
		})
	}
}

// drainedWith writes a file and sends it.
func drainedWith(m *machine, name string) error {
	if err := write(name, name)(m); err != nil {
		return err
	}
	return drained(m)
}
