package meta

import (
	"encoding/binary"
	"errors"
	"slices"
)

// Fence answers ErrLeased when a batch of a device, in a slot, would break a lease that
// another holds in the state that r shows; else nil, or the error of r.
//
// Under a lease are the inode that it is for and those that were noted with it, and what
// its holder has made since in a folder among them. Of these nobody else may change
// bytes, attributes, or a name that leads to them, or take one away. New names may come
// into a leased folder: so a conflict finds a place for its copy.
//
// What it answers hangs on its arguments alone. So whoever makes a batch holds it to the
// rule that all others judge its commit by: a batch that passes operation by operation
// passes as a whole, and one that passes for a slot passes for all that come after while
// nobody else's commit comes between.
func Fence(r Reader, b *Batch, by Device, slot uint64) error {
	if b.Empty() {
		return nil
	}
	f := fence{r: r, by: by, slot: slot, taken: map[Ino]bool{}, own: map[Ino]bool{}, born: map[Ino]bool{}, homes: map[Ino]Ino{}, known: map[Ino]held{}}
	if err := f.locks(b); err != nil {
		return err
	}
	changes, err := f.gives(b)
	if err != nil {
		return err
	}
	if !changes {
		some := false
		if err := leaseEntries(r, func(Ino, LeaseEntry) bool { some = true; return false }); err != nil || !some {
			return err
		}
	}
	if err := f.births(b); err != nil {
		return err
	}
	for _, g := range b.Ranges {
		ino := Ino(binary.BigEndian.Uint64(g.From[1:]))
		if g.From[0] == prefixXattr {
			home := ino
			ino = Ino(binary.BigEndian.Uint64(g.From[fieldLen:]))
			if err := f.there(Ref{home, ino}); err != nil {
				return err
			}
		} else if err := f.extents(ino, g); err != nil {
			return err
		}
	}
	for _, k := range b.Deletes {
		if err := f.key(k, nil); err != nil {
			return err
		}
	}
	for _, kv := range b.Puts {
		if err := f.key(kv.Key, kv.Value); err != nil {
			return err
		}
	}
	return nil
}

// Held returns the lease by which another device keeps this one from changing an inode
// in a slot; nil: none does.
func Held(r Reader, ref Ref, by Device, slot uint64) (*Lease, error) {
	f := fence{r: r, by: by, slot: slot, known: map[Ino]held{}}
	return f.over(ref)
}

// Withheld says whether another device keeps this one from changing what a file holds, in
// a slot: by a lease, or by a lock that excludes all.
func Withheld(r Reader, ref Ref, by Device, slot uint64) (bool, error) {
	l, err := Held(r, ref, by, slot)
	if err != nil || l != nil {
		return l != nil, err
	}
	mode, err := LockedBy(r, ref.Ino, by, slot)
	return mode == LockExclusive, err
}

type fence struct {
	r     Reader
	by    Device
	slot  uint64
	taken map[Ino]bool // leases of others that the batch takes away, knowingly
	own   map[Ino]bool // leases that the batch gives to its author
	born  map[Ino]bool // with true: inodes that the batch makes, or makes again
	homes map[Ino]Ino  // of the inodes that are there and the batch writes or deletes
	known map[Ino]held
}

// births finds the inodes that are not there before the batch: who brings back a file
// that was deleted takes nothing away. One of which there are extents is there, whatever
// home the batch says that it has.
func (f *fence) births(b *Batch) error {
	for _, k := range b.Deletes {
		if k[0] != prefixInode {
			continue
		}
		ref, err := ParseInodeKey(k)
		if err != nil {
			return err
		}
		if _, ok, err := f.get(k); err != nil {
			return err
		} else if ok {
			f.homes[ref.Ino] = ref.Home
		}
	}
	for _, kv := range b.Puts {
		if kv.Key[0] != prefixInode {
			continue
		}
		ref, err := ParseInodeKey(kv.Key)
		if err != nil {
			return err
		}
		if _, ok, err := f.get(kv.Key); err != nil {
			return err
		} else if ok {
			f.homes[ref.Ino] = ref.Home
			continue
		}
		kept, err := f.mayBeHeld(ref.Ino)
		if err != nil {
			return err
		}
		none, in := true, ExtentRange(ref.Ino)
		if kept {
			if err := f.r.Scan(in.From, in.To, func(_, _ []byte) bool { none = false; return false }); err != nil {
				return err
			}
		}
		f.born[ref.Ino] = none
	}
	return nil
}

