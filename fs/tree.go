package fs

import (
	"context"
	"errors"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/volume"
)

const estale = fuse.Status(syscall.ESTALE)

func (s *Server) Lookup(cancel <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	ctx, end := s.ctx(cancel)
	defer end()
	parent, st := s.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	err := s.entry(place{parent, name}, out, func() (volume.Attr, error) { return s.v.Lookup(ctx, parent, []byte(name)) })
	if errors.Is(err, meta.ErrNotExist) {
		missing := valid
		if parent == meta.RootRef {
			missing = walked // no message has the kernel drop all that it keeps so, see notifier.anew
		}
		out.SetEntryTimeout(missing) // node id 0: the kernel keeps that there is none
		return fuse.OK
	}
	return errno(s.log, "lookup", err)
}

func (s *Server) Forget(nodeid, nlookup uint64) { s.nodes.forget(nodeid, nlookup) }

func (s *Server) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	ctx, end := s.ctx(cancel)
	defer end()
	ref, st := s.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	return s.attr(ctx, in.NodeId, ref, out)
}

// attr answers with the attributes of an inode.
func (s *Server) attr(ctx context.Context, node uint64, ref meta.Ref, out *fuse.AttrOut) fuse.Status {
	a, err := s.stat(ctx, node, ref)
	if err != nil {
		return errno(s.log, "getattr", err)
	}
	out.SetTimeout(validFor(a.Inode.Kind))
	s.fill(a, &out.Attr)
	return fuse.OK
}

// stat returns the attributes of an inode, also when its last name is gone.
func (s *Server) stat(ctx context.Context, node uint64, ref meta.Ref) (volume.Attr, error) {
	a, err := s.v.Attr(ctx, ref)
	if errors.Is(err, volume.ErrStale) {
		if was, ok := s.nodes.gone(node, nil); ok {
			return was, nil
		}
	}
	return a, err
}

// parting returns what has the name now; left, called when the name has gone,
// keeps its attributes for those who still hold it, if that was the last name; back, called
// when it was not given up in the end, forgets them.
func (s *Server) parting(ctx context.Context, parent meta.Ref, name string) (left, back func()) {
	forget := func() {}
	back = func() { forget() }
	a, err := s.v.Lookup(ctx, parent, []byte(name))
	if err != nil || a.Inode.Kind != meta.Dir && a.Inode.Nlink > 1 {
		return func() {}, back
	}
	left = func() {
		n := *a.Inode
		n.Nlink, n.Ctime = 0, s.v.Now()
		a.Inode = &n
		forget = s.nodes.left(a)
	}
	return left, back
}

