package chain

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/meta"
)

// A world is a volume with its owner and one machine, as they are after init.
type world struct {
	tb     testing.TB
	owner  *identity.Identity
	ek     *crypt.Key
	laptop *identity.Device // device 1
	start  *Ledger
	one    []byte // the object in slot 1
	*State
}

// seed returns n bytes that begin with first and count up.
func seed(n int, first byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	w := emptyWorld(tb)
	l, err := NewLedger(w.owner, w.ek, w.laptop.Public(), "laptop")
	if err != nil {
		tb.Fatal(err)
	}
	w.begin(l)
	return w
}

// emptyWorld has the keys only, the same ones each time.
func emptyWorld(tb testing.TB) *world {
	tb.Helper()
	w := &world{tb: tb, laptop: device(tb, 0x40)}
	var err error
	if w.owner, err = identity.FromSeed(seed(identity.SeedSize, 1)); err != nil {
		tb.Fatal(err)
	}
	if w.ek, err = crypt.KeyFromBytes(seed(32, 0x80)); err != nil {
		tb.Fatal(err)
	}
	return w
}

func (w *world) begin(l *Ledger) {
	w.tb.Helper()
	w.start = l
	var err error
	if w.State, err = NewState(l.Volume(), w.ek, l); err != nil {
		w.tb.Fatal(err)
	}
	w.Identity = w.owner
}

