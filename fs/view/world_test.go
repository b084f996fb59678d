package view

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/meta/metatest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A world is a view, and the same told by plain maps: the confirmed state, and
// all of it.
type world struct {
	t    testing.TB
	rng  *rand.Rand
	view *View
	base *metatest.Map
	all  *metatest.Map

	tables  *metatest.Map // below the confirmed state
	folding *Confirmed    // a snapshot of it that is being folded
	ops     []Pending
	slot    uint64
	clock   int64
	no      [3]meta.OpNo // newest operation, by device
	inos    uint64
	packs   uint64
	refs    []meta.Ref
}

func newWorld(t testing.TB, seed, run uint64) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, run)), base: new(metatest.Map), tables: new(metatest.Map), refs: []meta.Ref{meta.RootRef}}
	first := meta.InitBatch(meta.Time{Sec: 1}, 1000, 100)
	confirmed := NewConfirmed(0, nil, meta.Usage{})
	confirmed.Apply(1, first, meta.Delta{Inodes: 1})
	w.base.Apply(first)
	w.all, w.slot = w.base.Clone(), 1
	w.view = New(confirmed)
	return w
}

// seed is that of HUSHFS_SEED, which repeats a run.
func seed(t testing.TB) uint64 {
	n := uint64(time.Now().UnixNano())
	if s := os.Getenv("HUSHFS_SEED"); s != "" {
		var err error
		n, err = strconv.ParseUint(s, 10, 64)
		must(t, err)
	}
	t.Logf("HUSHFS_SEED=%d", n)
	return n
}

func (w *world) stamp(d meta.Device) meta.Stamp {
	w.clock++
	return meta.Stamp{Device: d, No: w.no[d] + 1, Time: meta.Time{Sec: w.clock}}
}

// op draws an operation; some are refused.
func (w *world) op(d meta.Device) meta.Op {
	dir, ref := w.refs[w.rng.IntN(min(3, len(w.refs)))], w.refs[w.rng.IntN(len(w.refs))]
	name := []byte{byte('a' + w.rng.IntN(9))}
	off := w.rng.Uint64N(4000)
	switch w.rng.IntN(10) {
	case 0, 1, 2:
		w.inos++
		r := meta.Ref{Home: dir.Ino, Ino: meta.MakeIno(d, w.inos)}
		kind := meta.File
		if w.rng.IntN(5) == 0 {
			kind = meta.Dir
		}
		w.refs = append(w.refs, r)
		return &meta.Make{Parent: dir, Name: name, Ref: r, Kind: kind, Perm: 0o644}
	case 3, 4, 5:
		// Many extents, so that they leave the inode and ranges come up.
		o := &meta.Write{Ref: ref}
		for range 1 + w.rng.IntN(6) {
			w.packs++
			e := meta.Extent{Off: off, Len: 1 + w.rng.Uint64N(90), Pack: meta.MakePack(d, w.packs)}
			o.Extents = append(o.Extents, e)
			off = e.End() + w.rng.Uint64N(50)
		}
		return o
	case 6:
		return &meta.Truncate{Ref: ref, Size: off}
	case 7:
		target, err := meta.Lookup(w.all, dir.Ino, name)
		if err != nil {
			return &meta.Setxattr{Ref: ref, Name: []byte("user.x"), Value: name}
		}
		return &meta.Unlink{Parent: dir, Name: name, Ref: target.Ref}
	case 8:
		target, err := meta.Lookup(w.all, dir.Ino, name)
		if err != nil {
			target.Ref = ref
		}
		o := &meta.Rename{Parent: dir, Name: name, NewParent: w.refs[w.rng.IntN(min(3, len(w.refs)))], NewName: []byte{byte('a' + w.rng.IntN(9))}, Ref: target.Ref}
		if over, err := meta.Lookup(w.all, o.NewParent.Ino, o.NewName); err == nil {
			o.Replaced = &over.Ref
		}
		return o
	}
	return &meta.Setattr{Ref: ref, Valid: meta.SetPerm, Perm: uint16(w.rng.UintN(0o1000))}
}

// execute runs one operation on view and map.
func (w *world) execute() {
	op, at := w.op(1), w.stamp(1)
	want, wantErr := op.Apply(w.all, at)
	got, err := w.view.Execute(op, at)
	if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
		w.t.Fatalf("%T: %v, want %v", op, err, wantErr)
	}
	if err != nil {
		return
	}
	if !bytes.Equal(got.Encode(), want.Encode()) {
		w.t.Fatalf("%T: another batch than on a plain map", op)
	}
	if want.Empty() {
		return
	}
	w.no[1]++
	w.all.Apply(want)
	w.ops = append(w.ops, Pending{Op: op, Stamp: at, batch: appendBatch(nil, want)})
}

// settle takes the next slot with the oldest operations.
func (w *world) settle() {
	limit := 1 + w.rng.IntN(2000)
	last := w.no[1]
	if w.rng.IntN(3) == 0 && len(w.ops) > 0 {
		last = w.ops[w.rng.IntN(len(w.ops))].Stamp.No
	}
	took := w.view.Take(last, limit)
	ops, b := slices.Collect(took.Ops.All()), took.Batch
	if len(ops) == 0 {
		if len(w.ops) > 0 {
			w.t.Fatal("nothing to take")
		}
		return
	}
	before := w.view.Dump()
	w.slot++
	w.view.Settle(w.slot, ops[len(ops)-1].Stamp.No, b, took.Usage)
	if w.view.Dump() != before {
		w.t.Fatal("settling changed the map")
	}
	w.base.Apply(b)
	w.ops = w.ops[len(ops):]
}

