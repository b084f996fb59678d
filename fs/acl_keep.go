package fs

import (
	"context"
	"errors"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/volume"
)

// accessList returns the list of an inode, nil when its mode says all.
func (s *Server) accessList(ctx context.Context, ref meta.Ref, name string) (acl, error) {
	b, err := s.v.Xattr(ctx, ref, []byte(name))
	if errors.Is(err, meta.ErrNoAttr) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return decodeACL(b)
}

// setAccessList stores a list, and makes the mode follow an access list. One that
// says no more than the mode is not kept. killSetgid is what the kernel asks for when
// whoever sets it is not in the group.
func (s *Server) setAccessList(ctx context.Context, ref meta.Ref, name string, value []byte, killSetgid bool) error {
	a, err := decodeACL(value)
	if err != nil {
		return err
	}
	if name == aclDefault {
		return s.v.SetXattr(ctx, ref, []byte(name), a.encode(), 0)
	}
	attr, err := s.v.Attr(ctx, ref)
	if err != nil {
		return err
	}
	perm, all := a.mode()
	if all {
		err = s.v.RemoveXattr(ctx, ref, []byte(name))
		if errors.Is(err, meta.ErrNoAttr) {
			err = nil
		}
	} else {
		err = s.v.SetXattr(ctx, ref, []byte(name), a.encode(), 0)
	}
	if err != nil {
		return err
	}
	perm |= attr.Inode.Perm &^ 0o777
	if killSetgid {
		perm &^= 0o2000
	}
	return s.v.Setattr(ctx, ref, meta.Setattr{Valid: meta.SetPerm, Perm: perm})
}

// keepAccessList makes the access list of an inode, if it has one, follow a mode
// that is about to be set.
func (s *Server) keepAccessList(ctx context.Context, ref meta.Ref, perm uint16) error {
	a, err := s.accessList(ctx, ref, aclAccess)
	if err != nil || a == nil {
		return err
	}
	a.chmod(perm)
	return s.v.SetXattr(ctx, ref, []byte(aclAccess), a.encode(), 0)
}

// inherited returns the default list of the directory parent, as the access list
// that n, which is made in it, gets; nil when it has none. n.Perm becomes what n is
// to be made with: without a list umask counts.
func (s *Server) inherited(ctx context.Context, parent meta.Ref, n *volume.Node, umask uint32) (acl, error) {
	if n.Kind == meta.Symlink {
		return nil, nil
	}
	a, err := s.accessList(ctx, parent, aclDefault)
	if err != nil {
		return nil, err
	}
	if a == nil {
		n.Perm &^= uint16(umask & 0o777)
		return nil, nil
	}
	a.inherit(n.Perm)
	n.Perm = n.Perm&^0o777 | a.least()
	return a, nil
}

// handDown gives what was made in the directory parent its lists, a of access.
func (s *Server) handDown(ctx context.Context, parent meta.Ref, made volume.Attr, a acl) (volume.Attr, error) {
	if made.Inode.Kind == meta.Dir {
		b, err := s.v.Xattr(ctx, parent, []byte(aclDefault))
		if err != nil {
			return made, err
		}
		if err := s.v.SetXattr(ctx, made.Ref, []byte(aclDefault), b, 0); err != nil {
			return made, err
		}
	}
	if perm, all := a.mode(); !all {
		if err := s.v.SetXattr(ctx, made.Ref, []byte(aclAccess), a.encode(), 0); err != nil {
			return made, err
		}
		if err := s.v.Setattr(ctx, made.Ref, meta.Setattr{Valid: meta.SetPerm, Perm: made.Inode.Perm&^0o777 | perm}); err != nil {
			return made, err
		}
	}
	now, err := s.v.Attr(ctx, made.Ref)
	if err != nil {
		return made, err
	}
	now.Held = made.Held
	return now, nil
}
