package volume

import (
	"context"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
)

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
	if v.locks.mode(f) != meta.LockNone {
		_ = v.lookAfter(ctx, f, ino) // it is again
	}
}

// lookAfter notes what the chain says of a lock that this machine has, and moves on its
// time; the lock's door is held.
func (v *Volume) lookAfter(ctx context.Context, f *fileLock, ino meta.Ino) error {
	have, wanted := v.locks.mode(f), false
	var own meta.Lock
	var slot uint64
	err := v.locked(ctx, func() error {
		own, wanted, slot = meta.Lock{}, false, v.view.Slot()
		return v.view.Read(func(r meta.Reader) error {
			return meta.Locks(r, ino, func(by meta.Device, l meta.Lock) bool {
				if by == v.device {
					own = l
				} else if l.Until > slot {
					wanted = wanted || excludes(l.Want, have)
				}
				return true
			})
		})
	})
	if err != nil {
		return err
	}
	switch {
	case own.Mode < have || own.Until <= slot:
		v.log.Error("this machine was away for so long that it has lost a lock; what was written since goes to a copy where another has it", "inode", uint64(ino))
		v.locks.set(f, meta.LockNone, nil)
		v.backTo(ino, meta.LockNone)
		return nil
	case own.Until < slot+meta.LockTerm/2:
		v.backTo(ino, have)
	}
	v.locks.seen(f, wanted)
	return nil
}

// leaveLocks gives back all locks that this machine has: its programs are to have the
// drive no more. Where the store is away the next mount does.
func (v *Volume) leaveLocks(ctx context.Context) {
	inos := v.locks.all()
	if len(inos) == 0 {
		return
	}
	if _, away := v.sync.Trouble(); away != nil || v.pinOld(ctx, 0) != nil {
		return
	}
	for _, ino := range inos {
		f, done := v.locks.use(ino)
		if f.door.lock(ctx) == nil {
			if v.locks.mode(f) != meta.LockNone {
				v.locks.set(f, meta.LockNone, nil)
				v.backTo(ino, meta.LockNone)
			}
			f.door.unlock()
		}
		done()
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
