package fs

import (
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
)

// valid is how long the kernel may keep entries and attributes: long, since what
// changes elsewhere is pushed to it.
const valid = time.Hour

// walked is the same for the attributes of directories. Whoever goes by a path asks for
// them when they are older, and so shows that the mount is in use, although the kernel
// has all the answers: what other machines do is looked for all the time then.
const walked = 5 * time.Second

// validFor is how long the kernel may keep the attributes of an inode.
func validFor(k meta.Kind) time.Duration {
	if k == meta.Dir {
		return walked
	}
	return valid
}

// blockSize is the st_blksize that programs see: a READ request's size.
const blockSize = 128 << 10

// types are the S_IFMT bits of each kind.
var types = map[meta.Kind]uint32{
	meta.File:    syscall.S_IFREG,
	meta.Dir:     syscall.S_IFDIR,
	meta.Symlink: syscall.S_IFLNK,
	meta.Fifo:    syscall.S_IFIFO,
	meta.Char:    syscall.S_IFCHR,
	meta.Block:   syscall.S_IFBLK,
	meta.Socket:  syscall.S_IFSOCK,
}

// kindOf is the inverse of types.
func kindOf(mode uint32) (meta.Kind, bool) {
	for k, bits := range types {
		if bits == mode&syscall.S_IFMT {
			return k, true
		}
	}
	return 0, mode&syscall.S_IFMT == 0
}

// fill writes the attributes of an inode for the kernel.
func (s *Server) fill(a volume.Attr, out *fuse.Attr) {
	n := a.Inode
	out.Ino = uint64(a.Ref.Ino)
	out.Size = n.Size
	out.Blocks = a.Blocks
	out.Blksize = blockSize
	out.Atime, out.Atimensec = uint64(n.Atime.Sec), n.Atime.Nsec
	out.Mtime, out.Mtimensec = uint64(n.Mtime.Sec), n.Mtime.Nsec
	out.Ctime, out.Ctimensec = uint64(n.Ctime.Sec), n.Ctime.Nsec
	out.Mode = types[n.Kind] | uint32(n.Perm)
	out.Nlink = n.Nlink
	out.Owner = fuse.Owner{Uid: n.UID, Gid: n.GID}
	if s.owner != nil {
		out.Owner = *s.owner
	}
	out.Rdev = n.Rdev
}

// entry answers a look-up of the name at with the attributes that get returns. Where
// another machine's change comes between those and the node they are asked for again.
func (s *Server) entry(at place, out *fuse.EntryOut, get func() (volume.Attr, error)) error {
	for {
		turn := s.nodes.now()
		a, err := get()
		if err != nil {
			return err
		}
		id, ok := s.nodes.lookup(a.Ref, a.Inode.Kind == meta.Dir, at, turn)
		if !ok {
			continue
		}
		out.NodeId = id
		out.SetEntryTimeout(valid)
		out.SetAttrTimeout(validFor(a.Inode.Kind))
		s.fill(a, &out.Attr)
		return nil
	}
}

// setattr turns a SETATTR that comes now into an operation. The size is not part of it.
func setattr(in *fuse.SetAttrIn, now meta.Time) meta.Setattr {
	var op meta.Setattr
	if in.Valid&fuse.FATTR_MODE != 0 {
		op.Valid |= meta.SetPerm
		op.Perm = uint16(in.Mode & 07777)
	}
	if in.Valid&fuse.FATTR_UID != 0 {
		op.Valid |= meta.SetUID
		op.UID = in.Uid
	}
	if in.Valid&fuse.FATTR_GID != 0 {
		op.Valid |= meta.SetGID
		op.GID = in.Gid
	}
	if in.Valid&fuse.FATTR_ATIME != 0 {
		op.Valid |= meta.SetAtime
		op.Atime = meta.Time{Sec: int64(in.Atime), Nsec: in.Atimensec}
		if in.Valid&fuse.FATTR_ATIME_NOW != 0 {
			op.Atime = now
		}
	}
	if in.Valid&fuse.FATTR_MTIME != 0 {
		op.Valid |= meta.SetMtime
		op.Mtime = meta.Time{Sec: int64(in.Mtime), Nsec: in.Mtimensec}
		if in.Valid&fuse.FATTR_MTIME_NOW != 0 {
			op.Mtime = now
		}
	}
	if in.Valid&fuse.FATTR_CTIME != 0 {
		op.Valid |= meta.SetCtime
		op.Ctime = meta.Time{Sec: int64(in.Ctime), Nsec: in.Ctimensec}
	}
	return op
}

// amend does now what op does to an inode that is in no directory any more, and so
// in no operation.
func amend(n *meta.Inode, op meta.Setattr, now meta.Time) {
	if op.Valid&meta.SetPerm != 0 {
		n.Perm = op.Perm
	}
	if op.Valid&meta.SetUID != 0 {
		n.UID = op.UID
	}
	if op.Valid&meta.SetGID != 0 {
		n.GID = op.GID
	}
	if op.Valid&meta.SetAtime != 0 {
		n.Atime = op.Atime
	}
	if op.Valid&meta.SetMtime != 0 {
		n.Mtime = op.Mtime
	}
	n.Ctime = now
}
