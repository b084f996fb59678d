package meta

import (
	"errors"
	"fmt"
	"iter"
	"time"
)

// Change is what can be applied to a state: an operation, or a step that Rebase puts
// in the place of one.
type Change interface {
	// Apply tells what the change does to the state that r shows. It changes nothing
	// itself.
	Apply(r Reader, at Stamp) (*Batch, error)
}

// Rebase executes the pending operations of one device again, in their order, on a
// state that other devices have changed. What the state still allows is done as it was
// meant. For the rest it finds what keeps everything that anybody wrote: a copy beside
// the other's file, a directory that is made again, a deletion that is not done; and it
// leaves a Conflict that says so. Nothing is refused, and nothing is left over.
//
// The rules: docs/consistency.md. It is not safe for concurrent use.
type Rebase struct {
	was     Reader
	changes iter.Seq2[Change, Stamp]
	known   *learned // of changes; nil: nothing yet
	o       RebaseOptions

	refs    map[Ref]Ref    // what stands for an inode of the operations now
	homes   map[Ino]Ino    // the directory that a directory was merged into
	merged  map[Ino]Ino    // homes the other way round
	origin  map[Ref]Ref    // refs the other way round, of copies
	seen    map[Ref]uint64 // the version that a value of refs must have, as far as we wrote it
	placed  map[name]place // where an inode is that could not get that name
	copies  map[Ref]place  // where a copy is that has one name, whatever it was called
	equal   map[Ref]bool   // files of the operations that hold the same as theirs
	twins   map[Ref]bool   // those of equal whose name theirs has
	refused []Refusal
	unread  []error // of Same
}

// name is a name that an inode was to have.
type name struct {
	ref Ref
	place
}

// place is a name in a directory.
type place struct {
	parent Ref
	name   string
}

// RebaseOptions of a Rebase; Device and NewIno must be set.
type RebaseOptions struct {
	Device string              // what this machine calls itself, for the names of copies
	NewIno func() (Ino, error) // an inode number that was never used

	// Place returns a name that a file, which was there before the operations, had
	// when they were made; nil: it is not known of any.
	Place func(ref Ref) (parent Ref, name []byte, ok bool)

	// Same tells whether two files of the same size hold the same bytes. Where it cannot
	// know yet it answers an error that is ErrUnknown, and is asked again. Nil: only
	// those do whose extents show it.
	Same func(ours, theirs Content) (bool, error)

	// Squeeze returns fewer extents with the bytes of a file of which there are more than
	// one step holds. Where it has to write them first it answers an error that is
	// ErrUnknown, and is asked again. Nil: they stay as they are.
	Squeeze func(c Content) ([]Extent, error)

	// Slot is the first in which the operations can come to be: leases are held to it.
	Slot uint64

	// Tentative says of an operation that its program was not told yet that it was done,
	// and wants to hear of a name that is taken rather than of a conflict. Nil: of none.
	Tentative func(no OpNo) bool
}

// Content is what a file holds.
type Content struct {
	Version uint64
	Size    uint64
	Extents []Extent
	Packs   map[PackNo]PackRecord // of those of them that have a record
}

// Refusal is an operation that was not done, and whose program is to be told why.
type Refusal struct {
	No  OpNo
	Err error
}

// NewRebase begins with the changes that are pending, in their order, and the map as
// they made it: all of them over the old state. The changes may be read later, and again.
func NewRebase(was Reader, changes iter.Seq2[Change, Stamp], o RebaseOptions) *Rebase {
	return &Rebase{
		was: was, changes: changes, o: o,
		refs: map[Ref]Ref{}, homes: map[Ino]Ino{}, merged: map[Ino]Ino{}, origin: map[Ref]Ref{}, seen: map[Ref]uint64{}, placed: map[name]place{},
		copies: map[Ref]place{}, equal: map[Ref]bool{}, twins: map[Ref]bool{},
	}
}

// Moved is where an inode of the operations is found now.
type Moved struct{ From, To Ref }

// Moved returns the inodes that others stand for now, in no order.
func (r *Rebase) Moved() []Moved {
	out := make([]Moved, 0, len(r.refs))
	for from, to := range r.refs {
		if from != to {
			out = append(out, Moved{from, to})
		}
	}
	return out
}

// Unread returns what Same could not know yet. Where there is any, all that Again said is
// for nothing: it took those files to differ, to find what else is to be asked. It is begun
// anew when that is known.
func (r *Rebase) Unread() []error { return r.unread }

