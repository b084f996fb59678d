package volume

import (
	"context"
	"errors"
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
// Within the machine its programs have locks among themselves, see package fs. The zero
// value is ready.
type fileLocks struct {
	mu    sync.Mutex // guards the fields below and those of each fileLock; nothing is taken after it
	files map[meta.Ino]*fileLock
}

// fileLock is one of fileLocks.
type fileLock struct {
	door  door          // held while the mode is changed, also over the store; taken before v's lock
	mode  meta.LockMode // what the store says that this machine has
	users int           // calls that are about it: it is kept for them
	again func()        // gives back what could not be given back; nil: nothing is to be
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
	f.mode, f.again = mode, again
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

// LockFile gives this machine the lock of a file, in a mode or a stronger one, and
// returns when the store has it and all that was written by whoever had it before is
// shown here. With wait it waits until it can be had, or ctx ends.
//
// ErrLocked when another machine has it, ErrLockCycle when two machines wait for each
// other to give up what both have, ErrNoLock when the store is away.
func (v *Volume) LockFile(ctx context.Context, ref meta.Ref, mode meta.LockMode, wait bool) error {
	if err := v.writable(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrNoLock, err)
	}
	ino := v.Ino(ref)
	f, done := v.locks.use(ino)
	defer done()
	t := lockTry{v: v, f: f, ino: ino, mode: mode, wait: wait, begin: time.Now()}
	pause, lost := lockPoll, 0
	for {
		err := t.once(ctx)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errLost) && (wait || lost < 3):
			lost++
			continue
		case errors.Is(err, errLost):
			err = ErrLocked
		case !errors.Is(err, ErrLocked) && ctx.Err() == nil && !errors.Is(err, ErrLockCycle):
			err = fmt.Errorf("%w: %w", ErrNoLock, err)
			v.log.Warn("a lock that other machines know could not be had", "inode", uint64(ino), "err", err)
		}
		if wait && errors.Is(err, ErrLocked) {
			select {
			case <-time.After(pause):
				pause = min(2*pause, lockPollMost)
				continue
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		t.withdraw()
		return err
	}
}

// LockedElsewhere is how other machines have the lock of a file.
func (v *Volume) LockedElsewhere(ctx context.Context, ref meta.Ref) (mode meta.LockMode, err error) {
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	ino := v.Ino(ref)
	if err := v.sync.CatchUp(ctx); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrNoLock, err)
	}
	err = v.locked(ctx, func() error {
		slot := v.view.Slot() + 1
		return v.view.Read(func(r meta.Reader) error {
			mode, err = meta.LockedBy(r, ino, v.device, slot)
			return err
		})
	})
	return mode, err
}

// errLost: another machine was faster.
var errLost = errors.New("another machine took the lock first")

// lockTry is one who wants a lock.
type lockTry struct {
	v     *Volume
	f     *fileLock
	ino   meta.Ino
	mode  meta.LockMode
	wait  bool
	begin time.Time
	asked time.Time // when others were last told; zero: they were not
}

