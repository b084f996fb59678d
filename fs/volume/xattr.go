package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"

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

// SetXattr sets an extended attribute. It answers ErrAttributes where an inode would have
// more than meta.MaxXattrs of them: they must fit into a commit with all else that it has.
func (v *Volume) SetXattr(ctx context.Context, ref meta.Ref, name, value []byte, flags meta.XattrFlags) error {
	if err := v.room.enter(ctx); err != nil {
		return err
	}
	return v.changing(ctx, func() error {
		if err := v.fits(ref, name, value); err != nil {
			return err
		}
		return v.apply(ref, &meta.Setxattr{Ref: v.own(ref), Name: name, Value: value, Flags: flags})
	})
}

// fits tells whether an inode has room for an attribute; v is locked.
func (v *Volume) fits(ref meta.Ref, name, value []byte) error {
	n, err := v.stored(ref)
	if err != nil || !n.Xattrs {
		return err
	}
	sum := len(name) + len(value)
	err = v.base(ref, func(r meta.Reader) error {
		all := meta.XattrRange(v.own(ref))
		return r.Scan(all.From, all.To, func(k, old []byte) bool {
			if _, other, err := meta.ParseXattrKey(k); err == nil && !bytes.Equal(other, name) {
				sum += len(other) + len(old)
			}
			return true
		})
	})
	if err == nil && sum > meta.MaxXattrs {
		return fmt.Errorf("inode %d: %w: it would be %d bytes", ref.Ino, ErrAttributes, sum)
	}
	return err
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
		err := v.demote(ref, ids)
		if errors.Is(err, meta.ErrLeased) {
			if aside, serr := v.setAside(ref); aside || serr != nil {
				err = errors.Join(serr, v.demote(ref, ids))
			}
		}
		return err
	})
}

// demote is Demote with v locked.
func (v *Volume) demote(ref meta.Ref, ids bool) error {
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
}
