package view

import (
	"errors"
	"fmt"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// huge makes a file of so many extents, each in a pack of its own, by as many writes as it
// takes.
func (p *pair) huge(m *machine, ref meta.Ref, extents int) {
	p.t.Helper()
	const each = 4 << 20
	for i := 0; i < extents; i += meta.MaxExtents {
		w := &meta.Write{Ref: ref, Observed: p.version(m, ref)}
		for j := i; j < min(i+meta.MaxExtents, extents); j++ {
			p.packs++
			w.Extents = append(w.Extents, meta.Extent{Off: uint64(j) * each, Len: each, Pack: meta.MakePack(m.id, p.packs)})
		}
		w.Size = uint64(min(i+meta.MaxExtents, extents)) * each
		p.must(m, w)
	}
}

// A file of more extents than a commit holds comes back, or becomes a copy, in several
// commits. Nobody sees it before the last of them. What another machine does between them,
// and a crash, changes nothing; what is in the chain is not sent again.
func TestFileOfManyCommits(t *testing.T) {
	t.Parallel()
	const extents = 24 << 10
	for _, c := range []struct{ name, theirs, again string }{
		{"comes back", "rm d/f\n rmdir d", "mkdir d"},
		{"becomes a copy", "put d/f theirs", "put d/f more"},
		{"becomes a copy in a folder that goes", "put d/f theirs", "rm d/f\n rmdir d"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			a, b := p.all[0], p.all[1]
			p.run(a, "mkdir d\n put d/f text\n put other 1")
			p.publish(a)
			p.follow(b)
			_, _, d, _ := p.find(b, "d/f")
			p.huge(b, d.Ref, extents)
			p.run(b, "put last 1")
			want := content(p.fleet, b.view.merged(), d.Ref, p.inode(b, d.Ref))
			p.run(a, c.theirs)
			p.publish(a)
			has := func(m *machine) (n int) {
				for _, x := range files(p.fleet, m.view.merged()) {
					if x.content == want {
						n++
					}
				}
				return n
			}
			p.follow(b)
			b.again()
			if has(b) != 1 {
				t.Fatal("it is not there")
			}
			parts := 0
			step := func() bool {
				if part := b.view.TakePart(); part.Batch == nil {
					return false
				} else if n := len(part.Batch.Encode()); n > 1<<20-16<<10 {
					t.Fatalf("a commit of %d bytes", n)
				}
				b.publish(1)
				parts++
				p.follow(a)
				if has(a) != 0 || has(b) != 1 {
					t.Fatalf("after part %d: %d files, and %d where they are not yet", parts, has(b), has(a))
				}
				return true
			}
			for range 2 {
				if !step() {
					t.Fatal("it is in one commit")
				}
			}
			p.run(a, c.again)
			p.publish(a)
			p.follow(b)
			if has(b) != 1 {
				t.Fatal("it is not there")
			}
			b.again()
			for step() {
			}
			if parts < 2 || parts > 3 {
				t.Errorf("%d commits before the last", parts)
			}
			for b.view.Pending().Len() > 0 {
				b.publish(1 << 10)
			}
			p.follow(a)
			if has(a) != 1 || has(b) != 1 {
				t.Errorf("%d and %d files", has(a), has(b))
			}
			if a.view.Dump() != b.view.Dump() {
				t.Error("the two show something else")
			}
			if b.view.ops.fills != 0 || b.view.brought != nil {
				t.Errorf("%d fills and %d names are left", b.view.ops.fills, len(b.view.brought))
			}
		})
	}
}

func (p *pair) inode(m *machine, ref meta.Ref) *meta.Inode {
	p.t.Helper()
	n, err := meta.GetInode(m.view.merged(), ref)
	must(p.t, err)
	return n
}

// revived are two machines of which a removes a file that is huge by what b wrote: b has
// to bring it back.
func revived(t *testing.T) (p *pair, a, b *machine) {
	p = newPair(t)
	a, b = p.all[0], p.all[1]
	p.run(a, "put f text")
	p.publish(a)
	p.follow(b)
	_, _, d, _ := p.find(b, "f")
	p.huge(b, d.Ref, 20<<10)
	p.run(a, "rm f")
	p.publish(a)
	p.follow(b)
	return p, a, b
}

