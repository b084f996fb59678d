package fs

import (
	"bytes"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
)

// The flags of setxattr(2).
const (
	xattrCreate  = 1
	xattrReplace = 2
)

// namespaces are those of xattr(7) that are kept. The kernel keeps users away
// from trusted and security. Of the namespace system, where it keeps nobody away,
// there are access control lists and nothing else.
var namespaces = []string{"user.", "trusted.", "security."}

// kept says whether attributes called so are stored.
func kept(attr string) bool {
	for _, ns := range namespaces {
		if strings.HasPrefix(attr, ns) && len(attr) > len(ns) {
			return true
		}
	}
	return attr == aclAccess || attr == aclDefault
}

func (s *Server) GetXAttr(cancel <-chan struct{}, in *fuse.InHeader, attr string, dest []byte) (uint32, fuse.Status) {
	ctx, end := s.ctx(cancel)
	defer end()
	ref, st := s.node(in.NodeId)
	if !st.Ok() {
		return 0, st
	}
	if attr == durableAttr {
		return s.durable(ref, dest)
	}
	if attr == volume.LeaseAttr || (attr == volume.LeasesAttr || attr == volume.LockedAttr) && ref == meta.RootRef {
		return s.leased(ctx, ref, attr, dest)
	}
	if !kept(attr) {
		return 0, fuse.Status(syscall.EOPNOTSUPP)
	}
	value, err := s.v.Xattr(ctx, ref, []byte(attr))
	if err != nil {
		return 0, errno(s.log, "getxattr", err)
	}
	return give(dest, value)
}

func (s *Server) ListXAttr(cancel <-chan struct{}, in *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	ctx, end := s.ctx(cancel)
	defer end()
	ref, st := s.node(in.NodeId)
	if !st.Ok() {
		return 0, st
	}
	names, err := s.v.Xattrs(ctx, ref)
	if err != nil {
		return 0, errno(s.log, "listxattr", err)
	}
	if bytes.Contains(names, []byte("trusted.")) && !isRoot(in) {
		names = hideTrusted(names)
	}
	return give(dest, names)
}

// hideTrusted takes the names that only root may read from a list of names, each
// with a NUL behind it.
func hideTrusted(names []byte) []byte {
	var shown []byte
	for name := range bytes.SplitAfterSeq(names, []byte{0}) {
		if !bytes.HasPrefix(name, []byte("trusted.")) {
			shown = append(shown, name...)
		}
	}
	return shown
}

// give copies b to dest, or says how much room it needs.
func give(dest, b []byte) (uint32, fuse.Status) {
	if len(dest) < len(b) {
		return uint32(len(b)), fuse.ERANGE
	}
	return uint32(copy(dest, b)), fuse.OK
}

func (s *Server) SetXAttr(cancel <-chan struct{}, in *fuse.SetXAttrIn, attr string, data []byte) fuse.Status {
	ctx, end := s.ctx(cancel)
	defer end()
	ref, st := s.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	if attr == durableAttr {
		return fuse.EPERM
	}
	if !kept(attr) {
		return fuse.Status(syscall.EOPNOTSUPP)
	}
	if attr == volume.LeaseAttr {
		return s.lease(ctx, ref, data)
	}
	if len(data) > meta.MaxXattr {
		return fuse.Status(syscall.E2BIG)
	}
	if attr == volume.DurabilityAttr {
		if st := s.checkDurability(ctx, ref, data); !st.Ok() {
			return st
		}
		defer s.v.Redecide()
	}
	if attr == volume.LocksAttr {
		if st := s.checkLocks(ctx, ref, data); !st.Ok() {
			return st
		}
		defer s.v.Redecide()
	}
	if attr == aclAccess || attr == aclDefault {
		kill := in.SetXAttrFlags&fuse.SETXATTR_ACL_KILL_SGID != 0
		return errno(s.log, "setxattr", s.setAccessList(ctx, ref, attr, data, kill))
	}
	var flags meta.XattrFlags
	switch in.Flags {
	case 0:
	case xattrCreate:
		flags = meta.XattrCreate
	case xattrReplace:
		flags = meta.XattrReplace
	default:
		return fuse.EINVAL
	}
	// The request's buffer is the kernel's again when this returns.
	value := append([]byte(nil), data...)
	return errno(s.log, "setxattr", s.v.SetXattr(ctx, ref, []byte(attr), value, flags))
}

func (s *Server) RemoveXAttr(cancel <-chan struct{}, in *fuse.InHeader, attr string) fuse.Status {
	ctx, end := s.ctx(cancel)
	defer end()
	ref, st := s.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	if attr == durableAttr {
		return fuse.EPERM
	}
	if !kept(attr) {
		return fuse.Status(syscall.EOPNOTSUPP)
	}
	if attr == volume.LeaseAttr {
		return errno(s.log, "give a lease back", s.v.GiveBack(ctx, ref))
	}
	defer s.v.Redecide()
	return errno(s.log, "removexattr", s.v.RemoveXattr(ctx, ref, []byte(attr)))
}
