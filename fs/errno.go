package fs

import (
	"context"
	"errors"
	"log/slog"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/hushfs/hushfs/cache"
	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/block"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/journal"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
	"github.com/hushfs/hushfs/fs/state"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/table"
	"github.com/hushfs/hushfs/fs/volume"
	"github.com/hushfs/hushfs/store"
)

// errnos says which number a program gets for an error. The first row that the
// error is decides, so causes stand above what wraps them.
var errnos = []struct {
	err   error
	errno syscall.Errno
}{
	{volume.ErrNoLock, syscall.ENOLCK},
	{context.Canceled, syscall.EINTR},
	{context.DeadlineExceeded, syscall.ETIMEDOUT},
	{store.ErrTimeout, syscall.ETIMEDOUT},
	{syscall.ENOSPC, syscall.ENOSPC},
	{syscall.EDQUOT, syscall.EDQUOT},
	{journal.ErrFull, syscall.ENOSPC},
	{volume.ErrNoSpace, syscall.ENOSPC},
	{volume.ErrAttributes, syscall.ENOSPC},
	{volume.ErrReadOnly, syscall.EROFS},
	{volume.ErrWriter, syscall.EROFS},
	{volume.ErrStale, syscall.ESTALE},
	{errLocked, syscall.EAGAIN},
	{volume.ErrLocked, syscall.EAGAIN},
	{volume.ErrLockCycle, syscall.EDEADLK},
	{errDeadlock, syscall.EDEADLK},

	{meta.ErrNotExist, syscall.ENOENT},
	{meta.ErrExist, syscall.EEXIST},
	{meta.ErrNotDir, syscall.ENOTDIR},
	{meta.ErrIsDir, syscall.EISDIR},
	{meta.ErrNotEmpty, syscall.ENOTEMPTY},
	{meta.ErrCycle, syscall.EINVAL},
	{meta.ErrTooManyLinks, syscall.EMLINK},
	{meta.ErrName, syscall.EINVAL},
	{meta.ErrNameTooLong, syscall.ENAMETOOLONG},
	{meta.ErrPerm, syscall.EPERM},
	{meta.ErrNoAttr, syscall.ENODATA},
	{meta.ErrNotFile, syscall.EINVAL},
	{meta.ErrTooLarge, syscall.EFBIG},
	{meta.ErrLeased, syscall.EROFS},
	{meta.ErrConflict, syscall.ESTALE},

	// What cannot be had, or not be verified, or not be kept. The log says which.
	{pack.ErrDamaged, syscall.EIO},
	{pack.ErrUnknown, syscall.EIO},
	{pack.ErrClosed, syscall.EIO},
	{meta.ErrAbsent, syscall.EIO},
	{meta.ErrUnknown, syscall.EIO},
	{meta.ErrMalformed, syscall.EIO},
	{volume.ErrShutdown, syscall.EIO},
	{volume.ErrEnroll, syscall.EIO},
	{volume.ErrState, syscall.EIO},
	{volume.ErrUnfinished, syscall.EIO},
	{publish.ErrHandedOver, syscall.EROFS},
	{publish.ErrRemoved, syscall.EROFS},
	{publish.ErrDevice, syscall.EINVAL},
	{publish.ErrNamed, syscall.EINVAL},
	{volume.ErrUnexported, syscall.EIO},
	{volume.ErrNotRemoved, syscall.EIO},
	{publish.ErrHeir, syscall.EINVAL},
	{state.ErrEnrolled, syscall.EIO},
	{state.ErrRequest, syscall.EIO},
	{volume.ErrJournal, syscall.EIO},
	{volume.ErrRollback, syscall.EIO},
	{volume.ErrFork, syscall.EIO},
	{volume.ErrUnacceptable, syscall.EIO},
	{volume.ErrNothingMissing, syscall.EIO},
	{volume.ErrUndrained, syscall.EIO},
	{volume.ErrNoConflict, syscall.EIO},
	{volume.ErrUnresolved, syscall.EIO},
	{publish.ErrFork, syscall.EIO},
	{publish.ErrRollback, syscall.EIO},
	{publish.ErrConflict, syscall.EIO},
	{publish.ErrFaster, syscall.EIO},
	{publish.ErrTrimmed, syscall.EIO},
	{publish.ErrNoKey, syscall.EIO},
	{publish.ErrElsewhere, syscall.EIO},
	{publish.ErrAsleep, syscall.EIO},
	{block.ErrFar, syscall.EIO},
	{block.ErrDamaged, syscall.EIO},
	{block.ErrClosed, syscall.EIO},
	{block.ErrGone, syscall.EIO},
	{block.ErrKey, syscall.EIO},
	{table.ErrFar, syscall.EIO},
	{table.ErrDamaged, syscall.EIO},
	{table.ErrMalformed, syscall.EIO},
	{table.ErrVersion, syscall.EIO},
	{table.ErrEntry, syscall.EIO},
	{table.ErrTooMany, syscall.EIO},
	{table.ErrWrong, syscall.EIO},
	{cache.ErrUnusable, syscall.EIO},
	{state.ErrForeign, syscall.EIO},
	{state.ErrMalformed, syscall.EIO},
	{state.ErrNewer, syscall.EIO},
	{state.ErrNumber, syscall.EIO},
	{state.ErrExhausted, syscall.EIO},
	{state.ErrName, syscall.EIO},
	{journal.ErrForeign, syscall.EIO},
	{journal.ErrNewer, syscall.EIO},
	{journal.ErrInUse, syscall.EIO},
	{journal.ErrClosed, syscall.EIO},
	{journal.ErrOrder, syscall.EIO},
	{journal.ErrTooLarge, syscall.EIO},
	{journal.ErrMalformed, syscall.EIO},
	{journal.ErrBroken, syscall.EIO},
	{chain.ErrMalformed, syscall.EIO},
	{chain.ErrForged, syscall.EIO},
	{chain.ErrVersion, syscall.EIO},
	{chain.ErrRefused, syscall.EIO},
	{chain.ErrTooLarge, syscall.EIO},
	{chain.ErrOrder, syscall.EIO},
	{chain.ErrNoBox, syscall.EIO},
	{chain.ErrKey, syscall.EIO},
	{chain.ErrDeviceName, syscall.EIO},
	{crypt.ErrForged, syscall.EIO},
	{crypt.ErrVersion, syscall.EIO},
	{crypt.ErrSpent, syscall.EIO},
	{crypt.ErrTooLarge, syscall.EIO},
	{crypt.ErrEmpty, syscall.EIO},
	{crypt.ErrMalformed, syscall.EIO},
	{crypt.ErrSecret, syscall.EIO},
	{cache.ErrAbsent, syscall.EIO},
	{cache.ErrName, syscall.EIO},
	{cache.ErrUnusable, syscall.EIO},
	{store.ErrNotExist, syscall.EIO},
	{store.ErrExist, syscall.EIO},
	{store.ErrUnavailable, syscall.EIO},
	{store.ErrDenied, syscall.EIO},
	{store.ErrFull, syscall.EIO},
	{store.ErrName, syscall.EIO},
	{store.ErrRange, syscall.EIO},
	{store.ErrTooLarge, syscall.EIO},
	{store.ErrNoWatch, syscall.EIO},
}

// errno returns what a program gets for err. EIO leaves a line in the log, and
// an error without a row is EIO. That the store is away is told once for all, by whoever
// asks it.
func errno(log *slog.Logger, op string, err error) fuse.Status {
	if err == nil {
		return fuse.OK
	}
	for _, row := range errnos {
		if errors.Is(err, row.err) && row.errno != syscall.EIO {
			return fuse.Status(row.errno)
		}
	}
	level := slog.LevelError
	if errors.Is(err, store.ErrUnavailable) {
		level = slog.LevelDebug
	}
	log.Log(context.Background(), level, "operation failed", "op", op, "err", err)
	return fuse.EIO
}
