package view

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/meta/metatest"
)

// A fleet is some machines that work on one chain of slots, each as far as it has
// followed, and change what they see.
type fleet struct {
	t     *testing.T
	rng   *rand.Rand
	chain []Slot
	state *metatest.Map // after the last slot
	all   []*machine
	clock int64
	packs uint64
	story []string

	tentative func(meta.OpNo) bool // whose programs wait for the store
}

type machine struct {
	f    *fleet
	id   meta.Device
	view *View
	next int // the slot that it has not followed yet, as an index
	no   meta.OpNo
	inos uint64

	made     []Pending              // what its journal has of operations
	replaced map[meta.OpNo][][]byte // and what it says that stands for them
	settled  meta.OpNo
}

func newFleet(t *testing.T, seed, run uint64, n int) *fleet {
	f := &fleet{t: t, rng: rand.New(rand.NewPCG(seed, run)), state: new(metatest.Map)}
	first := meta.InitBatch(meta.Time{Sec: 1}, 1000, 100)
	f.state.Apply(first)
	f.chain = []Slot{{1, first, meta.Delta{Inodes: 1}}}
	for i := range n {
		c := NewConfirmed(0, nil, meta.Usage{})
		c.Apply(1, first, meta.Delta{Inodes: 1})
		f.all = append(f.all, &machine{f: f, id: meta.Device(i + 1), view: New(c), next: 1})
	}
	return f
}

func (f *fleet) tell(format string, a ...any) { f.story = append(f.story, fmt.Sprintf(format, a...)) }

func (f *fleet) fail(format string, a ...any) {
	f.t.Helper()
	f.t.Fatalf("%s\n%s", fmt.Sprintf(format, a...), strings.Join(f.story, "\n"))
}

// file is what a file holds, and the inode that says so.
type file struct {
	ref     meta.Ref
	version uint64
	content string
}

// files lists all files that a map has names of, by inode.
func files(f *fleet, r meta.Reader) map[meta.Ref]file {
	out := map[meta.Ref]file{}
	var walk func(dir meta.Ref, depth int)
	walk = func(dir meta.Ref, depth int) {
		if depth > 40 {
			f.fail("a tree without end")
		}
		err := meta.ReadDir(r, dir.Ino, nil, func(name []byte, d meta.Dirent) bool {
			n, err := meta.GetInode(r, d.Ref)
			if err != nil {
				f.fail("%s in %d stands for nothing: %v", name, dir.Ino, err)
			}
			switch d.Kind {
			case meta.Dir:
				if n.Parent != dir {
					f.fail("%s in %d has the parent %d", name, dir.Ino, n.Parent.Ino)
				}
				walk(d.Ref, depth+1)
			case meta.File:
				out[d.Ref] = file{d.Ref, n.Version, content(f, r, d.Ref, n)}
			}
			return true
		})
		if err != nil {
			f.fail("%v", err)
		}
	}
	walk(meta.RootRef, 0)
	return out
}

func content(f *fleet, r meta.Reader, ref meta.Ref, n *meta.Inode) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%d:", n.Size)
	var last meta.Extent
	flush := func() {
		if last.Len > 0 {
			fmt.Fprintf(&s, " %d+%d=%d@%d", last.Off, last.Len, last.Pack, last.PackOff)
		}
	}
	err := meta.Extents(r, ref, n, 0, meta.MaxFileSize, func(e meta.Extent) bool {
		if last.Len > 0 && last.End() == e.Off && last.Pack == e.Pack && uint64(last.PackOff)+last.Len == uint64(e.PackOff) {
			last.Len += e.Len
			return true
		}
		flush()
		last = e
		return true
	})
	if err != nil {
		f.fail("%v", err)
	}
	flush()
	return s.String()
}

// sound holds a map to what a tree must be.
func sound(f *fleet, r meta.Reader) {
	f.t.Helper()
	names, subdirs := map[meta.Ref]uint32{}, map[meta.Ref]uint32{}
	reached := map[meta.Ref]bool{meta.RootRef: true}
	var walk func(dir meta.Ref)
	walk = func(dir meta.Ref) {
		_ = meta.ReadDir(r, dir.Ino, nil, func(_ []byte, d meta.Dirent) bool {
			names[d.Ref]++
			if d.Kind == meta.Dir {
				if reached[d.Ref] {
					f.fail("directory %d has two names", d.Ref.Ino)
				}
				subdirs[dir]++
				reached[d.Ref] = true
				walk(d.Ref)
			}
			reached[d.Ref] = true
			return true
		})
	}
	walk(meta.RootRef)
	inodes := 0
	err := r.Scan([]byte{'i'}, []byte{'i' + 1}, func(k, v []byte) bool {
		inodes++
		ref, err := meta.ParseInodeKey(k)
		if err != nil {
			f.fail("%v", err)
		}
		n, err := meta.DecodeInode(v)
		if err != nil {
			f.fail("%v", err)
		}
		want := names[ref]
		if n.Kind == meta.Dir {
			want = 2 + subdirs[ref]
		}
		if !reached[ref] || n.Nlink != want {
			f.fail("inode %d, kind %d: %d links, counted %d, reached: %v", ref.Ino, n.Kind, n.Nlink, want, reached[ref])
		}
		return true
	})
	if err != nil || inodes != len(reached) {
		f.fail("%d inodes, %d reached, %v", inodes, len(reached), err)
	}
}