// key holds one key that is written, or with value nil deleted, to the rule.
func (f *fence) key(k, value []byte) error {
	switch k[0] {
	case prefixLease:
		return f.lease(k, value)
	case prefixExtent:
		var gone Range
		if value == nil {
			gone = Range{k, slices.Concat(k, []byte{0})}
		}
		return f.extents(Ino(binary.BigEndian.Uint64(k[1:])), gone)
	case prefixXattr:
		ref, _, err := ParseXattrKey(k)
		if err != nil {
			return err
		}
		return f.there(ref)
	case prefixInode:
		return f.inode(k, value)
	case prefixDirent:
		was, ok, err := f.get(k)
		if err != nil || !ok {
			return err
		}
		d, err := DecodeDirent(was)
		if err != nil {
			return err
		}
		return f.refuse(f.over(d.Ref))
	}
	return nil
}

// extents refuses other extents of an inode under a lease: one more, or those in gone,
// unless that is empty, away. Their keys do not say its home. The batch does, for a content
// never changes without its inode. Where what it says is of no file that is there, and for
// what a check of the volume sweeps away, each lease of who made the inode counts; but what
// is not there is not taken away, as by who brings a file back and removes it in one batch.
func (f *fence) extents(ino Ino, gone Range) error {
	if f.born[ino] {
		return nil
	}
	if home, ok := f.homes[ino]; ok {
		return f.refuse(f.over(Ref{Home: home, Ino: ino}))
	}
	kept, err := f.mayBeHeld(ino)
	if err != nil || !kept {
		return err
	}
	if gone.From != nil {
		kept = false
		err = f.r.Scan(gone.From, gone.To, func(_, _ []byte) bool { kept = true; return false })
	}
	if err == nil && kept {
		err = ErrLeased
	}
	return err
}

// mayBeHeld says whether an inode of which the home is not known may be under a lease of
// another: it is marked, or was made by who has any.
func (f *fence) mayBeHeld(ino Ino) (is bool, err error) {
	l, _, err := f.foreign(ino)
	if err != nil || l != nil || ino.Device() == f.by {
		return l != nil, err
	}
	err = Leases(f.r, func(of Ino, l *Lease) bool {
		is = l.Device == ino.Device() && f.counts(l, of)
		return !is
	})
	return is, err
}

func (f *fence) refuse(l *Lease, err error) error {
	if err == nil && l != nil {
		return ErrLeased
	}
	return err
}

func (f *fence) get(k []byte) (v []byte, ok bool, err error) {
	v, err = f.r.Get(k)
	if errors.Is(err, ErrAbsent) {
		return nil, false, nil
	}
	return v, err == nil, err
}

// there refuses what would change an inode under a lease. One that is not there yet is
// under none.
func (f *fence) there(ref Ref) error {
	l, err := f.over(ref)
	if err != nil || l == nil {
		return err
	}
	if ref.Home != 0 {
		if _, ok, err := f.get(InodeKey(ref)); err != nil || !ok {
			return err
		}
	}
	return ErrLeased
}

// inode lets a folder under a lease have other names in it, which show in its times and
// its count, and nothing else.
func (f *fence) inode(k, value []byte) error {
	ref, err := ParseInodeKey(k)
	if err != nil {
		return err
	}
	l, err := f.over(ref)
	if err != nil || l == nil {
		return err
	}
	was, ok, err := f.get(k)
	if err != nil || !ok {
		return err
	}
	if value == nil {
		return ErrLeased
	}
	old, err := DecodeInode(was)
	if err != nil {
		return err
	}
	now, err := DecodeInode(value)
	if err != nil {
		return err
	}
	if old.Kind != Dir || now.Kind != Dir || old.Perm != now.Perm || old.UID != now.UID || old.GID != now.GID || old.Parent != now.Parent || old.Xattrs != now.Xattrs {
		return ErrLeased
	}
	return nil
}
