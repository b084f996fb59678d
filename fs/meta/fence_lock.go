package meta

import "encoding/binary"

// locks holds a batch to the locks of files: a device changes none but its own, takes
// none that another holds in a mode that excludes it, and does not change what a file
// holds that another has locked exclusively. What has run out holds nobody up.
//
// That others cannot write is more than an advisory lock asks for. It is there for the
// writer who is late: whose lock ran out while it was away, and went to another.
func (f *fence) locks(b *Batch) error {
	own := false
	for _, kv := range b.Puts {
		own = own || kv.Key[0] == prefixLock
	}
	for _, k := range b.Deletes {
		own = own || k[0] == prefixLock
	}
	if !own {
		some := false
		if err := AllLocks(f.r, func(Ino, Device, Lock) bool { some = true; return false }); err != nil || !some {
			return err
		}
	}
	for _, k := range b.Deletes {
		if k[0] != prefixLock {
			continue
		}
		if _, by, err := ParseLockKey(k); err != nil {
			return err
		} else if by != f.by {
			return ErrLeased
		}
	}
	for _, kv := range b.Puts {
		var err error
		switch kv.Key[0] {
		case prefixLock:
			err = f.lock(kv)
		case prefixInode:
			err = f.content(kv)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lock holds what a device says of its own lock to those of others.
func (f *fence) lock(kv KV) error {
	ino, by, err := ParseLockKey(kv.Key)
	if err != nil {
		return err
	}
	l, err := DecodeLock(kv.Value)
	if err != nil {
		return err
	}
	if by != f.by || l.Until > f.slot+MaxLockTerm {
		return ErrLeased
	}
	if l.Mode == LockNone {
		return nil
	}
	other, err := LockedBy(f.r, ino, f.by, f.slot)
	if err == nil && (other == LockExclusive || other == LockShared && l.Mode == LockExclusive) {
		err = ErrLeased
	}
	return err
}

// content refuses another content for a file that another device has locked.
func (f *fence) content(kv KV) error {
	ino := Ino(binary.BigEndian.Uint64(kv.Key[fieldLen:]))
	other, err := LockedBy(f.r, ino, f.by, f.slot)
	if err != nil || other != LockExclusive {
		return err
	}
	was, ok, err := f.get(kv.Key)
	if err != nil || !ok {
		return err
	}
	old, err := DecodeInode(was)
	if err != nil {
		return err
	}
	now, err := DecodeInode(kv.Value)
	if err == nil && now.Kind == File && now.Version != old.Version {
		err = ErrLeased
	}
	return err
}
