package journal

import (
	"fmt"
	"math/rand"
	"reflect"
	"slices"
	"testing"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/meta"
)

var small = geometry{file: 48 << 10, growth: 8 << 10, reserve: 2 << 10}

var testID = [16]byte{1, 2, 3}

func testKey(t testing.TB, b byte) *crypt.Key {
	t.Helper()
	raw := make([]byte, 32)
	for i := range raw {
		raw[i] = b
	}
	k, err := crypt.KeyFromBytes(raw)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func openOn(t testing.TB, d folder, step func(string)) (*Journal, []Record, *Report) {
	t.Helper()
	j, recs, report, err := openAll("", Options{Key: testKey(t, 7), ID: testID, Step: step, folder: d, geo: small})
	if err != nil {
		t.Fatal(err)
	}
	return j, recs, report
}

// history is what a careful caller of a journal would expect of it.
type history struct {
	recs   []Record      // accepted, in order
	synced int           // of these, confirmed
	maybe  []Record      // refused last: a crash may bring back the first of them
	buried []Record      // what Settle and DropPacks said without success
	no     meta.OpNo     // last drawn
	pack   meta.PackNo   // last drawn
	open   []meta.PackNo // packs not settled
	slot   uint64
}

// alive works out what must be returned, packs and the rest.
func alive(recs []Record) (packs map[meta.PackNo]PackRecord, rest []Record) {
	packs = map[meta.PackNo]PackRecord{}
	for _, r := range recs {
		switch r.Kind {
		case KindPack:
			packs[r.Pack.No] = r.Pack
		case KindOp, KindAttempt:
			rest = append(rest, r)
		case KindSettled:
			for _, no := range r.Settled.Packs {
				delete(packs, no)
			}
			rest = slices.DeleteFunc(slices.Clone(rest), func(o Record) bool {
				return o.Kind == KindOp && o.Op.No <= r.Settled.Last || o.Kind == KindAttempt && o.Attempt.Slot <= r.Settled.Slot
			})
		case KindDropped:
			for _, no := range r.Dropped.Packs {
				delete(packs, no)
			}
		case KindLost:
			rest = slices.DeleteFunc(slices.Clone(rest), func(o Record) bool {
				return o.Kind == KindAttempt && o.Attempt.Slot == r.Lost.Slot && o.Attempt.ID == r.Lost.ID
			})
		}
	}
	return packs, rest
}

// same tells whether got is what remains of recs, as far as nothing buried is concerned.
func same(got, recs, buried []Record) bool {
	p1, r1 := alive(append(slices.Clone(got), buried...))
	p2, r2 := alive(append(slices.Clone(recs), buried...))
	return reflect.DeepEqual(p1, p2) && len(r1) == len(r2) && (len(r1) == 0 || reflect.DeepEqual(r1, r2))
}

// check finds the prefix that was kept, and goes on from there.
func (h *history) check(t *testing.T, got []Record) {
	t.Helper()
	all := append(slices.Clone(h.recs), h.maybe...)
	for n := len(all); n >= h.synced; n-- {
		if same(got, all[:n], h.buried) {
			h.recs, h.maybe = append(slices.Clone(got), h.buried...), nil
			h.synced = len(h.recs)
			return
		}
	}
	t.Fatalf("%d records returned are no prefix of %d appended, %d synced, %d refused", len(got), len(h.recs), h.synced, len(h.maybe))
}

func (h *history) randomOp(rng *rand.Rand) Record {
	h.no++
	op := OpRecord{No: h.no, Time: meta.Time{Sec: rng.Int63(), Nsec: 5}, Op: randomBytes(rng, 1+rng.Intn(60))}
	if rng.Intn(3) == 0 {
		op.Inline = []Inline{{Off: rng.Uint64(), Data: randomBytes(rng, 1+rng.Intn(6000))}}
	}
	return Operation(op)
}

func (h *history) randomPack(rng *rand.Rand) Record {
	if len(h.open) == 0 || rng.Intn(8) > 0 {
		h.pack++
		h.open = append(h.open, h.pack)
	}
	no := h.open[rng.Intn(len(h.open))]
	return Packed(PackRecord{No: no, Name: crypt.Name(randomBytes(rng, 32)), Length: rng.Uint32(), Epoch: 3, Size: rng.Int63()})
}

func randomBytes(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	rng.Read(b)
	return b
}

// step does one random thing and keeps the books.
func (h *history) step(j *Journal, rng *rand.Rand) {
	var recs []Record
	switch rng.Intn(12) {
	case 0, 1, 2, 3:
		for range 1 + rng.Intn(3) {
			recs = append(recs, h.randomOp(rng))
		}
	case 4, 5:
		recs = append(recs, h.randomPack(rng), h.randomOp(rng))
	case 6:
		h.slot++
		recs = append(recs, Attempted(AttemptRecord{Slot: h.slot, ID: [32]byte{byte(h.slot)}, First: 1, Last: h.no, Object: randomBytes(rng, 5000)}))
	case 7:
		recs = append(recs, Lost(LostRecord{Slot: h.slot, ID: [32]byte{byte(h.slot)}}))
	case 8:
		h.settle(j, rng)
		return
	case 9:
		if n := len(h.open); n > 3 {
			dropped := []meta.PackNo{h.open[n-1], h.open[n-2]}
			h.open = h.open[:n-2]
			r := Dropped(DroppedRecord{Packs: dropped})
			h.bury(r, func() error { return j.DropPacks(dropped...) })
		}
		return
	default:
		n := len(h.recs)
		if j.Sync(uint64(1<<63)) == nil {
			h.synced = n
		}
		return
	}
	h.maybe = recs // a crash within Append may keep some
	if _, err := j.Append(recs...); err == nil {
		h.recs, h.maybe = append(h.recs, recs...), nil
	}
}

func (h *history) settle(j *Journal, rng *rand.Rand) {
	last := h.no
	if last > 4 {
		last -= meta.OpNo(rng.Intn(4))
	}
	var packs []meta.PackNo
	for len(h.open) > 1 && rng.Intn(6) > 0 { // the first stays for long
		packs = append(packs, h.open[1])
		h.open = slices.Delete(h.open, 1, 2)
	}
	r := SettledRecord{Slot: h.slot, Last: last, Packs: packs}
	h.bury(Settled(r), func() error { return j.Settle(r) })
}

func (h *history) bury(r Record, do func() error) {
	h.buried = append(h.buried, r)
	if do() == nil {
		h.recs, h.buried = append(h.recs, r), h.buried[:len(h.buried)-1]
		h.synced, h.maybe = len(h.recs), nil
	}
}

func (h *history) clone() *history {
	c := *h
	c.recs, c.maybe, c.buried, c.open = slices.Clone(h.recs), slices.Clone(h.maybe), slices.Clone(h.buried), slices.Clone(h.open)
	return &c
}

// clumsy lets the disk fail now and then.
func clumsy(rng *rand.Rand) func(op, name string) error {
	return func(op, name string) error {
		switch {
		case rng.Intn(60) > 0 || op == "sync" && rng.Intn(4) > 0:
			return nil
		case op == "create" || rng.Intn(2) == 0 && op != "datasync" && op != "sync":
			return errFull
		}
		return errIO
	}
}

// TestCrash lets the power go, or the process die, at random steps of random
// work, over several lives of one journal, with and without accidents of the disk.
func TestCrash(t *testing.T) {
	seen := map[string]int{}
	for seed := range int64(120) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rng := rand.New(rand.NewSource(seed))
			d, h := newDisk(t), &history{}
			for range 6 {
				if d, h = h.live(t, d, rng, seed%2 == 1, seen); t.Failed() {
					return
				}
			}
		})
	}
	for _, name := range Steps {
		if seen[name] == 0 && name != stepAside {
			t.Errorf("no crash at %s", name)
		}
	}
}

// live is one process with the journal, up to its end, and what it leaves.
func (h *history) live(t *testing.T, d *disk, rng *rand.Rand, accidents bool, seen map[string]int) (*disk, *history) {
	var image *disk
	var then *history
	left, begun := 1+rng.Intn(400), false
	j, recs, report := openOn(t, d, func(name string) {
		if left--; left <= 0 && begun && image == nil {
			seen[name]++
			if image, then = d.crash(rng), h.clone(); rng.Intn(3) == 0 {
				image = d.kill()
			}
		}
	})
	if len(report.Damaged)+len(report.Aside) > 0 {
		t.Fatalf("damage after a crash: %v", report.Damaged)
	}
	h.check(t, recs)
	begun = true
	if accidents {
		d.fail = clumsy(rng)
	}
	for range 300 {
		if h.step(j, rng); image != nil {
			return image, then
		}
	}
	return d.crash(rng), h
}
