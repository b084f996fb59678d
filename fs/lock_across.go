package fs

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

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

// lockAcross gives this machine a lock that one of its programs has among its own, in
// place of what that had.
func (s *Server) lockAcross(ctx context.Context, h *handle, f lockFile, l lock, had []lock, wait bool) error {
	a := &asker{file: f, lock: l}
	for _, h := range had {
		if f.kind == rangeLocks && h.overlaps(l) {
			a.keeps = max(a.keeps, h.mode())
		}
	}
	s.locks.ask(a, true)
	defer s.locks.ask(a, false)
	err := s.v.LockFile(ctx, h.ref, volume.LockWish{
		Mode: l.mode(), Wait: wait, Upgrade: a.keeps != meta.LockNone && a.keeps < l.mode(),
		Others: func() meta.LockMode { return s.locks.given(s.v.Ino(h.ref)) },
		Got:    func() { s.locks.ask(a, false) },
	})
	if err == nil {
		err = s.stillNamed(ctx, h)
	}
	if err != nil {
		return err
	}
	return s.shown(ctx)
}

// shown returns when the kernel has dropped what it kept of what others changed: who has
// got a lock may look at other files next, by names that the kernel has in mind. Who waits
// for a lock of ours has none of the kernel's. But another program may have, as of a
// folder in which it makes something and waits for the store; then there is no lock rather
// than one under which old names are found.
func (s *Server) shown(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, shownPatience)
	defer cancel()
	err := s.notify.through(limited)
	if err != nil && ctx.Err() == nil {
		s.log.Warn("no lock: the kernel still keeps what others changed, for a program that waits for the store", "after", shownPatience)
		return fmt.Errorf("%w: the kernel keeps what others changed", volume.ErrNoLock)
	}
	return err
}

// asker is a program that has a lock among those of this machine, and asks for it among
// machines.
type asker struct {
	file  lockFile
	lock  lock
	keeps meta.LockMode // how it has it until then
}

// ask notes one who asks, or that it does no more.
func (t *locks) ask(a *asker, begin bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !begin {
		delete(t.asking, a)
		return
	}
	if t.asking == nil {
		t.asking = map[*asker]bool{}
	}
	t.asking[a] = true
}

// shownPatience is for how long who has got a lock waits for the kernel to drop what it
// kept of what others changed: as long as for the store.
const shownPatience = 10 * time.Second

// stillNamed answers volume.ErrNoLock, once, of a file that was made through a handle
// where another machine had made one of that name before: ours has another name now, and
// its lock keeps nobody away from theirs.
func (s *Server) stillNamed(ctx context.Context, h *handle) error {
	h.mu.Lock()
	at := h.made
	h.made = place{}
	h.mu.Unlock()
	if at == (place{}) {
		return nil
	}
	a, err := s.v.Lookup(ctx, at.dir, []byte(at.name))
	if err == nil && a.Ref.Ino.Device() != s.v.Ino(h.ref).Device() {
		s.log.Warn("no lock: another machine made a file of that name at the same time", "inode", uint64(a.Ref.Ino))
		return volume.ErrNoLock
	}
	return nil
}

func (l lock) mode() meta.LockMode {
	if l.exclusive {
		return meta.LockExclusive
	}
	return meta.LockShared
}

// needs is how programs hold an inode, by locks of either kind, or are about to.
func (t *locks) needs(ino meta.Ino) meta.LockMode { return t.strongest(ino, false) }

// given is how programs hold an inode without what they still ask other machines for.
func (t *locks) given(ino meta.Ino) meta.LockMode { return t.strongest(ino, true) }

// strongest is the strongest lock of an inode; with given those who ask have what they
// keep.
func (t *locks) strongest(ino meta.Ino, given bool) (mode meta.LockMode) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var asking map[*asker]bool
	if given {
		asking = t.asking
	}
	for a := range asking {
		if a.file.ino == ino {
			mode = max(mode, a.keeps)
		}
	}
	for _, kind := range [...]lockKind{rangeLocks, wholeLocks} {
		f := lockFile{ino, kind}
		if t.files[f] == nil {
			continue
		}
		for _, l := range t.files[f].held {
			asked := false
			for a := range asking {
				asked = asked || a.file == f && a.lock.owner == l.owner && a.lock.overlaps(l)
			}
			if !asked {
				mode = max(mode, l.mode())
			}
		}
	}
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

// holds says whether all of l is its owner's.
func (t *locks) holds(f lockFile, l lock) bool {
	at := l.start
	had := t.of(f, l.owner)
	slices.SortFunc(had, func(a, b lock) int { return cmp.Compare(a.start, b.start) })
	for _, h := range had {
		if h.exclusive != l.exclusive || h.start > at || h.end < at {
			continue
		}
		if h.end >= l.end {
			return true
		}
		at = h.end + 1
	}
	return false
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
