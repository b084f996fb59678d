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

// asleep is a machine that slept from slot 2 on, while others went on and announced a
// checkpoint in slot 7.
func (h *history) asleep() *follower {
	h.commit(1)
	h.commit(2)
	f := h.follower()
	for slot := chain.Slot(3); slot <= 6; slot++ {
		h.commit(slot)
	}
	h.announce(7)
	return f
}

// A machine that slept while others folded, trimmed and went on with a newer program goes
// to where that began, and says so. It asks for nothing more.
func TestSleeperBelowANewerProgram(t *testing.T) {
	h := newHistory(t)
	f := h.asleep()
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

// magic makes the newest hint, of the head, one of a layout of tomorrow, as far as anybody
// can tell.
func (h *history) magic() {
	h.t.Helper()
	h.hint()
	b, err := h.store.Get(h.t.Context(), chain.HintName(h.Volume, h.Slot), 0, -1)
	if err != nil {
		h.t.Fatal(err)
	}
	b[7]++
	h.store.Overwrite(chain.HintName(h.Volume, h.Slot), b)
}

// Where the hints above a machine that slept are all of a newer program, that is what it
// says. By the word of one who may write it stops; by what anybody can have put there it
// sends nothing while the next slot is absent and others are there.
func TestSleeperBelowNewerHints(t *testing.T) {
	signed := func(h *history) { h.hintOfNewer(h.Slot + 1) }
	envelope := func(h *history) {
		h.hint()
		b, err := h.store.Get(h.t.Context(), chain.HintName(h.Volume, h.Slot), 0, -1)
		if err != nil {
			h.t.Fatal(err)
		}
		b[len(b)-crypt.HeaderSize+4]++
		h.store.Overwrite(chain.HintName(h.Volume, h.Slot), b)
	}
	long := func(h *history) {
		h.store.Overwrite(chain.HintName(h.Volume, h.Slot), append([]byte("HUSHHNT1"), make([]byte, chain.MaxHint)...))
	}
	for _, c := range []struct {
		name              string
		hint              func(h *history)
		from, to          chain.Slot // so much is gone
		newer, lost, ends bool
	}{
		{"of a layout of tomorrow", (*history).magic, 1, 5, true, false, false},
		{"of a layout of tomorrow, and the newest slot is there", (*history).magic, 3, 5, true, false, false},
		{"of a layout of tomorrow, and all that was before is there", (*history).magic, 6, 5, false, false, false},
		{"of a layout of tomorrow, and nothing was after", (*history).magic, 3, 7, false, false, false},
		{"of a layout of tomorrow, and the newest slot is the last that is gone", (*history).magic, 2, 7, true, true, false},
		{"in an envelope of tomorrow", envelope, 3, 5, true, false, false},
		{"longer than those of today", long, 3, 5, true, false, false},
		{"with a record of tomorrow", signed, 1, 5, true, false, true},
		{"with a record of tomorrow, and the newest slot is there", signed, 3, 5, true, false, true},
		{"with a record of tomorrow, and all that was before is there", signed, 6, 5, true, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHistory(t)
			f := h.asleep()
			c.hint(h)
			had := h.store.Clone()
			h.without(c.from, c.to)
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
			if stopped, _ := f.Trouble(); (stopped != "") != c.ends {
				t.Errorf("and it stops with %q", stopped)
			}
		})
	}
}

// Junk in a slot that was trimmed makes the one behind it no freer.
func TestSleeperBelowJunkInATrimmedSlot(t *testing.T) {
	h := newHistory(t)
	f := h.asleep()
	h.magic()
	h.without(3, 5)
	h.store.Overwrite(chain.SlotName(h.Volume, 3), []byte("junk"))
	f.slept += 24 * time.Hour
	// As who has something to send, and looks for the head before it follows.
	for range 2 {
		_ = f.StillThere(t.Context())
	}
	if err := f.FollowNow(t.Context()); !errors.Is(err, chain.ErrVersion) {
		t.Errorf("it says %v", err)
	}
}

// A machine that slept fills no hole, as little as one that mounts: a commit above shows
// that the slot was not free.
func TestSleeperBelowAHole(t *testing.T) {
	for name, c := range map[string]struct {
		above func(h *history)
		lost  bool
	}{
		"a commit above": {func(*history) {}, true},
		"junk above":     {func(h *history) { h.store.Overwrite(chain.SlotName(h.Volume, 4), []byte("junk")) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHistory(t)
			h.commit(1)
			h.commit(2)
			f := h.follower()
			h.commit(3)
			h.commit(4)
			h.without(3, 3)
			c.above(h)
			f.slept += 24 * time.Hour
			if err := f.FollowNow(t.Context()); errors.Is(err, sync.ErrRollback) != c.lost || (err != nil) != c.lost {
				t.Errorf("it says %v", err)
			}
		})
	}
}

