package fs

import (
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
)

// Tmpfile makes a file without a name (O_TMPFILE); LINK may give it one.
func (s *Server) Tmpfile(cancel <-chan struct{}, in *fuse.CreateIn, out *fuse.CreateOut) fuse.Status {
	ctx, end := s.ctx(cancel)
	defer end()
	parent, st := s.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	n := volume.Node{Kind: meta.File, Perm: uint16(in.Mode & 07777), UID: in.Uid, GID: in.Gid}
	list, err := s.inherited(ctx, parent, &n, in.Umask)
	if err != nil {
		return errno(s.log, "tmpfile", err)
	}
	a, err := s.v.Tmpfile(ctx, parent, n)
	if err == nil && list != nil {
		if a, err = s.handDown(ctx, parent, a, list); err != nil {
			s.v.Release(a.Held)
		}
	}
	if err != nil {
		return errno(s.log, "tmpfile", err)
	}
	err = s.entry(place{}, &out.EntryOut, func() (volume.Attr, error) { return s.v.Attr(ctx, a.Held) })
	if err != nil {
		s.v.Release(a.Held)
		return errno(s.log, "tmpfile", err)
	}
	out.Fh = s.handles.add(a.Held, s.nodes.made(out.NodeId, a.Held))
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	return fuse.OK
}
