package volume

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
)

// The attribute of a directory by which the locks of files in it, and below, are those
// of all machines, and its values.
const (
	LocksAttr   = "user.hushfs.locks"
	LocksLocal  = "local"
	LocksShared = "shared"
)

const (
	// lockPatience is for how long a program waits for the store to answer what the lock
	// of a file needs of it.
	lockPatience = 10 * time.Second

	// keepLocksEvery is how often who holds a lock looks at the chain.
	keepLocksEvery = 500 * time.Millisecond

	// lockFresh is for how long a machine that has a lock gives it to a further program
	// without asking the store.
	lockFresh = 4 * keepLocksEvery

	// askEvery is how often who waits for a lock says so, which also moves on the time of
	// a holder who is gone. yieldFor is for how long one who had the lock lets another
	// have it who waits.
	askEvery = time.Second
	yieldFor = 2 * time.Second

	// lockPoll is how often who waits for a lock looks at the chain: so often at first,
	// and at longest.
	lockPoll     = 20 * time.Millisecond
	lockPollMost = 250 * time.Millisecond
)

// fileLocks are what this machine has of the locks of files that all machines share.
// Within the machine its programs have locks among themselves, see package fs.
type fileLocks struct {
	hurries sync.WaitGroup       // what hurry began; added to with v locked
	uptime  func() time.Duration // of the machine, its sleep included

	mu    sync.Mutex // guards the fields below and those of each fileLock; nothing is taken after it
	files map[meta.Ino]*fileLock
}

// fileLock is one of fileLocks.
type fileLock struct {
	door  door          // held while the mode is changed, also over the store; taken before v's lock
	mode  meta.LockMode // what the store says that this machine has
	users int           // calls that are about it: it is kept for them
	again func()        // gives back what could not be given back; nil: nothing is to be

	at     time.Time     // when the store said so last
	up     time.Duration // the uptime then
	wanted bool          // another machine waited for it then
}

// use returns what is known of a lock, and keeps it until done.
func (l *fileLocks) use(ino meta.Ino) (f *fileLock, done func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f = l.files[ino]
	if f == nil {
		if l.files == nil {
			l.files = map[meta.Ino]*fileLock{}
		}
		f = new(fileLock)
		l.files[ino] = f
	}
	f.users++
	return f, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if f.users--; f.users == 0 && f.mode == meta.LockNone {
			delete(l.files, ino)
		}
	}
}

func (l *fileLocks) has(ino meta.Ino) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.files[ino] != nil
}

// all lists the inodes of which something is known.
func (l *fileLocks) all() (inos []meta.Ino) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ino := range l.files {
		inos = append(inos, ino)
	}
	return inos
}

func (l *fileLocks) mode(f *fileLock) meta.LockMode {
	l.mu.Lock()
	defer l.mu.Unlock()
	return f.mode
}

func (l *fileLocks) set(f *fileLock, mode meta.LockMode, again func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if again == nil {
		f.at, f.up, f.wanted = time.Now(), l.uptime(), false
	}
	f.mode, f.again = mode, again
}

// seen notes that the store said that this machine still has a lock, and whether another
// waits for it.
func (l *fileLocks) seen(f *fileLock, wanted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f.at, f.up, f.wanted = time.Now(), l.uptime(), wanted
}

// known is how this machine has a lock, whether another waits for it, and whether the
// store said so just now.
func (l *fileLocks) known(f *fileLock) (mode meta.LockMode, wanted, fresh bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return f.mode, f.wanted, time.Since(f.at) < lockFresh && l.uptime()-f.up < lockFresh
}

func (l *fileLocks) todo(f *fileLock) func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	return f.again
}

// LocksAcross says whether the locks of files in the directory dir are those of all
// machines: the nearest directory decides that has the attribute, dir itself included.
func (v *Volume) LocksAcross(ctx context.Context, dir meta.Ref) (bool, error) {
	v.mu.Lock()
	across, known := v.lockDecided[dir.Ino]
	turn := v.decisions
	v.mu.Unlock()
	if known {
		return across, nil
	}
	ctx, cancel := context.WithTimeout(ctx, decideFor)
	defer cancel()
	value, err := v.above(ctx, dir, LocksAttr, LocksLocal, LocksShared)
	if err != nil {
		return false, fmt.Errorf("find out whether locks are those of all machines: %w", err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.decisions == turn {
		if v.lockDecided == nil || len(v.lockDecided) >= decisionsMax {
			v.lockDecided = map[meta.Ino]bool{}
		}
		v.lockDecided[dir.Ino] = value == LocksShared
	}
	return value == LocksShared, nil
}

// Following has what is open, which its handles call as, show at any time what other
// machines made of it, in place of what it was when it was opened. It answers false when
// it is too late for that: it was changed already.
func (v *Volume) Following(as meta.Ref) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	o := v.held[as.Ino]
	if o == nil || v.frozen(as) != nil {
		return false
	}
	o.follows = true
	return true
}
