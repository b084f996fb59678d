package volume

import (
	"errors"
	"slices"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/view"
)

// Watcher keeps what programs' caches have right. Its methods are called with the volume
// locked: they must not block, nor call it.
type Watcher interface {
	// Knows returns an inode by its number; ok is false of one of which nothing is kept.
	Knows(ino meta.Ino) (ref meta.Ref, ok bool)

	// Changed is told what other machines changed, before anybody sees it.
	Changed(c Change)

	// Became says that what was called so, or, without as, the inode was, is the inode is
	// from now on.
	Became(as []meta.Ref, was, is meta.Ref)
}

// Change tells what other machines changed of what is known, for the kernel's caches.
type Change struct {
	Renewed []meta.Ref   // files that hold something else now; who has one open keeps what it was
	Amended []meta.Ref   // inodes that have other attributes, or other names in them
	Gone    []Attr       // inodes that are no more, as they were
	Names   []Name       // that stand for something else now
	All     bool         // everything may have changed, and is not named
	Merged  []meta.Moved // directories that have become one, of all inodes made in them
}

// Name is an entry of a directory.
type Name struct {
	Parent meta.Ino
	Name   []byte
	Ref    meta.Ref // what it stands for; the zero Ref: nothing, or it is not known
}

// Watch has w be told of changes.
func (v *Volume) Watch(w Watcher) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.watcher = w
}

// switched calls show, which has the view show slots of other machines, or with none
// another state. What is open here and changed there is frozen, or is the copy that was
// made of it, before anybody else sees the map.
func (v *Volume) switched(slots []view.Slot, show func() (view.Followed, error)) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.prepare(slots); err != nil {
		return err
	}
	was := v.view.Freeze()
	f, err := show()
	if err != nil {
		return err
	}
	v.shift(f, was)
	for _, o := range v.open {
		o.sought = false
	}
	v.redecide()
	return nil
}

// prepare makes operations of the data of files that slots may change, and sees that
// what is open of them is near, so that nothing can fail later; v is locked.
func (v *Volume) prepare(slots []view.Slot) error {
	touched := map[meta.Ino]bool{}
	for _, s := range slots {
		for _, kv := range s.Batch.Puts {
			if ref, err := meta.ParseInodeKey(kv.Key); err == nil {
				touched[ref.Ino] = true
			}
		}
		for _, k := range s.Batch.Deletes {
			if ref, err := meta.ParseInodeKey(k); err == nil {
				touched[ref.Ino] = true
			}
		}
	}
	for ino, d := range v.dirty {
		if no, _, _ := v.view.Newest(meta.InodeKey(d.ref)); no > 0 || touched[ino] || len(slots) == 0 {
			if err := v.pin(ino); err != nil {
				return err
			}
		}
	}
	var far error
	for ino, o := range v.open {
		first := len(slots) == 0 && !o.sought && v.orphans[ino] == nil
		if !touched[ino] && !first {
			continue
		}
		if _, err := v.stored(o.ref); !errors.Is(err, ErrStale) {
			far = errors.Join(far, err)
			o.sought = first && err != nil // once: what cannot be brought is frozen
		}
	}
	return far
}

// shift makes what is open fit the map, which was was before; v is locked.
func (v *Volume) shift(f view.Followed, was meta.Reader) {
	v.notGiven(v.tentative.followed(f.Refused))
	c := Change{All: f.All}
	homes := map[meta.Ino]meta.Ino{}
	moved, moves := map[meta.Ref]meta.Ref{}, inOrder(f.Moved)
	for _, m := range moves {
		moved[m.From] = m.To
		if n, err := meta.GetInode(was, m.From); err == nil && n.Kind == meta.Dir {
			homes[m.From.Ino] = m.To.Ino
			c.Merged = append(c.Merged, m)
		}
	}
	for _, m := range moves {
		if o := v.open[m.From.Ino]; o != nil {
			o.copied = o.copied || m.From.Ino != m.To.Ino && !m.Same
		} else if v.watcher != nil {
			v.watcher.Became(nil, m.From, m.To)
		}
	}
	v.rehome(homes)
	v.rehomeHalves(moved)
	stood := map[*opened]meta.Ref{} // what is open, and was an inode of was
	for _, o := range v.open {
		if v.orphans[o.ref.Ino] == nil {
			stood[o] = o.ref
		}
	}
	refs, names := touchedBy(f.Keys)
	c.Names = v.standing(names)
	if f.All {
		for _, o := range v.opened() { // by what it was called in was
			refs = append(refs, o.ref)
		}
	}
	for _, m := range moves {
		if o := v.open[m.From.Ino]; o != nil && o.ref == m.From {
			v.carry(o, m.To, was)
		}
	}
	for _, o := range v.opened() {
		ref := o.ref
		if v.reappeared(o, f, moved); o.ref != ref {
			c.Renewed = append(c.Renewed, ref) // what is known by that number is what is open
		}
	}
	for _, ref := range refs {
		v.differs(&c, ref, was, stood, homes)
	}
	if err := v.takeBack(); err != nil {
		v.log.Debug("taken away later", "err", err) // by who waits, see ConfirmName
	}
	if v.watcher != nil {
		v.watcher.Changed(c)
	}
}

