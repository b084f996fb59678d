package meta_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/meta/metatest"
)

// leasehold is a small tree in which devices 1 and 2 work: a folder "db" with a file
// that device 2 made and a folder below, and a file beside it.
type leasehold struct {
	t     testing.TB
	state *metatest.Map
	slot  uint64
	no    meta.OpNo
	next  uint64

	db, sub, data, deep, beside meta.Ref
}

func newLeasehold(t testing.TB) *leasehold {
	h := &leasehold{t: t, state: new(metatest.Map), slot: 10}
	h.state.Apply(meta.InitBatch(clock, 0, 0))
	h.db = h.mk(2, meta.RootRef, "db", meta.Dir)
	h.sub = h.mk(2, h.db, "sub", meta.Dir)
	h.data = h.mk(2, h.db, "data", meta.File)
	h.deep = h.mk(2, h.sub, "deep", meta.File)
	h.beside = h.mk(2, meta.RootRef, "beside", meta.File)
	return h
}

func (h *leasehold) ref(d meta.Device, parent meta.Ref) meta.Ref {
	h.next++
	return meta.Ref{Home: parent.Ino, Ino: meta.MakeIno(d, h.next)}
}

func (h *leasehold) mk(d meta.Device, parent meta.Ref, name string, kind meta.Kind) meta.Ref {
	h.t.Helper()
	ref := h.ref(d, parent)
	h.must(d, &meta.Make{Parent: parent, Name: []byte(name), Ref: ref, Kind: kind, Perm: 0o700})
	return ref
}

// try executes an operation of a device, and keeps it where no lease forbids it.
func (h *leasehold) try(d meta.Device, op meta.Op) (*meta.Batch, error) {
	h.no++
	b, err := op.Apply(h.state, meta.Stamp{Device: d, No: h.no, Time: clock})
	if err != nil {
		return nil, err
	}
	if err := b.Validate(); err != nil {
		h.t.Fatalf("%T: %v", op, err)
	}
	if err := meta.Fence(h.state, b, d, h.slot); err != nil {
		return nil, err
	}
	h.state.Apply(b)
	return b, nil
}

func (h *leasehold) must(d meta.Device, op meta.Op) {
	h.t.Helper()
	if _, err := h.try(d, op); err != nil {
		h.t.Fatalf("device %d, %T: %v", d, op, err)
	}
}

func (h *leasehold) take(from uint64) *meta.SetLease {
	below := []meta.Ino{h.sub.Ino, h.data.Ino, h.deep.Ino}
	slices.Sort(below)
	return &meta.SetLease{Act: meta.LeaseTake, Ref: h.db, Until: h.slot + meta.LeaseTerm, From: from, Parent: meta.RootRef, Name: []byte("db"), Below: below}
}

func write(ref meta.Ref, size uint64) *meta.Write { return &meta.Write{Ref: ref, Size: size} }

