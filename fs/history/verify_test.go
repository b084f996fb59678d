package history

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/table"
)

// forge seals a commit for a slot with the body of another and whatever signature: what
// anybody can do who has the drive's key.
func (w *world) forge(s chain.Slot, prev chain.ID, body []byte, sign func(signed []byte) []byte) []byte {
	sealer := crypt.NewSealer(w.chain.Key, w.vol, crypt.TypeCommit, w.chain.Epoch)
	header, sum := sealer.HeaderHash(), sha256.Sum256(body)
	signed := append([]byte("hushfs/commit\x00"), w.vol[:]...)
	signed = binary.BigEndian.AppendUint64(signed, uint64(s))
	signed = append(append(append(signed, prev[:]...), header[:]...), sum[:]...)
	content := binary.BigEndian.AppendUint32(bytes.Clone(prev[:]), uint32(len(body)))
	object, _, err := sealer.Seal(nil, append(append(content, body...), sign(signed)...))
	must(w.t, err)
	return object
}

// taken apart, what lies in a slot: the id before it, its body, its signature.
func (w *world) apart(s chain.Slot) (prev chain.ID, body, signature []byte) {
	content, _, err := crypt.Open(w.chain.Key, w.vol, crypt.TypeCommit, w.get(w.slot(s)))
	must(w.t, err)
	n := binary.BigEndian.Uint32(content[32:])
	return chain.ID(content[:32]), content[36 : 36+n], content[36+n:]
}

// other is a commit that a device signs for a slot, on the state given.
func (w *world) other(on *chain.State, s chain.Slot, d *device) []byte {
	first := on.LastOp[d.no] + 1
	b := &meta.Batch{Deletes: [][]byte{meta.DirentKey(meta.Root, []byte("never"))}}
	c, err := on.Build(s, d.Device, d.no, at(s), chain.Content{First: first, Last: first, Batch: b})
	must(w.t, err)
	return c.Object
}

// attacks are what can become of the commit in a slot, and what is to be found of it.
var attacks = []struct {
	name  string
	fault Fault
	do    func(w *world, s chain.Slot, laptop *device)
}{
	{"a bit flipped", Altered, func(w *world, s chain.Slot, _ *device) {
		o := bytes.Clone(w.get(w.slot(s)))
		o[len(o)/2] ^= 1
		w.objects.Overwrite(w.slot(s), o)
	}},
	{"cut off", Altered, func(w *world, s chain.Slot, _ *device) {
		w.objects.Overwrite(w.slot(s), w.get(w.slot(s))[:100])
	}},
	{"gone", Missing, func(w *world, s chain.Slot, _ *device) { w.delete(s) }},
	{"exchanged for the next", Altered, func(w *world, s chain.Slot, _ *device) {
		a, b := w.get(w.slot(s)), w.get(w.slot(s+1))
		w.objects.Overwrite(w.slot(s), b)
		w.objects.Overwrite(w.slot(s+1), a)
	}},
	{"sealed again by who reads", Altered, func(w *world, s chain.Slot, _ *device) {
		prev, body, signature := w.apart(s)
		w.objects.Overwrite(w.slot(s), w.forge(s, prev, body, func([]byte) []byte { return signature }))
	}},
	{"signed again by a stranger", Altered, func(w *world, s chain.Slot, _ *device) {
		prev, body, _ := w.apart(s)
		evil := w.stranger()
		w.objects.Overwrite(w.slot(s), w.forge(s, prev, body, func(b []byte) []byte { return evil.Sign(b).Encode() }))
	}},
	{"another by its device", Exchanged, func(w *world, s chain.Slot, d *device) {
		w.objects.Overwrite(w.slot(s), w.other(w.past[s], s, d))
	}},
	{"another by its device, on another past", Forked, func(w *world, s chain.Slot, d *device) {
		w.objects.Overwrite(w.slot(s), w.other(w.past[s-1], s, d))
	}},
}