func (m *machine) newIno() (meta.Ino, error) {
	m.inos++
	return meta.MakeIno(m.id, m.inos), nil
}

// places finds the names that files have in the map of a machine.
func (m *machine) places(ref meta.Ref) (parent meta.Ref, name []byte, ok bool) {
	var walk func(dir meta.Ref)
	walk = func(dir meta.Ref) {
		_ = meta.ReadDir(m.view.merged(), dir.Ino, nil, func(n []byte, d meta.Dirent) bool {
			if d.Ref == ref {
				parent, name, ok = dir, slices.Clone(n), true
			}
			if d.Kind == meta.Dir && !ok {
				walk(d.Ref)
			}
			return !ok
		})
	}
	walk(meta.RootRef)
	return parent, name, ok
}

// follow follows what others have put into the chain, and looks whether anything that
// anybody wrote is gone.
func (m *machine) follow() {
	f := m.f
	if m.next == len(f.chain) {
		return
	}
	f.t.Helper()
	before := files(f, m.view.merged())
	confirmed := files(f, m.view.confirmed)
	written := map[meta.Ref]bool{}
	for p := range m.view.Pending().All() {
		for _, kv := range p.Batch().Puts {
			if ref, err := meta.ParseInodeKey(kv.Key); err == nil {
				if n, err := meta.DecodeInode(kv.Value); err == nil && n.Kind == meta.File && n.Version == p.Stamp.Version() {
					written[ref] = true
				}
			}
		}
	}
	f.tell("%d follows %d to %d", m.id, f.chain[m.next].No, len(f.chain))
	o := meta.RebaseOptions{Device: fmt.Sprint("m", m.id), NewIno: m.newIno, Place: m.places, Tentative: f.tentative}
	if f.rng.IntN(2) == 0 {
		must(f.t, m.view.Ahead(f.chain[m.next:], o))
	}
	_, err := m.view.Follow(f.chain[m.next:], o, m.note)
	if err != nil {
		f.fail("follow: %v", err)
	}
	m.next = len(f.chain)
	m.again()
	sound(f, m.view.merged())
	after := map[string]bool{"0:": true} // an empty file is no loss: another one may have got the name
	for _, x := range files(f, m.view.merged()) {
		after[x.content] = true
	}
	for ref := range written {
		if x, ok := before[ref]; ok && !after[x.content] {
			f.fail("what machine %d wrote to %d is lost: %s", m.id, ref.Ino, x.content)
		}
	}
	for ref, x := range files(f, m.view.confirmed) {
		if was, ok := confirmed[ref]; (!ok || was.content != x.content) && !after[x.content] {
			f.fail("what others wrote to %d is lost for machine %d: %s", ref.Ino, m.id, x.content)
		}
	}
}

// note keeps what the journal is told.
func (m *machine) note(fo Followed) error {
	if m.replaced == nil {
		m.replaced = map[meta.OpNo][][]byte{}
	}
	for _, r := range fo.Replaced {
		var steps [][]byte
		for _, s := range r.Steps {
			steps = append(steps, meta.EncodeStep(s))
		}
		m.replaced[r.No] = steps
	}
	return nil
}

// again is the machine after a crash: what its journal holds, executed on the slot that
// it followed, is what it shows.
func (m *machine) again() {
	f := m.f
	f.t.Helper()
	c := NewConfirmed(0, nil, meta.Usage{})
	for _, s := range f.chain[:m.next] {
		c.Apply(s.No, s.Batch, s.Usage)
	}
	v := New(c)
	for _, p := range m.made {
		if p.Stamp.No <= m.settled {
			continue
		}
		if steps, ok := m.replaced[p.Stamp.No]; ok {
			changes := make([]meta.Change, len(steps))
			for i, b := range steps {
				var err error
				if changes[i], err = meta.DecodeStep(b); err != nil {
					f.fail("step of operation %d: %v", p.Stamp.No, err)
				}
			}
			if _, err := v.Resume(changes, 0, p.Stamp); err != nil {
				f.fail("resume operation %d: %v", p.Stamp.No, err)
			}
			continue
		}
		op, err := meta.DecodeOp(meta.EncodeOp(p.Op.(meta.Op)))
		must(f.t, err)
		if _, err := v.Execute(op, p.Stamp); err != nil {
			f.fail("execute operation %d again: %v", p.Stamp.No, err)
		}
	}
	if got, want := v.Dump(), m.view.Dump(); got != want {
		f.fail("after a crash machine %d shows\n%s\nwant\n%s", m.id, got, want)
	}
	if got, want := v.Usage(), m.view.Usage(); got != want {
		f.fail("after a crash machine %d counts %+v, want %+v", m.id, got, want)
	}
	most := 1 << 30
	if got, want := v.Take(m.no, most).Batch, m.view.Take(m.no, most).Batch; got != nil && want != nil && !bytes.Equal(got.Encode(), want.Encode()) {
		f.fail("after a crash machine %d would publish something else", m.id)
	}
}

