package volume

import (
	"bytes"
	"sync"

	"github.com/hushfs/hushfs/fs/journal"
	"github.com/hushfs/hushfs/fs/meta"
)

// places remembers under which names files were found: an inode does not say it, and
// what is kept of a file after a conflict wants a name like the one that it had. It is a
// help; who finds nothing here looks into the directory where the file was made. It has
// a lock of its own, taken after all others. The zero value is ready.
type places struct {
	mu    sync.Mutex // guards the fields below; nothing is taken after it
	known map[meta.Ref]placed
	told  map[meta.Ref]toldPlace // what the journal knows
}

// toldPlace is a name that stands in the journal as long as an operation waits.
type toldPlace struct {
	placed
	no meta.OpNo
}

type placed struct {
	parent meta.Ref
	name   string
}

// placesMost is how many names are remembered.
const placesMost = 1 << 16

// found notes the name of what is no directory.
func (p *places) found(ref, parent meta.Ref, name []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at, ok := p.known[ref]; ok && at.parent == parent && bytes.Equal([]byte(at.name), name) {
		return
	}
	if p.known == nil {
		p.known = map[meta.Ref]placed{}
	}
	if len(p.known) >= placesMost {
		for ref := range p.known { // any
			delete(p.known, ref)
			break
		}
	}
	p.known[ref] = placed{parent, string(name)}
}

// find returns the name under which a file was found last.
func (p *places) find(ref meta.Ref) (parent meta.Ref, name []byte, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.known[ref]
	return at.parent, []byte(at.name), ok
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
	if t, was := p.told[ref]; !ok || was && t.placed == at && t.no > settled {
		return r, false
	}
	if p.told == nil || len(p.told) >= placesMost {
		p.told = map[meta.Ref]toldPlace{}
	}
	p.told[ref] = toldPlace{at, no}
	return journal.PlaceRecord{No: no, Ref: ref, Parent: at.parent, Name: []byte(at.name)}, true
}
