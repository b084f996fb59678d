package view

import "github.com/hushfs/hushfs/fs/meta"

// Newest says what wrote a key last: the pending operation no, or none (0) and at the
// latest slot, which is that of the tables where no batch above them wrote it. There
// says whether the key is there, and is true where only the tables know.
func (v *View) Newest(key []byte) (no meta.OpNo, slot uint64, there bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if e, ok := v.pending.Get(string(key)); ok {
		return e.by(), 0, !e.deleted()
	}
	if w, ok := v.confirmed.above.Get(string(key)); ok {
		return 0, w.slot, !w.deleted
	}
	return 0, v.confirmed.base, v.confirmed.tables != nil
}

// NewestOf is the newest pending operation that wrote the inode called ino, wherever
// its home is; 0 when none did.
func (v *View) NewestOf(ino meta.Ino) (no meta.OpNo) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.newest[ino].op
}

// Filled is how many files have content that a pending operation wrote, those among also
// counted, each once.
func (v *View) Filled(also []meta.Ino) int {
	v.mu.RLock()
	defer v.mu.RUnlock()
	n := v.filled
	for _, ino := range also {
		if v.newest[ino].content == 0 {
			n++
		}
	}
	return n
}

// newest are the newest pending operations that wrote an inode.
type newest struct {
	op      meta.OpNo // of any kind
	content meta.OpNo // that brought bytes; 0: none
}

// wrote notes that an operation wrote an inode; v is locked.
func (v *View) wrote(ino meta.Ino, op meta.Change, no meta.OpNo) {
	if v.newest == nil {
		v.newest = map[meta.Ino]newest{}
	}
	n := v.newest[ino]
	n.op = no
	switch op.(type) {
	case *meta.Write, *meta.Clone:
		if n.content == 0 {
			v.filled++
		}
		n.content = no
	}
	v.newest[ino] = n
}

// settled notes that operations up to last, which wrote an inode, are pending no more; v
// is locked.
func (v *View) settled(ino meta.Ino, last meta.OpNo) {
	n, ok := v.newest[ino]
	if !ok {
		return
	}
	if n.content > 0 && n.content <= last {
		n.content = 0
		v.filled--
	}
	if n.op <= last {
		delete(v.newest, ino)
	} else {
		v.newest[ino] = n
	}
}

// inodeOf is the inode whose attributes lie under a key.
func inodeOf(key []byte) (meta.Ino, bool) {
	if key[0] != 'i' {
		return 0, false
	}
	ref, err := meta.ParseInodeKey(key)
	return ref.Ino, err == nil
}
