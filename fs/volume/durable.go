package volume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
)

// Where is how far something has come on its way to the store.
type Where uint8

const (
	InMemory  Where = iota // a part of it at least
	InJournal              // synced on the local disk
	InStore
)

// Durability says where all of a file or directory is.
type Durability struct {
	Where Where
	Slot  uint64 // InStore: no newer one has anything of it
}

// String is "no", "local", or "bucket" and the slot.
func (d Durability) String() string {
	switch d.Where {
	case InMemory:
		return "no"
	case InJournal:
		return "local"
	}
	return fmt.Sprintf("bucket %d", d.Slot)
}

// Durable says where all is that was written to an inode: bytes, attributes and names;
// of a directory also the names in it, but not what lies below. It knows nothing of
// what the kernel has not handed over yet. The slot is that of the newest commit that
// touched it; where that was folded, that of the newest checkpoint. It waits for
// nothing, and never for the store.
func (v *Volume) Durable(ref meta.Ref) (Durability, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if f := v.frozen(ref); f != nil && f.by == (Given{}) {
		return Durability{InStore, v.view.Slot()}, nil // another machine's, which was changed since
	}
	if ref = v.at(ref); v.orphans[ref.Ino] != nil || v.dirty[ref.Ino] != nil {
		return Durability{Where: InMemory}, nil
	}
	no, slot, there := v.view.Newest(meta.InodeKey(ref))
	switch {
	case !there:
		return Durability{}, ErrStale
	case no > v.synced:
		return Durability{Where: InMemory}, nil
	case no > 0:
		return Durability{Where: InJournal}, nil
	}
	return Durability{InStore, slot}, nil
}

// newest is the newest operation that touched one of these inodes and is in no slot;
// 0 when all is there that was ever to go, as nothing of a file without a name. Where a
// program waits to hear whether a file lost its name it is that operation, and open is true:
// it is to be asked again then.
func (v *Volume) newest(refs []meta.Ref) (last meta.OpNo, open bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, ref := range refs {
		ref = v.at(ref)
		if o := v.orphans[ref.Ino]; o != nil {
			if o.by == (Given{}) {
				continue
			}
			if pends := v.pends(o.by); pends || o.frozen {
				open = true
				if pends {
					last = max(last, o.by.no)
				}
			}
			continue
		}
		no, _, there := v.view.Newest(meta.InodeKey(ref))
		if !there {
			return v.nextOp - 1, open // deleted
		}
		last = max(last, no)
	}
	return last, open
}

// rejoin has files that did not lose their names be files of the map again, or copies; v is
// locked.
func (v *Volume) rejoin(handles []meta.Ref) error {
	for _, as := range handles {
		if f := v.frozen(as); f != nil && f.by != (Given{}) {
			if _, err := v.changeable(as); err != nil {
				return err
			}
		}
	}
	return nil
}

// copied says, once, whether what was written through one of these handles went to a copy;
// v is locked.
func (v *Volume) copied(handles []meta.Ref) (copied bool) {
	for _, as := range handles {
		if o := v.held[as.Ino]; o != nil {
			copied, o.copied = copied || o.copied, false
		}
	}
	return copied
}