// publish brings some of the pending operations into the chain.
func (m *machine) publish() {
	f := m.f
	m.follow()
	limit := 1 + f.rng.IntN(600)
	t := m.view.Take(m.no, limit)
	if t.Ops.Len() == 0 {
		return
	}
	slot := uint64(len(f.chain) + 1)
	if err := t.Batch.Validate(); err != nil {
		f.fail("batch of machine %d: %v", m.id, err)
	}
	last := t.Ops.Last().No
	f.tell("%d takes slot %d up to its operation %d", m.id, slot, last)
	f.chain = append(f.chain, Slot{slot, t.Batch, t.Usage})
	f.state.Apply(t.Batch)
	want, err := meta.DeltaOf(m.view.confirmed, t.Batch)
	if err != nil || want != t.Usage {
		f.fail("usage %+v, counted %+v, %v", t.Usage, want, err)
	}
	m.view.Settle(slot, last, t.Batch, t.Usage)
	m.next++
	m.settled = last
	sound(f, f.state)
}

// change does what a program may do to the tree that the machine shows.
func (m *machine) change() {
	f := m.f
	r := m.view.merged()
	type entry struct {
		parent meta.Ref
		name   []byte
		meta.Dirent
	}
	dirs, entries := []meta.Ref{meta.RootRef}, []entry(nil)
	var walk func(dir meta.Ref)
	walk = func(dir meta.Ref) {
		_ = meta.ReadDir(r, dir.Ino, nil, func(n []byte, d meta.Dirent) bool {
			entries = append(entries, entry{dir, slices.Clone(n), d})
			if d.Kind == meta.Dir {
				dirs = append(dirs, d.Ref)
				walk(d.Ref)
			}
			return true
		})
	}
	walk(meta.RootRef)
	dir := dirs[f.rng.IntN(len(dirs))]
	name := []byte{byte('a' + f.rng.IntN(5))}
	if f.rng.IntN(12) == 0 {
		name = bytes.Repeat(name, meta.MaxName)
	}
	f.clock++
	at := meta.Stamp{Device: m.id, No: m.no + 1, Time: meta.Time{Sec: f.clock}}
	var some entry
	if len(entries) > 0 {
		some = entries[f.rng.IntN(len(entries))]
	} else {
		some.Kind = meta.Dir
	}
	version := func(ref meta.Ref) uint64 {
		n, err := meta.GetInode(r, ref)
		if err != nil {
			f.fail("%v", err)
		}
		if n.Kind != meta.File {
			return 0
		}
		return n.Version
	}
	var op meta.Op
	switch draw := f.rng.IntN(25); {
	case draw == 20:
		ino, _ := m.newIno()
		o := &meta.Make{Parent: dir, Name: name, Ref: meta.Ref{Home: dir.Ino, Ino: ino}, Kind: meta.Symlink, Perm: 0o777, Target: name[:1]}
		if f.rng.IntN(3) == 0 {
			o.Kind, o.Perm, o.Target, o.Rdev = meta.Char, 0o600, nil, uint32(f.rng.IntN(2))
		}
		op = o
	case draw == 21 && some.Kind == meta.File:
		f.packs++
		off, n := f.rng.Uint64N(300), 1+f.rng.Uint64N(60)
		op = &meta.Clone{Ref: some.Ref, Observed: version(some.Ref), Off: off, Len: n, Extents: []meta.Extent{{Off: off, Len: n, Pack: meta.MakePack(m.id, f.packs)}}}
	case draw == 22 && some.Kind != 0 && len(entries) > 0:
		op = &meta.Removexattr{Ref: some.Ref, Name: []byte("user.x")}
	case draw == 23 && some.Kind == meta.Dir && len(entries) > 0:
		op = &meta.Setattr{Ref: some.Ref, Valid: meta.SetPerm | meta.SetGID | meta.SetMtime, Perm: 0o2755, GID: f.rng.Uint32N(3), Mtime: meta.Time{Sec: f.clock}}
	case draw == 24:
		o := &meta.Resolve{}
		_ = r.Scan([]byte{'c'}, []byte{'c' + 1}, func(k, _ []byte) bool {
			id, err := meta.ParseConflictKey(k)
			must(f.t, err)
			o.IDs = append(o.IDs, id)
			return len(o.IDs) < 3
		})
		if len(o.IDs) == 0 {
			return
		}
		op = o
	case draw >= 20:
		return
	case draw < 5 || len(entries) == 0:
		kind := meta.File
		if f.rng.IntN(3) == 0 {
			kind = meta.Dir
		}
		ino, _ := m.newIno()
		op = &meta.Make{Parent: dir, Name: name, Ref: meta.Ref{Home: dir.Ino, Ino: ino}, Kind: kind, Perm: 0o755}
	case draw < 10 && some.Kind == meta.File:
		f.packs++
		o := &meta.Write{Ref: some.Ref, Observed: version(some.Ref)}
		off := uint64(f.rng.IntN(300))
		for range 1 + f.rng.IntN(3) {
			e := meta.Extent{Off: off, Len: 1 + f.rng.Uint64N(50), Pack: meta.MakePack(m.id, f.packs)}
			o.Extents = append(o.Extents, e)
			off = e.End() + f.rng.Uint64N(50)
		}
		op = o
	case draw == 10 && some.Kind == meta.File:
		op = &meta.Truncate{Ref: some.Ref, Observed: version(some.Ref), Size: f.rng.Uint64N(300)}
	case draw == 11 && some.Kind == meta.File:
		op = &meta.PunchHole{Ref: some.Ref, Observed: version(some.Ref), Off: f.rng.Uint64N(300), Len: 1 + f.rng.Uint64N(100)}
	case draw == 12:
		op = &meta.Setattr{Ref: some.Ref, Valid: meta.SetPerm, Perm: uint16(f.rng.UintN(0o1000))}
	case draw == 13:
		op = &meta.Setxattr{Ref: some.Ref, Name: []byte("user.x"), Value: name, Flags: meta.XattrFlags(f.rng.IntN(3))}
	case draw == 14 && some.Kind == meta.File:
		op = &meta.Link{Ref: some.Ref, Parent: dir, Name: name}
	case draw < 17 && some.Kind == meta.File:
		op = &meta.Unlink{Parent: some.parent, Name: some.name, Ref: some.Ref, Observed: version(some.Ref)}
	case draw < 17:
		op = &meta.Rmdir{Parent: some.parent, Name: some.name, Ref: some.Ref}
	default:
		o := &meta.Rename{Parent: some.parent, Name: some.name, NewParent: dir, NewName: name, Ref: some.Ref}
		if over, err := meta.Lookup(r, dir.Ino, name); err == nil {
			o.Replaced, o.Observed = &over.Ref, version(over.Ref)
			if f.rng.IntN(4) == 0 {
				o.Flags = meta.Exchange
			}
		}
		op = o
	}
	b, err := m.view.Execute(op, at)
	if err != nil || b.Empty() {
		return
	}
	m.no++
	m.made = append(m.made, Pending{Op: op, Stamp: at})
	f.tell("%d does %d: %T%+v", m.id, m.no, op, op)
}

