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
	return v.newest[ino]
}

// inodeOf is the inode whose attributes lie under a key.
func inodeOf(key []byte) (meta.Ino, bool) {
	if key[0] != 'i' {
		return 0, false
	}
	ref, err := meta.ParseInodeKey(key)
	return ref.Ino, err == nil
}
