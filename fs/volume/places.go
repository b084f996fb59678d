package volume

import (
	"errors"
	"slices"
	"sync"
	"unique"

	"github.com/hushfs/hushfs/fs/journal"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/view"
)

// places remembers under which names files were found: an inode does not say it, and
// what is kept of a file after a conflict wants a name like the one that it had. A file
// of which nobody knows one is kept in the root directory. It has a lock of its own, taken
// after all others. The zero value is ready.
type places struct {
	mu sync.Mutex // guards the fields below; nothing is taken after it

	// A name that is asked for, or found again, is young; old are those that have not been
	// since as many others were. waiting are names that the journal was told for
	// operations that wait: none of them is forgotten.
	young, old, waiting map[meta.Ref]knownPlace

	settled meta.OpNo // operations up to this one wait no more
	taken   meta.OpNo // operations up to this one are in a commit that was made
	enough  int       // at so many of waiting it is looked which still are
}

type placed struct {
	parent meta.Ref
	name   string
}

type knownPlace struct {
	parent unique.Handle[meta.Ref]
	name   string
	told   meta.OpNo // the journal knows the name as long as this operation waits; 0: it does not
	needed meta.OpNo // by operations up to this one, so it is among those that wait; 0: it is not
}

const (
	// placesMost is how many names are remembered, but for those of files that are changed
	// by operations which wait: these may need them.
	placesMost = 1 << 16
	// waitingFew is of how many of those it is not looked whether they still do.
	waitingFew = 1 << 10
	// settledMost is how many names that no operation needs any more are as young as others;
	// of very many they would have all others forgotten.
	settledMost = placesMost / 8
)

// found notes the name of what is no directory.
func (p *places) found(ref, parent meta.Ref, name []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	in := unique.Make(parent)
	at, ok := p.get(ref)
	switch {
	case !ok || at.needed <= p.settled && !at.is(in, name):
		p.put(ref, knownPlace{parent: in, name: string(name)})
	case !at.is(in, name):
		p.keep(ref, knownPlace{parent: in, name: string(name), needed: at.needed})
	}
}

// again notes the name of an open file, if it was forgotten.
func (p *places) again(ref meta.Ref, at placed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.get(ref); !ok && at.name != "" {
		p.put(ref, knownPlace{parent: unique.Make(at.parent), name: at.name})
	}
}

func (at *knownPlace) is(parent unique.Handle[meta.Ref], name []byte) bool {
	return at.parent == parent && at.name == string(name)
}

// gave notes the name that the operation no gives: it says it itself.
func (p *places) gave(no meta.OpNo, ref, parent meta.Ref, name []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.put(ref, knownPlace{parent: unique.Make(parent), name: string(name), told: no})
}

// notGiven notes that a file is called as it was before, if nobody knows better. The journal
// may have the other name for operations up to last, which need this one.
func (p *places) notGiven(n nameGiven, last meta.OpNo) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.get(n.ref)
	if !ok || !at.is(unique.Make(n.is.parent), []byte(n.is.name)) {
		return
	}
	if n.was == (placed{}) {
		delete(p.waiting, n.ref)
		delete(p.young, n.ref)
		return
	}
	p.keep(n.ref, knownPlace{parent: unique.Make(n.was.parent), name: n.was.name, needed: last})
}

// recorded notes the name that the journal has for an operation; last is the newest there,
// which may need it too.
func (p *places) recorded(r journal.PlaceRecord, last meta.OpNo) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keep(r.Ref, knownPlace{parent: unique.Make(r.Parent), name: string(r.Name), told: r.No, needed: max(r.No, last)})
}

// untold notes that the journal does not have what it was to be told with operations from
// the number from on.
func (p *places) untold(from meta.OpNo) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for ref, at := range p.waiting {
		if at.told >= from {
			at.told = 0
			p.waiting[ref] = at
		}
	}
}

// get returns what is known of a file, which is young then; p is locked.
func (p *places) get(ref meta.Ref) (at knownPlace, ok bool) {
	if at, ok = p.waiting[ref]; ok {
		return at, true
	}
	if at, ok = p.young[ref]; ok {
		return at, true
	}
	if at, ok = p.old[ref]; ok {
		p.put(ref, at)
	}
	return at, ok
}

// put remembers a name, and may forget others; p is locked.
func (p *places) put(ref meta.Ref, at knownPlace) {
	if len(p.young) >= placesMost/2 {
		p.young, p.old = nil, p.young
	}
	if p.young == nil {
		p.young = map[meta.Ref]knownPlace{}
	}
	delete(p.old, ref)
	delete(p.waiting, ref)
	p.young[ref] = at
}

