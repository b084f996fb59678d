package sync_test

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/state"
	"github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/table"
	"github.com/hushfs/hushfs/fs/view"
	"github.com/hushfs/hushfs/store/fault"
)

// follower is a machine that follows a history, and has nothing to write.
type follower struct {
	*sync.Syncer
	store *fault.Bucket
	chain *chain.State
	slept time.Duration
}

// follower has read all that there is.
func (h *history) follower() *follower {
	h.t.Helper()
	f := &follower{store: fault.Wrap(h.store)}
	l, err := h.load(f.store)
	if err != nil || l.Trouble != nil {
		h.t.Fatal(err, l.Trouble)
	}
	st, _, err := state.Open(h.t.TempDir(), crypt.NewKey(), [32]byte{1}, "desk")
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(st.Wipe)
	if err := st.Note(l.Chain.Remembered()); err != nil {
		h.t.Fatal(err)
	}
	o := h.options(f.store)
	f.chain = l.Chain
	f.Syncer = sync.New(sync.Options{
		Bucket: f.store, Chain: l.Chain, View: view.New(l.Confirmed), State: st, Identity: h.owner,
		Tables: o.Tables, Keys: o.Keys, Memory: o.Memory,
		Persist: func() error { return nil },
		Gather:  func() error { return nil },
		Rebase:  func() meta.RebaseOptions { return meta.RebaseOptions{} },
		Replace: func(view.Followed) error { return nil },
		Switch:  func(_ []view.Slot, show func() (view.Followed, error)) error { _, err := show(); return err },
		Uptime:  func() time.Duration { return f.slept },
	}, l, 0)
	return f
}

// announce puts the checkpoint of the head into a slot. Nobody looks into its tables.
func (h *history) announce(slot chain.Slot) {
	h.t.Helper()
	last, k := h.LastOp[1], h.Checkpoint()
	k.Tables = table.AppendRuns(nil, nil)
	h.put(slot, chain.Content{First: last + 1, Last: last, Checkpoint: k})
}

// without takes slots out of the store, up to the last.
func (h *history) without(first, last chain.Slot) {
	h.t.Helper()
	for slot := first; slot <= last; slot++ {
		if err := h.store.Delete(h.t.Context(), chain.SlotName(h.Volume, slot)); err != nil {
			h.t.Fatal(err)
		}
	}
}

func sized(b, more []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(more))), more...)
}

// record is the next one of the ledger, of a kind that no program of today knows, signed
// by the owner: docs/format.md, "Ledger".
func (h *history) record(slot chain.Slot) chain.Record {
	r := chain.Record{
		N: uint32(h.Ledger.Len()), Prev: h.Ledger.Head(), Slot: slot, Kind: 200, Body: []byte("of tomorrow"),
		Signer: h.owner.Public().Principal(),
	}
	rest := append(binary.BigEndian.AppendUint64(nil, uint64(slot)), byte(r.Kind))
	sum := sha256.Sum256(append(sized(rest, r.Body), r.Signer[:]...))
	s := append([]byte("hushfs/ledger\x00"), h.Volume[:]...)
	s = binary.BigEndian.AppendUint32(s, r.N)
	r.Signature = h.owner.Sign(slices.Concat(s, r.Prev[:], sum[:]))
	return r
}

// newer takes a slot as a newer program does, with such a record: docs/format.md,
// "Commit".
func (h *history) newer(slot chain.Slot) {
	h.t.Helper()
	r := h.record(slot)
	ledger := r.Hash()
	body := binary.BigEndian.AppendUint16(nil, 1)
	body = binary.BigEndian.AppendUint64(body, 1) // time
	body = binary.BigEndian.AppendUint32(body, uint32(h.Epoch))
	body = binary.BigEndian.AppendUint64(body, uint64(h.LastOp[1]+1))
	body = binary.BigEndian.AppendUint64(body, uint64(h.LastOp[1])) // no operation
	body = sized(append(body, ledger[:]...), (&meta.Batch{}).Encode())
	body = sized(append(body, make([]byte, 16)...), nil) // no usage, no checkpoint
	body = sized(binary.BigEndian.AppendUint16(body, 1), r.Encode())
	s := crypt.NewSealer(h.Key, h.Volume, crypt.TypeCommit, h.Epoch)
	header, sum := s.HeaderHash(), sha256.Sum256(body)
	signed := append([]byte("hushfs/commit\x00"), h.Volume[:]...)
	signed = binary.BigEndian.AppendUint64(signed, uint64(slot))
	signed = slices.Concat(signed, h.Head[:], header[:], sum[:])
	content := append(sized(slices.Clone(h.Head[:]), body), h.device.Sign(signed).Encode()...)
	object, _, err := s.Seal(nil, content)
	if err != nil {
		h.t.Fatal(err)
	}
	if j := h.Judge(slot, object, nil); !j.Newer {
		h.t.Fatalf("the commit of a newer program is %v: %s", j.Verdict, j.Reason)
	}
	h.store.Overwrite(chain.SlotName(h.Volume, slot), object)
}

