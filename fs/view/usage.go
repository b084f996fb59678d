package view

import (
	"errors"

	"github.com/tidwall/btree"

	"github.com/hushfs/hushfs/fs/meta"
)

// Usage is what the volume holds, for statfs. It is kept up to date with each
// change: a scan of a large volume would take seconds.
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

func (u *Usage) add(w Usage) {
	u.Inodes += w.Inodes
	u.Bytes += w.Bytes
}

// change puts what keys weigh now in the place of what they weighed before.
func (u *Usage) change(before, after Usage) {
	u.Inodes += after.Inodes - before.Inodes
	u.Bytes += after.Bytes - before.Bytes
}

// inodePrefix begins the keys of inodes; see meta.InodeKey.
const inodePrefix = 'i'

// inodesOf returns the keys of inodes that b puts or deletes. A range never
// covers one.
func inodesOf(b *meta.Batch) [][]byte {
	var keys [][]byte
	for _, kv := range b.Puts {
		if kv.Key[0] == inodePrefix {
			keys = append(keys, kv.Key)
		}
	}
	for _, k := range b.Deletes {
		if k[0] == inodePrefix {
			keys = append(keys, k)
		}
	}
	return keys
}

// pendingInodes returns the keys of inodes of which pending says something.
func pendingInodes(pending *btree.Map[string, entry]) [][]byte {
	var keys [][]byte
	pending.Ascend(string(inodePrefix), func(k string, _ entry) bool {
		if k[0] != inodePrefix {
			return false
		}
		keys = append(keys, []byte(k))
		return true
	})
	return keys
}

// weighKeys sums what r holds under the keys.
func weighKeys(r meta.Reader, keys [][]byte) (sum Usage, err error) {
	for _, k := range keys {
		value, err := r.Get(k)
		if errors.Is(err, meta.ErrAbsent) {
			continue
		}
		if err != nil {
			return sum, err
		}
		sum.add(weigh(value))
	}
	return sum, nil
}

// weigh returns what one inode record adds to the totals.
func weigh(value []byte) Usage {
	n, err := meta.DecodeInode(value)
	if err != nil || n.Kind != meta.File {
		return Usage{Inodes: 1} // whoever reads a damaged one is told
	}
	return Usage{1, n.Size}
}

// count sums everything that r holds.
func count(r meta.Reader) (sum Usage, err error) {
	err = r.Scan([]byte{inodePrefix}, []byte{inodePrefix + 1}, func(_, value []byte) bool {
		sum.add(weigh(value))
		return true
	})
	return sum, err
}
