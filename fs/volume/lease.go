package volume

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hushfs/hushfs/fs/meta"
)

// The attribute by which a file or folder is leased, asked and given back, and those of
// the root by which all leases, and all locks of files that machines share, are asked for.
const (
	LeaseAttr  = "user.hushfs.lease"
	LeasesAttr = "user.hushfs.leases"
	LockedAttr = "user.hushfs.locked"
)

// leaseTries is how often a folder is looked through again because others made
// something in it while it was being leased.
const leaseTries = 5

// Lease gives this machine a lease of a file, or of a folder and all below it, and
// returns when the store has it: from then on nobody else's change of it counts. from is
// the number of another machine's lease that is taken away; 0: none is.
//
// meta.ErrLeased when another machine has a lease, meta.ErrExist when it belongs to what
// this machine has leased already, or has a part of it leased, meta.ErrTooLarge when more than meta.MaxLeased files
// and folders lie below; errors of Confirm.
func (v *Volume) Lease(ctx context.Context, ref meta.Ref, from uint64) error {
	if err := v.writable(ctx); err != nil {
		return err
	}
	if err := v.sync.CatchUp(ctx); err != nil {
		return fmt.Errorf("look for what others have leased: %w", err)
	}
	ref = v.leasable(ref)
	for range leaseTries {
		below, err := v.below(ctx, ref)
		if err != nil {
			return err
		}
		if err := v.dropOld(ctx, ref, below); err != nil {
			return err
		}
		parent, name := v.placeOf(ctx, ref)
		err = v.lease(ctx, func(slot uint64) meta.Op {
			return &meta.SetLease{Act: meta.LeaseTake, Ref: ref, Until: slot + meta.LeaseTerm, From: from, Parent: parent, Name: name, Below: below}
		})
		if err != nil {
			return err
		}
		if err := v.hasLease(ctx, ref); err != nil {
			return err
		}
		after, err := v.below(ctx, ref)
		if err != nil {
			return err
		}
		if v.covered(below, after) {
			v.log.Info("leased", "inode", uint64(ref.Ino), "with", len(below))
			return nil
		}
	}
	return fmt.Errorf("lease inode %d: others go on making files in it: %w", ref.Ino, meta.ErrConflict)
}

// GiveBack gives a lease of this machine back, and returns when the store knows. What was
// written before comes before it: somebody else may take it at once.
//
// meta.ErrNoAttr when there is nothing to give back: it never had it, gave it back before,
// lost it to another, or let it run out.
func (v *Volume) GiveBack(ctx context.Context, ref meta.Ref) error {
	ref = v.leasable(ref)
	switch there, err := v.toGiveBack(ctx, ref); {
	case err != nil:
		return err
	case !there:
		return meta.ErrNoAttr
	}
	if err := v.pinOld(ctx, 0); err != nil {
		return fmt.Errorf("keep what was written under a lease: %w", err)
	}
	for {
		err := v.lease(ctx, func(uint64) meta.Op { return &meta.SetLease{Act: meta.LeaseRelease, Ref: ref} })
		if errors.Is(err, meta.ErrNotExist) {
			return meta.ErrNoAttr
		}
		if err != nil {
			return err
		}
		held := false // very many parts are given back bit by bit
		err = v.locked(ctx, func() error {
			return v.view.Read(func(r meta.Reader) error {
				l, of, err := meta.LeaseOf(r, ref.Ino)
				held = l != nil && of == ref.Ino && l.Device == v.device && !l.Ended()
				return err
			})
		})
		if err != nil || !held {
			return err
		}
	}
}

// leasable is what a lease of an inode is of, which may be called what its handles call it.
func (v *Volume) leasable(ref meta.Ref) meta.Ref {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.at(ref)
}

// toGiveBack says whether this machine has the lease of an inode, or gave it back and the
// store may not know yet.
func (v *Volume) toGiveBack(ctx context.Context, ref meta.Ref) (there bool, err error) {
	err = v.locked(ctx, func() error {
		there = false
		mine := func(r meta.Reader) error {
			l, of, err := meta.LeaseOf(r, ref.Ino)
			there = there || l != nil && of == ref.Ino && l.Device == v.device && l.Until > v.view.Slot()
			return err
		}
		if err := v.view.Read(mine); err != nil || there {
			return err
		}
		return mine(v.view.Confirmed())
	})
	return there, err
}

