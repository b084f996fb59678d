package chain

import (
	"bytes"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/meta"
)

func TestTwoMachinesWriteInTurn(t *testing.T) {
	w := newWorld(t)
	desktop := device(t, 0x60)
	c := w.first()
	if c.Prev != ID(w.Volume) || c.Slot != 1 || c.Device != 1 || !c.Time.Equal(noon) || c.Ledger != w.start.Head() {
		t.Errorf("slot 1 came back as %+v", c)
	}
	if !bytes.Equal(c.Batch.Encode(), root.Encode()) {
		t.Error("the batch came back changed")
	}
	if no := w.enrol(desktop, "desktop"); no != 2 {
		t.Fatalf("desktop is device %d", no)
	}
	w.take(3, w.build(3, desktop, 2, 1, 3, file(meta.MakePack(2, 1), 1)).Object)
	w.take(4, w.build(4, w.laptop, 1, 1, 1, file(meta.MakePack(1, 1), 1)).Object)
	w.take(5, w.build(5, desktop, 2, 4, 4, nil).Object)

	head := w.Remember()
	if head.Slot != 5 || head.ID != w.Head || head.Ledger != w.Ledger.Head() || head.Ledger == w.start.Head() {
		t.Errorf("head %+v", head)
	}
	if w.LastOp[1] != 1 || w.LastOp[2] != 4 {
		t.Errorf("operations %v", w.LastOp)
	}
}

func TestIDsAreHashesOfWhatIsSigned(t *testing.T) {
	w := newWorld(t)
	sealed := w.build(1, w.laptop, 1, 1, 0, root)
	c := w.take(1, sealed.Object)
	if c.ID != sealed.ID || CommitID(w.Volume, 1, ID(w.Volume), c.HeaderHash, c.BodyHash) != c.ID {
		t.Error("the id cannot be computed again")
	}
	if w.Head != c.ID {
		t.Error("the head is another id")
	}
}

// A dead slot stays in the chain as nothing: the commit above it follows the one
// below.
func TestWriteOverDeadSlots(t *testing.T) {
	w := newWorld(t)
	w.first()
	w.expect(2, []byte("squatter"), Junk)
	w.expect(3, nil, Junk)
	if c := w.take(4, w.build(4, w.laptop, 1, 1, 1, nil).Object); c.Slot != 4 {
		t.Errorf("slot %d", c.Slot)
	}
	if j := w.Judge(4, nil, nil); j.Verdict != Stop {
		t.Errorf("a slot that is not above the head is %v", j.Verdict)
	}
}

