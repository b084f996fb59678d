package volume

import (
	"context"

	"github.com/hushfs/hushfs/fs/meta"
)

// opened is a file that programs have open. What they opened stays what it was: when
// another machine changes the file it is theirs alone from then on, frozen, and once
// they write to it, a file beside the other's. So they call it by a number of its own.
type opened struct {
	as    []meta.Ref // what they call it; several where what was several inodes is one now
	ref   meta.Ref   // what it is: an inode of the map, or one of as where it is in none
	count int
	place placed // by which it was opened to write, or was called since; its name may be empty

	copied  bool // what was written went to a copy, and no program was told
	follows bool // it is never frozen: those who have it open keep others away by locks
	sought  bool // what it was before a jump was not near, and was asked for

	// An operation of the file carries the time of receipt, and this is what the
	// kernel had: see guess.
	guessed      bool
	mtime, ctime meta.Time
}

// heldMin is above all numbers of inodes.
const heldMin meta.Ino = 1 << 63

// closedMax is how many files that were closed last keep what those called them who had
// them open.
const closedMax = 4096

// former knows what the files closed last are. A program's request for a file that has
// it open may be on its way while another closes it, and finds it all the same.
type former struct {
	ref  map[meta.Ino]meta.Ref // by what it was called
	last [closedMax]meta.Ino   // which these are, in a ring
	next int
}

// add notes that as stands for ref, which nobody has open by that number any more.
func (c *former) add(as meta.Ino, ref meta.Ref) {
	delete(c.ref, c.last[c.next])
	c.ref[as], c.last[c.next] = ref, as
	c.next = (c.next + 1) % closedMax
}

// Open takes a handle of an inode, which keeps its content until Release even when its
// last name goes, or another machine changes it. All that is done through the handle is
// done to as. A handle to write with is refused while the local disk is full.
func (v *Volume) Open(ctx context.Context, ref meta.Ref, write bool) (as meta.Ref, err error) {
	if write {
		// What is written goes to the kernel's cache, and who waits for that to be taken
		// over cannot be interrupted: becoming a device of the drive comes before.
		if err := v.writable(ctx); err != nil {
			return meta.Ref{}, err
		}
		if err := v.room.open(); err != nil {
			return meta.Ref{}, err
		}
	}
	err = v.locked(ctx, func() error {
		if _, err := v.inode(ref); err != nil {
			return err
		}
		as = v.hold(ref)
		return nil
	})
	return as, err
}

// hold counts a handle of an inode and returns what it is called by; v is locked.
func (v *Volume) hold(ref meta.Ref) (as meta.Ref) {
	ref = v.at(ref)
	o := v.open[ref.Ino]
	if o == nil {
		v.holds++
		o = &opened{as: []meta.Ref{{Home: ref.Home, Ino: heldMin | meta.Ino(v.holds)}}, ref: ref}
		v.open[ref.Ino], v.held[o.as[0].Ino] = o, o
	}
	o.count++
	return o.as[0]
}

// Release gives a handle back.
func (v *Volume) Release(as meta.Ref) {
	v.mu.Lock()
	defer v.mu.Unlock()
	o := v.open[v.at(as).Ino]
	if o == nil {
		return
	}
	if o.count--; o.count == 0 {
		v.parted(o)
		delete(v.open, o.ref.Ino)
		delete(v.orphans, o.ref.Ino)
		for _, as := range o.as {
			delete(v.held, as.Ino)
			v.former.add(as.Ino, o.ref)
		}
	}
}

// at is what those mean who call an inode ref; v is locked.
func (v *Volume) at(ref meta.Ref) meta.Ref {
	if o := v.held[ref.Ino]; o != nil {
		return o.ref
	}
	if is, ok := v.former.ref[ref.Ino]; ok {
		return is
	}
	return ref
}

// own is the number of ref in the map that base gives of it; v is locked.
func (v *Volume) own(ref meta.Ref) meta.Ref {
	if o := v.orphans[v.at(ref).Ino]; o != nil {
		return o.ref
	}
	return v.at(ref)
}

// become says that what was opened is another inode from now on; v is locked.
func (v *Volume) become(o *opened, ref meta.Ref) {
	delete(v.open, o.ref.Ino)
	o.ref = ref
	other := v.open[ref.Ino]
	if other == nil {
		v.open[ref.Ino] = o
		return
	}
	other.count += o.count
	other.copied = other.copied || o.copied
	other.follows = other.follows || o.follows // whoever locks relies on it, see Following
	other.as = append(other.as, o.as...)
	for _, as := range o.as {
		v.held[as.Ino] = other
	}
}

// Ino is the inode that ref stands for now, of those in the map: of a file that is open
// and was changed elsewhere, that one.
func (v *Volume) Ino(ref meta.Ref) meta.Ino {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.own(ref).Ino
}
