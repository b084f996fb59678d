package fs

import (
	"golang.org/x/sys/unix"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Statx answers what GETATTR does, and when the inode was made. The kernel asks
// by it only when a program wants to know that.
func (s *Server) Statx(cancel <-chan struct{}, in *fuse.StatxIn, out *fuse.StatxOut) fuse.Status {
	ctx, end := s.ctx(cancel)
	defer end()
	ref, st := s.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	a, err := s.stat(ctx, in.NodeId, ref)
	if err != nil {
		return errno(s.log, "statx", err)
	}
	var x fuse.Attr
	s.fill(a, &x)
	out.SetTimeout(validFor(a.Inode.Kind))
	out.Statx = fuse.Statx{
		Mask:    unix.STATX_BASIC_STATS | unix.STATX_BTIME,
		Blksize: x.Blksize,
		Nlink:   x.Nlink,
		Uid:     x.Uid,
		Gid:     x.Gid,
		Mode:    uint16(x.Mode),
		Ino:     x.Ino,
		Size:    x.Size,
		Blocks:  x.Blocks,
		Atime:   fuse.SxTime{Sec: x.Atime, Nsec: x.Atimensec},
		Btime:   fuse.SxTime{Sec: uint64(a.Inode.Btime.Sec), Nsec: a.Inode.Btime.Nsec},
		Ctime:   fuse.SxTime{Sec: x.Ctime, Nsec: x.Ctimensec},
		Mtime:   fuse.SxTime{Sec: x.Mtime, Nsec: x.Mtimensec},
	}
	out.RdevMajor, out.RdevMinor = device(x.Rdev)
	return fuse.OK
}

// device takes a device number of the kernel's 32 bits apart: 12 bits of major
// number within 20 bits of minor number.
func device(rdev uint32) (major, minor uint32) {
	return rdev >> 8 & 0xfff, rdev&0xff | rdev>>12&0xfff00
}