// Refused returns what was tentative and is not done.
func (r *Rebase) Refused() []Refusal { return r.refused }

// rounds is how many things may be in the way of one change: more than there are.
const rounds = 16

// Again returns the changes, none to a few, that do on now what c was to do. They are
// applied one after the other, all with the stamp. The error is that of a Reader, or of
// NewIno.
func (r *Rebase) Again(c Change, now Reader, at Stamp) ([]Change, error) {
	// Each round mends one thing that is in the way: what is gone, a name that is
	// taken. Directories on the way to the root are mended in one round.
	var before []Change
	if r.equal[r.home(contentOf(c))] {
		return nil, nil
	}
	meant := c
	if ref, ok := r.twin(c); ok {
		var err error
		if before, c, err = r.unname(c, ref, now, at); c == nil {
			return before, err
		}
	} else if r.made(c) {
		return nil, nil
	} else {
		c = r.rewrite(c, now)
	}
	for range rounds {
		b, err := c.Apply(now, at)
		if err == nil {
			err = r.last(c, now)
		}
		if err == nil {
			err = Fence(now, b, at.Device, r.o.Slot)
		}
		if errors.Is(err, ErrLeased) && contentOf(c) == (Ref{}) {
			return append(before, r.leased(c, at)...), nil
		}
		if err == nil {
			return append(before, c), r.note(c, b)
		}
		if !Refused(err) {
			return nil, err
		}
		steps, again, err := r.resolve(meant, c, err, now, at)
		if err != nil {
			return nil, err
		}
		before = append(before, steps...)
		if again == nil || r.made(meant) {
			return before, nil
		}
		if len(steps) > 0 {
			if now, err = stack(now, steps, at); err != nil {
				return nil, err
			}
		}
		c = again
	}
	return nil, fmt.Errorf("%w: a change that fits nowhere", ErrMalformed)
}

// made tells whether c makes what an earlier change has already needed.
func (r *Rebase) made(c Change) bool {
	m, ok := c.(*Make)
	return ok && r.refs[m.Ref] == m.Ref
}

// last answers ErrConflict for a change that takes the last name of a file that had
// another one at the end: they removed that.
func (r *Rebase) last(c Change, now Reader) error {
	var gone Ref
	switch o := c.(type) {
	case *Unlink:
		gone = o.Ref
	case *Rename:
		if o.Replaced == nil || o.Flags&Exchange != 0 || *o.Replaced == o.Ref {
			return nil
		}
		gone = *o.Replaced
	default:
		return nil
	}
	n, err := absent(GetInode(now, gone))
	if err != nil || n == nil || n.Kind == Dir || n.Nlink > 1 || r.equal[gone] {
		return err
	}
	if _, n, err = r.before(gone); err == nil && n != nil {
		err = ErrConflict
	}
	return err
}

// before returns an inode as it was, and what it was called then; nil: it was not.
func (r *Rebase) before(ref Ref) (was Ref, n *Inode, err error) {
	if n, err = absent(GetInode(r.was, ref)); err != nil || n != nil {
		return ref, n, err
	}
	if from, ok := r.origin[ref]; ok {
		return r.before(from)
	}
	if home, ok := r.merged[ref.Home]; ok {
		ref.Home = home
		n, err = absent(GetInode(r.was, ref))
	}
	return ref, n, err
}

func absent(n *Inode, err error) (*Inode, error) {
	if errors.Is(err, ErrNotExist) {
		return nil, nil
	}
	return n, err
}

// stack is the state that now becomes by steps.
func stack(now Reader, steps []Change, at Stamp) (Reader, error) {
	for _, s := range steps {
		b, err := s.Apply(now, at)
		if err != nil {
			return nil, fmt.Errorf("make room: %w", err)
		}
		now = newStacked(now, b)
	}
	return now, nil
}

// note remembers what c, which can be applied, does to what is watched.
func (r *Rebase) note(c Change, b *Batch) error {
	switch o := c.(type) {
	case *Write, *Truncate, *PunchHole, *Clone:
		ref := contentOf(c)
		if _, ok := r.seen[ref]; ok {
			n, err := inodeIn(b, ref)
			if err == nil && n != nil {
				r.seen[ref] = n.Version
			}
			return err
		}
	case *Rename:
		r.left(o.Ref, o.Parent, o.Name)
		if o.Replaced != nil {
			r.left(*o.Replaced, o.NewParent, o.NewName)
		}
	case *Unlink:
		r.left(o.Ref, o.Parent, o.Name)
	}
	return nil
}

