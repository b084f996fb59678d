package sync

import "errors"

var (
	// ErrFork: a slot holds a commit, signed by a writer, of another history.
	ErrFork = errors.New("the store shows two histories")

	// ErrRollback: a slot that was there is gone, or an older one is shown.
	ErrRollback = errors.New("the store is missing commits")

	// ErrConflict: another machine changed what a pending operation is about.
	ErrConflict = errors.New("another machine changed the same files")

	// ErrAsleep: this machine heard nothing for so long that others may have deleted
	// the slots that it would go on from. The next mount begins at what they left.
	ErrAsleep = errors.New("this machine slept while others went on; lock and mount again")

	// ErrNoKey: no hint in the store holds the volume's key for this member.
	ErrNoKey = errors.New("no readable hint of the volume")

	// ErrElsewhere: the store has neither a hint nor a commit of the volume.
	ErrElsewhere = errors.New("the drive does not lie here")

	// errTwin: the chain has a commit of this device that this machine did not
	// make. The next mount makes it a device of its own.
	errTwin = errors.New("another machine works with a copy of this machine's state; lock and mount again")

	// errLocal: the journal's own copy of file bytes is gone or was changed.
	errLocal = errors.New("a pack file of the journal is damaged on the local disk")

	// errEnded: Run has ended, so nothing would bring the operations to the store.
	errEnded = errors.New("publishing has ended")
)
