package volume

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hushfs/hushfs/fs/meta"
)

// Keep is what is kept of a conflict.
type Keep string

// The choices.
const (
	KeepMine   Keep = "mine"   // what the machine had that left the record
	KeepTheirs Keep = "theirs" // what it met
	KeepBoth   Keep = "both"   // all as it is
)

// Conflicts are the conflicts that nobody has resolved.
func (v *Volume) Conflicts(ctx context.Context) ([]Conflict, error) {
	all, _, err := meta.Standings(v.look(ctx))
	if err != nil || len(all) == 0 {
		return nil, err
	}
	names := v.deviceNames()
	out := make([]Conflict, len(all))
	for i := range all {
		out[i] = TellConflict(&all[i], names)
	}
	return out, nil
}

// countConflicts is how many records there are, as far as is near; what is not near is
// brought meanwhile.
func (v *Volume) countConflicts() (n int) {
	count := func() error {
		return v.view.Read(func(r meta.Reader) error {
			n = 0
			return meta.Conflicts(r, func(meta.ConflictID, meta.Conflict) bool {
				n++
				return true
			})
		})
	}
	if err := count(); err != nil {
		n = 0
		if v.counting.CompareAndSwap(false, true) {
			go func() {
				defer v.counting.Store(false)
				if err := v.near(v.life, func() error {
					return v.view.Read(func(r meta.Reader) error {
						return meta.Conflicts(r, func(meta.ConflictID, meta.Conflict) bool { return true })
					})
				}); err != nil {
					v.log.Debug("conflicts are not counted", "err", err)
				}
			}()
		}
	}
	return n
}

// look shows the view, a page at a time, and waits for what is not near.
func (v *Volume) look(ctx context.Context) meta.Look {
	return func(fn func(meta.Reader) error) error {
		return v.near(ctx, func() error { return v.view.Read(fn) })
	}
}

// deviceNames says what devices are called.
func (v *Volume) deviceNames() map[meta.Device]string {
	names := map[meta.Device]string{}
	for _, d := range v.sync.Devices() {
		names[d.No] = d.Name
	}
	return names
}

// Loses says what of a conflict would be gone if keep were chosen, nil when nothing
// would, and why it cannot be chosen: an ErrUnresolved.
func Loses(s *meta.Standing, keep Keep) (gone *meta.Side, err error) {
	no := func(text string) (*meta.Side, error) { return nil, fmt.Errorf("%w: %s", ErrUnresolved, text) }
	mine, theirs := s.Beside(), &s.Other
	if keep == KeepBoth || mine.Gone() && theirs.Gone() {
		return nil, nil
	}
	drop := func(side *meta.Side) (*meta.Side, error) {
		switch {
		case side.Gone():
			return nil, nil
		case len(side.Names) == 0:
			return no("what is to go has no name; wait until it has, or keep both")
		}
		return side, nil
	}
	switch s.Kind {
	case meta.ConflictCopy, meta.ConflictName:
		if keep == KeepTheirs {
			if theirs.Gone() {
				return no("theirs is not there any more, and nothing has its name; keep mine, or both, and delete what is to go yourself")
			}
			return drop(mine)
		}
		switch {
		case mine.Gone():
			return no("mine is not there any more; keep theirs or both, which leaves all as it is")
		case theirs.Gone() && !s.Free && !s.Placed():
			return no("something else has the name now that it was to have; move it yourself, and keep both")
		}
		return drop(theirs)
	case meta.ConflictRevived:
		if keep == KeepTheirs {
			return drop(mine) // they deleted it
		}
	case meta.ConflictKept:
		if keep == KeepMine {
			return drop(theirs) // it was deleted here
		}
	case meta.ConflictMoved, meta.ConflictCycle:
		switch {
		case keep == KeepTheirs:
		case mine.Gone():
			return no("it is not there any more; keep theirs or both, which leaves all as it is")
		case !s.Free && !s.Placed():
			return no("the folder that it was to be in is not there any more, or something else has the name; move it yourself, and keep both")
		}
	case meta.ConflictLost:
		switch {
		case keep != KeepMine:
		case mine.Gone():
			return no("they deleted it; its attributes can be given to nothing")
		default:
			return no("nobody knows its lost attributes any more; give them again yourself, and keep both")
		}
	}
	return nil, nil
}

