package fs

import (
	"errors"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
)

func (s *Server) OpenDir(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	ref, st := s.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	out.Fh = s.handles.add(ref)
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_CACHE_DIR
	return fuse.OK
}

func (s *Server) ReleaseDir(in *fuse.ReleaseIn) { s.handles.remove(in.Fh) }

func (s *Server) FsyncDir(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return errno(s.log, "fsyncdir", s.v.SyncTree())
}

func (s *Server) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return s.readDir(cancel, in, func(e fuse.DirEntry, _ meta.Ref) bool { return out.AddDirEntry(e) })
}

func (s *Server) ReadDirPlus(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return s.readDir(cancel, in, func(e fuse.DirEntry, ref meta.Ref) bool {
		entry := out.AddDirLookupEntry(e)
		if entry == nil {
			return false
		}
		if e.Name == "." || e.Name == ".." {
			return true // node id 0: no look-up is counted
		}
		a, err := s.v.Attr(s.ctx(cancel), ref)
		if err != nil {
			// Removed since it was listed, or unreadable: the kernel looks it up
			// itself and gets the error there.
			if !errors.Is(err, volume.ErrStale) {
				errno(s.log, "readdirplus", err)
			}
			return true
		}
		s.entry(in.NodeId, e.Name, a, entry)
		return true
	})
}

// readDir gives the entries of an open directory from a cookie on until add has
// no more room. Cookies 1 and 2 stand behind "." and "..".
func (s *Server) readDir(cancel <-chan struct{}, in *fuse.ReadIn, add func(e fuse.DirEntry, ref meta.Ref) bool) fuse.Status {
	h := s.handles.get(in.Fh)
	if h == nil {
		return fuse.EBADF
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if in.Offset == 0 || !h.listed {
		list, err := s.v.List(s.ctx(cancel), h.ref)
		if err != nil {
			return errno(s.log, "readdir", err)
		}
		h.list, h.listed = list, true
	}
	parent, err := s.v.Parent(s.ctx(cancel), h.ref)
	if err != nil {
		parent = h.ref // it was removed while it was open
	}
	for i := in.Offset; i < uint64(len(h.list))+2; i++ {
		var e fuse.DirEntry
		var ref meta.Ref
		switch i {
		case 0:
			e, ref = fuse.DirEntry{Name: ".", Mode: types[meta.Dir]}, h.ref
		case 1:
			e, ref = fuse.DirEntry{Name: "..", Mode: types[meta.Dir]}, parent
		default:
			x := h.list[i-2]
			e, ref = fuse.DirEntry{Name: string(x.Name), Mode: types[x.Kind]}, x.Ref
		}
		e.Ino, e.Off = uint64(ref.Ino), i+1
		if !add(e, ref) {
			break
		}
	}
	return fuse.OK
}
