package view

import "github.com/hushfs/hushfs/fs/meta"

// Newest says what wrote a key last: the pending operation no, or none (0) and at the
// latest slot, which is that of the tables where no batch above them wrote it. There
// says whether the key is there, and is true where only the tables know.
func (v *View) Newest(key []byte) (no meta.OpNo, slot uint64, there bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if r, ok := v.pending.get(key); ok {
		return meta.OpNo(r.no()), 0, !r.deleted()
	}
	if r, ok := v.confirmed.above.get(key); ok {
		return 0, r.no(), !r.deleted()
	}
	return 0, v.confirmed.base, v.confirmed.tables != nil
}

// NewestOf is the newest pending operation that wrote the inode called ino, wherever
// its home is; 0 when none did. It looks at all that is pending.
func (v *View) NewestOf(ino meta.Ino) (no meta.OpNo) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	v.pending.each(meta.Range{From: []byte{inodes}, To: []byte{inodes + 1}}, func(r record) {
		if at, err := meta.ParseInodeKey([]byte(r.key())); err == nil && at.Ino == ino {
			no = max(no, meta.OpNo(r.no()))
		}
	})
	return no
}

// Filled is how many files have content that a pending operation wrote, those among also
// counted, each once.
func (v *View) Filled(also []meta.Ref) int {
	v.mu.RLock()
	defer v.mu.RUnlock()
	n := v.filled
	for _, ref := range also {
		if r, ok := v.pending.get(meta.InodeKey(ref)); !ok || r.filled() == 0 {
			n++
		}
	}
	return n
}

// inodes is the first byte of the key of an inode.
const inodes = 'i'

// filling is what op, whose number is that of r, makes of what r says of an inode: it
// keeps in mind the newest operation that brought bytes; v is locked.
func (v *View) filling(r record, op meta.Change) record {
	if r.key()[0] != inodes {
		return r
	}
	var by uint64
	if old, ok := v.pending.like(r); ok {
		by = old.filled()
	}
	switch op.(type) {
	case *meta.Write, *meta.Clone:
		if !r.deleted() {
			if by == 0 {
				v.filled++
			}
			by = r.no()
		}
	}
	if by == 0 {
		return r
	}
	return r.with(by)
}

// settled notes that operations up to last are pending no more, of which one said r; v is
// locked.
func (v *View) settled(r record, last meta.OpNo) {
	by := r.filled()
	if by > 0 && by <= uint64(last) {
		v.filled--
	}
	switch {
	case r.no() <= uint64(last):
		v.pending.forget(r)
	case by > 0 && by <= uint64(last):
		v.pending.set(r.with(0))
	}
}