// once takes the lock if it can be had.
func (t *lockTry) once(ctx context.Context) error {
	v := t.v
	if err := t.f.door.lock(ctx); err != nil {
		return err
	}
	defer t.f.door.unlock()
	have := v.locks.mode(t.f)
	if have >= t.mode {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	if err := v.sync.CatchUp(ctx); err != nil {
		return err
	}
	var held, wanted, cycle bool
	slot := uint64(0)
	err := v.locked(ctx, func() error {
		held, wanted, cycle, slot = false, false, false, v.view.Slot()
		return v.view.Read(func(r meta.Reader) error {
			return meta.Locks(r, t.ino, func(by meta.Device, l meta.Lock) bool {
				if by == v.device || l.Until <= slot {
					return true
				}
				held = held || excludes(l.Mode, t.mode)
				wanted = wanted || excludes(l.Want, t.mode)
				cycle = cycle || have == meta.LockShared && l.Mode == meta.LockShared && l.Want == meta.LockExclusive && by < v.device
				return true
			})
		})
	})
	switch {
	case err != nil:
		return err
	case held && cycle && t.wait:
		return ErrLockCycle
	case held && t.wait && time.Since(t.asked) >= askEvery:
		t.asked = time.Now()
		if err := v.setLock(ctx, t.ino, meta.Lock{Mode: have, Want: t.mode, Until: slot + meta.LockTerm}); err != nil && !errors.Is(err, meta.ErrLeased) {
			return err
		}
		return ErrLocked
	case held:
		return ErrLocked
	case wanted && t.wait && t.asked.IsZero() && time.Since(t.begin) < yieldFor:
		return ErrLocked // who waited before is to have it
	}
	err = v.setLock(ctx, t.ino, meta.Lock{Mode: t.mode, Until: slot + meta.LockTerm})
	if errors.Is(err, meta.ErrLeased) {
		return errLost
	}
	var now meta.Lock
	if err == nil {
		now, err = v.ownLock(ctx, t.ino)
	}
	if err != nil {
		v.backTo(t.ino, have)
		return err
	}
	if now.Mode < t.mode {
		return errLost
	}
	v.locks.set(t.f, t.mode, nil)
	return nil
}

func excludes(a, b meta.LockMode) bool {
	return a != meta.LockNone && b != meta.LockNone && (a == meta.LockExclusive || b == meta.LockExclusive)
}

// withdraw says that nobody here waits any more.
func (t *lockTry) withdraw() {
	if t.asked.IsZero() || t.f.door.lock(t.v.life) != nil {
		return
	}
	defer t.f.door.unlock()
	t.v.backTo(t.ino, t.v.locks.mode(t.f))
}

// backTo has the chain say again that this machine has a lock in a mode, and does not
// wait for that; the lock's door is held.
func (v *Volume) backTo(ino meta.Ino, mode meta.LockMode) {
	err := v.changing(v.life, func() error {
		l := meta.Lock{}
		if mode != meta.LockNone {
			l = meta.Lock{Mode: mode, Until: v.view.Slot() + meta.LockTerm}
		}
		return v.execute(&meta.SetLock{Ino: ino, Lock: l})
	})
	if err != nil {
		v.log.Warn("a lock was not given back; it runs out", "inode", uint64(ino), "err", err)
		return
	}
	v.hurry()
}

// setLock notes what this machine has of a lock, and returns when the store has it.
func (v *Volume) setLock(ctx context.Context, ino meta.Ino, l meta.Lock) error {
	return v.lease(ctx, func(uint64) meta.Op { return &meta.SetLock{Ino: ino, Lock: l} })
}

// ownLock is what this machine has of a lock, as the chain has it.
func (v *Volume) ownLock(ctx context.Context, ino meta.Ino) (own meta.Lock, err error) {
	err = v.locked(ctx, func() error {
		own = meta.Lock{}
		return v.view.Read(func(r meta.Reader) error {
			return meta.Locks(r, ino, func(by meta.Device, l meta.Lock) bool {
				if by == v.device {
					own = l
				}
				return true
			})
		})
	})
	return own, err
}

// hurry publishes what waits, and does not wait for that.
func (v *Volume) hurry() {
	v.mu.Lock()
	last := v.nextOp - 1
	v.mu.Unlock()
	go func() {
		err := v.persist()
		if err == nil {
			err = v.sync.Confirm(v.life, last)
		}
		if err != nil {
			v.log.Debug("a lock is given back later", "err", err)
		}
	}()
}

// UnlockFile gives back what this machine's programs do not need of the lock of a file:
// needed is asked how it is held among them. What was written to files comes before that
// in the chain, so who gets the lock next sees it.
func (v *Volume) UnlockFile(ref meta.Ref, needed func() meta.LockMode) {
	ino := v.Ino(ref)
	if !v.locks.has(ino) {
		return
	}
	f, done := v.locks.use(ino)
	defer done()
	if f.door.lock(v.life) != nil {
		return
	}
	defer f.door.unlock()
	have, need := v.locks.mode(f), needed()
	if need >= have {
		return
	}
	_ = v.seal(ref, false)
	if err := v.pinOld(v.life, 0); err != nil { // of other files: what is locked may stand for them
		v.log.Warn("not all that was written under a lock comes before it is given back", "inode", uint64(ino), "err", err)
	}
	err := v.changing(v.life, func() error {
		if err := v.settleFile(ref, func(d *dirty) error { return v.pin(d.ref.Ino) }); err != nil && !errors.Is(err, meta.ErrLeased) {
			return err
		}
		l := meta.Lock{}
		if need != meta.LockNone {
			l = meta.Lock{Mode: need, Until: v.view.Slot() + meta.LockTerm}
		}
		return v.execute(&meta.SetLock{Ino: ino, Lock: l})
	})
	if err != nil {
		v.log.Warn("a lock is given back later", "inode", uint64(ino), "err", err)
		v.locks.set(f, have, func() { v.UnlockFile(ref, needed) })
		return
	}
	v.locks.set(f, need, nil)
	v.hurry()
}

// keepLocks looks after the locks that this machine has until ctx ends.
func (v *Volume) keepLocks(ctx context.Context) error {
	tick := time.NewTicker(keepLocksEvery)
	defer tick.Stop()
	tidied := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if v.o.ReadOnly {
			continue
		}
		if !tidied {
			tidied = v.dropOldLocks(ctx)
		}
		inos := v.locks.all()
		if len(inos) == 0 {
			continue
		}
		// Nobody who is away learns what became of its locks; they are looked at again.
		if err := v.sync.CatchUp(ctx); err != nil {
			v.log.Debug("locks are not looked after", "err", err)
			continue
		}
		for _, ino := range inos {
			v.keepLock(ctx, ino)
		}
	}
}