// left forgets that an inode is at a place that was not meant for it.
func (r *Rebase) left(ref, parent Ref, as []byte) {
	at := place{parent, string(as)}
	if r.copies[ref] == at {
		delete(r.copies, ref)
	}
	for n, p := range r.placed {
		if n.ref == ref && p == at {
			delete(r.placed, n)
		}
	}
}

// inodeIn finds what a batch says of an inode; nil: nothing.
func inodeIn(b *Batch, ref Ref) (*Inode, error) {
	key := string(InodeKey(ref))
	for _, kv := range b.Puts {
		if string(kv.Key) == key {
			return DecodeInode(kv.Value)
		}
	}
	return nil, nil
}

// contentOf is the file whose content a change is about.
func contentOf(c Change) Ref {
	switch o := c.(type) {
	case *Write:
		return o.Ref
	case *Truncate:
		return o.Ref
	case *PunchHole:
		return o.Ref
	case *Clone:
		return o.Ref
	}
	return Ref{}
}

// ref is what stands for an inode now.
func (r *Rebase) ref(ref Ref) Ref {
	ref = r.home(ref)
	if to, ok := r.refs[ref]; ok {
		return to
	}
	return ref
}

// home is how an inode is called whose home was merged into another directory. The
// maps of inodes know it by that.
func (r *Rebase) home(ref Ref) Ref {
	if _, ok := r.refs[ref]; ok {
		return ref // it was needed before its home was merged, and has the old one
	}
	if home, ok := r.homes[ref.Home]; ok {
		ref.Home = home
	}
	return ref
}

// sameFile tells whether two files hold the same: ours as it was at the end, theirs as
// it is in now.
func (r *Rebase) sameFile(oref Ref, ours *Inode, now Reader, tref Ref, theirs *Inode) (bool, error) {
	switch {
	case ours.Kind != theirs.Kind:
		return false, nil
	case ours.Kind == Symlink:
		return string(ours.Target) == string(theirs.Target), nil
	case ours.Kind != File:
		return ours.Rdev == theirs.Rdev, nil
	case ours.Size != theirs.Size:
		return false, nil
	case ours.Size == 0:
		return true, nil
	}
	a, err := contentAt(r.was, oref, ours)
	if err != nil {
		return false, err
	}
	b, err := contentAt(now, tref, theirs)
	switch {
	case err != nil:
		return false, err
	case equalExtents(a.Extents, b.Extents):
		return true, nil
	case r.o.Same == nil || len(a.Extents) > maxRestored || len(b.Extents) > maxRestored:
		return false, nil
	}
	same, err := r.o.Same(a, b)
	if errors.Is(err, ErrUnknown) {
		r.unread = append(r.unread, err)
		return false, nil
	}
	return same, err
}

// contentAt reads what a file holds, of extents at most one more than maxRestored.
func contentAt(r Reader, ref Ref, n *Inode) (c Content, err error) {
	c = Content{Version: n.Version, Size: n.Size, Packs: map[PackNo]PackRecord{}}
	err = Extents(r, ref, n, 0, MaxFileSize, func(x Extent) bool {
		c.Extents = append(c.Extents, x)
		return len(c.Extents) <= maxRestored
	})
	for _, x := range c.Extents {
		if _, ok := c.Packs[x.Pack]; ok || err != nil {
			continue
		}
		var b []byte
		switch b, err = r.Get(PackKey(x.Pack)); {
		case errors.Is(err, ErrAbsent):
			err = nil // it is in no slot yet
		case err == nil:
			c.Packs[x.Pack], err = DecodePackRecord(b)
		}
	}
	return c, err
}

func equalExtents(a, b []Extent) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// free finds a name in a directory of now that stands for what could not be called
// name.
func (r *Rebase) free(now Reader, dir Ino, name []byte, at Stamp) ([]byte, error) {
	day := time.Unix(at.Time.Sec, 0).UTC().Format(time.DateOnly)
	for n := 1; ; n++ {
		as := conflictName(name, r.o.Device, day, n)
		switch _, err := Lookup(now, dir, as); {
		case errors.Is(err, ErrNotExist):
			return as, nil
		case err != nil:
			return nil, err
		}
	}
}