// A process that is started anew does not know which fills are in the chain, and brings
// them once more: that changes nothing.
func TestFillsAreBroughtTwice(t *testing.T) {
	t.Parallel()
	p, a, b := revived(t)
	var seen []string
	for round := 0; b.view.Pending().Len() > 0; round++ {
		if round == 2 {
			b.view.brought = nil
		}
		if part := b.view.TakePart(); part.Batch != nil {
			seen = append(seen, fmt.Sprint(part.Part))
		}
		b.publish(1 << 10)
	}
	p.follow(a)
	if len(seen) < 4 || seen[0] != seen[2] || seen[1] != seen[3] {
		t.Errorf("%d parts, of which two come twice", len(seen))
	}
	if a.view.Dump() != b.view.Dump() {
		t.Error("the two show something else")
	}
}

// A pack of a part that is in the chain is retired before the last commit: the part is
// brought once more, and with it the pack is in use again.
func TestFillsOfARetiredPack(t *testing.T) {
	t.Parallel()
	p, a, b := revived(t)
	part := b.view.TakePart()
	var retired []byte
	part.Batch.Extents(func(e meta.Extent) bool {
		retired = meta.RetiredKey(e.Pack)
		return false
	})
	b.publish(1)
	p.follow(a)
	theirs := &meta.Batch{Puts: []meta.KV{{Key: retired, Value: meta.AppendRetired(nil, 1)}}}
	slot := uint64(len(p.chain) + 1)
	p.chain = append(p.chain, Slot{slot, theirs, meta.Delta{}})
	p.state.Apply(theirs)
	for b.view.Pending().Len() > 0 {
		b.publish(1 << 10)
	}
	p.follow(a)
	for _, m := range []*machine{a, b} {
		if _, err := m.view.merged().Get(retired); !errors.Is(err, meta.ErrAbsent) {
			t.Errorf("machine %d: the pack is retired: %v", m.id, err)
		}
	}
	if a.view.Dump() != b.view.Dump() {
		t.Error("the two show something else")
	}
}

// Another machine has a lease of the number under which a file is about to come back,
// long before, or before or between the commits that bring its extents: it comes back under another
// number, whole.
func TestFillsOfALeasedNumber(t *testing.T) {
	t.Parallel()
	for parts := -1; parts < 3; parts++ {
		p := newPair(t)
		a, b := p.all[0], p.all[1]
		p.run(a, "put f text")
		p.publish(a)
		p.follow(b)
		_, _, d, _ := p.find(b, "f")
		p.huge(b, d.Ref, 20<<10)
		want := content(p.fleet, b.view.merged(), d.Ref, p.inode(b, d.Ref))
		p.run(a, "rm f")
		p.publish(a)
		if parts >= 0 {
			p.follow(b)
			_, _, d, _ = p.find(b, "f")
		} else {
			d.Ref.Ino = meta.MakeIno(b.id, b.inos+1)
		}
		for range parts {
			if b.view.TakePart().Batch == nil {
				t.Fatal("there is no further part")
			}
			b.publish(1)
		}
		l := &meta.Lease{Device: a.id, Number: meta.Stamp{Device: a.id, No: 1000}.Version(), Until: 1000, Parent: meta.RootRef, Name: []byte("x")}
		theirs := &meta.Batch{Puts: []meta.KV{{Key: meta.LeaseKey(d.Ref.Ino), Value: meta.AppendLeaseEntry(nil, meta.LeaseEntry{Lease: l})}}}
		must(t, theirs.Validate())
		p.chain = append(p.chain, Slot{uint64(len(p.chain) + 1), theirs, meta.Delta{}})
		p.state.Apply(theirs)
		for b.view.Pending().Len() > 0 {
			b.publish(1 << 10)
		}
		p.follow(a)
		for _, m := range []*machine{a, b} {
			_, _, d, there := p.find(m, "f")
			if !there || content(p.fleet, m.view.merged(), d.Ref, p.inode(m, d.Ref)) != want {
				t.Errorf("after %d parts: machine %d has the file: %v, and not its bytes", parts, m.id, there)
			}
		}
		if a.view.Dump() != b.view.Dump() {
			t.Error("the two show something else")
		}
	}
}