// TestVerdicts: each row is an object in slot 2 of a volume with one commit. The
// writers are laptop, device 1, and desktop, device 2, who wrote nothing yet.
func TestVerdicts(t *testing.T) {
	desktop, stranger := device(t, 0x60), device(t, 0x70)
	thief := identity.New()
	other := ID{7}
	zero := ID{}
	otherVolume := crypt.VolumeID{9}
	enc := func(b *meta.Batch) []byte { return b.Encode() }
	named := func(name string) func(w *world) []byte {
		b := &meta.Batch{Puts: []meta.KV{{Key: meta.DirentKey(meta.Root, []byte(name)), Value: meta.AppendDirent(nil, meta.Dirent{Ref: meta.Ref{Home: meta.Root, Ino: meta.MakeIno(1, 1)}, Kind: meta.File})}}}
		return func(w *world) []byte { return w.forge(forgery{slot: 3, last: 1, batch: enc(b)}) }
	}

	for _, c := range []struct {
		name   string
		make   func(w *world) []byte
		want   Verdict
		reason string
	}{
		{"a good one", func(w *world) []byte { return w.forge(forgery{slot: 3}) }, Valid, ""},
		{"a good one with a file", func(w *world) []byte {
			return w.forge(forgery{slot: 3, last: 1, batch: enc(file(meta.MakePack(1, 1), 1))})
		}, Valid, ""},

		{"nothing", func(w *world) []byte { return nil }, Junk, "sealed"},
		{"longer than a commit may be", func(w *world) []byte { return make([]byte, MaxCommit+1) }, Junk, "too large"},
		{"under a key that is not the volume's", func(w *world) []byte { return w.forge(forgery{slot: 3, key: crypt.NewKey()}) }, Junk, "sealed"},
		{"another type of object", func(w *world) []byte { _, b, _ := w.SealLedger(); return b }, Junk, "sealed"},
		{"an envelope of tomorrow", func(w *world) []byte {
			b := w.forge(forgery{slot: 3})
			b[len(b)-crypt.HeaderSize+4]++
			return b
		}, Junk, "newer version"},
		{"bytes after the signatures", func(w *world) []byte { return w.forge(forgery{slot: 3, more: []byte{0}}) }, Junk, "malformed"},
		{"a reader seals a writer's commit again", func(w *world) []byte {
			return reseal(w, w.build(3, w.laptop, 1, 1, 0, nil).Object)
		}, Junk, "signature"},
		{"signed for another slot", func(w *world) []byte { return w.forge(forgery{slot: 4}) }, Junk, "signature"},
		{"signed for another volume", func(w *world) []byte { return w.forge(forgery{slot: 3, volume: &otherVolume}) }, Junk, "signature"},
		{"signed by another device", func(w *world) []byte { return w.forge(forgery{slot: 3, by: desktop, no: 1}) }, Junk, "signature"},
		{"an unknown device", func(w *world) []byte { return w.forge(forgery{slot: 3, by: stranger, no: 3}) }, Junk, "device 3 is unknown"},
		{"device 0", func(w *world) []byte { return w.forge(forgery{slot: 3, by: stranger, no: 0}) }, Junk, "device 0 is unknown"},

		{"a writer puts a forbidden prefix", func(w *world) []byte {
			return w.forge(forgery{slot: 3, batch: enc(&meta.Batch{Puts: []meta.KV{{Key: []byte("u\x00\x00"), Value: []byte("rws")}}})})
		}, Junk, "batch"},
		{"a writer puts .", named("."), Junk, "batch"},
		{"a writer puts ..", named(".."), Junk, "batch"},
		{"a writer puts a name with a slash", named("a/b"), Junk, "batch"},
		{"a writer puts a name with NUL", named("a\x00b"), Junk, "batch"},
		{"a writer puts an empty name", named(""), Junk, "batch"},
		{"a writer puts a name of 256 bytes", named(strings.Repeat("n", meta.MaxName+1)), Junk, "batch"},
		{"a writer puts a name that is no text", named("\xff\x1b[2J"), Valid, ""},
		{"a batch out of order", func(w *world) []byte {
			b := file(meta.MakePack(1, 1), 1)
			b.Puts[0], b.Puts[1] = b.Puts[1], b.Puts[0]
			return w.forge(forgery{slot: 3, batch: enc(b)})
		}, Junk, "batch"},
		{"a batch with a tail", func(w *world) []byte {
			return w.forge(forgery{slot: 3, batch: append(enc(&meta.Batch{}), 0)})
		}, Junk, "batch"},

		{"an operation left out", func(w *world) []byte { return w.forge(forgery{slot: 3, first: 2, last: 2}) }, Junk, "operations"},
		{"fewer than no operations", func(w *world) []byte { return w.forge(forgery{slot: 3, first: 1, last: 1<<64 - 1}) }, Junk, "operations"},
		{"more operations than there are", func(w *world) []byte { return w.forge(forgery{slot: 3, first: 1, last: meta.MaxOpNo + 1}) }, Junk, "operations"},
		{"another ledger", func(w *world) []byte { return w.forge(forgery{slot: 3, ledger: &other}) }, Junk, "another ledger"},
		{"an epoch to come", func(w *world) []byte { return w.forge(forgery{slot: 3, epoch: 2}) }, Junk, "epoch 2"},
		{"no epoch", func(w *world) []byte { return w.forge(forgery{slot: 3, epoch: 1, under: 9}) }, Junk, "epoch 9"},
		{"an epoch in the body that the envelope is not of", func(w *world) []byte { return w.forge(forgery{slot: 3, epoch: 5, under: 1}) }, Junk, "epoch 5"},
		{"a new pack of another epoch", func(w *world) []byte {
			return w.forge(forgery{slot: 3, last: 1, batch: enc(file(meta.MakePack(1, 1), 2))})
		}, Junk, "of epoch 2"},

		{"a fork", func(w *world) []byte { return w.forge(forgery{slot: 3, prev: &other}) }, Evidence, "laptop"},
		{"a fork with a batch that breaks a rule", func(w *world) []byte { return w.forge(forgery{slot: 3, prev: &other, first: 9}) }, Evidence, "laptop"},
		{"a fork from the beginning", func(w *world) []byte { p := ID(w.Volume); return w.forge(forgery{slot: 3, prev: &p}) }, Evidence, "laptop"},
		{"a fork for another slot", func(w *world) []byte { return w.forge(forgery{slot: 4, prev: &other}) }, Junk, "signature"},
		{"a fork by an unknown device", func(w *world) []byte { return w.forge(forgery{slot: 3, by: stranger, no: 3, prev: &zero}) }, Junk, "unknown"},
		{"a device enrols on a fork", func(w *world) []byte {
			return w.forge(forgery{slot: 3, by: stranger, no: 3, prev: &other, recs: []Record{w.device(3, 3, stranger, "phone")}})
		}, Evidence, "phone"},

		{"a device enrols", func(w *world) []byte {
			return w.forge(forgery{slot: 3, by: stranger, no: 3, recs: []Record{w.device(3, 3, stranger, "phone")}})
		}, Valid, ""},
		{"a device number twice", func(w *world) []byte {
			r := w.record(w.owner, 3, KindDevice, deviceBody{2, "phone", stranger.Public()}.encode())
			return w.forge(forgery{slot: 3, by: stranger, no: 2, recs: []Record{r}})
		}, Junk, "signature"},
		{"a device number left out", func(w *world) []byte {
			r := w.record(w.owner, 3, KindDevice, deviceBody{4, "phone", stranger.Public()}.encode())
			return w.forge(forgery{slot: 3, by: stranger, no: 4, recs: []Record{r}})
		}, Junk, "does not come after"},
		{"a device enrols with files", func(w *world) []byte {
			return w.forge(forgery{slot: 3, by: stranger, no: 3, batch: enc(root), recs: []Record{w.device(3, 3, stranger, "phone")}})
		}, Junk, "in one commit"},
		{"a device enrols with an operation", func(w *world) []byte {
			return w.forge(forgery{slot: 3, by: stranger, no: 3, last: 1, recs: []Record{w.device(3, 3, stranger, "phone")}})
		}, Junk, "in one commit"},
		{"a record for another slot", func(w *world) []byte {
			return w.forge(forgery{slot: 3, by: stranger, no: 3, recs: []Record{w.device(4, 3, stranger, "phone")}})
		}, Junk, "for slot 4"},
		{"a device enrols another", func(w *world) []byte {
			return w.forge(forgery{slot: 3, recs: []Record{w.device(3, 3, stranger, "phone")}})
		}, Junk, "device record"},
		{"a device certifies itself", func(w *world) []byte {
			r := w.record(thief, 3, KindDevice, deviceBody{3, "phone", stranger.Public()}.encode())
			return w.forge(forgery{slot: 3, by: stranger, no: 3, recs: []Record{r}})
		}, Junk, "right"},
		{"a device certifies itself in the owner's name", func(w *world) []byte {
			r := w.record(w.owner, 3, KindDevice, deviceBody{3, "phone", stranger.Public()}.encode())
			r.Signature = thief.Sign(r.signed(w.Volume))
			return w.forge(forgery{slot: 3, by: stranger, no: 3, recs: []Record{r}})
		}, Junk, "signature"},
		{"a record out of its place", func(w *world) []byte {
			r := w.device(3, 3, stranger, "phone")
			r.N--
			r = r.sign(w.Volume, w.owner)
			return w.forge(forgery{slot: 3, by: stranger, no: 3, recs: []Record{r}})
		}, Junk, "follow"},
		{"a device name that a terminal obeys", func(w *world) []byte {
			r := w.record(w.owner, 3, KindDevice, deviceBody{3, "\x1b[2J", stranger.Public()}.encode())
			return w.forge(forgery{slot: 3, by: stranger, no: 3, recs: []Record{r}})
		}, Junk, "name"},
		{"a second volume record", func(w *world) []byte {
			r := w.record(w.owner, 3, KindVolume, w.start.Suffix(0)[0].Body)
			return w.forge(forgery{slot: 3, recs: []Record{r}})
		}, Junk, "already"},

		{"a record of tomorrow", func(w *world) []byte {
			return w.forge(forgery{slot: 3, recs: []Record{w.record(w.owner, 3, 200, []byte("x"))}})
		}, Stop, "kind 200"},
		{"a record of tomorrow that enrols", func(w *world) []byte {
			return w.forge(forgery{slot: 3, by: stranger, no: 3, recs: []Record{w.record(w.owner, 3, 200, []byte("x"))}})
		}, Stop, "kind 200"},
		{"a device with a key of tomorrow", func(w *world) []byte {
			key := append(stranger.Public(), identity.AlgKey{Alg: 2, Key: []byte("lattice")})
			r := w.record(w.owner, 3, KindDevice, deviceBody{3, "phone", key}.encode())
			return w.forge(forgery{slot: 3, by: stranger, no: 3, recs: []Record{r}})
		}, Stop, "algorithms"},
		{"a record of tomorrow that enrols on a fork", func(w *world) []byte {
			return w.forge(forgery{slot: 3, by: stranger, no: 3, prev: &other, recs: []Record{w.record(w.owner, 3, 200, []byte("x"))}})
		}, Junk, "unknown"},
		{"a record of tomorrow by nobody", func(w *world) []byte {
			return w.forge(forgery{slot: 3, by: stranger, no: 3, recs: []Record{w.record(thief, 3, 200, []byte("x"))}})
		}, Junk, "right"},
		{"a record of tomorrow in a commit that its author did not sign", func(w *world) []byte {
			return w.forge(forgery{slot: 3, by: stranger, no: 1, recs: []Record{w.record(w.owner, 3, 200, []byte("x"))}})
		}, Junk, "signature"},
		{"a record of tomorrow on a fork", func(w *world) []byte {
			return w.forge(forgery{slot: 3, prev: &other, recs: []Record{w.record(w.owner, 3, 200, []byte("x"))}})
		}, Evidence, "laptop"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.first()
			w.enrol(desktop, "desktop")
			j := w.expect(3, c.make(w), c.want)
			if !strings.Contains(j.Reason, c.reason) {
				t.Errorf("reason %q does not say %q", j.Reason, c.reason)
			}
			if c.want == Evidence && (!strings.Contains(j.Reason, j.Commit.ID.String()) || !strings.Contains(j.Reason, w.Head.String())) {
				t.Errorf("reason %q does not name both ids", j.Reason)
			}
			if c.want != Valid {
				if err := w.Advance(j.Commit); err != ErrOrder {
					t.Errorf("advanced over what is %v: %v", j.Verdict, err)
				}
			}
		})
	}
}

