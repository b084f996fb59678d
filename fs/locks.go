package fs

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
)

var (
	errLocked   = errors.New("somebody else holds the lock")                      // EAGAIN, of those who do not wait
	errDeadlock = errors.New("whoever holds the lock waits for the one who asks") // EDEADLK, of byte ranges
)

// locks are the advisory locks of the programs of this machine. They belong to
// inodes: an inode that gets a new node id keeps them, so programs that have an
// older version open still exclude those that open the newer one. The kernel
// alone would keep them by node.
//
// There are two kinds that know nothing of each other, as in Linux: whole files
// (flock) and byte ranges (fcntl). The kernel names the owner of a lock: a process
// for fcntl's own, an open file for flock's and for F_OFD_SETLK's.
type locks struct {
	mu    sync.Mutex // guards the fields below and all tables; nothing is taken after it
	files map[lockFile]*lockTable

	asking map[*asker]bool // of other machines
}

type lockKind uint8

const (
	rangeLocks lockKind = iota
	wholeLocks
)

// lockFile is one kind of locks of one inode.
type lockFile struct {
	ino  meta.Ino
	kind lockKind
}

// lock is what one owner holds, or asks for.
type lock struct {
	owner      uint64
	fh         uint64 // the handle through which it was asked for
	pid        uint32 // who asked, for those who ask who it was
	start, end uint64 // of the bytes, both within
	exclusive  bool

	// A close of its handle was seen. If that was the last, the kernel's RELEASE is
	// on its way and takes the lock, but close(2) did not wait for it.
	closing bool
}

// lockTable holds the locks of one lockFile, and those who wait, oldest first.
type lockTable struct {
	held    []lock
	waiting []*lockWaiter
}

type lockWaiter struct {
	lock
	granted chan struct{}
	tab     *lockTable // in which it waits, and of which file that is
	file    lockFile
}

// lockGrace is how long one who does not wait for a lock waits all the same for a
// RELEASE that may be on its way.
const lockGrace = 200 * time.Millisecond

// overlaps says whether two locks have a byte in common.
func (l lock) overlaps(m lock) bool { return l.start <= m.end && m.start <= l.end }

// excludes says whether two locks cannot be held at a time.
func (l lock) excludes(m lock) bool {
	return l.owner != m.owner && (l.exclusive || m.exclusive) && l.overlaps(m)
}

// lock gives l to its owner in place of what the owner holds there. With wait it
// waits until l can be had or cancel is closed.
//
// It returns errLocked, errDeadlock, or context.Canceled; then the owner holds what
// it held before, or, of a whole file, nothing: flock(2) gives back the old lock
// before it asks for the new one.
func (t *locks) lock(f lockFile, l lock, wait bool, cancel <-chan struct{}) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	tab := t.table(f)
	defer t.tidy(f)
	if f.kind == wholeLocks && slices.ContainsFunc(tab.held, func(h lock) bool { return h.owner == l.owner && h.exclusive != l.exclusive }) {
		tab.drop(func(h lock) bool { return h.owner == l.owner })
	}
	by, blocked := tab.blocks(l)
	if !blocked {
		tab.put(l)
		return nil
	}
	var late <-chan time.Time
	if !wait {
		if !by.closing {
			return errLocked
		}
		timer := time.NewTimer(lockGrace)
		defer timer.Stop()
		late = timer.C
	} else if f.kind == rangeLocks && t.deadlock(tab, l) {
		return errDeadlock
	}
	w := &lockWaiter{l, make(chan struct{}), tab, f}
	tab.waiting = append(tab.waiting, w)
	t.mu.Unlock()
	err := context.Canceled
	select {
	case <-w.granted:
	case <-cancel:
	case <-late:
		err = errLocked
	}
	t.mu.Lock()
	select {
	case <-w.granted: // perhaps at the last moment
		return nil
	default:
		w.tab.waiting = slices.DeleteFunc(w.tab.waiting, func(x *lockWaiter) bool { return x == w })
		t.tidy(w.file)
		return err
	}
}

// unlock takes from l's owner what it holds of l's bytes.
func (t *locks) unlock(f lockFile, l lock) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if tab := t.files[f]; tab != nil {
		tab.cut(l)
		tab.grant()
		t.tidy(f)
	}
}

// test returns the first of the locks that keep l from being had.
func (t *locks) test(f lockFile, l lock) (by lock, blocked bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if tab := t.files[f]; tab != nil {
		for _, h := range tab.held {
			if h.excludes(l) && (!blocked || h.start < by.start) {
				by, blocked = h, true
			}
		}
	}
	return by, blocked
}

// closed says that owner, a process, has closed the handle fh of an inode: its
// byte ranges of the inode go, through whatever handle it got them.
func (t *locks) closed(ino meta.Ino, fh, owner uint64) {
	t.each(ino, func(tab *lockTable) {
		tab.drop(func(h lock) bool { return h.owner == owner })
		for i := range tab.held {
			if tab.held[i].fh == fh {
				tab.held[i].closing = true
			}
		}
	})
}

