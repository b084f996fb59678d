package fs

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
)

// leaseTake and leaseSteal are what the attribute of a lease is set to: the second is
// followed by the number of the lease that is taken away.
const (
	leaseTake  = "take"
	leaseSteal = "steal "
)

// lease takes a lease, and returns when the store has it.
func (s *Server) lease(ctx context.Context, ref meta.Ref, value []byte) fuse.Status {
	from := uint64(0)
	text := strings.TrimSpace(string(value))
	if number, steal := strings.CutPrefix(text, leaseSteal); steal {
		n, err := strconv.ParseUint(number, 16, 64)
		if err != nil || n == 0 {
			return fuse.EINVAL
		}
		from = n
	} else if text != leaseTake && text != "" {
		return fuse.EINVAL
	}
	err := s.v.Lease(ctx, ref, from)
	if errors.Is(err, meta.ErrLeased) || errors.Is(err, meta.ErrConflict) {
		return fuse.EBUSY
	}
	return errno(s.log, "take a lease", err)
}

// leased tells of the lease that an inode is under, or of all, or of all locks, as JSON.
func (s *Server) leased(ctx context.Context, ref meta.Ref, attr string, dest []byte) (uint32, fuse.Status) {
	var value any
	var err error
	switch attr {
	case volume.LockedAttr:
		value, err = s.v.Locked(ctx)
	case volume.LeasesAttr:
		var all []volume.Leased
		if all, err = s.v.Leases(ctx); all == nil {
			all = []volume.Leased{}
		}
		value = all
	default:
		value, err = s.v.LeaseOf(ctx, ref)
	}
	if err != nil {
		return 0, errno(s.log, "getxattr", err)
	}
	b, err := json.Marshal(value)
	if err != nil {
		return 0, errno(s.log, "getxattr", err)
	}
	if len(b) > meta.MaxXattr {
		return 0, fuse.Status(syscall.E2BIG)
	}
	return give(dest, b)
}
