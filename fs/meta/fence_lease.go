package meta

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
	if h.lease == nil || !f.counts(h.lease, h.of) {
		return nil, 0, nil
	}
	return h.lease, h.of, nil
}

// counts says whether a lease keeps the author of the batch away.
func (f *fence) counts(l *Lease, of Ino) bool {
	return l.Device != f.by && l.Until >= f.slot && !f.taken[of]
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
// may go on to change what it is for, and to lease a part of it. So those that are taken
// away are found before any is judged: keys have an order, and what they mean has none.
func (f *fence) gives(b *Batch) (changes bool, err error) {
	var all []Ino
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
		if e.Lease.Device != f.by || e.Lease.Until > f.slot+MaxLeaseTerm {
			return true, ErrLeased
		}
		l, of, err := f.foreign(ino)
		if err != nil {
			return true, err
		}
		if l != nil && of == ino && e.Lease.From == l.Number {
			f.taken[of] = true
		}
		f.own[ino] = true
		all = append(all, ino)
	}
	for _, ino := range all {
		if l, _, err := f.foreign(ino); err != nil || l != nil {
			return true, f.refuse(l, err)
		}
	}
	for _, k := range b.Deletes {
		changes = changes || k[0] == prefixLease
	}
	return changes, nil
}

func parseLease(kv KV) (Ino, LeaseEntry, error) {
	ino, err := ParseLeaseKey(kv.Key)
	if err != nil {
		return 0, LeaseEntry{}, err
	}
	e, err := DecodeLeaseEntry(kv.Value)
	return ino, e, err
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