// reseal does what a member may who cannot write: it opens a commit and seals the same
// content anew.
func reseal(w *world, object []byte) []byte {
	w.tb.Helper()
	content, _, err := crypt.Open(w.Key, w.Volume, crypt.TypeCommit, object)
	if err != nil {
		w.tb.Fatal(err)
	}
	again, _, err := crypt.NewSealer(w.Key, w.Volume, crypt.TypeCommit, w.Epoch).Seal(nil, content)
	if err != nil {
		w.tb.Fatal(err)
	}
	return again
}

func TestFirstCommitMakesTheRoot(t *testing.T) {
	w := newWorld(t)
	w.expect(1, w.forge(forgery{slot: 1}), Junk)
	w.expect(2, w.forge(forgery{slot: 2, batch: root.Encode()}), Valid)
	if _, err := w.Build(1, w.laptop, 1, noon, Content{First: 1}); err == nil {
		t.Error("built a first commit without a root")
	}
}

// past knows of at most one pack of each kind.
type past struct{ packed, retired meta.PackNo }

func (p past) Packed(no meta.PackNo) bool  { return no == p.packed }
func (p past) Retired(no meta.PackNo) bool { return no == p.retired }

func (p past) Fenced(*meta.Batch, meta.Device, Slot) bool { return false }

