package volume

import "errors"

var (
	ErrReadOnly       = errors.New("mounted read-only")                                                  // a change of a read-only mount (EROFS)
	ErrWriter         = errors.New("one machine alone may write to this drive, and it is another")       // EROFS
	ErrNoSpace        = errors.New("no space left for what is not in the store yet")                     // ENOSPC
	ErrAttributes     = errors.New("an inode has room for no more attributes")                           // ENOSPC
	ErrStale          = errors.New("inode is gone")                                                      // ESTALE
	ErrShutdown       = errors.New("volume is being locked")                                             // a change after Shutdown began (EIO)
	ErrRollback       = errors.New("the store shows an older state than this machine saw")               // nothing is mounted
	ErrFork           = errors.New("the store shows another history than this machine saw")              // nothing is mounted
	ErrUnacceptable   = errors.New("this cannot be accepted as it is")                                   // nothing was changed
	ErrNothingMissing = errors.New("the store has all that this machine and the drive's header know of") // nothing to accept
	ErrJournal        = errors.New("journaled changes do not fit the drive any more")                    // nothing is mounted, nothing is lost
	ErrUndrained      = errors.New("not everything is in the store")                                     // it stays in the journal
	ErrState          = errors.New("local state folder cannot be used")                                  // foreign or damaged
	ErrUnfinished     = errors.New("this machine was interrupted")                                       // only a mount that may write goes on with it
	ErrEnroll         = errors.New("this machine could not be made a device of the drive")               // its first change needs the store (EIO)
	ErrNoConflict     = errors.New("no such conflict")                                                   // or not any more
	ErrNoLock         = errors.New("the lock of a file that all machines share needs the store")         // ENOLCK
	ErrLocked         = errors.New("another machine holds the lock")                                     // EAGAIN
	ErrLockCycle      = errors.New("another machine waits for what this one holds")                      // EDEADLK
	ErrUnresolved     = errors.New("not resolved")                                                       // what was asked for a conflict cannot be done; the text says why
)
