package sync

import "errors"

var (
	// ErrFork: a slot holds a commit, signed by a writer, of another history.
	ErrFork = errors.New("the store shows two histories")

	// ErrRollback: a slot that was there is gone, or an older one is shown.
	ErrRollback = errors.New("the store is missing commits")

	// ErrConflict: another machine changed the same file, and what was written here is in
	// a copy beside it.
	ErrConflict = errors.New("another machine changed the same file; what was written here is kept in a copy")

	// ErrFaster: another machine took the name first.
	ErrFaster = errors.New("another machine was faster")

	// ErrAsleep: this machine heard nothing for so long that others deleted the slots
	// that it would go on from, and what they left does not show that its own came before.
	ErrAsleep = errors.New("this machine slept while others went on; lock and mount again")

	// ErrTrimmed: the state at an earlier slot cannot be had any more.
	ErrTrimmed = errors.New("the commits up to there were trimmed")

	// ErrNoKey: no hint in the store holds the volume's key for this member.
	ErrNoKey = errors.New("no readable hint of the volume")

	// ErrElsewhere: the store has neither a hint nor a commit of the volume.
	ErrElsewhere = errors.New("the drive does not lie here")

	// errTwin: the chain has a commit of this device that this machine did not
	// make. The next mount makes it a device of its own.
	errTwin = errors.New("another machine works with a copy of this machine's state; lock and mount again")

	// errHintTaken: something else lies under the name of a hint that is to be written.
	errHintTaken = errors.New("something else lies under that name")

	// errLocal: the journal's own copy of file bytes is gone or was changed.
	errLocal = errors.New("a pack file of the journal is damaged on the local disk")

	// errReturned: this machine slept and went on from a later slot; what was begun
	// before is to be begun anew.
	errReturned = errors.New("this machine slept, and begins anew from where others are")

	// errEnded: Run has ended, so nothing would bring the operations to the store.
	errEnded = errors.New("publishing has ended")
)