// differs adds to c what became of an inode since the map was was, and freezes it where that is
// open and holds something else; stood are those that were open then, and homes those of the
// directories that have become one; v is locked.
func (v *Volume) differs(c *Change, ref meta.Ref, was meta.Reader, stood map[*opened]meta.Ref, homes map[meta.Ino]meta.Ino) {
	open := v.open[ref.Ino]
	if open == nil && !v.shown(ref.Ino) {
		return
	}
	came := open != nil && stood[open] != open.ref // it holds what that does now, whatever that was
	switch a, what := v.compare(ref, was); {
	case what == gone && v.rehomed(ref, homes):
	case what == gone:
		c.Gone = append(c.Gone, a)
	case what == renewed && !came:
		c.Renewed = append(c.Renewed, ref)
	case what != unchanged:
		c.Amended = append(c.Amended, ref)
	}
	if open == nil || came || !v.changed(open, was) {
		return
	}
	if open.follows && v.remains(open) {
		open.guessed = false
	} else {
		v.freeze(open, was)
	}
}

// inOrder has what became another inode leave its own before something else becomes that.
func inOrder(moves []meta.Moved) []meta.Moved {
	left := map[meta.Ref]meta.Moved{}
	for _, m := range moves {
		left[m.From] = m
	}
	out := make([]meta.Moved, 0, len(moves))
	for _, m := range moves {
		at := len(out)
		for {
			if _, ok := left[m.From]; !ok {
				break
			}
			delete(left, m.From)
			out = append(out, m)
			m = left[m.To]
		}
		slices.Reverse(out[at:])
	}
	return out
}

// shown says whether a program may have seen an inode; v is locked.
func (v *Volume) shown(ino meta.Ino) bool {
	if v.watcher == nil {
		return false
	}
	_, ok := v.watcher.Knows(ino)
	return ok
}

// dir is a directory by its number, if a program may have seen it; v is locked.
func (v *Volume) dir(ino meta.Ino) (ref meta.Ref, ok bool) {
	if ino == meta.Root {
		return meta.RootRef, true
	}
	if v.watcher == nil {
		return ref, false
	}
	return v.watcher.Knows(ino)
}

// opened lists what is open, since a loop over it may change v.open; v is locked.
func (v *Volume) opened() []*opened {
	l := make([]*opened, 0, len(v.open))
	for _, o := range v.open {
		l = append(l, o)
	}
	return l
}

// touchedBy lists the inodes and names that keys are of.
func touchedBy(keys []string) (refs []meta.Ref, names []Name) {
	for _, key := range keys {
		switch k := []byte(key); k[0] {
		case 'd':
			if parent, name, err := meta.ParseDirentKey(k); err == nil {
				names = append(names, Name{Parent: parent, Name: name})
			}
		case 'i':
			if ref, err := meta.ParseInodeKey(k); err == nil {
				refs = append(refs, ref)
			}
		}
	}
	return refs, names
}

// standing completes names by what they stand for, and remembers it; v is locked.
func (v *Volume) standing(names []Name) []Name {
	_ = v.view.Read(func(r meta.Reader) error {
		for i, n := range names {
			if d, err := meta.Lookup(r, n.Parent, n.Name); err == nil {
				names[i].Ref = d.Ref
			}
		}
		return nil
	})
	for _, n := range names {
		if n.Ref == (meta.Ref{}) {
			continue
		}
		dir, ok := v.dir(n.Parent)
		if !ok { // but where the file was in it before
			dir, _, ok = v.places.find(n.Ref)
		}
		if ok && dir.Ino == n.Parent {
			v.places.found(n.Ref, dir, n.Name)
		}
	}
	return names
}

// rehome calls what is open by the directories that theirs were merged into; v is
// locked.
func (v *Volume) rehome(homes map[meta.Ino]meta.Ino) {
	if len(homes) == 0 {
		return
	}
	for _, o := range v.open {
		if home, ok := homes[o.ref.Home]; ok && v.orphans[o.ref.Ino] == nil {
			o.ref.Home = home
		}
	}
	for _, d := range v.dirty {
		if home, ok := homes[d.ref.Home]; ok {
			d.ref.Home = home
		}
	}
}

// rehomed says whether an inode is there still, and called by the directory that its own was
// merged into; v is locked.
func (v *Volume) rehomed(ref meta.Ref, homes map[meta.Ino]meta.Ino) bool {
	home, ok := homes[ref.Home]
	if !ok {
		return false
	}
	_, err := v.stored(meta.Ref{Home: home, Ino: ref.Ino})
	return err == nil
}

// carry makes what is open the inode to, which stands now for what it was. Where to is
// known by itself, as a file that another machine made and that held the same, it is
// frozen instead: the two have a cache each; v is locked.
func (v *Volume) carry(o *opened, to meta.Ref, was meta.Reader) {
	from := o.ref
	if v.orphans[from.Ino] != nil {
		return
	}
	if v.open[to.Ino] != nil || v.shown(to.Ino) {
		v.freeze(o, was)
		return
	}
	v.become(o, to)
	if d := v.dirty[from.Ino]; d != nil { // nothing that was pending depends on it
		delete(v.dirty, from.Ino)
		d.ref = to
		v.dirty[to.Ino] = d
	}
	if v.watcher != nil {
		v.watcher.Became(o.as, from, to)
	}
}

