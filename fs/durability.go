package fs

import (
	"context"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
)

// durableAttr is the attribute by which a program asks where a file is. It is not
// stored, and not listed: what is listed gets copied.
const durableAttr = "user.hushfs.durable"

// confirm returns when what was done to these inodes is in the store, where the
// directory dir wants it so. What was done stays done when it fails.
func (s *Server) confirm(ctx context.Context, dir meta.Ref, refs ...meta.Ref) error {
	if s.o.ReadOnly {
		return nil
	}
	remote, err := s.v.Remote(ctx, dir)
	if err != nil || !remote {
		return err
	}
	return s.v.Confirm(ctx, refs...)
}

// confirmFile is confirm for a file, which is in the directory in which it was looked
// up last. The kernel knows none where what is open became a conflict copy.
func (s *Server) confirmFile(ctx context.Context, node uint64, ref meta.Ref) error {
	dir, ok := s.nodes.directory(node)
	if !ok {
		dir = s.v.Folder(ref)
	}
	return s.confirm(ctx, dir, ref)
}

// confirmName is confirm for a change of names. After an error the kernel takes none of
// them for made, so it is to ask anew.
func (s *Server) confirmName(ctx context.Context, g volume.Given, names ...nameIn) error {
	err := s.v.ConfirmName(ctx, g)
	if err != nil {
		var c volume.Change
		for _, n := range names {
			c.Names = append(c.Names, volume.Name{Parent: n.dir.Ino, Name: []byte(n.name)})
		}
		s.notify.Changed(c)
	}
	return err
}

// renamed notes where the kernel finds an inode from now on.
func (s *Server) renamed(ctx context.Context, was, is nameIn) {
	if a, err := s.v.Lookup(ctx, is.dir, []byte(is.name)); err == nil {
		s.nodes.moved(a.Ref.Ino, place(was), place(is))
	}
}

// nameIn is a name of the directory dir.
type nameIn struct {
	dir  meta.Ref
	name string
}

// durable answers with where a file is.
func (s *Server) durable(ref meta.Ref, dest []byte) (uint32, fuse.Status) {
	d, err := s.v.Durable(ref)
	if err != nil {
		return 0, errno(s.log, "getxattr", err)
	}
	return give(dest, []byte(d.String()))
}

// checkDurability says whether an inode may have value as its volume.DurabilityAttr.
func (s *Server) checkDurability(ctx context.Context, ref meta.Ref, value []byte) fuse.Status {
	a, err := s.v.Attr(ctx, ref)
	if err != nil {
		return errno(s.log, "setxattr", err)
	}
	if v := string(value); a.Inode.Kind != meta.Dir || v != volume.DurabilityLocal && v != volume.DurabilityRemote {
		return fuse.EINVAL
	}
	return fuse.OK
}