// A hint of a newer program that is of another history, one that was given up, says
// nothing of this one.
func TestNewerHintOfAnotherHistory(t *testing.T) {
	h := newHistory(t)
	h.commit(1)
	h.commit(2)
	other := *h
	other.State = h.Clone()
	r, err := h.Ledger.NewAcceptedRecord(h.owner, 3, chain.Accepted{
		Seen: chain.Link{Slot: 9, ID: chain.ID{9}}, Had: chain.Link{Slot: 2, ID: h.Head}, Device: 1, Time: time.Unix(1, 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	last := h.LastOp[1]
	h.put(3, chain.Content{First: last + 1, Last: last, Records: []chain.Record{r}})
	f := h.follower()
	other.hintOfNewer(9)
	f.slept += 24 * time.Hour
	if err := f.FollowNow(t.Context()); err != nil {
		t.Errorf("it says %v", err)
	}
	if stopped, _ := f.Trouble(); stopped != "" {
		t.Errorf("it stops with %q", stopped)
	}
	h.hintOfNewer(9)
	f.slept += 24 * time.Hour
	if err := f.FollowNow(t.Context()); !errors.Is(err, chain.ErrVersion) {
		t.Errorf("of its own history it says %v", err)
	}
}

// A machine that mounts takes a hole for what a newer program trimmed where hints say so
// that it cannot read: it writes nothing, whether or not it knows what lies above.
func TestLoadBelowNewerHints(t *testing.T) {
	junk := func(h *history) {
		for slot := chain.Slot(6); slot <= 7; slot++ { // as under a key that it does not have
			h.store.Overwrite(chain.SlotName(h.Volume, slot), []byte("junk"))
		}
	}
	for name, c := range map[string]struct {
		have     func(h *history)
		from, to chain.Slot
		want     error
	}{
		"commits above":                   {(*history).magic, 3, 5, chain.ErrVersion},
		"what it cannot read above":       {func(h *history) { h.magic(); junk(h) }, 3, 5, chain.ErrVersion},
		"with a record of tomorrow":       {func(h *history) { h.hintOfNewer(8); junk(h) }, 3, 5, chain.ErrVersion},
		"no such hint, commits above":     {func(*history) {}, 3, 5, sync.ErrRollback},
		"no such hint, and junk above":    {junk, 3, 5, nil},
		"nothing is gone":                 {(*history).magic, 3, 2, nil},
		"nothing is above":                {(*history).magic, 3, 7, nil},
		"a hint that vouches, and no end": {func(h *history) { h.hint(); h.hintOfNewer(8) }, 3, 6, chain.ErrVersion},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHistory(t)
			for slot := chain.Slot(1); slot <= 7; slot++ {
				h.commit(slot)
			}
			c.have(h)
			h.without(c.from, c.to)
			l, err := h.load(h.store)
			if err != nil {
				t.Fatal(err)
			}
			if !errors.Is(l.Trouble, c.want) || (l.Trouble == nil) != (c.want == nil) {
				t.Errorf("it says %v", l.Trouble)
			}
			if errors.Is(c.want, chain.ErrVersion) && (errors.Is(l.Trouble, sync.ErrRollback) || l.Claim.Slot > 0) {
				t.Errorf("it says %v, and that slot %d is missing", l.Trouble, l.Claim.Slot)
			}
		})
	}
}

// A machine that slept goes as far as the last hint that it can read, and no further where
// a newer program trimmed what comes then. It does not read the chain anew at each look.
func TestSleeperBelowWhatANewerProgramTrimmed(t *testing.T) {
	h := newHistory(t)
	f := h.asleep()
	h.hint()
	for slot := chain.Slot(8); slot <= 12; slot++ {
		h.commit(slot)
	}
	h.magic()
	h.without(1, 6)
	h.without(8, 10)
	f.slept += 24 * time.Hour
	for n := range 3 {
		asked := len(f.store.Log())
		if err := f.FollowNow(t.Context()); !errors.Is(err, chain.ErrVersion) || errors.Is(err, sync.ErrRollback) {
			t.Errorf("look %d: it says %v", n, err)
		}
		if f.chain.Slot != 7 {
			t.Errorf("look %d: it shows slot %d, want 7", n, f.chain.Slot)
		}
		if asked = len(f.store.Log()) - asked; n > 0 && asked > 8 {
			t.Errorf("look %d: it asked %d times", n, asked)
		}
	}
}

// Where the store is without what it would go on over it waits, and does not read the chain
// anew at each look. When all is there again it goes on.
func TestSleeperWithoutAWay(t *testing.T) {
	for name, c := range map[string]struct {
		hint func(h *history)
		want error
	}{
		"a newer program went on": {(*history).magic, chain.ErrVersion},
		"nobody says why":         {func(*history) {}, sync.ErrRollback},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHistory(t)
			for slot := chain.Slot(1); slot <= 4; slot++ {
				h.commit(slot)
			}
			h.announce(5)
			h.commit(6)
			f := h.follower()
			h.commit(7)
			h.hint()
			for slot := chain.Slot(8); slot <= 12; slot++ {
				h.commit(slot)
			}
			c.hint(h)
			had := h.store.Clone()
			h.without(1, 4)
			h.without(6, 10)
			f.slept += 24 * time.Hour
			for n := range 3 {
				asked := len(f.store.Log())
				if err := f.FollowNow(t.Context()); !errors.Is(err, c.want) {
					t.Errorf("look %d: it says %v", n, err)
				}
				if stopped, _ := f.Trouble(); !strings.Contains(stopped, "slot 6 is not there") {
					t.Errorf("look %d: it stops with %q", n, stopped)
				}
				if asked = len(f.store.Log()) - asked; n > 0 && asked > 8 {
					t.Errorf("look %d: it asked %d times", n, asked)
				}
			}
			for slot := chain.Slot(6); slot <= 10; slot++ {
				name := chain.SlotName(h.Volume, slot)
				object, err := had.Get(t.Context(), name, 0, -1)
				if err != nil {
					t.Fatal(err)
				}
				h.store.Overwrite(name, object)
			}
			f.slept += 2 * time.Minute
			if err := f.FollowNow(t.Context()); err != nil || f.chain.Slot != 12 {
				t.Errorf("when all is there again: %v, at slot %d", err, f.chain.Slot)
			}
			if stopped, _ := f.Trouble(); stopped != "" {
				t.Errorf("it stops with %q", stopped)
			}
		})
	}
}
