package view

import "github.com/hushfs/hushfs/fs/meta"

// Usage is what the volume holds, for statfs.
type Usage struct {
	Inodes uint64
	Bytes  uint64 // sum of the sizes of files
}

// Usage returns the totals of the map.
func (v *View) Usage() Usage {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.usage
}

// isInode reports whether key holds an inode.
func isInode(key []byte) bool { return len(key) > 0 && key[0] == 'i' }

// weigh returns what one inode record adds to the totals.
func weigh(value []byte) Usage {
	n, err := meta.DecodeInode(value)
	if err != nil {
		return Usage{Inodes: 1} // whoever reads it is told
	}
	if n.Kind != meta.File {
		return Usage{Inodes: 1}
	}
	return Usage{1, n.Size}
}

// touched returns what the map holds now under the inode keys of b.
func (v *View) touched(b *meta.Batch) Usage {
	var sum Usage
	add := func(key []byte) {
		if !isInode(key) {
			return
		}
		if value, err := (merged{v}).Get(key); err == nil {
			w := weigh(value)
			sum.Inodes += w.Inodes
			sum.Bytes += w.Bytes
		}
	}
	for _, kv := range b.Puts {
		add(kv.Key)
	}
	for _, k := range b.Deletes {
		add(k)
	}
	return sum
}

// account corrects the totals after b replaced what weighed before.
func (v *View) account(b *meta.Batch, before Usage) {
	v.usage.Inodes -= before.Inodes
	v.usage.Bytes -= before.Bytes
	for _, kv := range b.Puts {
		if isInode(kv.Key) {
			w := weigh(kv.Value)
			v.usage.Inodes += w.Inodes
			v.usage.Bytes += w.Bytes
		}
	}
}

// recount sums the whole map.
func (v *View) recount() error {
	v.usage = Usage{}
	return merged{v}.Scan([]byte{'i'}, []byte{'i' + 1}, func(_, value []byte) bool {
		w := weigh(value)
		v.usage.Inodes += w.Inodes
		v.usage.Bytes += w.Bytes
		return true
	})
}