// hintOfNewer puts a hint of the commit in a slot, as a newer program makes it that took
// that slot with a record of its kind: docs/format.md, "Hint".
func (h *history) hintOfNewer(slot chain.Slot) {
	h.t.Helper()
	r := h.record(slot)
	records := append(h.Ledger.Suffix(0), r)
	ledger := binary.BigEndian.AppendUint32(nil, uint32(len(records)))
	for _, r := range records {
		ledger = sized(ledger, r.Encode())
	}
	head := r.Hash()
	b := append(binary.BigEndian.AppendUint64(nil, uint64(slot)), make([]byte, 32+8+32+32)...) // commit, checkpoint, ledger
	b = binary.BigEndian.AppendUint64(b, uint64(len(ledger)))
	b = sized(append(b, head[:]...), ledger)
	b = binary.BigEndian.AppendUint16(b, 1)
	sum := sha256.Sum256(b)
	signed := slices.Concat([]byte("hushfs/hint\x00"), h.Volume[:], sum[:])
	envelope, _, err := crypt.NewSealer(h.Key, h.Volume, crypt.TypeHint, h.Epoch).Seal(nil, append(b, h.device.Sign(signed).Encode()...))
	if err != nil {
		h.t.Fatal(err)
	}
	// The boxes, which hold the same key, are those of the first hint.
	like, err := h.store.Get(h.t.Context(), chain.HintName(h.Volume, 0), 0, -1)
	if err != nil {
		h.t.Fatal(err)
	}
	boxes := int(binary.BigEndian.Uint16(like[8+4+32:]))
	h.store.Overwrite(chain.HintName(h.Volume, slot), append(like[:8+4+32+2+boxes*identity.BoxSize], envelope...))
}

// A machine that slept while others folded, trimmed and went on with a newer program goes
// to where that began, and says so. It asks for nothing more.
func TestSleeperBelowANewerProgram(t *testing.T) {
	h := newHistory(t)
	h.commit(1)
	h.commit(2)
	f := h.follower()
	for slot := chain.Slot(3); slot <= 6; slot++ {
		h.commit(slot)
	}
	h.announce(7)
	h.hint()
	h.commit(8)
	h.newer(9)
	h.without(1, 5)
	f.slept += 24 * time.Hour
	if err := f.FollowNow(t.Context()); !errors.Is(err, chain.ErrVersion) || errors.Is(err, sync.ErrRollback) {
		t.Errorf("it says %v", err)
	}
	if stopped, _ := f.Trouble(); !strings.Contains(stopped, "slot 9") || !strings.Contains(stopped, "newer") {
		t.Errorf("it stops with %q", stopped)
	}
	if f.chain.Slot != 8 {
		t.Errorf("it shows slot %d, want 8", f.chain.Slot)
	}
	asked := len(f.store.Log())
	if err := f.FollowNow(t.Context()); !errors.Is(err, chain.ErrVersion) || len(f.store.Log()) != asked {
		t.Errorf("once more: %v, after %d requests", err, len(f.store.Log())-asked)
	}
}

// Where the hints above a machine that slept are all of a newer program, that is what it
// says. By the word of one who may write it stops; what anybody can have put there is told
// besides what is missing, and stops nobody.
func TestSleeperBelowNewerHints(t *testing.T) {
	magic := func(h *history) {
		h.hint()
		b, err := h.store.Get(h.t.Context(), chain.HintName(h.Volume, h.Slot), 0, -1)
		if err != nil {
			h.t.Fatal(err)
		}
		b[7]++
		h.store.Overwrite(chain.HintName(h.Volume, h.Slot), b)
	}
	signed := func(h *history) { h.hintOfNewer(h.Slot + 1) }
	for _, c := range []struct {
		name              string
		hint              func(h *history)
		from              chain.Slot // so much is trimmed, up to slot 5
		newer, lost, ends bool
	}{
		{"of a layout of tomorrow", magic, 1, true, true, false},
		{"of a layout of tomorrow, and nothing is missing", magic, 3, false, false, false},
		{"with a record of tomorrow", signed, 1, true, false, true},
		{"with a record of tomorrow, and the newest slot is there", signed, 3, true, false, true},
		{"with a record of tomorrow, and all that was before is there", signed, 6, true, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHistory(t)
			h.commit(1)
			h.commit(2)
			f := h.follower()
			for slot := chain.Slot(3); slot <= 6; slot++ {
				h.commit(slot)
			}
			h.announce(7)
			c.hint(h)
			had := h.store.Clone()
			h.without(c.from, 5)
			f.slept += 24 * time.Hour
			if c.from > 5 {
				// What can be followed is followed first.
				if err := f.StillThere(t.Context()); err != nil {
					t.Error(err)
				}
				if stopped, _ := f.Trouble(); stopped != "" {
					t.Errorf("it stops with %q at slot %d", stopped, f.chain.Slot)
				}
			}
			err := f.FollowNow(t.Context())
			if errors.Is(err, chain.ErrVersion) != c.newer || errors.Is(err, sync.ErrRollback) != c.lost || (err != nil) != (c.newer || c.lost) {
				t.Errorf("it says %v", err)
			}
			stopped, _ := f.Trouble()
			if strings.Contains(stopped, "newer version") != c.newer || (stopped != "") != c.newer {
				t.Errorf("it stops with %q", stopped)
			}
			for _, name := range had.Names() {
				object, err := had.Get(t.Context(), name, 0, -1)
				if err != nil {
					t.Fatal(err)
				}
				h.store.Overwrite(name, object)
			}
			if err := f.FollowNow(t.Context()); errors.Is(err, chain.ErrVersion) != c.ends || (err != nil) != c.ends {
				t.Errorf("when all is there again it says %v", err)
			}
		})
	}
}
