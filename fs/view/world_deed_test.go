package view

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/story"
)

// who is the machine of a name; nil: there is none.
func (f *fleet) who(name string) *machine {
	for _, m := range f.all {
		if name == m.name() {
			return m
		}
	}
	return nil
}

func (m *machine) name() string { return fmt.Sprint("m", m.id) }

// spot is what a path leads to.
type spot struct {
	dir   meta.Ref
	name  []byte
	d     meta.Dirent
	n     *meta.Inode
	there bool
}

// spot finds a path; false: what it lies in is not there.
func (m *machine) spot(path string) (s spot, ok bool) {
	s.dir = meta.RootRef
	r := m.view.merged()
	for path != "" {
		name, rest, more := strings.Cut(path, "/")
		s.name, path = []byte(name), rest
		d, err := meta.Lookup(r, s.dir.Ino, s.name)
		if !more {
			if s.there = err == nil; s.there {
				s.d = d
				if s.n, err = meta.GetInode(r, d.Ref); err != nil {
					m.f.fail("%s stands for nothing: %v", s.name, err)
				}
			}
			return s, true
		}
		if err != nil || d.Kind != meta.Dir {
			return s, false
		}
		s.dir = d.Ref
	}
	return s, false
}

// observed is the version of a file, as operations note it.
func (s spot) observed() uint64 {
	if !s.there || s.n.Kind != meta.File {
		return 0
	}
	return s.n.Version
}

// do does a deed, and says whether it could be done.
func (f *fleet) do(d story.Deed) bool {
	m := f.who(d.Who)
	if m == nil {
		return false
	}
	switch d.Does {
	case "follows":
		m.follow(d.N%2 == 0)
		return true
	case "publishes":
		m.publish(int(d.N) + 1)
		return true
	}
	op := m.op(d)
	return op != nil && m.execute(op)
}

// execute does an operation as a program's call does; what is refused is not done.
func (m *machine) execute(op meta.Op) bool {
	m.f.clock++
	at := meta.Stamp{Device: m.id, No: m.no + 1, Time: meta.Time{Sec: m.f.clock}}
	b, err := m.view.Execute(op, at)
	if err != nil || b.Empty() {
		return false
	}
	m.no++
	m.made = append(m.made, Pending{Op: op, Stamp: at})
	return true
}

// op is the operation of a deed; nil: it has none now.
func (m *machine) op(d story.Deed) meta.Op {
	if d.Does == "resolves" {
		return m.resolve()
	}
	at, ok := m.spot(d.At)
	if !ok {
		return nil
	}
	rng := rand.New(rand.NewPCG(d.N, 1))
	switch d.Does {
	case "makes a file", "makes a folder", "makes a link", "makes a device":
		ino, _ := m.newIno()
		o := &meta.Make{Parent: at.dir, Name: at.name, Ref: meta.Ref{Home: at.dir.Ino, Ino: ino}, Kind: meta.File, Perm: 0o755}
		switch d.Does {
		case "makes a folder":
			o.Kind = meta.Dir
		case "makes a link":
			o.Kind, o.Perm, o.Target = meta.Symlink, 0o777, at.name[:1]
		case "makes a device":
			o.Kind, o.Perm, o.Rdev = meta.Char, 0o600, uint32(d.N%2)
		}
		return o
	case "links", "renames", "exchanges":
		to, ok := m.spot(d.To)
		if !ok || !at.there {
			return nil
		}
		return m.name2(d.Does, at, to)
	}
	if !at.there {
		return nil
	}
	ref := at.d.Ref
	switch d.Does {
	case "removes":
		if at.d.Kind == meta.Dir {
			return &meta.Rmdir{Parent: at.dir, Name: at.name, Ref: ref}
		}
		return &meta.Unlink{Parent: at.dir, Name: at.name, Ref: ref, Observed: at.observed()}
	case "sets the mode":
		return &meta.Setattr{Ref: ref, Valid: meta.SetPerm, Perm: uint16(d.N % 0o1000)}
	case "sets mode and time":
		return &meta.Setattr{Ref: ref, Valid: meta.SetPerm | meta.SetGID | meta.SetMtime, Perm: 0o2755, GID: uint32(d.N % 3), Mtime: meta.Time{Sec: m.f.clock}}
	case "sets an attribute":
		return &meta.Setxattr{Ref: ref, Name: []byte("user.x"), Value: []byte{'a' + byte(d.N/3%5)}, Flags: meta.XattrFlags(d.N % 3)}
	case "removes an attribute":
		return &meta.Removexattr{Ref: ref, Name: []byte("user.x")}
	case "leases", "takes the lease", "keeps the lease", "gives the lease back":
		return m.lease(d, at)
	}
	if at.d.Kind != meta.File {
		return nil
	}
	seen := at.observed()
	switch d.Does {
	case "writes":
		m.f.packs++
		o := &meta.Write{Ref: ref, Observed: seen}
		off := rng.Uint64N(300)
		for range 1 + rng.IntN(3) {
			e := meta.Extent{Off: off, Len: 1 + rng.Uint64N(50), Pack: meta.MakePack(m.id, m.f.packs)}
			o.Extents = append(o.Extents, e)
			off = e.End() + rng.Uint64N(50)
		}
		return o
	case "copies into":
		m.f.packs++
		off, n := rng.Uint64N(300), 1+rng.Uint64N(60)
		return &meta.Clone{Ref: ref, Observed: seen, Off: off, Len: n, Extents: []meta.Extent{{Off: off, Len: n, Pack: meta.MakePack(m.id, m.f.packs)}}}
	case "truncates":
		return &meta.Truncate{Ref: ref, Observed: seen, Size: d.N % 300}
	case "punches a hole":
		return &meta.PunchHole{Ref: ref, Observed: seen, Off: d.N % 300, Len: 1 + rng.Uint64N(100)}
	case "locks":
		return &meta.SetLock{Ino: ref.Ino, Lock: meta.Lock{Mode: meta.LockShared + meta.LockMode(d.N%2), Until: m.view.Slot() + 1 + d.N/2%20}}
	case "unlocks":
		return &meta.SetLock{Ino: ref.Ino}
	}
	m.f.t.Fatalf("no deed is called %q", d.Does)
	return nil
}