// runs is how many histories are tried: HUSHFS_WORLDS, for the long form.
func runs(t *testing.T) int {
	s := os.Getenv("HUSHFS_WORLDS")
	if s == "" {
		return 1000
	}
	n, err := strconv.Atoi(s)
	must(t, err)
	return n
}

// Machines that change the same tree at once, publish when they like and follow what
// the others have published: nothing is refused, nothing that anybody wrote is lost,
// and all come to see the same tree.
func TestFleet(t *testing.T) {
	n := seed(t)
	for run := range uint64(runs(t)) {
		f := newFleet(t, n, run, 2+int(run%2))
		if run%3 == 0 {
			f.tentative = func(no meta.OpNo) bool { return no%3 == 0 }
		}
		for range 60 {
			m := f.all[f.rng.IntN(len(f.all))]
			switch f.rng.IntN(14) {
			case 0:
				m.follow()
			case 1:
				m.publish()
			default:
				m.change()
			}
		}
		for range 40 {
			for _, m := range f.all {
				m.publish()
			}
		}
		want := dump(f.state)
		for _, m := range f.all {
			m.follow()
			if left := m.view.Pending().Len(); left > 0 {
				f.fail("machine %d has %d operations left", m.id, left)
			}
			if got := m.view.Dump(); got != want {
				f.fail("machine %d shows\n%s\nwant\n%s", m.id, got, want)
			}
		}
		if t.Failed() {
			return
		}
	}
}
