package volume

import (
	"sync"
	"unique"

	"github.com/hushfs/hushfs/fs/journal"
	"github.com/hushfs/hushfs/fs/meta"
)

// places remembers under which names files were found: an inode does not say it, and
// what is kept of a file after a conflict wants a name like the one that it had. A file
// of which nobody knows one is kept in the root directory. It has a lock of its own, taken
// after all others. The zero value is ready.
type places struct {
	mu      sync.Mutex // guards the fields below; nothing is taken after it
	known   map[meta.Ref]knownPlace
	settled meta.OpNo // operations up to this one wait no more
}

type placed struct {
	parent meta.Ref
	name   string
}

type knownPlace struct {
	parent unique.Handle[meta.Ref]
	name   string
	told   meta.OpNo // the journal knows the name as long as this operation waits; 0: it does not
	given  bool      // by that operation
}

const (
	// placesMost is how many names are remembered, but for those of files that are changed
	// by operations which wait: these may need them.
	placesMost = 1 << 16
	// placesLooked is how many names are looked at to find one that may be forgotten.
	placesLooked = 16
)

// found notes the name of what is no directory.
func (p *places) found(ref, parent meta.Ref, name []byte) { p.note(ref, parent, name, 0, false) }

// gave notes the name that the operation no gives: it says it itself.
func (p *places) gave(no meta.OpNo, ref, parent meta.Ref, name []byte) {
	p.note(ref, parent, name, no, true)
}

// recorded notes the name that the journal has for the operation no.
func (p *places) recorded(r journal.PlaceRecord) { p.note(r.Ref, r.Parent, r.Name, r.No, false) }

func (p *places) note(ref, parent meta.Ref, name []byte, told meta.OpNo, given bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	in := unique.Make(parent)
	at, ok := p.known[ref]
	if told == 0 && ok && at.parent == in && at.name == string(name) {
		return
	}
	if p.known == nil {
		p.known = map[meta.Ref]knownPlace{}
	}
	if !ok {
		p.forget()
	}
	p.known[ref] = knownPlace{parent: in, name: string(name), told: told, given: given}
}

// forget makes room for a name; p is locked.
func (p *places) forget() {
	looked := 0
	for ref, at := range p.known { // in any order
		if len(p.known) < placesMost || looked == placesLooked {
			return
		}
		if looked++; at.given || at.told <= p.settled {
			delete(p.known, ref)
		}
	}
}

// find returns the name under which a file was found last.
func (p *places) find(ref meta.Ref) (parent meta.Ref, name []byte, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.known[ref]
	if !ok {
		return meta.Ref{}, nil, false
	}
	return at.parent.Value(), []byte(at.name), true
}

// tell returns what the journal is to know before the operation no, if that may have to
// keep a file beside another machine's; operations up to settled wait no more.
func (p *places) tell(no meta.OpNo, op meta.Op, settled meta.OpNo) (r journal.PlaceRecord, ok bool) {
	switch op.(type) {
	case *meta.Write, *meta.Clone, *meta.Truncate, *meta.PunchHole:
	default:
		return r, false // it needs no name, or says it
	}
	ref := subject(op)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settled = settled
	at, ok := p.known[ref]
	if !ok || at.told > settled {
		return r, false
	}
	at.told, at.given = no, false
	p.known[ref] = at
	return journal.PlaceRecord{No: no, Ref: ref, Parent: at.parent.Value(), Name: []byte(at.name)}, true
}
