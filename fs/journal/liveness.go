package journal

import "github.com/hushfs/hushfs/fs/meta"

// liveness knows which records are still needed, and so which files are.
//
// A record that kills others acts only on what came before it, and files leave
// from the oldest on: whoever still holds a dead record also still holds the
// one that killed it.
type liveness struct {
	settled  meta.OpNo // operations up to this one are dead
	lastOp   meta.OpNo
	packs    map[meta.PackNo]livePack
	attempts []liveAttempt
	slot     *fileInfo   // has the newest record of what was followed; nil: none has
	files    []*fileInfo // oldest first; the one being written last
}

type livePack struct {
	PackRecord
	in *fileInfo
}

type liveAttempt struct {
	slot uint64
	id   [32]byte
	in   *fileInfo
}

// fileInfo counts what keeps a file alive.
type fileInfo struct {
	number   uint64
	size     int64
	maxOp    meta.OpNo
	packs    int
	attempts int
}

func newLiveness() *liveness { return &liveness{packs: make(map[meta.PackNo]livePack)} }

// note takes in a record that lies in a file. Noting it again in a later file moves it there.
func (l *liveness) note(r *Record, in *fileInfo) {
	switch r.Kind {
	case KindOp:
		l.lastOp = max(l.lastOp, r.Op.No)
		in.maxOp = max(in.maxOp, r.Op.No)
	case KindPack, kindCarried:
		l.dropPack(r.Pack.No)
		l.packs[r.Pack.No] = livePack{PackRecord: r.Pack, in: in}
		in.packs++
	case KindAttempt:
		l.dropAttempts(func(a liveAttempt) bool { return a.slot == r.Attempt.Slot && a.id == r.Attempt.ID })
		l.attempts = append(l.attempts, liveAttempt{slot: r.Attempt.Slot, id: r.Attempt.ID, in: in})
		in.attempts++
	case KindSettled:
		l.settled = max(l.settled, r.Settled.Last)
		for _, no := range r.Settled.Packs {
			l.dropPack(no)
		}
		// Slots are taken one after the other, so an attempt at this or a lower one is decided.
		l.dropAttempts(func(a liveAttempt) bool { return a.slot <= r.Settled.Slot })
	case KindLost:
		l.dropAttempts(func(a liveAttempt) bool { return a.slot == r.Lost.Slot && a.id == r.Lost.ID })
	case KindFollowed:
		for _, p := range r.Followed.Replaced {
			in.maxOp = max(in.maxOp, p.No)
		}
		if !r.Followed.More {
			l.slot = in
		}
	case KindPlace:
		in.maxOp = max(in.maxOp, r.Place.No)
	case KindDropped:
		for _, no := range r.Dropped.Packs {
			l.dropPack(no)
		}
	}
}

func (l *liveness) dropPack(no meta.PackNo) {
	if p, ok := l.packs[no]; ok {
		p.in.packs--
		delete(l.packs, no)
	}
}

func (l *liveness) dropAttempts(which func(liveAttempt) bool) {
	kept := l.attempts[:0]
	for _, a := range l.attempts {
		if which(a) {
			a.in.attempts--
		} else {
			kept = append(kept, a)
		}
	}
	l.attempts = kept
}

// dead tells that nothing in the file is needed.
func (l *liveness) dead(f *fileInfo) bool {
	return f.packs == 0 && f.attempts == 0 && f.maxOp <= l.settled && !l.pinned(f)
}

// pinned tells that a file says which slot operations follow that wait.
func (l *liveness) pinned(f *fileInfo) bool { return f == l.slot && l.lastOp > l.settled }

// alive tells whether a record that was noted is still needed.
func (l *liveness) alive(r *Record) bool {
	switch r.Kind {
	case KindOp:
		return r.Op.No > l.settled
	case KindPack, kindCarried:
		p, ok := l.packs[r.Pack.No]
		return ok && p.PackRecord == r.Pack
	case KindFollowed:
		return true
	case KindPlace:
		return r.Place.No > l.settled
	case KindAttempt:
		for _, a := range l.attempts {
			if a.slot == r.Attempt.Slot && a.id == r.Attempt.ID {
				return true
			}
		}
	}
	return false
}

// allDead tells that the journal could be empty.
func (l *liveness) allDead() bool {
	for _, f := range l.files {
		if !l.dead(f) {
			return false
		}
	}
	return true
}
