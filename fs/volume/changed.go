package volume

import "github.com/hushfs/hushfs/fs/meta"

// outdate finds the open files whose content another machine changed; v is locked.
func (v *Volume) outdate(b *meta.Batch) {
	for _, kv := range b.Puts {
		if kv.Key[0] != 'i' {
			continue
		}
		ref, err := meta.ParseInodeKey(kv.Key)
		if err != nil {
			continue
		}
		if o := v.open[ref.Ino]; o != nil && !o.stale {
			n, err := meta.DecodeInode(kv.Value)
			// What it says of a content that we found or made changes nothing of it.
			o.stale = err != nil || n.Kind == meta.File && n.Version != o.found && meta.WrittenBy(n.Version) != v.device
		}
	}
}

// changed hands what another machine wrote to whoever keeps the kernel's caches
// right.
func (v *Volume) changed(b *meta.Batch) {
	v.mu.Lock()
	fn := v.onChange
	v.outdate(b)
	v.redecide()
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
