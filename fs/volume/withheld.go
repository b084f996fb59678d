package volume

import (
	"context"
	"errors"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/view"
)

// A file that another machine has a lease of, or has locked, may have been open here
// before. Who has it open was promised that what is written is kept, and the kernel sends
// it whenever it likes: long after the program wrote it, or from a map. No operation on
// the file can be made of that, so it becomes one on a copy beside it, as where the
// other machine had changed the file.

// received returns the inode to which bytes go that were written to ref, or
// meta.ErrLeased where the program can still be told that they go nowhere; v is locked.
func (v *Volume) received(ref meta.Ref) (meta.Ref, error) {
	if v.orphans[ref.Ino] != nil {
		return ref, nil
	}
	withheld, err := v.withheld(ref)
	if err != nil || !withheld {
		return ref, nil // what cannot be known now is met by pin
	}
	o := v.open[ref.Ino]
	if o == nil || o.follows {
		return ref, meta.ErrLeased
	}
	return v.apart(ref)
}

// withheld says whether another machine keeps this one from changing what a file holds;
// v is locked.
func (v *Volume) withheld(ref meta.Ref) (is bool, err error) {
	slot := v.view.Slot() + 1
	err = v.view.Read(func(r meta.Reader) error {
		is, err = meta.Withheld(r, ref, v.device, slot)
		return err
	})
	return is, err
}

// apart makes of a file that is withheld, and of what was written to it here and is no
// operation yet, a copy beside it, which is what programs have open from then on. After
// an error all is as it was; v is locked.
func (v *Volume) apart(ref meta.Ref) (to meta.Ref, err error) {
	f := &orphan{ref: ref, frozen: true, m: view.NewConfirmed(0, v.view.Freeze(), meta.Usage{})}
	d := v.dirty[ref.Ino]
	if d != nil {
		if err := v.applyDirty(f, d); err != nil {
			return meta.Ref{}, err
		}
	}
	ops, to, err := v.detach(f)
	if err != nil {
		return meta.Ref{}, err
	}
	if d != nil {
		delete(v.dirty, ref.Ino)
		d.ref, d.extents = to, nil
		if n, err := v.stored(to); err == nil {
			d.base = n.Version
		}
	}
	var as []meta.Ref
	if o := v.open[ref.Ino]; o != nil {
		as = o.as
		o.copied = o.copied || to.Ino != ref.Ino
		v.become(o, to)
	}
	v.log.Warn("file is written here that another device has leased or locked; both are kept", "inode", uint64(ref.Ino), "as", uint64(to.Ino))
	if v.watcher != nil {
		v.watcher.Became(as, ref, to)
		v.watcher.Changed(given(ops))
	}
	return to, nil
}

// applyDirty adds to f what was written to the file; v is locked.
func (v *Volume) applyDirty(f *orphan, d *dirty) error {
	for rest := d.extents; len(rest) > 0; {
		n := min(len(rest), extentsMax)
		w := &meta.Write{Ref: f.ref, Extents: rest[:n:n], Size: rest[n-1].End()}
		if rest = rest[n:]; len(rest) == 0 {
			w.Size = d.size
			if !d.timed {
				was, err := v.stored(f.ref)
				if err != nil {
					return err
				}
				v.guess(f.ref.Ino, was)
				w.Mtime = &d.last
			}
		}
		if err := v.applyOrphan(f, w); err != nil {
			return err
		}
	}
	return nil
}

// setAside has what is written next to a file that is withheld find a copy: it is frozen,
// or, where something was written before, the copy by then. It answers false where nobody
// was promised that; v is locked.
func (v *Volume) setAside(ref meta.Ref) (bool, error) {
	ref = v.at(ref)
	o := v.open[ref.Ino]
	if o == nil || o.follows || v.orphans[ref.Ino] != nil {
		return false, nil
	}
	if v.dirty[ref.Ino] != nil {
		_, err := v.apart(ref)
		return err == nil, err
	}
	v.freeze(o, v.view.Freeze())
	return true, nil
}

// applyTimes changes times of what is called as, as the kernel tells them for what was
// written. Those of a file that is open and withheld are the copy's that is to come; v is
// locked.
func (v *Volume) applyTimes(as meta.Ref, op *meta.Setattr) error {
	mine := *op
	err := v.apply(as, &mine)
	if !errors.Is(err, meta.ErrLeased) {
		return err
	}
	if aside, serr := v.setAside(as); serr != nil || !aside {
		return errors.Join(err, serr)
	}
	mine.Ref = v.own(as)
	return v.apply(as, &mine)
}

// yieldUp executes what is pending again where it is. A machine that has become another
// device has no lease or lock that it had before: what was done under those is settled as
// what others did under theirs.
func (v *Volume) yieldUp(ctx context.Context) error {
	some := false
	err := v.near(ctx, func() error {
		return v.view.Read(func(r meta.Reader) error {
			err := meta.Leases(r, func(meta.Ino, *meta.Lease) bool { some = true; return false })
			return errors.Join(err, meta.AllLocks(r, func(meta.Ino, meta.Device, meta.Lock) bool { some = true; return false }))
		})
	})
	if err != nil || !some {
		return err
	}
	return v.near(ctx, func() error {
		return v.switched(nil, func() (view.Followed, error) {
			return v.view.Jump(v.view.Snapshot(), 0, v.rebase(), v.replace)
		})
	})
}
