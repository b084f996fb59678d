package volume

import (
	"context"
	"errors"
	"fmt"

	"github.com/hushfs/hushfs/fs/meta"
)

// change locks v for a change, or says why it takes none. The caller unlocks.
func (v *Volume) change(ctx context.Context) (unlock func(), err error) {
	if err := v.writable(ctx); err != nil {
		return nil, err
	}
	v.mu.Lock()
	// Shutdown may have begun meanwhile, and what comes after it is lost.
	if v.closing {
		v.mu.Unlock()
		return nil, ErrShutdown
	}
	if err := v.broken; err != nil {
		v.mu.Unlock()
		return nil, err
	}
	return v.mu.Unlock, nil
}

// writable says whether the volume takes a change, making this machine a device
// of the drive before its first one.
func (v *Volume) writable(ctx context.Context) error {
	if v.o.ReadOnly {
		return ErrReadOnly
	}
	if err := v.sync.Removed(); err != nil {
		return err
	}
	if enrolled, err := v.enrolled(); enrolled || err != nil {
		return err
	}
	ctx, cancel := v.patient(ctx)
	defer cancel()
	if err := v.enroll.lock(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrEnroll, err)
	}
	defer v.enroll.unlock()
	if enrolled, err := v.enrolled(); enrolled || err != nil {
		return err
	}
	if v.o.Writer != 0 {
		return ErrWriter
	}
	number, err := v.sync.Enroll(ctx)
	if err != nil {
		v.notEnrolled(err)
		return fmt.Errorf("%w: %w", ErrEnroll, err)
	}
	v.notes.mend(firstChange)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.device, v.nextOp = number, 1
	return nil
}

// firstChange is the subject of the warning that changes fail.
const firstChange = "first change"

const firstNeedsStore = "this machine has never written to the drive, and becomes a device of it with its first change, which needs the store"

// notEnrolled says that a change failed because this machine has no number yet. The
// journal cannot take it: the numbers of inodes, packs and operations begin with that of
// the device, which is its own only once the chain says so.
func (v *Volume) notEnrolled(err error) {
	if errors.Is(err, context.Canceled) {
		return // whoever made it gave up
	}
	why := errors.New("the last one failed (EIO): " + firstNeedsStore + ". It is tried again with the next change; reading goes on")
	if v.notes.warn(firstChange, why) {
		v.log.Error("changes fail: this machine is no device of the drive yet, and its first change needs the store", "err", err)
	}
}

// enrolled says whether this machine has a number; ErrShutdown when it needs none
// any more.
func (v *Volume) enrolled() (bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closing {
		return false, ErrShutdown
	}
	return v.device != 0, nil
}

// apply changes one inode, which may have no name any more; v is locked.
func (v *Volume) apply(ref meta.Ref, op meta.Op) error {
	if o := v.orphans[v.at(ref).Ino]; o != nil {
		return v.applyTo(o, op)
	}
	if _, err := v.stored(ref); err != nil {
		return err
	}
	return v.execute(op)
}
