package fs

import (
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/hushfs/hushfs/fs/volume"
)

// CopyFileRange makes a part of one file be a part of another, and copies no byte (see
// volume.Copy). The kernel has written back what it had of both, and asks again for
// what one answer does not cover.
func (s *Server) CopyFileRange(cancel <-chan struct{}, in *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	ctx, end := s.ctx(cancel)
	defer end()
	from, st := s.file(in.NodeId, in.FhIn)
	if !st.Ok() {
		return 0, st
	}
	to, st := s.file(in.NodeIdOut, in.FhOut)
	if !st.Ok() {
		return 0, st
	}
	const most = 1<<32 - 1<<20 // of what the answer can say
	n := min(in.Len, most)
	if in.Flags != 0 || from == to && in.OffIn < in.OffOut+n && in.OffOut < in.OffIn+n {
		return 0, fuse.EINVAL
	}
	if err := s.v.Demote(ctx, to, !isRoot(&in.InHeader)); err != nil {
		return 0, errno(s.log, "copy_file_range", err)
	}
	n, err := s.v.Copy(ctx, volume.Span{Ref: from, Off: in.OffIn, Len: n}, volume.Span{Ref: to, Off: in.OffOut})
	if err != nil {
		return 0, errno(s.log, "copy_file_range", err)
	}
	return uint32(n), fuse.OK
}