func TestPackRecords(t *testing.T) {
	own, foreign := meta.MakePack(1, 1), meta.MakePack(2, 1)
	for _, c := range []struct {
		name string
		pack meta.PackNo
		past past
		want Verdict
	}{
		{"a number of the author's", own, past{}, Valid},
		{"a number of another device", foreign, past{}, Junk},
		{"a pack that has a record", own, past{packed: own}, Junk},
		{"another pack has a record", own, past{packed: foreign}, Valid},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.first()
			object := w.forge(forgery{slot: 2, last: 1, batch: file(c.pack, 1).Encode()})
			if j := w.Judge(2, object, c.past); j.Verdict != c.want {
				t.Errorf("%v (%s), want %v", j.Verdict, j.Reason, c.want)
			}
		})
	}
}

func TestPackRecordsStay(t *testing.T) {
	pack := meta.MakePack(2, 1)
	drop := meta.Batch{Deletes: [][]byte{meta.PackKey(pack)}}
	for name, c := range map[string]struct {
		past past
		want Verdict
	}{
		"in use":  {past{packed: pack}, Junk},
		"retired": {past{packed: pack, retired: pack}, Valid},
	} {
		w := newWorld(t)
		w.first()
		object := w.forge(forgery{slot: 2, last: 1, batch: drop.Encode()})
		if j := w.Judge(2, object, c.past); j.Verdict != c.want {
			t.Errorf("%s: %v (%s), want %v", name, j.Verdict, j.Reason, c.want)
		}
	}
}