// name2 is an operation with two names.
func (m *machine) name2(does string, at, to spot) meta.Op {
	if does == "links" {
		if at.d.Kind != meta.File {
			return nil
		}
		return &meta.Link{Ref: at.d.Ref, Parent: to.dir, Name: to.name}
	}
	o := &meta.Rename{Parent: at.dir, Name: at.name, NewParent: to.dir, NewName: to.name, Ref: at.d.Ref}
	if to.there {
		o.Replaced, o.Observed = &to.d.Ref, to.observed()
	}
	if does == "exchanges" {
		if !to.there {
			return nil
		}
		o.Flags = meta.Exchange
	}
	return o
}

// lease is an operation about a lease of what lies at a spot, which is for few slots.
func (m *machine) lease(d story.Deed, at spot) meta.Op {
	r := m.view.merged()
	o := &meta.SetLease{Act: meta.LeaseTake, Ref: at.d.Ref, Until: m.view.Slot() + 2 + d.N%20}
	switch d.Does {
	case "keeps the lease":
		o.Act = meta.LeaseRenew
		return o
	case "gives the lease back":
		o.Act, o.Until = meta.LeaseRelease, 0
		return o
	case "takes the lease":
		l, of, err := meta.LeaseOf(r, at.d.Ref.Ino)
		must(m.f.t, err)
		if l == nil || of != at.d.Ref.Ino || l.Device == m.id {
			return nil
		}
		o.From = l.Number
	}
	o.Parent, o.Name = at.dir, at.name
	var below func(dir meta.Ref)
	below = func(dir meta.Ref) {
		must(m.f.t, meta.ReadDir(r, dir.Ino, nil, func(_ []byte, d meta.Dirent) bool {
			o.Below = append(o.Below, d.Ref.Ino)
			if d.Kind == meta.Dir {
				below(d.Ref)
			}
			return true
		}))
	}
	if at.d.Kind == meta.Dir {
		below(at.d.Ref)
	}
	slices.Sort(o.Below)
	o.Below = slices.Compact(o.Below)
	return o
}

// resolve declares some conflicts for settled.
func (m *machine) resolve() meta.Op {
	o := &meta.Resolve{}
	must(m.f.t, m.view.merged().Scan([]byte{'c'}, []byte{'c' + 1}, func(k, _ []byte) bool {
		id, err := meta.ParseConflictKey(k)
		must(m.f.t, err)
		o.IDs = append(o.IDs, id)
		return len(o.IDs) < 3
	}))
	if len(o.IDs) == 0 {
		return nil
	}
	return o
}
