package meta

import (
	"encoding/binary"
	"errors"
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
	f := fence{r: r, by: by, slot: slot, taken: map[Ino]bool{}, own: map[Ino]bool{}, born: map[Ino]bool{}, known: map[Ino]held{}}
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
		home := Ino(0)
		if g.From[0] == prefixXattr {
			home, ino = ino, Ino(binary.BigEndian.Uint64(g.From[fieldLen:]))
		}
		if err := f.there(Ref{home, ino}); err != nil {
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

type fence struct {
	r     Reader
	by    Device
	slot  uint64
	taken map[Ino]bool // leases of others that the batch takes away, knowingly
	own   map[Ino]bool // leases that the batch gives to its author
	born  map[Ino]bool // inodes that the batch makes, or makes again
	known map[Ino]held
}

// held is the lease that an inode is under, and what that is for.
type held struct {
	lease *Lease
	of    Ino
}

// foreign returns the lease of another that an inode is under now; nil: none.
func (f *fence) foreign(ino Ino) (*Lease, Ino, error) {
	h, ok := f.known[ino]
	if !ok {
		var err error
		if h.lease, h.of, err = LeaseOf(f.r, ino); err != nil {
			return nil, 0, err
		}
		f.known[ino] = h
	}
	if l := h.lease; l == nil || l.Device == f.by || l.Until < f.slot || f.taken[h.of] {
		return nil, 0, nil
	}
	return h.lease, h.of, nil
}

// over returns the lease of another that covers an inode: its own, or that of the
// folder in which the holder made it.
func (f *fence) over(ref Ref) (*Lease, error) {
	l, _, err := f.foreign(ref.Ino)
	if err != nil || l != nil || ref.Home == 0 {
		return l, err
	}
	if l, _, err = f.foreign(ref.Home); err != nil || l == nil || ref.Ino.Device() != l.Device {
		return nil, err
	}
	return l, nil
}

// gives looks at what the batch does to leases, which comes first: who takes one away
// may go on to change what it is for.
func (f *fence) gives(b *Batch) (changes bool, err error) {
	for _, kv := range b.Puts {
		if kv.Key[0] != prefixLease {
			continue
		}
		changes = true
		ino, e, err := parseLease(kv)
		if err != nil {
			return true, err
		}
		if e.Lease == nil {
			continue
		}
		l, of, err := f.foreign(ino)
		switch {
		case err != nil:
			return true, err
		case e.Lease.Device != f.by || e.Lease.Until > f.slot+MaxLeaseTerm:
			return true, ErrLeased
		case l != nil && (of != ino || e.Lease.From != l.Number):
			return true, ErrLeased
		case l != nil:
			f.taken[of] = true
		}
		f.own[ino] = true
	}
	for _, k := range b.Deletes {
		changes = changes || k[0] == prefixLease
	}
	return changes, nil
}

// births finds the inodes that are not there before the batch: who brings back a file
// that was deleted takes nothing away.
func (f *fence) births(b *Batch) error {
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
		} else if !ok {
			f.born[ref.Ino] = true
		}
	}
	return nil
}

func parseLease(kv KV) (Ino, LeaseEntry, error) {
	ino, err := ParseLeaseKey(kv.Key)
	if err != nil {
		return 0, LeaseEntry{}, err
	}
	e, err := DecodeLeaseEntry(kv.Value)
	return ino, e, err
}

// key holds one key that is written, or with value nil deleted, to the rule.
func (f *fence) key(k, value []byte) error {
	switch k[0] {
	case prefixLease:
		return f.lease(k, value)
	case prefixExtent:
		ino := Ino(binary.BigEndian.Uint64(k[1:]))
		if f.born[ino] {
			return nil
		}
		return f.refuse(f.over(Ref{Ino: ino}))
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

// lease holds a change of leases to the rule.
func (f *fence) lease(k, value []byte) error {
	ino, err := ParseLeaseKey(k)
	if err != nil {
		return err
	}
	if l, _, err := f.foreign(ino); err != nil || l != nil {
		return f.refuse(l, err)
	}
	if value == nil {
		return nil
	}
	e, err := DecodeLeaseEntry(value)
	if err != nil || e.Lease != nil || f.own[e.Of] {
		return err
	}
	// A part is noted by who holds the lease, and nobody else.
	at, there, err := leaseEntry(f.r, e.Of)
	if err == nil && (!there || at.Lease == nil || at.Lease.Device != f.by) {
		err = ErrLeased
	}
	return err
}
