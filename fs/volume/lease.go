package volume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
)

// The attribute by which a file or folder is leased, asked and given back, and that of
// the root by which all leases are asked for.
const (
	LeaseAttr  = "user.hushfs.lease"
	LeasesAttr = "user.hushfs.leases"
)

// Leased is a lease as people see it.
type Leased struct {
	Inode  uint64    `json:"inode"`
	Path   string    `json:"path"`   // in the drive; "(inode N)" where it is not known
	Device int       `json:"device"` // that holds it
	Name   string    `json:"device_name"`
	This   bool      `json:"this"`   // it is the machine that says so
	Number string    `json:"number"` // of the lease, for who takes it away
	Since  time.Time `json:"since"`  // by the holder's clock
	Until  uint64    `json:"until_slot"`
	Slot   uint64    `json:"slot"`  // newest that this machine knows
	Taken  bool      `json:"taken"` // it was taken away from another
}

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
	for range leaseTries {
		below, err := v.below(ctx, ref)
		if err != nil {
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

// GiveBack gives a lease of this machine back, and returns when the store knows.
func (v *Volume) GiveBack(ctx context.Context, ref meta.Ref) error {
	err := v.lease(ctx, func(uint64) meta.Op { return &meta.SetLease{Act: meta.LeaseRelease, Ref: ref} })
	if errors.Is(err, meta.ErrNotExist) {
		return meta.ErrNoAttr
	}
	return err
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

// placeOf is where an inode was found, for people; zeros: it is not known.
func (v *Volume) placeOf(ctx context.Context, ref meta.Ref) (parent meta.Ref, name []byte) {
	if parent, name, ok := v.places.find(ref); ok {
		return parent, name
	}
	n, err := v.Attr(ctx, ref)
	if err != nil || n.Inode.Kind != meta.Dir || ref == meta.RootRef {
		return meta.Ref{}, nil
	}
	names, err := v.List(ctx, n.Inode.Parent)
	if err != nil {
		return meta.Ref{}, nil
	}
	for _, e := range names {
		if e.Ref == ref {
			return n.Inode.Parent, e.Name
		}
	}
	return meta.Ref{}, nil
}

// Writable answers meta.ErrLeased when another machine has a lease of an inode.
func (v *Volume) Writable(ctx context.Context, ref meta.Ref) error {
	var l *meta.Lease
	err := v.locked(ctx, func() error {
		slot := v.view.Slot()
		return v.view.Read(func(r meta.Reader) (err error) {
			l, err = meta.Held(r, ref, v.device, slot+1)
			return err
		})
	})
	if err == nil && l != nil {
		v.log.Warn("not opened for writing: another device has a lease", "inode", uint64(ref.Ino), "device", l.Device)
		err = meta.ErrLeased
	}
	return err
}

// LeaseOf returns the lease that an inode is under; meta.ErrNoAttr: none.
func (v *Volume) LeaseOf(ctx context.Context, ref meta.Ref) (Leased, error) {
	all, err := v.leases(ctx, func(r meta.Reader, fn func(meta.Ino, *meta.Lease) bool) error {
		l, of, err := meta.LeaseOf(r, ref.Ino)
		if err == nil && l == nil && ref.Home != 0 {
			l, of, err = meta.LeaseOf(r, ref.Home)
			if l != nil && l.Device != ref.Ino.Device() {
				l = nil
			}
		}
		if l != nil {
			fn(of, l)
		}
		return err
	})
	if err != nil {
		return Leased{}, err
	}
	if len(all) == 0 {
		return Leased{}, meta.ErrNoAttr
	}
	return all[0], nil
}

// Leases returns all that are held, by their paths.
func (v *Volume) Leases(ctx context.Context) ([]Leased, error) {
	all, err := v.leases(ctx, meta.Leases)
	slices.SortFunc(all, func(a, b Leased) int { return strings.Compare(a.Path, b.Path) })
	return all, err
}

func (v *Volume) leases(ctx context.Context, each func(meta.Reader, func(meta.Ino, *meta.Lease) bool) error) ([]Leased, error) {
	type held struct {
		ino meta.Ino
		l   *meta.Lease
	}
	var found []held
	var slot uint64
	err := v.near(ctx, func() error {
		found, slot = nil, v.view.Slot()
		return v.view.Read(func(r meta.Reader) error {
			return each(r, func(ino meta.Ino, l *meta.Lease) bool {
				if l.Until > slot {
					found = append(found, held{ino, l})
				}
				return true
			})
		})
	})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	devices, _ := v.sync.Devices()
	_, self, _ := v.state.Device()
	var out []Leased
	for _, h := range found {
		o := Leased{
			Inode: uint64(h.ino), Device: int(h.l.Device), This: h.l.Device == self, Number: fmt.Sprintf("%x", h.l.Number),
			Since: time.Unix(h.l.Since.Sec, int64(h.l.Since.Nsec)), Until: h.l.Until, Slot: slot, Taken: h.l.From != 0,
		}
		for _, d := range devices {
			if d.No == h.l.Device {
				o.Name = d.Name
			}
		}
		if o.Path, err = v.pathOf(ctx, h.ino, h.l); err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}

// pathOf is where a leased inode was found, by the names of the folders now.
func (v *Volume) pathOf(ctx context.Context, ino meta.Ino, l *meta.Lease) (string, error) {
	if ino == meta.Root {
		return "/", nil
	}
	if len(l.Name) == 0 {
		return fmt.Sprintf("(inode %d)", ino), nil
	}
	path := string(l.Name)
	for dir := l.Parent; dir != meta.RootRef; {
		parent, name := v.placeOf(ctx, dir)
		if name == nil {
			return fmt.Sprintf("(inode %d)/%s", dir.Ino, path), ctx.Err()
		}
		path, dir = string(name)+"/"+path, parent
	}
	return "/" + path, nil
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