func device(tb testing.TB, first byte) *identity.Device {
	tb.Helper()
	d, err := identity.DeviceFromSeed(seed(identity.DeviceSeedSize, first))
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

var (
	noon = time.Unix(1_700_000_000, 5)
	root = meta.InitBatch(meta.Time{Sec: 1_700_000_000}, 1000, 1000)
)

// file is a batch that makes a file whose bytes are in a pack, new in epoch e.
func file(pack meta.PackNo, e crypt.Epoch) *meta.Batch {
	ino := meta.Ref{Home: meta.Root, Ino: meta.MakeIno(1, 1)}
	n := &meta.Inode{
		Kind: meta.File, Perm: 0o644, Nlink: 1, Size: 10, Version: 1<<48 | 1,
		Extents: []meta.Extent{{Off: 0, Len: 10, Pack: pack}},
	}
	return batch(
		meta.KV{Key: meta.DirentKey(meta.Root, []byte("a")), Value: meta.AppendDirent(nil, meta.Dirent{Ref: ino, Kind: meta.File})},
		meta.KV{Key: meta.InodeKey(ino), Value: meta.AppendInode(nil, n)},
		meta.KV{Key: meta.PackKey(pack), Value: meta.AppendPackRecord(nil, meta.PackRecord{Name: [32]byte{1}, Length: 10, Epoch: uint32(e)})},
	)
}

func batch(kvs ...meta.KV) *meta.Batch {
	var b meta.Builder
	for _, kv := range kvs {
		b.Add(&meta.Batch{Puts: []meta.KV{kv}})
	}
	return b.Batch()
}

// build is Build, which must work.
func (w *world) build(slot Slot, dev *identity.Device, no meta.Device, first, last meta.OpNo, b *meta.Batch, recs ...Record) *Sealed {
	w.tb.Helper()
	c, err := w.Build(slot, dev, no, noon, Content{First: first, Last: last, Batch: b, Records: recs})
	if err != nil {
		w.tb.Fatalf("build slot %d: %v", slot, err)
	}
	return c
}

// take judges an object, which must be valid, and advances over it.
func (w *world) take(slot Slot, object []byte) *Commit {
	w.tb.Helper()
	j := w.Judge(slot, object, nil)
	if j.Verdict != Valid {
		w.tb.Fatalf("slot %d is %v: %s", slot, j.Verdict, j.Reason)
	}
	if err := w.Advance(j.Commit); err != nil {
		w.tb.Fatalf("advance over slot %d: %v", slot, err)
	}
	return j.Commit
}

// first makes the root directory in slot 1.
func (w *world) first() *Commit {
	w.tb.Helper()
	w.one = w.build(1, w.laptop, 1, 1, 0, root).Object
	return w.take(1, w.one)
}

// enrol makes dev the next device, in the slot above the head.
func (w *world) enrol(dev *identity.Device, name string) meta.Device {
	w.tb.Helper()
	no, slot := w.Ledger.HighestDevice()+1, w.Slot+1
	w.take(slot, w.build(slot, dev, no, 1, 0, nil, w.device(slot, no, dev, name)).Object)
	return no
}

func (w *world) device(slot Slot, no meta.Device, dev *identity.Device, name string) Record {
	w.tb.Helper()
	r, err := w.Ledger.NewDeviceRecord(w.owner, slot, no, dev.Public(), name)
	if err != nil {
		w.tb.Fatal(err)
	}
	return r
}

// record signs whatever it is given as the next record.
func (w *world) record(by *identity.Identity, slot Slot, kind Kind, body []byte) Record {
	return Record{
		N: uint32(w.Ledger.Len()), Prev: w.Ledger.Head(), Slot: slot, Kind: kind, Body: body,
		Signer: by.Public().Principal(),
	}.sign(w.Volume, by)
}

// forgery is a commit that nobody would build. What is left out is as it should be.
type forgery struct {
	slot   Slot // signed
	prev   *ID
	by     *identity.Device
	no     meta.Device
	first  meta.OpNo
	last   meta.OpNo
	batch  []byte
	recs   []Record
	ledger *ID
	epoch  crypt.Epoch // in the body
	under  crypt.Epoch // of the envelope
	key    *crypt.Key
	volume *crypt.VolumeID // signed
	more   []byte          // behind the signature list

	checkpoint *Checkpoint
}

func (w *world) forge(f forgery) []byte {
	w.tb.Helper()
	object, _ := w.forgeContent(f)
	return object
}

func (w *world) forgeContent(f forgery) (object, content []byte) {
	w.tb.Helper()
	if f.by == nil {
		f.by, f.no = w.laptop, 1
	}
	if f.epoch == 0 {
		f.epoch = w.Epoch
	}
	if f.under == 0 {
		f.under = f.epoch
	}
	if f.key == nil {
		f.key = w.Key
	}
	if f.first == 0 {
		f.first = 1
	}
	if f.batch == nil {
		f.batch = (&meta.Batch{}).Encode()
	}
	sealer := crypt.NewSealer(f.key, w.Volume, crypt.TypeCommit, f.under)
	c := &Commit{
		Slot: f.slot, Prev: w.Head, HeaderHash: sealer.HeaderHash(), Device: f.no, Time: noon, Epoch: f.epoch,
		First: f.first, Last: f.last, Ledger: w.Ledger.Head(), Records: f.recs, Checkpoint: f.checkpoint,
	}
	if f.prev != nil {
		c.Prev = *f.prev
	}
	if f.ledger != nil {
		c.Ledger = *f.ledger
	} else if n := len(f.recs); n > 0 {
		c.Ledger = f.recs[n-1].Hash()
	}
	volume := w.Volume
	if f.volume != nil {
		volume = *f.volume
	}
	body := c.encodeBody(f.batch)
	c.BodyHash = sha256.Sum256(body)
	content = append(encodeContent(c.Prev, body, f.by.Sign(c.signed(volume))), f.more...)
	object, _, err := sealer.Seal(nil, content)
	if err != nil {
		w.tb.Fatal(err)
	}
	return object, content
}

// expect judges an object and compares the verdict.
func (w *world) expect(slot Slot, object []byte, want Verdict) Judgement {
	w.tb.Helper()
	before := fmt.Sprint(w.Remember(), w.Ledger.Len(), w.LastOp)
	j := w.Judge(slot, object, nil)
	if j.Verdict != want {
		w.tb.Errorf("%v (%s), want %v", j.Verdict, j.Reason, want)
	}
	if (j.Reason == "") != (want == Valid) {
		w.tb.Errorf("reason %q of a verdict %v", j.Reason, want)
	}
	if after := fmt.Sprint(w.Remember(), w.Ledger.Len(), w.LastOp); after != before {
		w.tb.Errorf("judging changed the state")
	}
	return j
}
