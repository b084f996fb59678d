package volume

import (
	"context"
	"errors"

	"github.com/hushfs/hushfs/fs/meta"
)

// capability is the attribute that gives a program privileges; a change of the
// program takes it away.
const capability = "security.capability"

// Xattr returns the value of an extended attribute; it must not be changed.
func (v *Volume) Xattr(ctx context.Context, ref meta.Ref, name []byte) (value []byte, err error) {
	err = v.locked(ctx, func() error {
		n, err := v.stored(ref)
		if err != nil {
			return err
		}
		return v.base(ref, func(r meta.Reader) error {
			value, err = meta.GetXattr(r, v.own(ref), n, name)
			return err
		})
	})
	return value, err
}

// Xattrs returns the names of an inode's extended attributes, sorted, each with
// a NUL behind it.
func (v *Volume) Xattrs(ctx context.Context, ref meta.Ref) (names []byte, err error) {
	err = v.locked(ctx, func() error {
		n, err := v.stored(ref)
		if err != nil {
			return err
		}
		names = nil
		return v.base(ref, func(r meta.Reader) error {
			return meta.ListXattrs(r, v.own(ref), n, func(name []byte) bool {
				names = append(append(names, name...), 0)
				return true
			})
		})
	})
	return names, err
}

// SetXattr sets an extended attribute.
func (v *Volume) SetXattr(ctx context.Context, ref meta.Ref, name, value []byte, flags meta.XattrFlags) error {
	if err := v.room.enter(ctx); err != nil {
		return err
	}
	return v.amend(ctx, ref, func(ref meta.Ref) meta.Op {
		return &meta.Setxattr{Ref: ref, Name: name, Value: value, Flags: flags}
	})
}

// RemoveXattr removes an extended attribute, or fails with meta.ErrNoAttr.
func (v *Volume) RemoveXattr(ctx context.Context, ref meta.Ref, name []byte) error {
	return v.amend(ctx, ref, func(ref meta.Ref) meta.Op { return &meta.Removexattr{Ref: ref, Name: name} })
}

// amend executes an operation that concerns one inode alone, which may have no
// name any more.
func (v *Volume) amend(ctx context.Context, ref meta.Ref, op func(meta.Ref) meta.Op) error {
	return v.changing(ctx, func() error { return v.apply(ref, op(v.own(ref))) })
}

// Demote takes privileges from an inode whose content or owner changes: its
// capabilities, and with ids the setuid bit, and the setgid bit where the group may
// execute it. It leaves directories alone, and what has no privileges.
func (v *Volume) Demote(ctx context.Context, ref meta.Ref, ids bool) error {
	return v.changing(ctx, func() error {
		n, err := v.stored(ref)
		if err != nil || n.Kind == meta.Dir {
			return err
		}
		apply := func(op meta.Op) error { return v.apply(ref, op) }
		if f := v.frozen(ref); f != nil {
			// The file that it is about to become; the other machine's keeps what it has.
			apply = func(op meta.Op) error { return v.applyOrphan(f, op) }
		}
		const setuid, setgid, groupExec = 04000, 02000, 00010
		perm := n.Perm
		if ids {
			perm &^= setuid
			if perm&groupExec != 0 {
				perm &^= setgid
			}
		}
		if perm != n.Perm {
			// The kernel tells the ctime of what takes them.
			if err := apply(&meta.Setattr{Ref: v.own(ref), Valid: meta.SetPerm | meta.KeepCtime, Perm: perm}); err != nil {
				return err
			}
		}
		if !n.Xattrs {
			return nil
		}
		err = apply(&meta.Removexattr{Ref: v.own(ref), Name: []byte(capability)})
		if errors.Is(err, meta.ErrNoAttr) {
			return nil
		}
		return err
	})
}