// Confirm returns when the operations that touched these inodes, and all before them,
// are in the store. It fails when ctx ends, with context.DeadlineExceeded after the
// time that Options give, when nothing is published any more, and once with
// publish.ErrConflict where what was written to an open file went to a copy, if there was
// something to wait for. In any case they are in the journal, and go on to be sent; but for
// what is written to a file while a program waits to hear whether it lost its name. Data
// that floats is not waited for.
func (v *Volume) Confirm(ctx context.Context, refs ...meta.Ref) error {
	ctx, cancel := v.remoteLimit(ctx)
	defer cancel()
	last, open := v.newest(refs)
	waits := last > 0 || open
	for open {
		if err := v.await(ctx, last); err != nil {
			return err
		}
		if err := v.changing(ctx, func() error { return v.rejoin(refs) }); err != nil {
			return err
		}
		last, open = v.newest(refs)
	}
	if last > 0 {
		if err := v.await(ctx, last); err != nil {
			return err
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.copied(refs) && waits { // a later fsync is about what is written from now on
		return publish.ErrConflict
	}
	return nil
}

// remoteLimit ends ctx after the time for which programs wait for the store.
func (v *Volume) remoteLimit(ctx context.Context) (context.Context, context.CancelFunc) {
	if v.o.RemoteTimeout > 0 {
		return context.WithTimeout(ctx, v.o.RemoteTimeout)
	}
	return ctx, func() {}
}

// await returns when the operations up to last are in the store, for Confirm and ConfirmName.
func (v *Volume) await(ctx context.Context, last meta.OpNo) error {
	if err := v.persist(); err != nil {
		return err
	}
	ctx, cancel := v.remoteLimit(ctx)
	defer cancel()
	defer v.confirming.begin()()
	if err := v.sync.Confirm(ctx, last); err != nil {
		return fmt.Errorf("wait for the store: %w", err)
	}
	return nil
}

// WaitFile returns when all that was written to the inode called ino before is in the
// store, with whatever this machine did before that.
func (v *Volume) WaitFile(ctx context.Context, ino meta.Ino) error {
	_ = v.seal(meta.Ref{Ino: ino}, false)
	as := ino
	err := v.locked(ctx, func() error {
		d := v.dirty[as]
		err := v.pin(as)
		if d != nil {
			as = d.ref.Ino // another, where it had to be recovered
		}
		return err
	})
	if err != nil {
		return err
	}
	last := max(v.view.NewestOf(ino), v.view.NewestOf(as))
	if last == 0 {
		return v.stillThere(ctx)
	}
	if v.o.ReadOnly {
		return ErrReadOnly // it waits for a mount that may write
	}
	return v.sync.Confirm(ctx, last)
}

// The attribute of a directory by which what is made durable in it, and below, is to
// be in the store before a program hears of it, and its values.
const (
	DurabilityAttr   = "user.hushfs.durability"
	DurabilityLocal  = "local"
	DurabilityRemote = "remote"
)

const (
	// decisionsMax is how many directories are kept in mind.
	decisionsMax = 4096

	// decideFor is for how long the directories above one are looked for in the store.
	decideFor = 3 * time.Second

	// depthMax ends a circle that a broken writer left.
	depthMax = 1 << 12
)

// Remote says whether what is made durable in the directory dir is to be in the store:
// the nearest directory decides that has the attribute, dir itself included, and where
// none has it, or dir is no more, the mount does. Where that is not known, because the
// store is away, it is an error: a program that relies on the store must not be told that
// something is done. A mount that wants all of it there has it wait.
func (v *Volume) Remote(ctx context.Context, dir meta.Ref) (bool, error) {
	v.mu.Lock()
	remote, known := v.decided[dir.Ino]
	turn := v.decisions
	v.mu.Unlock()
	if known {
		return remote, nil
	}
	ctx, cancel := context.WithTimeout(ctx, decideFor)
	defer cancel()
	remote, err := v.decide(ctx, dir)
	switch {
	case err == nil:
	case v.o.Remote, errors.Is(err, ErrStale):
		return v.o.Remote, nil // it is asked again
	default:
		return false, fmt.Errorf("find out whether it is to be in the store: %w", err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.decisions == turn {
		if len(v.decided) >= decisionsMax {
			clear(v.decided)
		}
		v.decided[dir.Ino] = remote
	}
	return remote, nil
}

func (v *Volume) decide(ctx context.Context, dir meta.Ref) (bool, error) {
	value, err := v.above(ctx, dir, DurabilityAttr, DurabilityLocal, DurabilityRemote)
	if err != nil || value == "" {
		return v.o.Remote, err
	}
	return value == DurabilityRemote, nil
}

// above is the value of an attribute, one of values, of the nearest directory that has
// such a one, dir itself included; empty: none has.
func (v *Volume) above(ctx context.Context, dir meta.Ref, attr string, values ...string) (string, error) {
	for range depthMax {
		var n *meta.Inode
		var value []byte
		err := v.locked(ctx, func() (err error) {
			value = nil
			if n, err = v.stored(dir); err != nil || !n.Xattrs {
				return err
			}
			err = v.base(dir, func(r meta.Reader) error {
				value, err = meta.GetXattr(r, dir, n, []byte(attr))
				return err
			})
			if errors.Is(err, meta.ErrNoAttr) {
				return nil
			}
			return err
		})
		if err != nil {
			return "", err
		}
		if slices.Contains(values, string(value)) {
			return string(value), nil
		}
		if dir == meta.RootRef || n.Kind != meta.Dir {
			return "", nil
		}
		dir = n.Parent
	}
	return "", nil
}

// Folder is the directory in which a file is, as far as it is known: the root where it is
// not.
func (v *Volume) Folder(ref meta.Ref) meta.Ref {
	v.mu.Lock()
	defer v.mu.Unlock()
	ref = v.at(ref)
	if o := v.open[ref.Ino]; o != nil && o.place.name != "" {
		return o.place.parent
	}
	if dir, _, ok := v.places.find(ref); ok {
		return dir
	}
	return meta.RootRef
}

// Redecide forgets what Remote said: a directory has another attribute, or other ones
// above it.
func (v *Volume) Redecide() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.redecide()
}

// redecide is Redecide with v locked.
func (v *Volume) redecide() {
	v.decisions++
	clear(v.decided)
	clear(v.lockDecided)
}