// keep remembers a name until no operation that needs it waits any more; p is locked.
func (p *places) keep(ref meta.Ref, at knownPlace) {
	if len(p.waiting) >= p.enough {
		settled := 0
		for ref, at := range p.waiting {
			if at.needed > p.settled {
				continue
			}
			if settled++; settled <= settledMost {
				p.put(ref, at)
			} else {
				delete(p.waiting, ref)
			}
		}
		p.enough = max(waitingFew, 2*len(p.waiting))
	}
	if p.waiting == nil {
		p.waiting = map[meta.Ref]knownPlace{}
	}
	delete(p.young, ref)
	delete(p.old, ref)
	p.waiting[ref] = at
}

// find returns the name under which a file was found last.
func (p *places) find(ref meta.Ref) (parent meta.Ref, name []byte, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.get(ref)
	if !ok {
		return meta.Ref{}, nil, false
	}
	return at.parent.Value(), []byte(at.name), true
}

// Called notes the name by which a program opens a file to write: the kernel may know it
// for long, and does not look it up again. A file that is open keeps it, however many
// others are looked up. What is known not to be its name any more is not noted.
func (v *Volume) Called(ref, parent meta.Ref, name []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	ref = v.at(ref)
	d, err := v.lookup(parent, name)
	if err == nil && d.Ref != ref || errors.Is(err, meta.ErrNotExist) {
		return
	}
	v.places.found(ref, parent, name)
	v.keepsName(ref, parent, name)
}

// gave notes the name that the operation no gives; v is locked.
func (v *Volume) gave(no meta.OpNo, ref, parent meta.Ref, name []byte) {
	if v.tentative.has(no) {
		n := nameGiven{ref: ref, is: placed{parent, string(name)}}
		if dir, name, ok := v.places.find(ref); ok {
			n.was = placed{dir, string(name)}
		}
		v.tentative.gave(no, n)
	}
	v.places.gave(no, ref, parent, name)
	v.keepsName(ref, parent, name)
}

// notGiven has files be called as they were before operations that another machine was
// faster than, the last of them first; v is locked.
func (v *Volume) notGiven(names []nameGiven) {
	for _, n := range slices.Backward(names) {
		v.places.notGiven(n, v.nextOp-1)
		if o := v.open[n.ref.Ino]; o != nil && o.place == n.is {
			o.place = n.was
		}
	}
}

// keepsName notes what a file is called, if it is open; v is locked.
func (v *Volume) keepsName(ref, parent meta.Ref, name []byte) {
	if o := v.open[ref.Ino]; o != nil {
		o.place = placed{parent, string(name)}
	}
}

// needsName says whether op may have to keep a file beside another machine's, and so
// needs its name; other operations do not, or say it.
func needsName(op meta.Op) bool {
	switch op.(type) {
	case *meta.Write, *meta.Clone, *meta.Truncate, *meta.PunchHole:
		return true
	}
	return false
}

// tell returns what the journal is to know before the operation no, if that may have to
// keep a file beside another machine's; operations up to settled wait no more. What was
// told with an operation that a commit has goes with that, and is told again.
func (p *places) tell(no meta.OpNo, op meta.Op, settled meta.OpNo) (r journal.PlaceRecord, ok bool) {
	if !needsName(op) {
		return r, false
	}
	ref := subject(op)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settled = settled
	at, ok := p.get(ref)
	if !ok {
		return r, false
	}
	known := at.told > max(settled, p.taken)
	if !known {
		at.told = no
	}
	if !known || at.needed > settled {
		at.needed = no
		p.keep(ref, at)
	}
	return journal.PlaceRecord{No: no, Ref: ref, Parent: at.parent.Value(), Name: []byte(at.name)}, !known
}

// across has the journal know the names of files that are changed on both sides of the
// number last, up to which a commit has the operations: what says them goes with it.
func (v *Volume) across(last meta.OpNo) error {
	v.places.take(last) // what comes from now on is told by itself
	var recs []journal.Record
	for _, a := range v.view.Across(last) {
		if r, ok := v.places.tellAcross(a); ok {
			recs = append(recs, journal.Placed(r))
		}
	}
	for some := range slices.Chunk(recs, acrossMost) {
		if _, err := v.journal.Append(some...); err != nil {
			v.places.untold(last + 1)
			return v.unwritten(err)
		}
	}
	return nil
}

// acrossMost is how many names go to the journal in one call.
const acrossMost = 1000

func (p *places) take(last meta.OpNo) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken = max(p.taken, last)
}

// tellAcross is tell for a file of which operations are in the journal already.
func (p *places) tellAcross(a view.Across) (r journal.PlaceRecord, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.get(a.Ref)
	switch {
	case ok && at.told > p.taken:
		return r, false
	case !ok && len(a.Name) == 0:
		return r, false
	case !ok:
		at = knownPlace{parent: unique.Make(a.Parent), name: string(a.Name)}
	}
	at.told, at.needed = a.No, max(a.No, at.needed)
	p.keep(a.Ref, at)
	return journal.PlaceRecord{No: a.No, Ref: a.Ref, Parent: at.parent.Value(), Name: []byte(at.name)}, true
}