// Resolve does what is to be kept of a conflict, by ordinary operations, and deletes its
// record. token is that of the standing that the user was shown: what has changed since
// is not touched. ErrNoConflict and ErrUnresolved say what was not done, and then nothing
// was.
func (v *Volume) Resolve(ctx context.Context, id meta.ConflictID, keep Keep, token string) error {
	if err := v.writable(ctx); err != nil {
		return err
	}
	all, index, err := meta.Standings(v.look(ctx))
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(s meta.Standing) bool { return s.ID == id })
	if i < 0 {
		return ErrNoConflict
	}
	s := &all[i]
	if token != "" && token != s.Token() {
		return fmt.Errorf("%w: it has changed since it was shown; look again", ErrUnresolved)
	}
	gone, err := Loses(s, keep)
	if err != nil {
		return err
	}
	r := &resolving{v: v, ctx: ctx, index: index}
	if err := r.do(s, keep, gone); err != nil {
		return err
	}
	if err := v.forget(ctx, id); err != nil {
		return err
	}
	r.tell()
	return v.persist()
}

// forget deletes the record of a conflict.
func (v *Volume) forget(ctx context.Context, id meta.ConflictID) error {
	return v.changing(ctx, func() error { return v.execute(&meta.Resolve{IDs: []meta.ConflictID{id}}) })
}

// Identical resolves the conflicts whose sides are files that hold the same bytes: the
// copy goes, theirs stays, and so does its mode. It returns those that are resolved.
func (v *Volume) Identical(ctx context.Context) (done []Conflict, err error) {
	all, _, err := meta.Standings(v.look(ctx))
	if err != nil {
		return nil, err
	}
	for i := range all {
		s := &all[i]
		if s.Kind != meta.ConflictCopy && s.Kind != meta.ConflictName || s.Mine.Gone() || s.Other.Gone() || s.Mine.Ref == s.Other.Ref || len(s.Mine.Names) == 0 {
			continue
		}
		same, err := v.sameBytes(ctx, &s.Mine, &s.Other)
		if err != nil {
			return done, err
		}
		if !same {
			continue
		}
		switch err := v.Resolve(ctx, s.ID, KeepTheirs, s.Token()); {
		case err == nil:
			done = append(done, TellConflict(s, nil))
		case !errors.Is(err, ErrNoConflict) && !errors.Is(err, ErrUnresolved):
			return done, err
		}
	}
	return done, nil
}

// sameBytes reads two files, or links, from the beginning up to where they differ.
func (v *Volume) sameBytes(ctx context.Context, x, y *meta.Side) (bool, error) {
	a, err := v.Attr(ctx, x.Ref)
	if err != nil {
		return false, err
	}
	b, err := v.Attr(ctx, y.Ref)
	if err != nil {
		return false, err
	}
	switch {
	case a.Inode.Kind != b.Inode.Kind:
		return false, nil
	case a.Inode.Kind == meta.Symlink:
		return string(a.Inode.Target) == string(b.Inode.Target), nil
	case a.Inode.Kind != meta.File || a.Inode.Size != b.Inode.Size:
		return false, nil
	}
	const step = 1 << 20
	p, q := make([]byte, step), make([]byte, step)
	for off := uint64(0); off < a.Inode.Size; off += step {
		n, err := v.Read(ctx, x.Ref, off, p)
		if err != nil {
			return false, err
		}
		m, err := v.Read(ctx, y.Ref, off, q)
		if err != nil {
			return false, err
		}
		if n != m || string(p[:n]) != string(q[:m]) {
			return false, nil
		}
	}
	return true, nil
}

// resolving does the operations of a Resolve.
type resolving struct {
	v       *Volume
	ctx     context.Context
	index   *meta.Names
	changed Change // of what the kernel knows
}

func (r *resolving) do(s *meta.Standing, keep Keep, gone *meta.Side) error {
	switch s.Kind {
	case meta.ConflictCopy, meta.ConflictName:
		if keep != KeepMine || s.Mine.Gone() {
			break
		}
		if s.Placed() {
			return r.removeFirst(gone)
		}
		to := meta.At{Dir: s.Parent.Ino, Name: string(s.Name)}
		if gone != nil {
			to = gone.Names[0]
		}
		return r.replace(s.Beside(), to, gone)
	case meta.ConflictMoved, meta.ConflictCycle:
		if keep == KeepMine && !s.Mine.Gone() && !s.Placed() {
			return r.replace(&s.Mine, meta.At{Dir: s.Parent.Ino, Name: string(s.Name)}, nil)
		}
	}
	if gone == nil {
		return nil
	}
	return r.remove(gone)
}