func TestRetiredPacks(t *testing.T) {
	pack := meta.MakePack(1, 1)
	retire := meta.KV{Key: meta.RetiredKey(pack), Value: meta.AppendRetired(nil, 2)}
	inode := file(pack, 1)
	extent := batch(meta.KV{Key: meta.ExtentKey(meta.MakeIno(1, 1), 10), Value: meta.AppendExtent(nil, meta.Extent{Len: 10, Pack: pack})})
	revived := *extent
	revived.Deletes = [][]byte{meta.RetiredKey(pack)}
	both := *extent
	both.Puts = append([]meta.KV{retire}, both.Puts...)
	for _, c := range []struct {
		name    string
		b       *meta.Batch
		retired bool
		want    Verdict
	}{
		{"inline extent", inode, false, Valid},
		{"inline extent into a retired pack", inode, true, Junk},
		{"indexed extent", extent, false, Valid},
		{"indexed extent into a retired pack", extent, true, Junk},
		{"the batch revives the pack", &revived, true, Valid},
		{"the batch retires the pack", &both, false, Junk},
		{"retired, no extent", batch(retire), true, Valid},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.first()
			object := w.forge(forgery{slot: 2, last: 1, batch: c.b.Encode()})
			p := past{}
			if c.retired {
				p.retired = pack
			}
			j := w.Judge(2, object, p)
			if j.Verdict != c.want {
				t.Errorf("%v (%s), want %v", j.Verdict, j.Reason, c.want)
			}
		})
	}
}

// Every single bit of a commit counts.
func TestTamperedCommit(t *testing.T) {
	w := newWorld(t)
	object := w.build(1, w.laptop, 1, 1, 0, root).Object
	for i := range object {
		b := bytes.Clone(object)
		b[i] ^= 1 << (i % 8)
		if j := w.Judge(1, b, nil); j.Verdict != Junk {
			t.Fatalf("byte %d changed: %v", i, j.Verdict)
		}
	}
	for n := range object {
		if j := w.Judge(1, object[:n], nil); j.Verdict != Junk {
			t.Fatalf("cut to %d bytes: %v", n, j.Verdict)
		}
	}
}

func TestAdvanceOnlyOnTheHead(t *testing.T) {
	w := newWorld(t)
	first := w.Judge(1, w.build(1, w.laptop, 1, 1, 0, root).Object, nil).Commit
	clone := w.Clone()
	if err := w.Advance(first); err != nil {
		t.Fatal(err)
	}
	if err := w.Advance(first); err != ErrOrder {
		t.Errorf("advanced twice over one commit: %v", err)
	}
	if clone.Slot != 0 || len(clone.LastOp) != 0 {
		t.Error("the clone advanced, too")
	}
	if err := w.Advance(&Commit{Slot: 2, Prev: w.Head}); err != ErrOrder {
		t.Errorf("advanced over a commit that was not judged: %v", err)
	}
	if err := w.Advance(nil); err != ErrOrder {
		t.Errorf("advanced over nothing: %v", err)
	}
}
