package volume

import "github.com/hushfs/hushfs/fs/meta"

// changed hands what another machine wrote to whoever keeps the kernel's caches
// right.
func (v *Volume) changed(b *meta.Batch) {
	v.mu.Lock()
	fn := v.onChange
	v.mu.Unlock()
	if fn == nil {
		return
	}
	var c Change
	keys := make([][]byte, 0, len(b.Puts)+len(b.Deletes))
	for _, kv := range b.Puts {
		keys = append(keys, kv.Key)
	}
	keys = append(keys, b.Deletes...)
	for _, k := range keys {
		switch k[0] {
		case 'd':
			if parent, name, err := meta.ParseDirentKey(k); err == nil {
				c.Names = append(c.Names, Name{parent, name})
			}
		case 'i':
			if ref, err := meta.ParseInodeKey(k); err == nil {
				c.Inodes = append(c.Inodes, ref)
			}
		}
	}
	fn(c)
}
