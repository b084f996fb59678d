package volume

import (
	"context"
	"errors"

	"github.com/hushfs/hushfs/fs/meta"
)

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
	defer v.mu.Unlock()
	if v.closing {
		return
	}
	last := v.nextOp - 1
	v.locks.hurries.Go(func() {
		err := v.persist()
		if err == nil {
			err = v.sync.Confirm(v.life, last)
		}
		if err != nil {
			v.log.Debug("a lock is given back later", "err", err)
		}
	})
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
	// Who raises the mode, or needs less of it, comes here afterwards.
	if needed() >= v.locks.mode(f) || f.door.lock(v.life) != nil {
		return
	}
	defer f.door.unlock()
	if need := needed(); need < v.locks.mode(f) {
		if err := v.lower(f, ino, ref, need); err != nil {
			if v.locks.todo(f) == nil {
				v.log.Warn("a lock is given back later", "inode", uint64(ino), "err", err)
			}
			v.locks.set(f, v.locks.mode(f), func() { v.UnlockFile(ref, needed) })
		}
	}
}

// lower gives back what this machine has of the lock of an inode, which programs call
// ref, above a mode; the lock's door is held.
func (v *Volume) lower(f *fileLock, ino meta.Ino, ref meta.Ref, mode meta.LockMode) error {
	_ = v.seal(ref, false)
	if err := v.pinOld(v.life, 0); err != nil { // of other files: what is locked may stand for them
		v.log.Warn("not all that was written under a lock comes before it is given back", "inode", uint64(ino), "err", err)
	}
	err := v.changing(v.life, func() error {
		if err := v.settleFile(ref, func(d *dirty) error { return v.pin(d.ref.Ino) }); err != nil && !errors.Is(err, meta.ErrLeased) {
			return err
		}
		l := meta.Lock{}
		if mode != meta.LockNone {
			l = meta.Lock{Mode: mode, Until: v.view.Slot() + meta.LockTerm}
		}
		return v.execute(&meta.SetLock{Ino: ino, Lock: l})
	})
	if err != nil {
		return err
	}
	v.locks.set(f, mode, nil)
	v.hurry()
	return nil
}
