package volume

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
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

// LeaseOf returns the lease that an inode is under; meta.ErrNoAttr: none.
func (v *Volume) LeaseOf(ctx context.Context, ref meta.Ref) (Leased, error) {
	ref = v.leasable(ref)
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
	devices := v.sync.Devices()
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
	return v.pathIn(ctx, ino, l.Parent, l.Name)
}

// pathIn is the path of an inode that has a name in the directory dir; none: it is not known.
func (v *Volume) pathIn(ctx context.Context, ino meta.Ino, dir meta.Ref, last []byte) (string, error) {
	if len(last) == 0 {
		return fmt.Sprintf("(inode %d)", ino), nil
	}
	path := string(last)
	for dir != meta.RootRef {
		parent, name := v.placeOf(ctx, dir)
		if name == nil {
			return fmt.Sprintf("(inode %d)/%s", dir.Ino, path), ctx.Err()
		}
		path, dir = string(name)+"/"+path, parent
	}
	return "/" + path, nil
}

// Locked is what a machine has of the lock of a file that all machines share, as people
// see it.
type Locked struct {
	Inode  uint64 `json:"inode"`
	Path   string `json:"path"` // in the drive; "(inode N)" where it is not known here
	Device int    `json:"device"`
	Name   string `json:"device_name"`
	This   bool   `json:"this"`  // it is the machine that says so
	Mode   string `json:"mode"`  // shared or exclusive; empty: it does not have it yet
	Waits  string `json:"waits"` // what it waits for; empty: nothing
	Until  uint64 `json:"until_slot"`
	Slot   uint64 `json:"slot"` // newest that this machine knows
}

// Locked returns the locks that machines have, or wait for, by inode and device.
func (v *Volume) Locked(ctx context.Context) ([]Locked, error) {
	var found []Locked
	err := v.near(ctx, func() error {
		found = []Locked{}
		slot := v.view.Slot()
		return v.view.Read(func(r meta.Reader) error {
			return meta.AllLocks(r, func(ino meta.Ino, by meta.Device, l meta.Lock) bool {
				if l.Until > slot {
					found = append(found, Locked{Inode: uint64(ino), Device: int(by), Mode: lockModes[l.Mode], Waits: lockModes[l.Want], Until: l.Until, Slot: slot})
				}
				return true
			})
		})
	})
	if err != nil {
		return nil, err
	}
	devices := v.sync.Devices()
	_, self, _ := v.state.Device()
	for i := range found {
		l := &found[i]
		l.This = l.Device == int(self)
		for _, d := range devices {
			if int(d.No) == l.Device {
				l.Name = d.Name
			}
		}
		parent, name := v.places.ofInode(meta.Ino(l.Inode))
		if l.Path, err = v.pathIn(ctx, meta.Ino(l.Inode), parent, name); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// lockModes are how people call the modes of locks.
var lockModes = [...]string{meta.LockNone: "", meta.LockShared: "shared", meta.LockExclusive: "exclusive"}

// ofInode is a name of the inode of a file; none: it is not known.
func (p *places) ofInode(ino meta.Ino) (parent meta.Ref, name []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, known := range []map[meta.Ref]knownPlace{p.waiting, p.young, p.old} {
		for ref, at := range known {
			if ref.Ino == ino {
				return at.parent.Value(), []byte(at.name)
			}
		}
	}
	return meta.Ref{}, nil
}
