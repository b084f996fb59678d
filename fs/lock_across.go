package fs

import (
	"context"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
)

// across says whether the locks of a file that is being opened are those of all machines.
// Such a file is read and written past the kernel's cache: what a program reads when it
// has the lock is what was written last, and what it wrote is here when it gives it back.
//
// It is sure unless that is not known because the store is away.
func (s *Server) across(ctx context.Context, node uint64) (across, sure bool) {
	if s.o.ReadOnly {
		return false, true
	}
	dir, ok := s.nodes.directory(node)
	if !ok {
		return false, true
	}
	across, err := s.v.LocksAcross(ctx, dir)
	return across, err == nil
}

// lockable answers volume.ErrNoLock where a lock that the programs of this machine alone
// would know must not be given.
func (s *Server) lockable(ctx context.Context, node uint64, h *handle) error {
	dir, ok := s.nodes.directory(node)
	if !ok || h == nil || h.across {
		return nil
	}
	across, err := s.v.LocksAcross(ctx, dir)
	switch {
	case err == nil && across:
		s.log.Warn("no lock: the file was opened before its folder had locks of all machines, or by a mount that is read-only")
		return volume.ErrNoLock
	case err != nil && h.unsure:
		s.log.Warn("no lock: it is not known whether other machines are to know it", "err", err)
		return volume.ErrNoLock
	}
	return nil
}

// giveBack gives other machines what the programs of this one need no more of the lock
// of a file.
func (s *Server) giveBack(ref meta.Ref) {
	s.v.UnlockFile(ref, func() meta.LockMode { return s.locks.needs(s.v.Ino(ref)) })
}

// needs is how programs hold an inode, by locks of either kind.
func (t *locks) needs(ino meta.Ino) (mode meta.LockMode) {
	t.each(ino, func(tab *lockTable) {
		for _, h := range tab.held {
			if h.exclusive {
				mode = meta.LockExclusive
			}
			mode = max(mode, meta.LockShared)
		}
	})
	return mode
}

// of lists what an owner holds.
func (t *locks) of(f lockFile, owner uint64) (had []lock) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if tab := t.files[f]; tab != nil {
		for _, h := range tab.held {
			if h.owner == owner {
				had = append(had, h)
			}
		}
	}
	return had
}

// back takes from its owner what lock gave it, in place of what it had. Nobody else can
// have been given what excludes that meanwhile. Of a whole file nothing is had again:
// flock(2) gives back the old lock before it asks for the new one.
func (t *locks) back(f lockFile, l lock, had []lock) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tab := t.files[f]
	if tab == nil {
		return
	}
	tab.cut(l)
	for _, h := range had {
		if f.kind == wholeLocks && h.exclusive != l.exclusive || !h.overlaps(l) {
			continue
		}
		h.start, h.end = max(h.start, l.start), min(h.end, l.end)
		tab.put(h)
	}
	tab.grant()
	t.tidy(f)
}

// checkLocks says whether an inode may have value as its volume.LocksAttr.
func (s *Server) checkLocks(ctx context.Context, ref meta.Ref, value []byte) fuse.Status {
	a, err := s.v.Attr(ctx, ref)
	if err != nil {
		return errno(s.log, "setxattr", err)
	}
	if v := string(value); a.Inode.Kind != meta.Dir || v != volume.LocksLocal && v != volume.LocksShared {
		return fuse.EINVAL
	}
	return fuse.OK
}
