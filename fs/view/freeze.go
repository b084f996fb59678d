package view

import "github.com/hushfs/hushfs/fs/meta"

// Freeze returns the map as it is now. It stays so, whatever comes: the two share what
// does not change. Where the tables below were not near, reading it fails as reading the
// view does.
func (v *View) Freeze() meta.Reader {
	v.mu.Lock()
	defer v.mu.Unlock()
	return merged{v.pending.copy(), v.confirmed.Clone()}
}