// fold takes a snapshot to fold, or puts what came of the last one below.
func (w *world) fold() {
	if w.folding == nil {
		w.folding = w.view.Snapshot()
		return
	}
	c := w.folding
	w.folding = nil
	tables := w.tables.Clone()
	for ch, err := range c.Changes(func(err error) error { return err }) {
		must(w.t, err)
		if ch.Deleted {
			tables.Apply(&meta.Batch{Deletes: [][]byte{ch.Key}})
		} else {
			tables.Apply(&meta.Batch{Puts: []meta.KV{{Key: ch.Key, Value: ch.Value}}})
		}
	}
	if dump(tables) != dump(c) {
		w.t.Fatal("the changes do not lead from the tables to the state")
	}
	before := w.view.Dump()
	w.tables = tables
	w.view.Rebase(c.Slot(), tables)
	if w.view.Dump() != before {
		w.t.Fatal("putting tables below changed the map")
	}
}

// count sums everything that r holds.
func count(r meta.Reader) (sum meta.Usage, err error) {
	err = r.Scan([]byte{'i'}, []byte{'i' + 1}, func(_, value []byte) bool {
		sum.Inodes++
		if n, err := meta.DecodeInode(value); err == nil && n.Kind == meta.File {
			sum.Bytes += n.Size
		}
		return true
	})
	return sum, err
}

// follow gives the next slot to device 2.
func (w *world) follow() {
	op, at := w.op(2), w.stamp(2)
	b, err := op.Apply(w.base, at)
	if err != nil {
		return
	}
	d, err := meta.DeltaOf(w.base, b)
	must(w.t, err)
	w.no[2]++
	w.slot++
	w.base.Apply(b)
	w.all = w.base.Clone()
	_, err = w.view.Follow([]Slot{{w.slot, b, d}}, meta.RebaseOptions{Device: "desk", NewIno: w.newIno}, forgotten)
	must(w.t, err)
	w.ops = slices.Collect(w.view.Pending().All())
	for _, p := range w.ops {
		w.all.Apply(p.Batch())
	}
}

func (w *world) newIno() (meta.Ino, error) {
	w.inos++
	return meta.MakeIno(1, w.inos), nil
}

// compare holds the view to the plain maps.
func (w *world) compare() {
	w.t.Helper()
	want := dump(w.all)
	if got := w.view.Dump(); got != want {
		w.t.Fatalf("the view is\n%s\nwant\n%s", got, want)
	}
	usage, err := count(w.all)
	must(w.t, err)
	if got := w.view.Usage(); got != usage {
		w.t.Fatalf("usage %+v, counted %+v", got, usage)
	}
	if w.view.Slot() != w.slot {
		w.t.Fatalf("slot %d, want %d", w.view.Slot(), w.slot)
	}
	pending := slices.Collect(w.view.Pending().All())
	if len(pending) != len(w.ops) {
		w.t.Fatalf("%d pending, want %d", len(pending), len(w.ops))
	}
	for i, p := range pending {
		if p.Stamp != w.ops[i].Stamp {
			w.t.Fatalf("pending %d is %v, want %v", i, p.Stamp, w.ops[i].Stamp)
		}
	}
}

// ranges reads random ranges, some only in part, and single keys.
func (w *world) ranges() {
	from, to := w.key(), w.key()
	stop := w.rng.IntN(5)
	read := func(r meta.Reader) string {
		var out strings.Builder
		n := 0
		err := r.Scan(from, to, func(k, v []byte) bool {
			fmt.Fprintf(&out, "%x %x\n", k, v)
			n++
			return n != stop
		})
		must(w.t, err)
		if v, err := r.Get(from); err == nil {
			fmt.Fprintf(&out, "= %x", v)
		} else if !errors.Is(err, meta.ErrAbsent) {
			w.t.Fatal(err)
		}
		return out.String()
	}
	var got string
	must(w.t, w.view.Read(func(r meta.Reader) error {
		got = read(r)
		return nil
	}))
	if want := read(w.all); got != want {
		w.t.Fatalf("from %x to %x (%d at most):\n%s\nwant\n%s", from, to, stop, got, want)
	}
}

func (w *world) key() []byte {
	ref := w.refs[w.rng.IntN(len(w.refs))]
	switch w.rng.IntN(5) {
	case 0:
		return meta.InodeKey(ref)
	case 1:
		return meta.ExtentKey(ref.Ino, w.rng.Uint64N(4000))
	case 2:
		return meta.DirentKey(ref.Ino, []byte{byte('a' + w.rng.IntN(9))})
	case 3:
		return meta.XattrKey(ref, []byte("user.x"))
	}
	return []byte{byte(w.rng.IntN(256))}
}

// dump is View.Dump of another reader.
func dump(r meta.Reader) string {
	var out strings.Builder
	_ = r.Scan(nil, []byte{0xff}, func(k, v []byte) bool {
		fmt.Fprintf(&out, "%x %x\n", k, v)
		return true
	})
	return out.String()
}

// forgotten is for those who write down nothing.
func forgotten(Followed) error { return nil }
