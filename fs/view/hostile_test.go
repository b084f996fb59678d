package view

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/story"
)

// intruder is the number of a device with a program of its own.
const intruder = 9

// A device signs whatever fits the rules of a commit, over changes of others that wait,
// and again over what became of those. Nobody is stuck: what waits is executed again, also
// after a crash; all that was written is somewhere; and what is published of it is valid.
func TestNobodyIsStuck(t *testing.T) {
	n := drawn(t)
	for run := range uint64(runs(t)) {
		s := story.Story{Machines: 2, Seed: run}
		if f := story.Try(t, func(t testing.TB) { intrude(t, s, rand.New(rand.NewPCG(n, run))) }); f != nil {
			t.Fatalf("run %d: %s", run, f.Text)
		}
	}
}

func intrude(t testing.TB, s story.Story, rng *rand.Rand) {
	f := begin(t, s)
	for range 20 + rng.IntN(40) {
		f.do(f.draw(rng))
	}
	mixed := map[meta.Ino]bool{}
	for range 1 + rng.IntN(3) {
		f.foul(rng, mixed)
		for _, m := range f.all {
			if rng.IntN(3) > 0 {
				m.bear(rng, mixed)
			}
		}
	}
	for range 6 {
		for _, m := range f.all {
			m.bear(rng, mixed)
			m.issue(1+rng.IntN(600), false)
		}
	}
	for _, m := range f.all {
		m.bear(rng, mixed)
		m.issue(1<<20, false)
		if left := m.view.Pending().Len(); left > 0 {
			f.fail("machine %d has %d operations left", m.id, left)
		}
	}
	for _, m := range f.all {
		m.bear(rng, mixed)
		if m.view.Dump() != dump(f.state) {
			f.fail("machine %d shows another state than the chain", m.id)
		}
	}
}

// bear follows what is not sound, and looks whether anything is gone that waits.
func (m *machine) bear(rng *rand.Rand, mixed map[meta.Ino]bool) {
	f := m.f
	if m.next == len(f.chain) {
		return
	}
	before := contents(m.view.merged())
	wrote := map[meta.Ref]bool{}
	for p := range m.view.Pending().All() {
		for _, kv := range p.Batch().Puts {
			if ref, err := meta.ParseInodeKey(kv.Key); err == nil {
				if n, err := meta.DecodeInode(kv.Value); err == nil && n.Kind == meta.File && n.Version == p.Stamp.Version() {
					wrote[ref] = true
				}
			}
		}
	}
	o := meta.RebaseOptions{Device: m.name(), NewIno: m.newIno, Place: m.near, Tentative: f.tentative}
	if rng.IntN(2) == 0 {
		must(f.t, m.view.Ahead(f.chain[m.next:], o))
	}
	if _, err := m.view.Follow(f.chain[m.next:], o, m.note); err != nil {
		f.fail("machine %d is stuck: %v", m.id, err)
	}
	m.next = len(f.chain)
	m.again()
	after := map[string]bool{"0:": true}
	for _, c := range contents(m.view.merged()) {
		after[c] = true
	}
	for ref := range wrote {
		if c, ok := before[ref]; ok && !after[c] && !mixed[ref.Ino] && !mixed[0] {
			f.fail("what machine %d wrote to %d is lost: %s", m.id, ref.Ino, c)
		}
	}
}

// mixes notes the files of which the intruder changed what they hold and not the version,
// or gave extents to a number that has no file yet: then what it wrote is a part of what
// others do.
func mixes(mixed map[meta.Ino]bool, before meta.Reader, b *meta.Batch) {
	for _, kv := range b.Puts {
		switch kv.Key[0] {
		case 'x':
			mixed[meta.Ino(binary.BigEndian.Uint64(kv.Key[1:]))] = true
		case 'i':
			ref, _ := meta.ParseInodeKey(kv.Key)
			if n, err := meta.DecodeInode(kv.Value); err == nil && meta.WrittenBy(n.Version) != intruder {
				mixed[ref.Ino] = true
			}
			if _, err := before.Get(kv.Key); err != nil && ref.Ino.Device() != intruder {
				mixed[0] = true // who makes it then replaces what lies there
			}
		}
	}
	for _, k := range b.Deletes {
		if k[0] == 'x' {
			mixed[meta.Ino(binary.BigEndian.Uint64(k[1:]))] = true
		}
	}
}

// near is places for a tree that may have no end.
func (m *machine) near(ref meta.Ref) (parent meta.Ref, name []byte, ok bool) {
	_ = meta.ReadDir(m.view.merged(), meta.Root, nil, func(n []byte, d meta.Dirent) bool {
		if d.Ref == ref {
			parent, name, ok = meta.RootRef, append(name, n...), true
		}
		return !ok
	})
	return parent, name, ok
}

// contents is what all files hold, with a name or without.
func contents(r meta.Reader) map[meta.Ref]string {
	out := map[meta.Ref]string{}
	_ = r.Scan([]byte{'i'}, []byte{'i' + 1}, func(k, v []byte) bool {
		ref, err := meta.ParseInodeKey(k)
		n, err2 := meta.DecodeInode(v)
		if err != nil || err2 != nil || n.Kind != meta.File {
			return true
		}
		text, last := fmt.Sprintf("%d:", n.Size), meta.Extent{}
		_ = meta.Extents(r, ref, n, 0, meta.MaxFileSize, func(e meta.Extent) bool {
			if last.Len > 0 && last.End() == e.Off && last.Pack == e.Pack && uint64(last.PackOff)+last.Len == uint64(e.PackOff) {
				last.Len += e.Len
				return true
			}
			if last.Len > 0 {
				text += fmt.Sprintf(" %d+%d=%d@%d", last.Off, last.Len, last.Pack, last.PackOff)
			}
			last = e
			return true
		})
		if last.Len > 0 {
			text += fmt.Sprintf(" %d+%d=%d@%d", last.Off, last.Len, last.Pack, last.PackOff)
		}
		out[ref] = text
		return true
	})
	return out
}

