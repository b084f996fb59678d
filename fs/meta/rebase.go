package meta

import (
	"errors"
	"fmt"
	"iter"
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
// leaves a Conflict that says so. Nothing is left over, and nothing refused but what is
// Tentative.
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
	undone  []OpNo
	unread  []error            // of Same
	kept    map[again]*restore // what a rename replaces that is still to come
	barred  map[Ino]bool       // of fills that are not done: others have a lease of what is not there yet
	aside   map[place]recorded // what is there beside the name that it was to have
	namedBy OpNo               // the newest operation of which a change was to give or take a name
	spared  map[name]target    // what a rename was to replace by what is gone, and so still is there
	spent   spent
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

	// Slot is the first in which the operations can come to be: leases are held to it.
	Slot uint64

	// Before returns the map as it was over the old state when an operation was executed:
	// with those before it, and without it. It is asked with numbers that do not descend.
	// Nil: only what was in the end is known.
	Before func(no OpNo) Reader

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
		copies: map[Ref]place{}, aside: map[place]recorded{}, spared: map[name]target{}, equal: map[Ref]bool{}, twins: map[Ref]bool{}, kept: map[again]*restore{}, barred: map[Ino]bool{},
	}
}

// Moved is where an inode of the operations is found now.
type Moved struct {
	From, To Ref
	Same     bool // another's file, which holds the same and has the name: no copy
}

// Moved returns the inodes that others stand for now, in no order.
func (r *Rebase) Moved() []Moved {
	out := make([]Moved, 0, len(r.refs))
	for from, to := range r.refs {
		if from != to {
			out = append(out, Moved{from, to, r.twins[from]})
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

// Undone returns, ascending, the operations that were to rename something, and do not any more:
// what they were to put at a name is not there, and what they were to replace is not replaced.
func (r *Rebase) Undone() []OpNo { return r.undone }

// rounds is how many things may be in the way of one change: more than there are.
const rounds = 16

// Again returns the changes, none to a few, that do on now what c was to do. They are
// applied one after the other, all with the stamp. The error is that of a Reader, or of
// NewIno or Same.
func (r *Rebase) Again(c Change, now Reader, at Stamp) ([]Change, error) {
	r.spent.begin(at)
	if r.keep(c, at) {
		r.spent.count(c, nil)
		return nil, nil
	}
	steps, err := r.whole(r.alone(c, at), now, at)
	switch {
	case !senseless(err):
	case r.tentative(at) && gives(c): // and not what stands for it since it was refused
		steps, _, err = r.refuse(err, at)
	default:
		steps, err = r.astray(c, now, at)
	}
	if o, ok := c.(*Rename); ok && err == nil {
		if steps, err = r.unreplaced(o, steps, now, at); err == nil {
			err = r.undo(o, steps, now, at)
		}
	}
	if givesOrTakes(c) {
		r.namedBy = at.No
	}
	r.spent.count(c, steps)
	return inParts(steps, c), err
}

// whole is Again with files that are made again in one step, however long.
func (r *Rebase) whole(c Change, now Reader, at Stamp) (steps []Change, err error) {
	// Each round mends one thing that is in the way: what is gone, a name that is
	// taken. Directories on the way to the root are mended in one round.
	var before, told []Change
	if r.equal[r.home(contentOf(c))] {
		return nil, nil
	}
	if r.tentative(at) {
		if missed, err := r.misses(c, now); err != nil {
			return nil, err
		} else if missed {
			steps, _, err = r.refuse(ErrConflict, at)
			return steps, err
		}
	}
	if c, err = (&solver{r, Ref{}, now, at}).met(c); err != nil || c == nil {
		return nil, err
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
	if o, ok := c.(*restore); ok && r.barred[o.ref.Ino] {
		if c, err = barred(r.elsewhere(o, now, at)); c == nil {
			return nil, err
		}
	}
	for range rounds {
		b, err := c.Apply(now, at)
		if err == nil {
			err = r.last(c, now)
		}
		if err == nil {
			err = Fence(now, b, at.Device, r.o.Slot)
		}
		if o, ok := c.(*restore); ok && o.inode.Kind == File && errors.Is(err, ErrLeased) {
			if c, err = barred(r.elsewhere(o, now, at)); c == nil {
				return before, err
			}
			continue
		}
		if errors.Is(err, ErrLeased) && contentOf(c) == (Ref{}) {
			r.forgo(c)
			return append(before, r.leased(c, at)...), nil
		}
		if err == nil {
			more, err := (&solver{r, Ref{}, now, at}).follows(meant, c)
			if err == nil {
				err = r.note(c, b)
			}
			return append(append(append(before, c), told...), more...), err
		}
		if !Refused(err) {
			return nil, err
		}
		steps, again, err := r.resolve(meant, c, err, now, at)
		if err != nil {
			return nil, err
		}
		before, told = inOrder(before, told, steps)
		if again == nil || r.made(meant) {
			return append(before, told...), nil
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

// barred is a restore as a change, nil where it is nil.
func barred(o *restore, err error) (Change, error) {
	if o == nil {
		return nil, err
	}
	return o, err
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

// stack is the state that now becomes by steps. There may be thousands: layers that hold
// equally many of them become one.
func stack(now Reader, steps []Change, at Stamp) (Reader, error) {
	type layer struct {
		b *Batch
		n int
	}
	var layers []layer
	over := now
	for _, s := range steps {
		b, err := s.Apply(over, at)
		if err != nil {
			return nil, fmt.Errorf("make room: %w", err)
		}
		layers = append(layers, layer{b, 1})
		over = newStacked(over, b)
		for n := len(layers); n > 1 && layers[n-2].n == layers[n-1].n; n = len(layers) {
			var both Builder
			both.Add(layers[n-2].b)
			both.Add(layers[n-1].b)
			layers[n-2] = layer{both.Batch(), 2 * layers[n-2].n}
			layers, over = layers[:n-1], nil
		}
		if over != nil {
			continue
		}
		over = now
		for _, l := range layers {
			over = newStacked(over, l.b)
		}
	}
	return over, nil
}