// changes are what another may not do to what is leased, and what it may.
func (h *leasehold) changes(d meta.Device, mine meta.Ref) map[string]struct {
	op meta.Op
	ok bool
} {
	type row = struct {
		op meta.Op
		ok bool
	}
	return map[string]row{
		"write":                      {write(h.data, 7), false},
		"write below":                {write(h.deep, 7), false},
		"truncate":                   {&meta.Truncate{Ref: h.data, Size: 9}, false},
		"attributes":                 {&meta.Setattr{Ref: h.data, Valid: meta.SetPerm, Perm: 0o777}, false},
		"attributes of the folder":   {&meta.Setattr{Ref: h.db, Valid: meta.SetPerm, Perm: 0o777}, false},
		"an extended attribute":      {&meta.Setxattr{Ref: h.data, Name: []byte("user.x"), Value: []byte("1")}, false},
		"one of a folder":            {&meta.Setxattr{Ref: h.sub, Name: []byte("user.x"), Value: []byte("1")}, false},
		"unlink":                     {&meta.Unlink{Parent: h.db, Name: []byte("data"), Ref: h.data}, false},
		"unlink below":               {&meta.Unlink{Parent: h.sub, Name: []byte("deep"), Ref: h.deep}, false},
		"rename away":                {&meta.Rename{Parent: h.db, Name: []byte("data"), NewParent: meta.RootRef, NewName: []byte("x"), Ref: h.data}, false},
		"rename the folder":          {&meta.Rename{Parent: meta.RootRef, Name: []byte("db"), NewParent: meta.RootRef, NewName: []byte("x"), Ref: h.db}, false},
		"rename over":                {&meta.Rename{Parent: meta.RootRef, Name: []byte("beside"), NewParent: h.db, NewName: []byte("data"), Ref: h.beside, Replaced: &h.data}, false},
		"exchange":                   {&meta.Rename{Parent: meta.RootRef, Name: []byte("beside"), NewParent: h.db, NewName: []byte("data"), Ref: h.beside, Replaced: &h.data, Flags: meta.Exchange}, false},
		"another name":               {&meta.Link{Ref: h.data, Parent: meta.RootRef, Name: []byte("x")}, false},
		"what the holder made since": {write(mine, 7), false},
		"remove that":                {&meta.Unlink{Parent: h.db, Name: []byte("journal"), Ref: mine}, false},
		"give it back":               {&meta.SetLease{Act: meta.LeaseRelease, Ref: h.db}, false},
		"take it":                    {h.take(0), false},
		"take it by another number":  {h.take(77), false},
		"take a part":                {&meta.SetLease{Act: meta.LeaseTake, Ref: h.data, Until: h.slot + 9}, false},
		"a file beside":              {write(h.beside, 7), true},
		"a new file in it":           {&meta.Make{Parent: h.db, Name: []byte("new"), Ref: h.ref(d, h.db), Kind: meta.File, Perm: 0o600}, true},
		"a new folder below":         {&meta.Make{Parent: h.sub, Name: []byte("new"), Ref: h.ref(d, h.sub), Kind: meta.Dir, Perm: 0o700}, true},
		"a file that moves into it":  {&meta.Rename{Parent: meta.RootRef, Name: []byte("beside"), NewParent: h.db, NewName: []byte("x"), Ref: h.beside}, true},
	}
}

func TestFence(t *testing.T) {
	t.Parallel()
	begin := func() (*leasehold, meta.Ref) {
		h := newLeasehold(t)
		h.must(1, h.take(0))
		return h, h.mk(1, h.db, "journal", meta.File)
	}
	h, _ := begin()
	for name := range h.changes(2, h.data) {
		h, mine := begin()
		c := h.changes(2, mine)[name]
		_, err := h.try(2, c.op)
		switch {
		case c.ok && err != nil:
			t.Errorf("%s: %v", name, err)
		case !c.ok && !errors.Is(err, meta.ErrLeased) && !errors.Is(err, meta.ErrNotExist) && !errors.Is(err, meta.ErrExist):
			t.Errorf("%s passes: %v", name, err)
		}
		if !c.ok && !errors.Is(err, meta.ErrConflict) && errors.Is(err, meta.ErrLeased) {
			t.Error("a lease is no conflict")
		}
		// The holder may do all that.
		h, mine = begin()
		if c := h.changes(1, mine)[name]; name != "take a part" && name != "take it by another number" {
			if _, err := h.try(1, c.op); err != nil {
				t.Errorf("the holder: %s: %v", name, err)
			}
		}
		// And everybody, once it has run out, or was given back.
		h, mine = begin()
		h.slot += meta.LeaseTerm + 1
		if c := h.changes(2, mine)[name]; name != "give it back" && name != "take a part" {
			if _, err := h.try(2, c.op); err != nil {
				t.Errorf("after its time: %s: %v", name, err)
			}
		}
		h, mine = begin()
		h.must(1, &meta.SetLease{Act: meta.LeaseRelease, Ref: h.db})
		if c := h.changes(2, mine)[name]; name != "give it back" {
			if _, err := h.try(2, c.op); err != nil {
				t.Errorf("given back: %s: %v", name, err)
			}
		}
	}
}

