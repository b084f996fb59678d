package volume

import (
	"sync"
	"unique"

	"github.com/hushfs/hushfs/fs/journal"
	"github.com/hushfs/hushfs/fs/meta"
)

// places remembers under which names files were found: an inode does not say it, and
// what is kept of a file after a conflict wants a name like the one that it had. It is a
// help; who finds nothing here looks into the directory where the file was made. It has
// a lock of its own, taken after all others. The zero value is ready.
type places struct {
	mu    sync.Mutex // guards the fields below; nothing is taken after it
	known map[meta.Ref]knownPlace
}

type placed struct {
	parent meta.Ref
	name   string
}

type knownPlace struct {
	parent unique.Handle[meta.Ref]
	name   string
	told   meta.OpNo // the journal knows the name as long as this operation waits; 0: it does not
}

// placesMost is how many names are remembered.
const placesMost = 1 << 16

// found notes the name of what is no directory.
func (p *places) found(ref, parent meta.Ref, name []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	in := unique.Make(parent)
	if at, ok := p.known[ref]; ok && at.parent == in && at.name == string(name) {
		return
	}
	if p.known == nil {
		p.known = map[meta.Ref]knownPlace{}
	}
	if len(p.known) >= placesMost {
		for ref := range p.known { // any
			delete(p.known, ref)
			break
		}
	}
	p.known[ref] = knownPlace{parent: in, name: string(name)}
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
	at, ok := p.known[ref]
	if !ok || at.told > settled {
		return r, false
	}
	at.told = no
	p.known[ref] = at
	return journal.PlaceRecord{No: no, Ref: ref, Parent: at.parent.Value(), Name: []byte(at.name)}, true
}
