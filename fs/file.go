package fs

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
)

func (s *Server) Create(cancel <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	ctx, end := s.ctx(cancel)
	defer end()
	a, st := s.create(cancel, &in.InHeader, name, volume.Node{Kind: meta.File, Perm: uint16(in.Mode & 07777)}, in.Umask, true, in.Flags&syscall.O_EXCL != 0, &out.EntryOut)
	if st == fuse.Status(syscall.EEXIST) && in.Flags&syscall.O_EXCL == 0 {
		// Another machine was faster, and the kernel does not know yet. ESTALE makes
		// it look the name up again, and check what the program may do with it.
		return estale
	}
	if !st.Ok() {
		return st
	}
	out.Fh = s.handles.add(a.Held, s.nodes.made(out.NodeId, a.Held))
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	across, sure := s.across(ctx, out.NodeId)
	h := s.handles.get(out.Fh)
	h.unsure = !sure
	if across && s.v.Following(a.Held) {
		h.across = true
		if dir, ok := s.nodes.directory(out.NodeId); ok {
			h.made = place{dir, name}
		}
		out.OpenFlags = fuse.FOPEN_DIRECT_IO
	}
	return fuse.OK
}

func (s *Server) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	ctx, end := s.ctx(cancel)
	defer end()
	write := in.Flags&syscall.O_ACCMODE != syscall.O_RDONLY
	if write && s.o.ReadOnly {
		return fuse.EROFS // the kernel was told to mount it anew, and would keep what is written
	}
	s.v.Used()
	across, sure := s.across(ctx, in.NodeId)
	var ref meta.Ref
	for out.Fh == 0 {
		n, as, ok := s.nodes.opening(in.NodeId)
		if !ok {
			// Another machine changed the file since the kernel looked it up, and has it
			// look again. What it has of this node's size is that of the earlier content.
			return estale
		}
		var err error
		if write {
			err = s.v.Writable(ctx, as)
		}
		if err == nil {
			ref, err = s.v.Open(ctx, as, write)
		}
		if err != nil {
			return errno(s.log, "open", err)
		}
		if s.nodes.hold(n, ref) {
			if across && !s.v.Following(ref) {
				ino, renew := s.nodes.release(n) // first, as in Release
				s.v.Release(ref)
				if renew {
					s.notify.Changed(volume.Change{Renewed: []meta.Ref{{Ino: ino}}})
				}
				return estale // another machine changed it just now
			}
			out.Fh = s.handles.add(ref, n)
			h := s.handles.get(out.Fh)
			h.across, h.unsure = across, !sure
			if write {
				if at, ok := s.nodes.name(n); ok {
					s.v.Called(ref, at.dir, []byte(at.name))
				}
			}
		} else {
			s.v.Release(ref)
		}
	}
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	if s.handles.get(out.Fh).across {
		out.OpenFlags = fuse.FOPEN_DIRECT_IO
	}
	switch {
	case in.Flags&unix.O_NOATIME != 0:
		s.handles.get(out.Fh).quiet = true
	case in.Flags&syscall.O_ACCMODE != syscall.O_WRONLY:
		s.v.Accessed(ref) // what the kernel has in its cache is read without our hearing of it
	}
	return fuse.OK
}

func (s *Server) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	ctx, end := s.ctx(cancel)
	defer end()
	ref, st := s.file(in.NodeId, in.Fh)
	if !st.Ok() {
		return nil, st
	}
	n, err := s.v.Read(ctx, ref, in.Offset, buf)
	if err != nil {
		return nil, errno(s.log, "read", err)
	}
	if h := s.handles.get(in.Fh); h == nil || !h.quiet {
		s.v.Accessed(ref)
	}
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

// file is the inode of a request that comes with a handle: a handle keeps its
// inode when the node is gone.
func (s *Server) file(node, fh uint64) (meta.Ref, fuse.Status) {
	if h := s.handles.get(fh); h != nil {
		return h.ref, fuse.OK
	}
	return s.node(node)
}

