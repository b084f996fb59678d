package meta_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// What a batch means does not hang on the numbers of its inodes: who takes a lease of a
// folder away may lease a file of it by itself, whichever number is the higher.
func TestFenceWhateverTheNumbers(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} {
		h := newLeasehold(t)
		folder, file := h.db, h.data
		if late { // a file with a lower number than its folder
			folder = h.mk(2, meta.RootRef, "late", meta.Dir)
			h.must(2, &meta.Rename{Parent: h.db, Name: []byte("data"), NewParent: folder, NewName: []byte("data"), Ref: file})
		}
		take := func(d meta.Device, ref meta.Ref, from uint64, below ...meta.Ino) *meta.SetLease {
			return &meta.SetLease{Act: meta.LeaseTake, Ref: ref, Until: h.slot + meta.LeaseTerm, From: from, Below: below}
		}
		h.must(1, take(1, folder, 0, file.Ino))
		before := h.state.Clone()
		l, _, err := meta.LeaseOf(h.state, folder.Ino)
		if err != nil {
			t.Fatal(err)
		}
		var merged meta.Builder
		for _, op := range []meta.Op{take(2, folder, l.Number), take(2, file, 0), write(file, 3)} {
			b, err := h.try(2, op)
			if err != nil {
				t.Fatalf("%T: %v", op, err)
			}
			merged.Add(b)
		}
		if err := meta.Fence(before, merged.Batch(), 2, h.slot); err != nil {
			t.Errorf("lower number of the file %v: the commit would be void: %v", late, err)
		}
	}
}

// Nobody gets bytes into what is leased by leaving out, or making up, what says where the
// file belongs.
func TestFenceOfExtentsAlone(t *testing.T) {
	t.Parallel()
	h := newLeasehold(t)
	old := h.mk(1, meta.RootRef, "of the holder, elsewhere", meta.File)
	h.must(1, h.take(0))
	mine := h.mk(1, h.db, "journal", meta.File) // under it by where it was made
	extent := meta.Extent{Len: 5, Pack: meta.MakePack(2, 1)}
	put := func(ino meta.Ino, off uint64) meta.KV {
		e := extent
		e.Off = off
		return meta.KV{Key: meta.ExtentKey(ino, e.End()), Value: meta.AppendExtent(nil, e)}
	}
	fake := func(ref meta.Ref) meta.KV {
		ref.Home = meta.Root
		return meta.KV{Key: meta.InodeKey(ref), Value: meta.AppendInode(nil, &meta.Inode{Kind: meta.File, Nlink: 1, Size: 5, Indexed: true, Version: 2<<48 | 99})}
	}
	many := &meta.Write{}
	for i := range uint64(40) {
		many.Extents = append(many.Extents, meta.Extent{Off: 10 * i, Len: 5, Pack: meta.MakePack(1, 1), PackOff: uint32(5 * i)})
		many.Size = 10*i + 5
	}
	for _, many.Ref = range []meta.Ref{h.data, mine} {
		h.must(1, many)
	}
	for name, c := range map[string]struct {
		b  *meta.Batch
		ok bool
	}{
		"of what was leased":               {&meta.Batch{Puts: []meta.KV{put(h.data.Ino, 3)}}, false},
		"of what the holder made since":    {&meta.Batch{Puts: []meta.KV{put(mine.Ino, 0)}}, false},
		"all of what it made since, gone":  {&meta.Batch{Ranges: []meta.Range{meta.ExtentRange(mine.Ino)}}, false},
		"one of it gone":                   {&meta.Batch{Deletes: [][]byte{put(mine.Ino, 0).Key}}, false},
		"of that, gone from another home":  {&meta.Batch{Ranges: []meta.Range{meta.ExtentRange(mine.Ino)}, Deletes: [][]byte{fake(mine).Key}}, false},
		"of that with another home":        {&meta.Batch{Puts: []meta.KV{put(mine.Ino, 6), fake(mine)}}, false},
		"with another home":                {&meta.Batch{Puts: []meta.KV{put(h.data.Ino, 6), fake(h.data)}}, false},
		"of what others made, beside":      {&meta.Batch{Puts: []meta.KV{put(h.beside.Ino, 0)}}, true},
		"of the holder's, with its inode":  {&meta.Batch{Puts: []meta.KV{put(old.Ino, 0), fake(old)}}, true},
		"of the holder's, without":         {&meta.Batch{Puts: []meta.KV{put(old.Ino, 0)}}, false},
		"of what others made, all of them": {&meta.Batch{Ranges: []meta.Range{meta.ExtentRange(h.beside.Ino)}}, true},
		"of the holder's, gone as before":  {&meta.Batch{Ranges: []meta.Range{meta.ExtentRange(old.Ino)}}, true},
		"one of it, gone as before":        {&meta.Batch{Deletes: [][]byte{put(old.Ino, 0).Key}}, true},
		"one beside what is there":         {&meta.Batch{Deletes: [][]byte{put(mine.Ino, 1).Key}}, true},
	} {
		err := meta.Fence(h.state, c.b, 2, h.slot)
		if c.ok && err != nil || !c.ok && !errors.Is(err, meta.ErrLeased) {
			t.Errorf("%s: %v", name, err)
		}
		if err := meta.Fence(h.state, c.b, 1, h.slot); err != nil {
			t.Errorf("the holder: %s: %v", name, err)
		}
		if err := meta.Fence(h.state, c.b, 2, h.slot+meta.LeaseTerm+1); err != nil {
			t.Errorf("when it has run out: %s: %v", name, err)
		}
	}
}