// dropOld forgets leases that are held no more and were of a part of what is about to be
// leased, or of more than that: of a folder, for one of its files. Only those that are so
// in the store: in the commit that takes one away its record is needed.
func (v *Volume) dropOld(ctx context.Context, ref meta.Ref, below []meta.Ino) error {
	for {
		dropped := false
		err := v.changing(ctx, func() error {
			slot := v.view.Slot()
			var old []meta.Ino
			for _, ino := range append([]meta.Ino{ref.Ino}, below...) {
				l, of, err := meta.LeaseOf(v.view.Confirmed(), ino)
				if err != nil {
					return err
				}
				if l != nil && of != ref.Ino && l.Until <= slot && !slices.Contains(old, of) {
					old = append(old, of)
				}
			}
			for _, of := range old {
				id := meta.Ref{Home: meta.Root, Ino: of} // a lease stands under the number alone
				if of == meta.Root {
					id = meta.RootRef
				}
				was := v.nextOp
				err := v.execute(&meta.SetLease{Act: meta.LeaseDrop, Ref: id})
				if err != nil && !errors.Is(err, meta.ErrNotExist) && !errors.Is(err, meta.ErrLeased) {
					return err
				}
				dropped = dropped || v.nextOp != was
			}
			return nil
		})
		if err != nil || !dropped {
			return err
		}
		if err := v.persist(); err != nil {
			return err
		}
		v.mu.Lock()
		last := v.nextOp - 1
		v.mu.Unlock()
		if err := v.sync.Confirm(ctx, last); err != nil {
			return err
		}
	}
}

// lease executes an operation, of which it tells the newest slot, and waits until it is
// in the store.
func (v *Volume) lease(ctx context.Context, op func(slot uint64) meta.Op) error {
	var last meta.OpNo
	err := v.changing(ctx, func() error {
		err := v.execute(op(v.view.Slot()))
		last = v.nextOp - 1
		return err
	})
	if err != nil {
		return err
	}
	if err := v.persist(); err != nil {
		return err
	}
	return v.sync.Confirm(ctx, last)
}

// hasLease says whether the store has this machine's lease: another may have been faster.
func (v *Volume) hasLease(ctx context.Context, ref meta.Ref) error {
	return v.locked(ctx, func() error {
		return v.view.Read(func(r meta.Reader) error {
			l, of, err := meta.LeaseOf(r, ref.Ino)
			if err == nil && (l == nil || of != ref.Ino || l.Device != v.device) {
				err = meta.ErrLeased
			}
			return err
		})
	})
}

// covered says whether what lies in a folder after it was leased is under the lease.
func (v *Volume) covered(leased, there []meta.Ino) bool {
	for _, ino := range there {
		if _, ok := slices.BinarySearch(leased, ino); !ok && ino.Device() != v.device {
			return false
		}
	}
	return true
}

// below are all inodes below one, ascending; none below what is no folder.
func (v *Volume) below(ctx context.Context, ref meta.Ref) ([]meta.Ino, error) {
	seen := map[meta.Ino]bool{}
	todo := []meta.Ref{ref}
	for len(todo) > 0 {
		dir := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		n, err := v.Attr(ctx, dir)
		if err != nil {
			return nil, err
		}
		if n.Inode.Kind != meta.Dir {
			continue
		}
		names, err := v.List(ctx, dir)
		if err != nil {
			return nil, err
		}
		for _, e := range names {
			if seen[e.Ref.Ino] {
				continue
			}
			if seen[e.Ref.Ino] = true; len(seen) > meta.MaxLeased {
				return nil, fmt.Errorf("lease more than %d files and folders: %w", meta.MaxLeased, meta.ErrTooLarge)
			}
			if e.Kind == meta.Dir {
				todo = append(todo, e.Ref)
			}
		}
	}
	all := make([]meta.Ino, 0, len(seen))
	for ino := range seen {
		all = append(all, ino)
	}
	slices.Sort(all)
	return all, nil
}

// Writable answers meta.ErrLeased when another machine has a lease of an inode.
func (v *Volume) Writable(ctx context.Context, ref meta.Ref) error {
	var l *meta.Lease
	err := v.locked(ctx, func() error {
		slot, own := v.view.Slot(), v.own(ref)
		return v.view.Read(func(r meta.Reader) (err error) {
			l, err = meta.Held(r, own, v.device, slot+1)
			return err
		})
	})
	if err == nil && l != nil {
		v.log.Warn("not opened for writing: another device has a lease", "inode", uint64(ref.Ino), "device", l.Device)
		err = meta.ErrLeased
	}
	return err
}

// keepLeases moves on how long this machine's leases are held, when others' commits
// have used up half of the time. It is called now and then.
func (v *Volume) keepLeases(ctx context.Context) {
	slot := v.view.Slot()
	if v.o.ReadOnly || v.kept.Swap(slot) == slot {
		return
	}
	_, self, _ := v.state.Device()
	var mine []meta.Ino
	err := v.near(ctx, func() error {
		mine = nil
		return v.view.Read(func(r meta.Reader) error {
			return meta.Leases(r, func(ino meta.Ino, l *meta.Lease) bool {
				if l.Device == self && l.Until > slot && l.Until < slot+meta.LeaseTerm/2 {
					mine = append(mine, ino)
				}
				return true
			})
		})
	})
	for _, ino := range mine {
		if err == nil {
			err = v.changing(ctx, func() error {
				ref := meta.Ref{Home: meta.Root, Ino: ino} // a lease stands under the number alone
				if ino == meta.Root {
					ref = meta.RootRef
				}
				return v.execute(&meta.SetLease{Act: meta.LeaseRenew, Ref: ref, Until: slot + meta.LeaseTerm})
			})
		}
	}
	if err != nil && ctx.Err() == nil {
		v.log.Warn("leases are not kept", "err", err)
		v.kept.Store(0)
	}
}