func (s *Server) Write(cancel <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	ctx, end := s.ctx(cancel)
	defer end()
	ref, st := s.file(in.NodeId, in.Fh)
	if !st.Ok() {
		return 0, st
	}
	if in.WriteFlags&fuse.WRITE_CACHE == 0 { // the program hears of it, and nothing was promised yet
		if err := s.v.Room(); err != nil {
			return 0, errno(s.log, "write", err)
		}
	}
	off := in.Offset
	if h := s.handles.get(in.Fh); h != nil && h.across && in.Flags&syscall.O_APPEND != 0 {
		// The kernel may know an earlier size than other machines have made of it.
		a, err := s.v.Attr(ctx, ref)
		if err != nil {
			return 0, errno(s.log, "write", err)
		}
		off = a.Inode.Size
	}
	err := s.v.Demote(ctx, ref, in.WriteFlags&fuse.WRITE_KILL_SUIDGID != 0)
	if err == nil {
		err = s.v.Write(ctx, ref, off, data)
	}
	if err != nil {
		// The kernel believes the write that it cached; a new node id makes it
		// ask for size and content again.
		s.notify.Changed(volume.Change{Renewed: []meta.Ref{{Ino: s.v.Ino(ref)}}})
		return 0, errno(s.log, "write", err)
	}
	return uint32(len(data)), fuse.OK
}

func (s *Server) Flush(cancel <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	ctx, end := s.ctx(cancel)
	defer end()
	ref, st := s.file(in.NodeId, in.Fh)
	if !st.Ok() {
		return st
	}
	err := s.v.Flush(ctx, ref)
	s.locks.closed(s.v.Ino(ref), in.Fh, in.LockOwner) // others see first what was written
	s.giveBack(ref)
	return errno(s.log, "flush", err)
}

func (s *Server) Fsync(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	ctx, end := s.ctx(cancel)
	defer end()
	ref, st := s.file(in.NodeId, in.Fh)
	if !st.Ok() {
		return st
	}
	err := s.v.Fsync(ctx, ref)
	if err == nil {
		err = s.confirmFile(ctx, in.NodeId, ref)
	}
	return errno(s.log, "fsync", err)
}

func (s *Server) Release(cancel <-chan struct{}, in *fuse.ReleaseIn) {
	if h := s.handles.remove(in.Fh); h != nil {
		s.locks.released(s.v.Ino(h.ref), in.Fh)
		s.giveBack(h.ref)
		ino, renew := s.nodes.release(h.node) // first: who opens the file now opens it anew
		s.v.Release(h.ref)
		if renew {
			s.notify.Changed(volume.Change{Renewed: []meta.Ref{{Ino: ino}}})
		}
	}
}

// The modes of fallocate(2).
const (
	fallocKeepSize  = 0x01
	fallocPunchHole = 0x02
	fallocZeroRange = 0x10
)

// Fallocate reserves nothing: there is no space that could be set aside in a
// bucket. It sets the size, and makes holes.
func (s *Server) Fallocate(cancel <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	ctx, end := s.ctx(cancel)
	defer end()
	ref, st := s.file(in.NodeId, in.Fh)
	if !st.Ok() {
		return st
	}
	keep := in.Mode&fallocKeepSize != 0
	if err := s.v.Demote(ctx, ref, !isRoot(&in.InHeader)); err != nil {
		return errno(s.log, "fallocate", err)
	}
	switch in.Mode &^ fallocKeepSize {
	case 0:
		if err := s.v.Room(); err != nil {
			return errno(s.log, "fallocate", err)
		}
	case fallocPunchHole, fallocZeroRange:
		if err := s.v.PunchHole(ctx, ref, in.Offset, in.Length); err != nil {
			return errno(s.log, "fallocate", err)
		}
	default:
		return fuse.Status(syscall.EOPNOTSUPP)
	}
	a, err := s.v.Attr(ctx, ref)
	if err == nil && !keep && in.Offset+in.Length > a.Inode.Size {
		err = s.v.Truncate(ctx, ref, in.Offset+in.Length, nil)
	}
	return errno(s.log, "fallocate", err)
}

// The whence values of SEEK_DATA and SEEK_HOLE.
const (
	seekData = 3
	seekHole = 4
)

func (s *Server) Lseek(cancel <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	ctx, end := s.ctx(cancel)
	defer end()
	ref, st := s.file(in.NodeId, in.Fh)
	if !st.Ok() {
		return st
	}
	if in.Whence != seekData && in.Whence != seekHole {
		return fuse.EINVAL
	}
	at, ok, err := s.v.Data(ctx, ref, in.Offset, in.Whence == seekHole)
	if err != nil {
		return errno(s.log, "lseek", err)
	}
	if !ok {
		return fuse.Status(syscall.ENXIO)
	}
	out.Offset = at
	return fuse.OK
}
