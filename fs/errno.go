package fs

import (
	"context"
	"errors"
	"log/slog"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/fs/journal"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
	"github.com/hushfs/hushfs/fs/volume"
	"github.com/hushfs/hushfs/store"
)

// errnos says which number a program gets for an error. The first row that the
// error is decides, so causes stand above what wraps them.
var errnos = []struct {
	err   error
	errno syscall.Errno
}{
	{context.Canceled, syscall.EINTR},
	{context.DeadlineExceeded, syscall.ETIMEDOUT},
	{syscall.ENOSPC, syscall.ENOSPC},
	{syscall.EDQUOT, syscall.EDQUOT},
	{volume.ErrReadOnly, syscall.EROFS},
	{volume.ErrNoSpace, syscall.ENOSPC},
	{volume.ErrStale, syscall.ESTALE},
	{volume.ErrShutdown, syscall.EIO},
	{volume.ErrEnroll, syscall.EIO},
	{journal.ErrFull, syscall.ENOSPC},
	{pack.ErrDamaged, syscall.EIO},
	{pack.ErrUnknown, syscall.EIO},
	{pack.ErrClosed, syscall.EIO},
	{crypt.ErrForged, syscall.EIO},
	{crypt.ErrVersion, syscall.EIO},
	{store.ErrUnavailable, syscall.EIO},
	{store.ErrDenied, syscall.EIO},
	{store.ErrFull, syscall.EIO},
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
	{meta.ErrConflict, syscall.ESTALE},
	{meta.ErrMalformed, syscall.EIO},
	{meta.ErrAbsent, syscall.EIO},
	{meta.ErrUnknown, syscall.EIO},
}

// errno returns what a program gets for err; an error without a row is EIO and a
// line in the log.
func errno(log *slog.Logger, op string, err error) fuse.Status {
	if err == nil {
		return fuse.OK
	}
	for _, row := range errnos {
		if errors.Is(err, row.err) {
			if row.errno == syscall.EIO {
				log.Error("operation failed", "op", op, "err", err)
			}
			return fuse.Status(row.errno)
		}
	}
	log.Error("operation failed", "op", op, "err", err)
	return fuse.EIO
}