// keepLock moves on the time of a lock, or notes that it was lost.
func (v *Volume) keepLock(ctx context.Context, ino meta.Ino) {
	f, done := v.locks.use(ino)
	defer done()
	if again := v.locks.todo(f); again != nil {
		again()
		return
	}
	if !f.door.try() {
		return // it is being changed
	}
	defer f.door.unlock()
	have := v.locks.mode(f)
	if have == meta.LockNone {
		return
	}
	own, err := v.ownLock(ctx, ino)
	if err != nil {
		return
	}
	switch slot := v.view.Slot(); {
	case own.Mode < have || own.Until <= slot:
		v.log.Error("this machine was away for so long that it has lost a lock; what was written since goes to a copy where another has it", "inode", uint64(ino))
		v.locks.set(f, meta.LockNone, nil)
		v.backTo(ino, meta.LockNone)
	case own.Until < slot+meta.LockTerm/2:
		v.backTo(ino, have)
	}
}

// dropOldLocks gives back what this machine had before it was mounted, and says whether
// that is done.
func (v *Volume) dropOldLocks(ctx context.Context) bool {
	var old []meta.Ino
	err := v.locked(ctx, func() error {
		old = nil
		if v.device == 0 {
			return nil
		}
		return v.view.Read(func(r meta.Reader) error {
			return meta.AllLocks(r, func(ino meta.Ino, by meta.Device, _ meta.Lock) bool {
				if by == v.device && !v.locks.has(ino) {
					old = append(old, ino)
				}
				return true
			})
		})
	})
	for _, ino := range old {
		f, done := v.locks.use(ino)
		if f.door.try() {
			if v.locks.mode(f) == meta.LockNone {
				v.backTo(ino, meta.LockNone)
			}
			f.door.unlock()
		}
		done()
	}
	return err == nil
}

// lockedElsewhere answers meta.ErrLeased when another machine has locked a file that
// follows others exclusively, which is open here; v is locked.
func (v *Volume) lockedElsewhere(ino meta.Ino) error {
	if o := v.open[ino]; o == nil || !o.follows {
		return nil
	}
	slot := v.view.Slot() + 1
	return v.view.Read(func(r meta.Reader) error {
		mode, err := meta.LockedBy(r, ino, v.device, slot)
		if err == nil && mode == meta.LockExclusive {
			err = meta.ErrLeased
		}
		return err
	})
}