// foul puts a slot of the intruder into the chain: a few keys that mean no good, as far as
// the rules let them pass.
func (f *fleet) foul(rng *rand.Rand, mixed map[meta.Ino]bool) {
	refs := []meta.Ref{meta.RootRef, {Home: meta.Root, Ino: meta.MakeIno(intruder, rng.Uint64N(100)+1)}}
	packs := []meta.PackNo{meta.MakePack(intruder, 1)}
	var known []meta.KV
	for _, m := range f.all {
		must(f.t, m.view.merged().Scan(nil, []byte{0xff}, func(k, v []byte) bool {
			known = append(known, meta.KV{Key: append([]byte(nil), k...), Value: append([]byte(nil), v...)})
			if ref, err := meta.ParseInodeKey(k); err == nil {
				refs = append(refs, ref)
				if n, err := meta.DecodeInode(v); err == nil && len(n.Extents) > 0 {
					packs = append(packs, n.Extents[0].Pack)
				}
			}
			return true
		}))
	}
	some := func() meta.Ref { return refs[rng.IntN(len(refs))] }
	slot := uint64(len(f.chain) + 1)
	put := func(k, v []byte) *meta.Batch { return &meta.Batch{Puts: []meta.KV{{Key: k, Value: v}}} }
	extent := func() meta.Extent {
		return meta.Extent{Off: rng.Uint64N(300), Len: 1 + rng.Uint64N(300), Pack: packs[rng.IntN(len(packs))]}
	}
	inode := func() meta.KV {
		ref, n := some(), &meta.Inode{Kind: meta.File, Nlink: 1, Perm: 0o644, Parent: meta.RootRef}
		for _, kv := range known {
			if string(kv.Key) == string(meta.InodeKey(ref)) {
				n, _ = meta.DecodeInode(kv.Value)
			}
		}
		for range 1 + rng.IntN(3) {
			switch rng.IntN(8) {
			case 0:
				n.Kind = meta.Kind(1 + rng.IntN(6))
			case 1:
				n.Nlink = []uint32{1, 2, 3, meta.MaxLinks}[rng.IntN(4)]
			case 2:
				n.Parent = some()
			case 3:
				n.Size = []uint64{0, 1, 300, meta.MaxFileSize}[rng.IntN(4)]
			case 4:
				n.Indexed = !n.Indexed
			case 5:
				n.Xattrs = !n.Xattrs
			case 6:
				n.Version = meta.Stamp{Device: meta.Device(1 + rng.IntN(9)), No: meta.OpNo(1 + rng.IntN(40))}.Version()
			case 7:
				n.Extents = []meta.Extent{extent()}
			}
		}
		if n.Kind == meta.Symlink && len(n.Target) == 0 {
			n.Target = []byte("x")
		}
		if n.Kind != meta.File || n.Indexed {
			n.Indexed, n.Extents = n.Indexed && n.Kind == meta.File, nil
		}
		if n.Kind == meta.Dir && n.Parent == (meta.Ref{}) {
			n.Parent = some()
		}
		if rng.IntN(3) > 0 {
			n.Version = meta.Stamp{Device: intruder, No: meta.OpNo(slot)}.Version()
		}
		return meta.KV{Key: meta.InodeKey(ref), Value: meta.AppendInode(nil, n)}
	}
	one := func() *meta.Batch {
		kv := known[rng.IntN(len(known))]
		name := []byte{byte('a' + rng.IntN(5))}
		switch rng.IntN(12) {
		case 0, 1, 2:
			in := inode()
			return put(in.Key, in.Value)
		case 3, 4:
			return put(meta.DirentKey(some().Ino, name), meta.AppendDirent(nil, meta.Dirent{Ref: some(), Kind: meta.Kind(1 + rng.IntN(6))}))
		case 5:
			return &meta.Batch{Deletes: [][]byte{kv.Key}}
		case 6:
			other := known[rng.IntN(len(known))]
			for range 50 {
				if other.Key[0] == kv.Key[0] {
					break
				}
				other = known[rng.IntN(len(known))]
			}
			return put(kv.Key, other.Value)
		case 7:
			e := extent()
			return put(meta.ExtentKey(some().Ino, e.End()), meta.AppendExtent(nil, e))
		case 8:
			return put(meta.XattrKey(some(), []byte("user.x")), []byte("evil"))
		case 9:
			return put(meta.LockKey(some().Ino, intruder), meta.AppendLock(nil, meta.Lock{Mode: meta.LockExclusive, Until: slot + 500}))
		case 10:
			no := meta.Stamp{Device: intruder, No: meta.OpNo(slot)}.Version()
			return put(meta.LeaseKey(some().Ino), meta.AppendLeaseEntry(nil, meta.LeaseEntry{Lease: &meta.Lease{Device: intruder, Number: no, Until: slot + 500}}))
		}
		return put(meta.RetiredKey(packs[rng.IntN(len(packs))]), meta.AppendRetired(nil, slot))
	}
	var b meta.Builder
	for range 1 + rng.IntN(8) {
		x := one()
		if x.Validate() == nil && meta.Fence(f.state, x, intruder, slot) == nil {
			b.Add(x)
		}
	}
	x := b.Batch()
	if x.Empty() || x.Validate() != nil || meta.Fence(f.state, x, intruder, slot) != nil {
		return
	}
	d, err := meta.DeltaOf(f.state, x)
	must(f.t, err)
	f.chain = append(f.chain, Slot{slot, x, d})
	mixes(mixed, f.state, x)
	f.state.Apply(x)
}