// However much the holder has made in what it leased, no operation is too long: a lease of
// very many parts is given back, forgotten and taken bit by bit.
func TestLeaseOfVeryMuch(t *testing.T) {
	t.Parallel()
	const folders = meta.MaxLeased + 10
	count := func(h *leasehold) (parts int, lease *meta.Lease) {
		in := meta.Range{From: []byte(meta.LeaseKey(meta.Root)[:1]), To: []byte{meta.LeaseKey(meta.Root)[0] + 1}}
		err := h.state.Scan(in.From, in.To, func(_, v []byte) bool {
			e, err := meta.DecodeLeaseEntry(v)
			if err != nil {
				t.Error(err)
			}
			if e.Lease == nil {
				parts++
			} else {
				lease = e.Lease
			}
			return true
		})
		if err != nil {
			t.Error(err)
		}
		return parts, lease
	}
	for name, act := range map[string]meta.LeaseAct{"given back": meta.LeaseRelease, "forgotten": meta.LeaseDrop} {
		h := newLeasehold(t)
		h.must(1, &meta.SetLease{Act: meta.LeaseTake, Ref: h.db, Until: h.slot + meta.LeaseTerm})
		for range folders {
			h.next++
			h.must(1, &meta.Make{Parent: h.db, Name: fmt.Append(nil, h.next), Ref: meta.Ref{Home: h.db.Ino, Ino: meta.MakeIno(1, h.next)}, Kind: meta.Dir, Perm: 0o700})
		}
		by := meta.Device(1)
		if act == meta.LeaseDrop {
			if _, err := h.try(2, &meta.SetLease{Act: act, Ref: h.db}); !errors.Is(err, meta.ErrLeased) {
				t.Errorf("another device forgets what is held: %v", err)
			}
			h.slot += meta.LeaseTerm + 1
			by = 2
		}
		h.must(by, &meta.SetLease{Act: act, Ref: h.db})
		if n, l := count(h); n != folders-meta.MaxLeased || l == nil || l.Ended() {
			t.Errorf("%s: after the first time %d parts, and %+v", name, n, l)
		}
		h.must(by, &meta.SetLease{Act: act, Ref: h.db})
		if n, l := count(h); n != 0 || act == meta.LeaseRelease && !l.Ended() || act == meta.LeaseDrop && l != nil {
			t.Errorf("%s: %d parts, and %+v", name, n, l)
		}
	}
}