// released says that the handle fh of an inode is gone: with it go the locks that
// belong to the open file.
func (t *locks) released(ino meta.Ino, fh uint64) {
	t.each(ino, func(tab *lockTable) {
		tab.drop(func(h lock) bool { return h.fh == fh })
	})
}

// move gives the locks that were had through handles to another inode, with those who
// wait for one there: what is open is that now.
func (t *locks) move(handles map[uint64]bool, from, to meta.Ino) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if from == to {
		return
	}
	for a := range t.asking {
		if a.file.ino == from && handles[a.lock.fh] {
			a.file.ino = to
		}
	}
	for _, kind := range [...]lockKind{rangeLocks, wholeLocks} {
		was := t.files[lockFile{from, kind}]
		if was == nil {
			continue
		}
		is := t.table(lockFile{to, kind})
		was.held = slices.DeleteFunc(was.held, func(l lock) bool {
			if handles[l.fh] {
				is.held = append(is.held, l)
			}
			return handles[l.fh]
		})
		was.waiting = slices.DeleteFunc(was.waiting, func(w *lockWaiter) bool {
			if handles[w.fh] {
				is.waiting = append(is.waiting, w)
				w.tab, w.file = is, lockFile{to, kind}
			}
			return handles[w.fh]
		})
		was.grant()
		is.grant()
		t.tidy(lockFile{from, kind})
		t.tidy(lockFile{to, kind})
	}
}

func (t *locks) each(ino meta.Ino, fn func(*lockTable)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range [...]lockFile{{ino, rangeLocks}, {ino, wholeLocks}} {
		if tab := t.files[f]; tab != nil {
			fn(tab)
			t.tidy(f)
		}
	}
}

// table returns the locks of f; t is locked.
func (t *locks) table(f lockFile) *lockTable {
	if t.files == nil {
		t.files = map[lockFile]*lockTable{}
	}
	if t.files[f] == nil {
		t.files[f] = &lockTable{}
	}
	return t.files[f]
}

// tidy forgets the table of f when nothing is in it; t is locked.
func (t *locks) tidy(f lockFile) {
	if tab := t.files[f]; tab != nil && len(tab.held)+len(tab.waiting) == 0 {
		delete(t.files, f)
	}
}

// deadlock says whether one of those who keep l from being had waits, by whatever
// way, for l's owner; t is locked.
func (t *locks) deadlock(tab *lockTable, l lock) bool {
	seen := map[uint64]bool{l.owner: true}
	var leads func(tab *lockTable, x lock) bool
	leads = func(tab *lockTable, x lock) bool {
		for _, h := range tab.held {
			if !h.excludes(x) {
				continue
			}
			if h.owner == l.owner {
				return true
			}
			if seen[h.owner] {
				continue
			}
			seen[h.owner] = true
			for f, other := range t.files {
				for _, w := range other.waiting {
					if f.kind == rangeLocks && w.owner == h.owner && leads(other, w.lock) {
						return true
					}
				}
			}
		}
		return false
	}
	return leads(tab, l)
}

// blocks returns a lock that keeps l from being had, one that stays if there is
// such a one.
func (t *lockTable) blocks(l lock) (by lock, blocked bool) {
	for _, h := range t.held {
		if h.excludes(l) && (!blocked || by.closing) {
			by, blocked = h, true
		}
	}
	return by, blocked
}

// put gives l, which nothing keeps from being had, to its owner. Locks of one
// owner that touch and are alike become one.
func (t *lockTable) put(l lock) {
	t.cut(l)
	t.held = slices.DeleteFunc(t.held, func(h lock) bool {
		if h.owner != l.owner || h.exclusive != l.exclusive || h.end+1 < l.start || l.end+1 < h.start {
			return false
		}
		l.start, l.end = min(l.start, h.start), max(l.end, h.end)
		return true
	})
	t.held = append(t.held, l)
	t.grant() // an exclusive lock may have become a shared one
}

// cut takes l's bytes from what l's owner holds.
func (t *lockTable) cut(l lock) {
	var rest []lock
	t.held = slices.DeleteFunc(t.held, func(h lock) bool {
		if h.owner != l.owner || !h.overlaps(l) {
			return false
		}
		if h.start < l.start {
			left := h
			left.end = l.start - 1
			rest = append(rest, left)
		}
		if h.end > l.end {
			right := h
			right.start = l.end + 1
			rest = append(rest, right)
		}
		return true
	})
	t.held = append(t.held, rest...)
}

// drop takes the locks that which names.
func (t *lockTable) drop(which func(lock) bool) {
	t.held = slices.DeleteFunc(t.held, which)
	t.grant()
}

// grant gives locks to those who wait and need not any more.
func (t *lockTable) grant() {
	for i := 0; i < len(t.waiting); i++ {
		w := t.waiting[i]
		if _, blocked := t.blocks(w.lock); blocked {
			continue
		}
		t.waiting = slices.Delete(t.waiting, i, i+1)
		close(w.granted)
		t.put(w.lock) // goes on with the others
		return
	}
}
