package view

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/meta/metatest"
	"github.com/hushfs/hushfs/fs/story"
)

// A fleet is some machines that work on one chain of slots, each as far as it has
// followed, and change what they see.
type fleet struct {
	t     testing.TB
	chain []Slot
	state *metatest.Map // after the last slot
	all   []*machine
	clock int64
	packs uint64
	reply *story.Deed // what is drawn next; nil: anything

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

func newFleet(t testing.TB, n int) *fleet {
	f := &fleet{t: t, state: new(metatest.Map)}
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

func (f *fleet) fail(format string, a ...any) {
	f.t.Helper()
	f.t.Fatalf(format, a...)
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

// follow follows what others have put into the chain, ahead or not, and looks whether
// anything that anybody wrote is gone.
func (m *machine) follow(ahead bool) {
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
	o := meta.RebaseOptions{Device: fmt.Sprint("m", m.id), NewIno: m.newIno, Place: m.places, Tentative: f.tentative}
	if ahead {
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
	for no, changes := range fo.Replaced.All(0) {
		var steps [][]byte
		for _, s := range changes {
			steps = append(steps, meta.EncodeStep(s))
		}
		m.replaced[no] = steps
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
	v.brought = m.view.brought // else it would bring them again
	most := 1 << 30
	if got, want := v.Take(m.no, most).Batch, m.view.Take(m.no, most).Batch; got != nil && want != nil && !bytes.Equal(got.Encode(), want.Encode()) {
		f.fail("after a crash machine %d would publish something else", m.id)
	}
}

// publish brings some of the pending operations into the chain: about so many bytes.
func (m *machine) publish(limit int) {
	m.follow(limit%2 == 0)
	if m.issue(limit, true) {
		sound(m.f, m.f.state)
	}
}

// issue is publish by a machine that may not have followed, and says whether there was
// something; in a tree that is not sound nothing can be counted.
func (m *machine) issue(limit int, counted bool) bool {
	f := m.f
	if m.next < len(f.chain) {
		return false
	}
	t := m.view.TakePart()
	if t.Batch == nil {
		t = m.view.Take(m.no, limit)
	}
	if t.Ops.Len() == 0 {
		return false
	}
	slot := uint64(len(f.chain) + 1)
	if err := t.Batch.Validate(); err != nil {
		f.fail("batch of machine %d: %v", m.id, err)
	}
	if err := meta.Fence(f.state, t.Batch, m.id, slot); err != nil {
		f.fail("nobody takes the batch of machine %d for valid: %v", m.id, err)
	}
	last := t.Ops.Last().No
	if t.Part != nil {
		last = m.settled
	}
	f.chain = append(f.chain, Slot{slot, t.Batch, t.Usage})
	f.state.Apply(t.Batch)
	want, err := meta.DeltaOf(m.view.confirmed, t.Batch)
	if counted && (err != nil || want != t.Usage) {
		f.fail("usage %+v, counted %+v, %v", t.Usage, want, err)
	}
	m.view.Settle(slot, last, t.Batch, t.Usage)
	if t.Part != nil {
		m.view.Brought(t.Part)
	}
	m.next++
	m.settled = last
	return true
}