func TestLeases(t *testing.T) {
	t.Parallel()
	h := newLeasehold(t)
	h.must(1, h.take(0))
	var first *meta.Lease
	see := func() (l *meta.Lease) {
		if err := meta.Leases(h.state, func(ino meta.Ino, x *meta.Lease) bool { l = x; return true }); err != nil {
			t.Fatal(err)
		}
		return l
	}
	first = see()
	if first.Device != 1 || first.Until != h.slot+meta.LeaseTerm || string(first.Name) != "db" {
		t.Fatalf("%+v", first)
	}
	// What the holder makes below is under it, at any depth.
	deeper := h.mk(1, h.sub, "deeper", meta.Dir)
	deepest := h.mk(1, deeper, "deepest", meta.File)
	if _, err := h.try(2, write(deepest, 1)); !errors.Is(err, meta.ErrLeased) {
		t.Errorf("below a new folder: %v", err)
	}
	// Who brings back what the holder deleted, as a conflict does, takes nothing away.
	h.must(1, &meta.Unlink{Parent: h.sub, Name: []byte("deep"), Ref: h.deep})
	back := &meta.Batch{Puts: []meta.KV{
		{Key: meta.InodeKey(h.deep), Value: meta.AppendInode(nil, &meta.Inode{Kind: meta.File, Nlink: 1, Size: 5, Indexed: true, Version: 2<<48 | 99})},
		{Key: meta.ExtentKey(h.deep.Ino, 5), Value: meta.AppendExtent(nil, meta.Extent{Len: 5, Pack: meta.MakePack(2, 1)})},
	}}
	if err := meta.Fence(h.state, back, 2, h.slot); err != nil {
		t.Errorf("brought back: %v", err)
	}
	// Held in its last slot, and moved on.
	h.slot = first.Until
	if _, err := h.try(2, write(h.data, 1)); !errors.Is(err, meta.ErrLeased) {
		t.Errorf("in the last slot: %v", err)
	}
	h.must(1, &meta.SetLease{Act: meta.LeaseRenew, Ref: h.db, Until: h.slot + 5})
	h.slot += 5
	if _, err := h.try(2, write(h.data, 1)); !errors.Is(err, meta.ErrLeased) {
		t.Errorf("moved on: %v", err)
	}
	// Nobody holds it for ever.
	if _, err := h.try(1, &meta.SetLease{Act: meta.LeaseRenew, Ref: h.db, Until: h.slot + meta.MaxLeaseTerm + 1}); !errors.Is(err, meta.ErrLeased) {
		t.Errorf("too long: %v", err)
	}
	// Taken away by who names it: then the other is kept out.
	h.must(2, h.take(first.Number))
	if l := see(); l.Device != 2 || l.From != first.Number {
		t.Errorf("%+v", l)
	}
	h.must(2, write(h.data, 1))
	for _, op := range []meta.Op{write(h.data, 2), &meta.SetLease{Act: meta.LeaseRenew, Ref: h.db, Until: h.slot + 99}, &meta.SetLease{Act: meta.LeaseRelease, Ref: h.db}} {
		if _, err := h.try(1, op); !errors.Is(err, meta.ErrLeased) && !errors.Is(err, meta.ErrNotExist) {
			t.Errorf("who had it: %T: %v", op, err)
		}
	}
	if l, err := meta.Held(h.state, h.data, 1, h.slot); err != nil || l == nil || l.Device != 2 {
		t.Errorf("%+v, %v", l, err)
	}
	if l, err := meta.Held(h.state, h.data, 2, h.slot); err != nil || l != nil {
		t.Errorf("%+v, %v", l, err)
	}
}