// Each attack on any commit is found, and named by its slot: under a checkpoint with
// exactly what it is, above it at the place where the chain breaks.
func TestAttacks(t *testing.T) {
	t.Parallel()
	const under, above = 6, 22
	for _, a := range attacks {
		for name, s := range map[string]chain.Slot{"under a checkpoint": under, "above": above} {
			t.Run(a.name+" "+name, func(t *testing.T) {
				t.Parallel()
				w, laptop, want := story(t, true)
				if c, err := w.chain.Open(s, w.get(w.slot(s))); err != nil || c.Checkpoint != nil || len(c.Records) > 0 || len(want) < above+2 {
					t.Fatal("the story has another commit there", err)
				}
				a.do(w, s, laptop)
				v := w.verify()
				at := map[uint64]Fault{}
				for _, f := range v.Findings {
					at[f.Slot] = f.Fault
					if !strings.HasSuffix(f.Object, fmt.Sprintf("%016x", ^f.Slot)) || f.Detail == "" {
						t.Errorf("%+v", f)
					}
				}
				switch {
				case s == above:
					// Where the commit that takes its place is well made, the one after it shows it.
					want := map[uint64]Fault{uint64(s): a.fault}
					switch {
					case a.fault == Exchanged:
						want[uint64(s+1)] = Forked
					case a.name == "exchanged for the next":
						want[uint64(s+1)] = Altered
					case a.fault == Forked:
						want[uint64(s-1)] = Exchanged
					}
					if !maps.Equal(at, want) || v.Signed == 0 {
						t.Errorf("%+v, want %v", v, want)
					}
				case at[uint64(s)] != a.fault || len(at) > 1 && (a.name != "exchanged for the next" || len(at) != 2):
					t.Errorf("%+v", v.Findings)
				case v.Signed == 0 || v.Unproven != 1:
					t.Errorf("%+v", v)
				}
			})
		}
	}
}

// Slots that hold nobody's commit are no fault, and commits that a device signed for
// them on another past are.
func TestDeadSlots(t *testing.T) {
	t.Parallel()
	for _, folded := range []bool{true, false} {
		w, laptop := newWorld(t)
		w.do(laptop, mk("/a"))
		w.do(laptop, mk("/b"))
		w.objects.Overwrite(w.slot(w.chain.Slot+1), []byte("junk"))
		w.objects.Overwrite(w.slot(w.chain.Slot+2), w.forge(w.chain.Slot+2, w.chain.Head, []byte("x"), func([]byte) []byte { return nil }))
		w.do(laptop, mk("/c"))
		if folded {
			w.fold(laptop, nil, nil)
		}
		v := w.verify()
		if len(v.Findings) > 0 || folded && v.Dead != 2 {
			t.Errorf("folded %v: %+v", folded, v)
		}
		if !folded {
			continue
		}
		w.objects.Overwrite(w.slot(4), w.other(w.past[3], 4, laptop))
		if v := w.verify(); len(v.Findings) != 1 || v.Findings[0].Slot != 4 || v.Findings[0].Fault != Forked {
			t.Errorf("%+v", v)
		}
	}
}

// Junk above the newest commit is told once, however much there is, and takes no room
// from what else is found.
func TestDeadSlotsAboveTheHead(t *testing.T) {
	t.Parallel()
	w, laptop := newWorld(t)
	w.do(laptop, mk("/a"))
	w.do(laptop, mk("/b"))
	const n = maxFindings + 10
	head := w.chain.Slot
	for i := chain.Slot(1); i <= n; i++ {
		w.objects.Overwrite(w.slot(head+i), []byte("junk"))
	}
	v := w.verify()
	if len(v.Findings) != 2 || v.More != 0 || v.Findings[0].Slot != uint64(head)+1 || v.Findings[1].Slot != uint64(head)+2 ||
		!strings.Contains(v.Findings[1].Detail, fmt.Sprintf("in %d more slots up to %d", n-2, head+n)) {
		t.Errorf("%d findings, %d more, the first %+v", len(v.Findings), v.More, v.Findings[:min(3, len(v.Findings))])
	}
}