// replace gives a side another name, which the other has until then, if that is not nil.
func (r *resolving) replace(side *meta.Side, to meta.At, over *meta.Side) error {
	if len(side.Names) == 0 {
		return fmt.Errorf("%w: what is to be kept has no name", ErrUnresolved)
	}
	from := side.Names[0]
	dir, ok := r.index.Ref(from.Dir)
	newDir, there := r.index.Ref(to.Dir)
	if !ok || !there {
		return fmt.Errorf("%w: a folder is not there any more", ErrUnresolved)
	}
	flags := meta.NoReplace
	if over != nil {
		if err := r.empty(over); err != nil {
			return err
		}
		flags = 0
		if (over.Inode.Kind == meta.Dir) != (side.Inode.Kind == meta.Dir) {
			flags = meta.Exchange
		}
	}
	if err := r.still(from, side); err != nil {
		return err
	}
	if over != nil {
		if err := r.still(to, over); err != nil {
			return err
		}
	}
	err := r.v.Rename(r.ctx, dir, []byte(from.Name), newDir, []byte(to.Name), flags)
	if err != nil {
		return r.refused(err)
	}
	r.touch(from, to)
	if flags == meta.Exchange {
		return r.removeAt(over, from)
	}
	return nil
}

// remove takes all names of a side away.
func (r *resolving) remove(side *meta.Side) error {
	if err := r.empty(side); err != nil {
		return err
	}
	for _, at := range side.Names {
		if err := r.removeAt(side, at); err != nil {
			return err
		}
	}
	return nil
}

// removeFirst takes the name of a side away by which it is told; nil: there is none.
func (r *resolving) removeFirst(side *meta.Side) error {
	if side == nil {
		return nil
	}
	if err := r.empty(side); err != nil {
		return err
	}
	return r.removeAt(side, side.Names[0])
}

func (r *resolving) removeAt(side *meta.Side, at meta.At) error {
	dir, ok := r.index.Ref(at.Dir)
	if !ok {
		return fmt.Errorf("%w: a folder is not there any more", ErrUnresolved)
	}
	if err := r.still(at, side); err != nil {
		return err
	}
	remove := r.v.Unlink
	if side.Inode.Kind == meta.Dir {
		remove = r.v.Rmdir
	}
	if err := remove(r.ctx, dir, []byte(at.Name)); err != nil {
		return r.refused(err)
	}
	r.touch(at)
	return nil
}

// still refuses when a name stands for something else by now, or what it stands for was
// written.
func (r *resolving) still(at meta.At, side *meta.Side) error {
	dir, ok := r.index.Ref(at.Dir)
	if !ok {
		return fmt.Errorf("%w: a folder is not there any more", ErrUnresolved)
	}
	a, err := r.v.Lookup(r.ctx, dir, []byte(at.Name))
	if err == nil && (a.Ref != side.Ref || a.Inode.Version != side.Inode.Version) {
		err = fmt.Errorf("%w: it has changed since it was shown; look again", ErrUnresolved)
	}
	return r.refused(err)
}

// empty refuses to lose a folder in which something lies.
func (r *resolving) empty(side *meta.Side) error {
	if side.Inode.Kind != meta.Dir {
		return nil
	}
	names, err := r.v.List(r.ctx, side.Ref)
	if err == nil && len(names) > 0 {
		err = fmt.Errorf("%w: what is to go is a folder in which something lies; empty it yourself, or keep both", ErrUnresolved)
	}
	return err
}

// refused says that the tree was changed meanwhile.
func (r *resolving) refused(err error) error {
	if err != nil && meta.Refused(err) {
		return fmt.Errorf("%w: %w", ErrUnresolved, err)
	}
	return err
}

// touch notes names that the kernel knows otherwise, and their folders.
func (r *resolving) touch(names ...meta.At) {
	for _, at := range names {
		r.changed.Names = append(r.changed.Names, Name{Parent: at.Dir, Name: []byte(at.Name)})
		if dir, ok := r.index.Ref(at.Dir); ok && !slices.Contains(r.changed.Amended, dir) {
			r.changed.Amended = append(r.changed.Amended, dir)
		}
	}
}

// tell hands what changed to whoever keeps the kernel's caches right: this was no
// request of the kernel's.
func (r *resolving) tell() {
	r.v.mu.Lock()
	defer r.v.mu.Unlock()
	if r.v.watcher != nil && len(r.changed.Names) > 0 {
		r.v.watcher.Changed(r.changed)
	}
}