// What passes operation by operation passes as the one batch that they make, in their
// slot and in any later one: else an honest machine's commit would be void.
func TestFenceOfManyOperations(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	kept, refused := 0, 0
	for range 3000 {
		h := newLeasehold(t)
		if rng.IntN(4) > 0 {
			h.must(1, h.take(0))
		}
		mine := h.mk(1, h.db, "journal", meta.File)
		if rng.IntN(3) == 0 {
			h.mk(3, h.db, "third", meta.File) // of somebody else, since
		}
		before, slot := h.state.Clone(), h.slot
		var merged meta.Builder
		var story []meta.Op
		for range 1 + rng.IntN(8) {
			all := h.changes(2, mine)
			names := make([]string, 0, len(all))
			for name := range all {
				names = append(names, name)
			}
			slices.Sort(names)
			op := all[names[rng.IntN(len(names))]].op
			switch rng.IntN(6) {
			case 0:
				number := uint64(0)
				_ = meta.Leases(h.state, func(_ meta.Ino, l *meta.Lease) bool { number = l.Number; return true })
				op = h.take(number)
			case 1:
				op = &meta.SetLease{Act: meta.LeaseRenew, Ref: h.db, Until: h.slot + uint64(rng.IntN(500))}
			case 2:
				op = &meta.SetLease{Act: meta.LeaseRelease, Ref: h.db}
			}
			b, err := h.try(2, op)
			if err != nil {
				refused++
				continue
			}
			kept++
			story = append(story, op)
			merged.Add(b)
		}
		for _, later := range []uint64{0, 1, uint64(rng.IntN(600))} {
			if err := meta.Fence(before, merged.Batch(), 2, slot+later); err != nil {
				for _, op := range story {
					t.Logf("%T %+v", op, op)
				}
				t.Fatalf("seed %d, %d slots later: %v", seed, later, err)
			}
		}
	}
	if kept < 1000 || refused < 1000 {
		t.Errorf("%d kept, %d refused: that tests nothing", kept, refused)
	}
}

// Whatever another device was doing when a lease came is executed again without an
// error, whatever it was, and what comes of it breaks the lease nowhere.
func TestRebaseUnderALease(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 2))
	done := 0
	for range 3000 {
		h := newLeasehold(t)
		old := h.state.Clone()
		type step struct {
			op meta.Change
			at meta.Stamp
		}
		var pending []step
		for range 1 + rng.IntN(6) {
			all := h.changes(2, h.data)
			names := make([]string, 0, len(all))
			for name := range all {
				names = append(names, name)
			}
			slices.Sort(names)
			op := all[names[rng.IntN(len(names))]].op
			if b, err := h.try(2, op); err == nil && !b.Empty() {
				pending = append(pending, step{op, meta.Stamp{Device: 2, No: h.no, Time: clock}})
			}
		}
		was := h.state
		h.state = old.Clone()
		if rng.IntN(2) == 0 {
			h.must(1, write(h.data, 50)) // it changed as well
		}
		h.must(1, h.take(0))
		if rng.IntN(4) == 0 {
			h.must(1, &meta.Unlink{Parent: h.db, Name: []byte("data"), Ref: h.data})
		}
		before, now := h.state.Clone(), h.state
		re := meta.NewRebase(was, func(yield func(meta.Change, meta.Stamp) bool) {
			for _, p := range pending {
				if !yield(p.op, p.at) {
					return
				}
			}
		}, meta.RebaseOptions{Device: "desktop", Slot: h.slot, NewIno: func() (meta.Ino, error) { return h.ref(2, h.db).Ino, nil }})
		var merged meta.Builder
		for _, p := range pending {
			steps, err := re.Again(p.op, now, p.at)
			if err != nil {
				for _, q := range pending {
					t.Logf("%T %+v", q.op, q.op)
				}
				t.Fatalf("seed %d: %T: %v", seed, p.op, err)
			}
			for _, s := range steps {
				b, err := s.Apply(now, p.at)
				if err != nil {
					t.Fatalf("seed %d: %T: %v", seed, s, err)
				}
				now.Apply(b)
				merged.Add(b)
				done++
			}
		}
		if err := meta.Fence(before, merged.Batch(), 2, h.slot); err != nil {
			for _, q := range pending {
				t.Logf("%T %+v", q.op, q.op)
			}
			t.Fatalf("seed %d: the commit would be void: %v", seed, err)
		}
	}
	if done < 1000 {
		t.Errorf("%d steps: that tests nothing", done)
	}
}
