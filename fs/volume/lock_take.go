package volume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
)

// LockWish is what a program wants of the lock of a file.
type LockWish struct {
	Mode    meta.LockMode
	Wait    bool // until it can be had
	Upgrade bool // it has the lock in a lesser mode, and keeps that until it has this one

	// Others is asked how this machine's programs hold the lock beside what they wish
	// for, with what those who wish keep; nil: not at all. Got is called when the wish
	// is one no more, before the lock can be lowered to what Others says; nil: it is not.
	Others func() meta.LockMode
	Got    func()
}

// LockFile gives this machine the lock of a file, in a mode or a stronger one, and
// returns when the store has it and all that was written by whoever had it before is
// shown here. Where it is to wait it does until the lock can be had, or ctx ends.
//
// ErrLocked when another machine has it, ErrLockCycle when two machines wait for each
// other to give up what both have, ErrNoLock when the store is away.
func (v *Volume) LockFile(ctx context.Context, ref meta.Ref, wish LockWish) error {
	if err := v.writable(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrNoLock, err)
	}
	t := lockTry{LockWish: wish, v: v, ref: ref, begin: time.Now()}
	if t.Others == nil {
		t.Others = func() meta.LockMode { return meta.LockNone }
	}
	pause, lost := lockPoll, 0
	for {
		err := t.once(ctx)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errLost) && (t.Wait || lost < 3):
			lost++
			continue
		case errors.Is(err, errLost):
			err = ErrLocked
		case errors.Is(err, ErrLocked), errors.Is(err, ErrLockCycle):
		case ctx.Err() != nil:
			err = fmt.Errorf("%w: %w", ctx.Err(), err) // whatever the store said meanwhile
		default:
			err = fmt.Errorf("%w: %w", ErrNoLock, err)
			v.log.Warn("a lock that other machines know could not be had", "inode", uint64(v.Ino(ref)), "err", err)
		}
		if t.Wait && errors.Is(err, ErrLocked) {
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

// errLost: another machine was faster, or the file is another by now.
var errLost = errors.New("another machine took the lock first")

// lockTry is one who wants a lock.
type lockTry struct {
	LockWish
	v       *Volume
	ref     meta.Ref
	begin   time.Time
	asked   time.Time // when others were last told; zero: they were not
	askedOf meta.Ino  // of which inode
}

// once takes the lock if it can be had. Which file's that is, is asked each time: a file
// that two machines made at once is one when they have heard of each other.
func (t *lockTry) once(ctx context.Context) error {
	ino := t.v.Ino(t.ref)
	if ino != t.askedOf {
		t.withdraw()
	}
	f, done := t.v.locks.use(ino)
	defer done()
	if err := f.door.lock(ctx); err != nil {
		return err
	}
	defer f.door.unlock()
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	err := t.take(ctx, f, ino)
	if t.v.Ino(t.ref) == ino {
		if err == nil && t.Got != nil {
			t.Got()
		}
		return err
	}
	if t.v.locks.mode(f) != meta.LockNone {
		t.v.locks.set(f, meta.LockNone, nil)
		t.v.backTo(ino, meta.LockNone)
	}
	if err == nil || errors.Is(err, ErrLocked) {
		err = errLost
	}
	return err
}

// take takes the lock of an inode, whose door is held.
func (t *lockTry) take(ctx context.Context, f *fileLock, ino meta.Ino) error {
	v := t.v
	have, wanted, fresh := v.locks.known(f)
	if have >= t.Mode && fresh && !(wanted && t.Wait && t.Others() == meta.LockNone) {
		return nil
	}
	if have >= t.Mode && fresh {
		// Programs of this machine hand it on among themselves for ever.
		if err := v.lower(f, ino, t.ref, meta.LockNone); err != nil {
			return err
		}
		have, t.begin = meta.LockNone, time.Now()
	}
	if err := v.sync.CatchUp(ctx); err != nil {
		return err
	}
	if have != meta.LockNone {
		if err := v.lookAfter(ctx, f, ino); err != nil {
			return err
		}
		if have = v.locks.mode(f); have >= t.Mode {
			return nil
		}
	}
	var held, cycle bool
	slot := uint64(0)
	err := v.locked(ctx, func() error {
		held, wanted, cycle, slot = false, false, false, v.view.Slot()
		return v.view.Read(func(r meta.Reader) error {
			return meta.Locks(r, ino, func(by meta.Device, l meta.Lock) bool {
				if by == v.device || l.Until <= slot {
					return true
				}
				held = held || excludes(l.Mode, t.Mode)
				wanted = wanted || excludes(l.Want, t.Mode)
				cycle = cycle || t.Upgrade && l.Mode == meta.LockShared && l.Want == meta.LockExclusive && by < v.device
				return true
			})
		})
	})
	switch {
	case err != nil:
		return err
	case held && t.Wait:
		// What nobody here needs is not kept while one waits: flock(2) gives back the
		// lock that it has before it waits for another.
		if need := t.Others(); need < have {
			if err := v.lower(f, ino, t.ref, need); err != nil {
				return err
			}
			have, t.asked = need, time.Time{}
		}
		if cycle && have == meta.LockShared {
			return ErrLockCycle
		}
		if time.Since(t.asked) < askEvery {
			return ErrLocked
		}
		t.asked, t.askedOf = time.Now(), ino
		if err := v.setLock(ctx, ino, meta.Lock{Mode: have, Want: t.Mode, Until: slot + meta.LockTerm}); err != nil && !errors.Is(err, meta.ErrLeased) {
			return err
		}
		return ErrLocked
	case held:
		return ErrLocked
	case wanted && t.Wait && t.asked.IsZero() && time.Since(t.begin) < yieldFor:
		return ErrLocked // who waited before is to have it
	}
	err = v.setLock(ctx, ino, meta.Lock{Mode: t.Mode, Until: slot + meta.LockTerm})
	if errors.Is(err, meta.ErrLeased) {
		return errLost
	}
	var now meta.Lock
	if err == nil {
		now, err = v.ownLock(ctx, ino)
	}
	if err != nil {
		v.backTo(ino, have)
		return err
	}
	if now.Mode < t.Mode || now.Until <= v.view.Slot() {
		return errLost
	}
	v.locks.set(f, t.Mode, nil)
	return nil
}

func excludes(a, b meta.LockMode) bool {
	return a != meta.LockNone && b != meta.LockNone && (a == meta.LockExclusive || b == meta.LockExclusive)
}

// withdraw says that nobody here waits any more.
func (t *lockTry) withdraw() {
	if t.asked.IsZero() {
		return
	}
	ino := t.askedOf
	t.asked, t.askedOf = time.Time{}, 0
	f, done := t.v.locks.use(ino)
	defer done()
	if f.door.lock(t.v.life) != nil {
		return
	}
	defer f.door.unlock()
	t.v.backTo(ino, t.v.locks.mode(f))
}
