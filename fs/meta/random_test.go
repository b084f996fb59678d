package meta_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/meta/metatest"
)

// TestRandomOperations runs random operations against the model, and checks on
// the way that operations and batches survive their encoding, and that merged
// batches do what the single ones did. HUSHFS_SEED repeats a run.
func TestRandomOperations(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("HUSHFS_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("HUSHFS_SEED=%d", seed)
	for run := range uint64(8) {
		w := newWorld(t, seed, run)
		for range 1500 {
			w.step()
		}
		w.compare()
	}
}

// world is a state, the model of it, and what both came from.
type world struct {
	t     *testing.T
	rng   *rand.Rand
	state *metatest.Map
	model *model
	at    meta.Stamp
	inos  uint64
	packs uint64
	steps int

	base   *metatest.Map // what merged begins from
	merged *meta.Builder
}

func newWorld(t *testing.T, seed, run uint64) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, run)), state: new(metatest.Map), merged: new(meta.Builder)}
	w.at = meta.Stamp{Device: meta.Device(w.rng.UintN(1 << 16)), Time: meta.Time{Sec: 1_700_000_000, Nsec: 5}}
	w.state.Apply(meta.InitBatch(w.at.Time, 1000, 100))
	w.model = newModel(w.at.Time, 1000, 100)
	w.base = w.state.Clone()
	return w
}

func (w *world) step() {
	w.steps++
	w.at.No++
	if w.at.Time.Sec += w.rng.Int64N(3); w.rng.IntN(50) == 0 {
		w.at.Time.Sec -= 40
	}
	w.at.Time.Nsec = w.rng.Uint32N(1e9)
	op := w.recode(w.op())
	batch, err := op.Apply(w.state, w.at)
	bad := w.model.do(op, w.at)
	switch {
	case err == nil && bad == nil:
		w.apply(batch)
	case err == nil:
		w.t.Fatalf("step %d, %T %+v: want one of %v", w.steps, op, op, bad)
	case !isOneOf(err, bad):
		w.t.Fatalf("step %d, %T %+v: got %v, want one of %v", w.steps, op, op, err, bad)
	}
	if w.rng.IntN(25) == 0 {
		w.compare()
	}
	if w.rng.IntN(40) == 0 {
		w.checkMerged()
	}
}

func isOneOf(err error, list []error) bool {
	for _, x := range list {
		if errors.Is(err, x) {
			return true
		}
	}
	return false
}

// recode sends an operation through its encoding. What cannot be decoded must
// be refused when it is applied.
func (w *world) recode(op meta.Op) meta.Op {
	encoded := meta.EncodeOp(op)
	decoded, err := meta.DecodeOp(encoded)
	if err != nil {
		if _, err := op.Apply(w.state, w.at); err == nil {
			w.t.Fatalf("step %d, %T %+v: applied, yet it does not decode", w.steps, op, op)
		}
		return op
	}
	if again := meta.EncodeOp(decoded); !bytes.Equal(again, encoded) {
		w.t.Fatalf("step %d, %T: %x became %x", w.steps, op, encoded, again)
	}
	same := meta.Renumber(decoded, func(i meta.Ino) meta.Ino { return i }, func(p meta.PackNo) meta.PackNo { return p })
	same = meta.Reobserve(same, func(v uint64) uint64 { return v })
	if !bytes.Equal(meta.EncodeOp(same), encoded) {
		w.t.Fatalf("step %d, %T: renumbering changed more than numbers", w.steps, op)
	}
	return decoded
}

func (w *world) apply(batch *meta.Batch) {
	encoded := batch.Encode()
	decoded, err := meta.DecodeBatch(encoded)
	if err != nil {
		w.t.Fatalf("step %d: batch %x: %v", w.steps, encoded, err)
	}
	if again := decoded.Encode(); !bytes.Equal(again, encoded) {
		w.t.Fatalf("step %d: batch %x became %x", w.steps, encoded, again)
	}
	w.state.Apply(decoded)
	w.merged.Add(decoded)
}