// reappeared keeps what is open without a name apart from a file of its number that has
// one again: another machine had changed it. Where the rename that took the name is given up,
// or not done as somebody meant who waits for it, what was written meanwhile is kept: what is
// open is a copy, or the file made again. If nothing was written it is the file, or frozen as
// any other that was changed; v is locked.
func (v *Volume) reappeared(o *opened, f view.Followed, moved map[meta.Ref]meta.Ref) {
	was := v.orphans[o.ref.Ino]
	if was == nil || o.ref.Ino >= heldMin && (was.frozen || was.by == (Given{})) {
		return
	}
	to, ok := moved[was.ref]
	// By a name that it has elsewhere another program may have it open since, see detach.
	other := v.open[to.Ino]
	if ok && v.isNow(was, to) && (other == nil || other.follows) {
		delete(v.orphans, o.ref.Ino)
		v.become(o, to)
		if v.watcher != nil {
			v.watcher.Became(o.as, was.ref, to)
		}
		return
	}
	_, _, there := v.view.Newest(meta.InodeKey(was.ref))
	_, given := slices.BinarySearch(f.Undone, was.by.no)
	given = given || there && was.sure && f.Replaced.Has(was.by.no)
	if !there && !given {
		return
	}
	delete(v.orphans, o.ref.Ino)
	v.become(o, o.as[0])
	v.orphans[o.ref.Ino] = was
	o.guessed = false
	if !given {
		if !v.pends(was.by) {
			was.by = Given{} // it is done
		}
		return
	}
	was.frozen = true
	if there {
		// Without that a copy comes to where the name was before. If it is not near, so be it.
		_ = v.view.Read(func(r meta.Reader) error { return v.lineage(was.m, r, was.ref) })
	}
	written := v.writtenSince(was)
	if !written {
		was.by = Given{} // frozen like any other
	}
	if !written && !v.isNow(was, was.ref) {
		return
	}
	if _, err := v.changeable(o.as[0]); err != nil {
		v.log.Debug("what is open is joined with its file later", "err", err) // by who writes
	}
}

// pends says whether an operation lies in no slot yet, and may still be refused; v is locked.
func (v *Volume) pends(by Given) bool {
	ops := v.view.Pending()
	return by != (Given{}) && ops.Len() > 0 && ops.First().No <= by.no
}

// writtenSince says whether a file was written to since an operation took its last name; v
// is locked.
func (v *Volume) writtenSince(was *orphan) bool {
	n, err := meta.GetInode(was.m, was.ref)
	return err != nil || n.Version != was.seen
}

// isNow says whether a file of the map holds what an orphan does; v is locked.
func (v *Volume) isNow(was *orphan, ref meta.Ref) bool {
	old, err := meta.GetInode(was.m, was.ref)
	if err != nil {
		return false
	}
	n, err := v.stored(ref)
	return err == nil && n.Version == old.Version
}

// difference is what became of an inode.
type difference uint8

const (
	unchanged difference = iota
	amended
	renewed
	gone
)

// compare says what became of an inode since the map was was, and what it was if it is
// gone; v is locked.
func (v *Volume) compare(ref meta.Ref, was meta.Reader) (Attr, difference) {
	before, err := meta.GetInode(was, ref)
	absent := err != nil && !errors.Is(err, meta.ErrUnknown)
	var now *meta.Inode
	_ = v.view.Read(func(r meta.Reader) error {
		now, err = meta.GetInode(r, ref)
		return nil
	})
	switch {
	case absent && errors.Is(err, meta.ErrNotExist):
		return Attr{}, unchanged
	case absent:
		return Attr{}, amended // what is known of it is of before it was deleted here, or of what has become it
	case errors.Is(err, meta.ErrNotExist) && before != nil:
		before.Nlink, before.Ctime = 0, v.Now()
		return Attr{Ref: ref, Inode: before}, gone
	case now == nil, before == nil && now.Kind == meta.File, now.Kind == meta.File && now.Version != before.Version:
		return Attr{}, renewed
	}
	return Attr{}, amended
}

// changed says whether a file that is open holds something else now than in was; v is
// locked.
func (v *Volume) changed(o *opened, was meta.Reader) bool {
	if v.orphans[o.ref.Ino] != nil {
		return false
	}
	before, err := meta.GetInode(was, o.ref)
	if err != nil { // it came with what was followed, or nobody can say that it is what it was
		return errors.Is(err, meta.ErrUnknown)
	}
	n, err := v.stored(o.ref)
	return err != nil || n.Kind == meta.File && n.Version != before.Version
}

// remains says whether what is open is a file of the map still; v is locked.
func (v *Volume) remains(o *opened) bool {
	n, err := v.stored(o.ref)
	return err == nil && n.Kind == meta.File
}