func (s *Server) SetAttr(cancel <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	ctx, end := s.ctx(cancel)
	defer end()
	ref, st := s.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	now := s.v.Now()
	op := setattr(in, now)
	if size, ok := in.GetSize(); ok {
		if s.nodes.outdated(in.NodeId) {
			return estale // the kernel looks up what the file is now
		}
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
		var err error
		if op.Valid&meta.SetPerm != 0 {
			err = s.keepAccessList(ctx, ref, op.Perm)
		}
		if err == nil {
			err = s.v.Setattr(ctx, ref, op)
		}
		if errors.Is(err, volume.ErrStale) && op.Valid == meta.SetMtime|meta.SetCtime {
			// The kernel flushes the times of a file that has lost its last name;
			// an error would come out of syncfs(2), for a file that is no more.
			out.Attr = fuse.Attr{Ino: uint64(ref.Ino), Mode: syscall.S_IFREG}
			return fuse.OK
		}
		if errors.Is(err, volume.ErrStale) {
			if _, ok := s.nodes.gone(in.NodeId, func(n *meta.Inode) { amend(n, op, now) }); ok {
				return s.attr(ctx, in.NodeId, ref, out)
			}
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
	return s.attr(ctx, in.NodeId, ref, out)
}

// create makes an inode under a name and answers with its entry. umask are the bits
// that the program does not want, unless the directory says who may do what. With sure
// the program relies on having been the first.
func (s *Server) create(cancel <-chan struct{}, in *fuse.InHeader, name string, n volume.Node, umask uint32, held, sure bool, out *fuse.EntryOut) (volume.Attr, fuse.Status) {
	ctx, end := s.ctx(cancel)
	defer end()
	parent, st := s.node(in.NodeId)
	if !st.Ok() {
		return volume.Attr{}, st
	}
	n.UID, n.GID = in.Uid, in.Gid
	list, err := s.inherited(ctx, parent, &n, umask)
	if _, gone := s.nodes.gone(in.NodeId, nil); gone && errors.Is(err, volume.ErrStale) {
		return volume.Attr{}, fuse.ENOENT // of a directory that was removed the kernel says the same
	}
	if err != nil {
		return volume.Attr{}, errno(s.log, "create", err)
	}
	n.Sure = sure
	a, err := s.v.Make(ctx, parent, []byte(name), n, held)
	given := a.Given
	if err == nil && list != nil {
		if a, err = s.handDown(ctx, parent, a, list); err != nil {
			_ = s.v.Named(given) // nobody waits for it
			s.unmake(parent, name, a, held)
		}
	}
	if err == nil && sure {
		if err = s.confirmName(ctx, given, nameIn{parent, name}); err != nil && held {
			s.v.Release(a.Held)
		}
	}
	if err != nil {
		return a, errno(s.log, "create", err)
	}
	err = s.entry(place{parent, name}, out, func() (volume.Attr, error) {
		if held {
			return s.v.Attr(ctx, a.Held)
		}
		return s.v.Attr(ctx, a.Ref)
	})
	if err != nil && held {
		s.v.Release(a.Held)
	}
	return a, errno(s.log, "create", err)
}

// unmake takes back what was made and could not be completed. Where even that
// fails it stays, with fewer rights than it should have had. What another machine was
// faster to give the name to is not ours to take.
func (s *Server) unmake(parent meta.Ref, name string, a volume.Attr, held bool) {
	remove := s.v.Unlink
	if a.Inode.Kind == meta.Dir {
		remove = s.v.Rmdir
	}
	there, err := s.v.Lookup(context.Background(), parent, []byte(name))
	if err == nil && there.Ref.Ino == a.Ref.Ino {
		err = remove(context.Background(), parent, []byte(name))
	}
	if err != nil && !errors.Is(err, meta.ErrNotExist) {
		s.log.Warn("half made inode not removed", "inode", uint64(a.Ref.Ino), "err", err)
	}
	if held {
		s.v.Release(a.Held)
	}
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
	_, st := s.create(cancel, &in.InHeader, name, n, in.Umask, false, true, out)
	return st
}

func (s *Server) Mkdir(cancel <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	_, st := s.create(cancel, &in.InHeader, name, volume.Node{Kind: meta.Dir, Perm: uint16(in.Mode & 07777)}, in.Umask, false, true, out)
	return st
}

func (s *Server) Symlink(cancel <-chan struct{}, in *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	if len(target) > meta.MaxTarget {
		return fuse.Status(syscall.ENAMETOOLONG)
	}
	_, st := s.create(cancel, in, name, volume.Node{Kind: meta.Symlink, Perm: 0777, Target: []byte(target)}, 0, false, true, out)
	return st
}

func (s *Server) Readlink(cancel <-chan struct{}, in *fuse.InHeader) ([]byte, fuse.Status) {
	ctx, end := s.ctx(cancel)
	defer end()
	ref, st := s.node(in.NodeId)
	if !st.Ok() {
		return nil, st
	}
	a, err := s.v.Attr(ctx, ref)
	if err != nil {
		return nil, errno(s.log, "readlink", err)
	}
	if a.Inode.Kind != meta.Symlink {
		return nil, fuse.EINVAL
	}
	s.v.Accessed(ref)
	return a.Inode.Target, fuse.OK
}

func (s *Server) Unlink(cancel <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	ctx, end := s.ctx(cancel)
	defer end()
	parent, st := s.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	left, _ := s.parting(ctx, parent, name)
	if err := s.v.Unlink(ctx, parent, []byte(name)); err != nil {
		return errno(s.log, "unlink", err)
	}
	left()
	return fuse.OK
}

func (s *Server) Rmdir(cancel <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	ctx, end := s.ctx(cancel)
	defer end()
	parent, st := s.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	left, _ := s.parting(ctx, parent, name)
	if err := s.v.Rmdir(ctx, parent, []byte(name)); err != nil {
		return errno(s.log, "rmdir", err)
	}
	left()
	return fuse.OK
}

// The flags of renameat2(2).
const (
	renameNoReplace = 1
	renameExchange  = 2
)

func (s *Server) Rename(cancel <-chan struct{}, in *fuse.RenameIn, oldName, newName string) fuse.Status {
	ctx, end := s.ctx(cancel)
	defer end()
	parent, st := s.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	newParent, st := s.node(in.Newdir)
	if !st.Ok() {
		return st
	}
	var flags meta.RenameFlags
	left, back := func() {}, func() {}
	switch in.Flags {
	case 0:
		if parent != newParent || oldName != newName {
			left, back = s.parting(ctx, newParent, newName)
		}
	case renameNoReplace:
		flags = meta.NoReplace
	case renameExchange:
		flags = meta.Exchange
	default:
		return fuse.EINVAL
	}
	given, err := s.v.RenameSure(ctx, parent, []byte(oldName), newParent, []byte(newName), flags)
	if err != nil {
		return errno(s.log, "rename", err)
	}
	left()
	s.v.Redecide()
	if err := s.confirmName(ctx, given, nameIn{parent, oldName}, nameIn{newParent, newName}); err != nil {
		if errors.Is(err, publish.ErrFaster) {
			back()
			if flags&meta.NoReplace == 0 {
				return estale // the kernel looks again, and replaces what is there now
			}
		}
		return errno(s.log, "rename", err)
	}
	s.renamed(ctx, nameIn{parent, oldName}, nameIn{newParent, newName})
	if flags == meta.Exchange {
		s.renamed(ctx, nameIn{newParent, newName}, nameIn{parent, oldName})
	}
	return fuse.OK
}

func (s *Server) Link(cancel <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	ctx, end := s.ctx(cancel)
	defer end()
	parent, st := s.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	ref, st := s.node(in.Oldnodeid)
	if !st.Ok() {
		return st
	}
	a, err := s.v.Link(ctx, ref, parent, []byte(name))
	if err == nil {
		err = s.confirmName(ctx, a.Given, nameIn{parent, name})
	}
	if err == nil {
		err = s.entry(place{parent, name}, out, func() (volume.Attr, error) { return s.v.Attr(ctx, ref) })
	}
	return errno(s.log, "link", err)
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