// A checkpoint that says something else than the commits under it is found, though
// every new machine begins with it.
func TestFalseCheckpoints(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		entry  func(*table.Entry)
		change func(*chain.Checkpoint)
	}{
		{"a file of another size", func(e *table.Entry) {
			if ref, err := meta.ParseInodeKey(e.Key); err == nil && !e.Dead && ref != meta.RootRef {
				n, _ := meta.DecodeInode(e.Value)
				n.Size = 12345
				e.Value = meta.AppendInode(nil, n)
			}
		}, nil},
		{"a file is missing", func(e *table.Entry) { e.Dead, e.Value = true, nil }, nil},
		{"other sums", nil, func(k *chain.Checkpoint) { k.Usage.Bytes++ }},
		{"operations left out", nil, func(k *chain.Checkpoint) { k.LastOp[1]-- }},
		{"the tables of before", nil, func(k *chain.Checkpoint) { k.Tables = table.AppendRuns(nil, nil) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w, laptop := newWorld(t)
			w.do(laptop, mk("/a"), write("/a", 1))
			w.fold(laptop, nil, nil)
			w.do(laptop, mk("/b"), write("/b", 1))
			if v := w.verify(); len(v.Findings) > 0 {
				t.Fatalf("before: %+v", v)
			}
			said := w.fold(laptop, c.entry, c.change)
			v := w.verify()
			if len(v.Findings) != 1 || v.Findings[0].Slot != uint64(said.Slot) || v.Findings[0].Fault != Checkpoint {
				t.Errorf("%+v", v)
			}
			if c.change == nil || c.name == "the tables of before" {
				return
			}
			// Later ones, under which everybody begins, do not make it good.
			w.do(laptop, mk("/c"))
			w.fold(laptop, nil, nil)
			if v := w.verify(); len(v.Findings) != 1 || v.Findings[0].Slot != uint64(said.Slot) || v.Checkpoints != 2 {
				t.Errorf("passed over: %+v", v)
			}
		})
	}
}

// A checkpoint whose tables are gone, and one whose announcement is, leave the rest to
// be told and verified.
func TestLostCheckpoint(t *testing.T) {
	t.Parallel()
	w, _, want := story(t, true)
	h := w.open()
	var announced []chain.Slot
	for s := chain.Slot(1); s <= h.Head(); s++ {
		if c, err := h.state.Open(s, w.get(w.slot(s))); err == nil && c.Checkpoint != nil {
			announced = append(announced, s)
		}
	}
	w.objects.Overwrite(w.slot(announced[1]), []byte("junk"))
	v := w.verify()
	if !slices.ContainsFunc(v.Findings, func(f Finding) bool { return f.Slot == uint64(announced[1]) }) {
		t.Errorf("%+v", v)
	}
	// What there was before a commit under the one that is gone is not known for sure.
	got, n := w.lines(Walk{}), len(want)-int(announced[2])
	if lost := reversed(want); len(got) != len(want)-1 || !slices.Equal(got[:n], lost[:n]) {
		t.Errorf("%q\nwant\n%q", got, lost)
	}
	if up := w.lines(Walk{Onward: true}); !slices.Equal(up, reversed(got)) {
		t.Errorf("onward %q\nwant\n%q", up, reversed(got))
	}
}

// That single commits are left at the bottom is trimming only where they announce
// checkpoints.
func TestNearTheBottom(t *testing.T) {
	t.Parallel()
	w, _, _ := story(t, true)
	w.delete(2)
	v := w.verify()
	if v.Begins != 1 || len(v.Findings) != 1 || v.Findings[0].Slot != 2 || v.Findings[0].Fault != Missing {
		t.Errorf("%+v", v)
	}
}