func (w *world) checkMerged() {
	batch := w.merged.Batch()
	if err := batch.Validate(); err != nil {
		w.t.Fatalf("step %d: merged batch: %v", w.steps, err)
	}
	if got, want := w.merged.Size(), len(batch.Encode()); got != want {
		w.t.Fatalf("step %d: size %d, encoded %d", w.steps, got, want)
	}
	w.base.Apply(batch)
	if got, want := w.base.Dump(), w.state.Dump(); got != want {
		w.t.Fatalf("step %d: merged batch leads to\n%s\nsingle ones to\n%s", w.steps, got, want)
	}
	w.base, w.merged = w.state.Clone(), new(meta.Builder)
}

// compare walks state and model, and sees that no key is left over.
func (w *world) compare() {
	keys := 0
	seen := map[*node]bool{}
	var walk func(n *node)
	walk = func(n *node) {
		if seen[n] {
			return
		}
		seen[n] = true
		keys += 1 + w.compareInode(n)
		if n.kind != meta.Dir {
			return
		}
		found := 0
		err := meta.ReadDir(w.state, n.ref.Ino, nil, func(name []byte, d meta.Dirent) bool {
			found++
			if c := n.names[string(name)]; c == nil || c.ref != d.Ref || c.kind != d.Kind {
				w.t.Fatalf("step %d: directory %d: wrong entry for %v", w.steps, n.ref.Ino, d)
			}
			return true
		})
		if err != nil || found != len(n.names) {
			w.t.Fatalf("step %d: directory %d has %d names, want %d (%v)", w.steps, n.ref.Ino, found, len(n.names), err)
		}
		keys += found
		for _, c := range n.names {
			walk(c)
		}
	}
	walk(w.model.root)
	if keys != w.state.Len() {
		w.t.Fatalf("step %d: %d keys, reached %d\n%s", w.steps, w.state.Len(), keys, w.state.Dump())
	}
}

// compareInode answers how many further keys belong to the inode.
func (w *world) compareInode(n *node) (keys int) {
	got, err := meta.GetInode(w.state, n.ref)
	if err != nil {
		w.t.Fatalf("step %d: inode %d: %v", w.steps, n.ref.Ino, err)
	}
	var cells []cell
	var last *meta.Extent
	err = meta.Extents(w.state, n.ref, got, 0, got.Size, func(x meta.Extent) bool {
		if got.Indexed {
			keys++
		}
		if last != nil && (last.End() > x.Off || last.End() == x.Off && last.Pack == x.Pack && last.PackOff+uint32(last.Len) == x.PackOff) {
			w.t.Fatalf("step %d: inode %d: extents %v and %v", w.steps, n.ref.Ino, *last, x)
		}
		last = &x
		for uint64(len(cells)) < x.Off {
			cells = append(cells, cell{})
		}
		for i := range x.Len {
			cells = append(cells, cell{x.Pack, x.PackOff + uint32(i)})
		}
		return true
	})
	if err != nil {
		w.t.Fatalf("step %d: inode %d: %v", w.steps, n.ref.Ino, err)
	}
	for n.kind == meta.File && uint64(len(cells)) < got.Size {
		cells = append(cells, cell{})
	}
	xattrs := map[string]string{}
	err = meta.ListXattrs(w.state, n.ref, got, func(name []byte) bool {
		v, err := meta.GetXattr(w.state, n.ref, got, name)
		if err != nil {
			w.t.Fatalf("step %d: inode %d: %v", w.steps, n.ref.Ino, err)
		}
		xattrs[string(name)] = string(v)
		keys++
		return true
	})
	if err != nil {
		w.t.Fatal(err)
	}
	have := node{
		ref: n.ref, kind: got.Kind, perm: got.Perm, uid: got.UID, gid: got.GID, rdev: got.Rdev, nlink: int(got.Nlink),
		atime: got.Atime, mtime: got.Mtime, ctime: got.Ctime, btime: got.Btime, version: got.Version,
		target: string(got.Target), xattrs: xattrs, data: cells, names: n.names, parent: n.parent,
	}
	want := *n
	if len(want.data) == 0 && len(cells) == 0 {
		want.data, have.data = nil, nil
	}
	if !reflect.DeepEqual(have, want) {
		w.t.Fatalf("step %d: inode %d is\n%+v, want\n%+v", w.steps, n.ref.Ino, have, want)
	}
	if n.kind == meta.Dir && got.Parent != n.parent.ref {
		w.t.Fatalf("step %d: parent of %d is %v", w.steps, n.ref.Ino, got.Parent)
	}
	return keys
}
