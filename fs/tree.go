package fs

import (
	"errors"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
)

const estale = syscall.ESTALE

func (s *Server) Lookup(cancel <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	parent, st := s.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	a, err := s.v.Lookup(parent, []byte(name))
	if errors.Is(err, meta.ErrNotExist) {
		out.SetEntryTimeout(valid) // node id 0: the kernel keeps that there is none
		return fuse.OK
	}
	if err != nil {
		return errno(s.log, "lookup", err)
	}
	s.entry(in.NodeId, name, a, out)
	return fuse.OK
}

func (s *Server) Forget(nodeid, nlookup uint64) { s.nodes.forget(nodeid, nlookup) }

func (s *Server) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	ref, st := s.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	return s.attr(ref, out)
}

// attr answers with the attributes of an inode.
func (s *Server) attr(ref meta.Ref, out *fuse.AttrOut) fuse.Status {
	a, err := s.v.Attr(ref)
	if err != nil {
		return errno(s.log, "getattr", err)
	}
	out.SetTimeout(valid)
	s.fill(a, &out.Attr)
	return fuse.OK
}

func (s *Server) SetAttr(cancel <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	ref, st := s.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	ctx, op := s.ctx(cancel), setattr(in)
	if size, ok := in.GetSize(); ok {
		var mtime *meta.Time
		if op.Valid&meta.SetMtime != 0 {
			mtime = &op.Mtime
		}
		if err := s.v.Truncate(ctx, ref, size, mtime); err != nil {
			return errno(s.log, "truncate", err)
		}
		if err := s.v.Demote(ctx, ref, in.Valid&fuse.FATTR_KILL_SUIDGID != 0); err != nil {
			return errno(s.log, "truncate", err)
		}
	}
	if op.Valid != 0 {
		err := s.v.Setattr(ctx, ref, op)
		if errors.Is(err, volume.ErrStale) && op.Valid == meta.SetMtime|meta.SetCtime {
			// The kernel flushes the times of a file that has lost its last name;
			// an error would come out of syncfs(2), for a file that is no more.
			out.Attr = fuse.Attr{Ino: uint64(ref.Ino), Mode: syscall.S_IFREG}
			return fuse.OK
		}
		if err != nil {
			return errno(s.log, "setattr", err)
		}
		// A chown that changes neither id arrives as a ctime alone, and takes
		// privileges all the same.
		if owner := op.Valid & (meta.SetUID | meta.SetGID); owner != 0 && op.Valid&meta.SetPerm == 0 || op.Valid == meta.SetCtime {
			if err := s.v.Demote(ctx, ref, true); err != nil {
				return errno(s.log, "chown", err)
			}
		}
	}
	return s.attr(ref, out)
}

// create makes an inode under a name and answers with its entry.
func (s *Server) create(cancel <-chan struct{}, in *fuse.InHeader, name string, n volume.Node, held bool, out *fuse.EntryOut) (volume.Attr, fuse.Status) {
	parent, st := s.node(in.NodeId)
	if !st.Ok() {
		return volume.Attr{}, st
	}
	n.UID, n.GID = in.Uid, in.Gid
	a, err := s.v.Make(s.ctx(cancel), parent, []byte(name), n, held)
	if err != nil {
		return a, errno(s.log, "create", err)
	}
	s.entry(in.NodeId, name, a, out)
	return a, fuse.OK
}

func (s *Server) Mknod(cancel <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	kind, ok := kindOf(in.Mode)
	if !ok || kind == meta.Dir || kind == meta.Symlink {
		return fuse.EINVAL
	}
	n := volume.Node{Kind: kind, Perm: uint16(in.Mode & 07777)}
	switch kind {
	case 0:
		n.Kind = meta.File
	case meta.Char, meta.Block:
		n.Rdev = in.Rdev
	}
	_, st := s.create(cancel, &in.InHeader, name, n, false, out)
	return st
}

func (s *Server) Mkdir(cancel <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	_, st := s.create(cancel, &in.InHeader, name, volume.Node{Kind: meta.Dir, Perm: uint16(in.Mode & 07777)}, false, out)
	return st
}

func (s *Server) Symlink(cancel <-chan struct{}, in *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	if len(target) > meta.MaxTarget {
		return fuse.Status(syscall.ENAMETOOLONG)
	}
	_, st := s.create(cancel, in, name, volume.Node{Kind: meta.Symlink, Perm: 0777, Target: []byte(target)}, false, out)
	return st
}

func (s *Server) Readlink(cancel <-chan struct{}, in *fuse.InHeader) ([]byte, fuse.Status) {
	ref, st := s.node(in.NodeId)
	if !st.Ok() {
		return nil, st
	}
	a, err := s.v.Attr(ref)
	if err != nil {
		return nil, errno(s.log, "readlink", err)
	}
	if a.Inode.Kind != meta.Symlink {
		return nil, fuse.EINVAL
	}
	return a.Inode.Target, fuse.OK
}

func (s *Server) Unlink(cancel <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	parent, st := s.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	return errno(s.log, "unlink", s.v.Unlink(s.ctx(cancel), parent, []byte(name)))
}

func (s *Server) Rmdir(cancel <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	parent, st := s.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	return errno(s.log, "rmdir", s.v.Rmdir(s.ctx(cancel), parent, []byte(name)))
}

// The flags of renameat2(2).
const (
	renameNoReplace = 1
	renameExchange  = 2
)

func (s *Server) Rename(cancel <-chan struct{}, in *fuse.RenameIn, oldName, newName string) fuse.Status {
	parent, st := s.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	newParent, st := s.node(in.Newdir)
	if !st.Ok() {
		return st
	}
	var flags meta.RenameFlags
	switch in.Flags {
	case 0:
	case renameNoReplace:
		flags = meta.NoReplace
	case renameExchange:
		flags = meta.Exchange
	default:
		return fuse.EINVAL
	}
	return errno(s.log, "rename", s.v.Rename(s.ctx(cancel), parent, []byte(oldName), newParent, []byte(newName), flags))
}

func (s *Server) Link(cancel <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	parent, st := s.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	ref, st := s.node(in.Oldnodeid)
	if !st.Ok() {
		return st
	}
	a, err := s.v.Link(s.ctx(cancel), ref, parent, []byte(name))
	if err != nil {
		return errno(s.log, "link", err)
	}
	s.entry(in.NodeId, name, a, out)
	return fuse.OK
}

// statBlock is the unit of the figures in statfs.
const statBlock = 4096

func (s *Server) StatFs(cancel <-chan struct{}, in *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	u := s.v.Usage()
	used := (u.Bytes + statBlock - 1) / statBlock
	out.Bsize, out.Frsize = statBlock, statBlock
	out.Bfree = u.Free / statBlock
	out.Bavail = out.Bfree
	out.Blocks = used + out.Bfree
	out.Ffree = 1 << 36 // one device's inode numbers
	out.Files = out.Ffree + u.Inodes
	out.NameLen = meta.MaxName
	return fuse.OK
}
