package meta

import "bytes"

// Range is the keys from From on that are below To.
type Range struct{ From, To []byte }

// Contains tells whether the key lies in the range.
func (r Range) Contains(key []byte) bool {
	return bytes.Compare(r.From, key) <= 0 && bytes.Compare(key, r.To) < 0
}

// DirentRange is the names of a directory.
func DirentRange(parent Ino) Range { return fieldRange(prefixDirent, uint64(parent)) }

// InodeRange is the inodes that were made in a directory.
func InodeRange(home Ino) Range { return fieldRange(prefixInode, uint64(home)) }

// ExtentRange is the extents of a file.
func ExtentRange(ino Ino) Range {
	return Range{ExtentKey(ino, 1), ExtentKey(ino, extentKeysEnd)}
}

// XattrRange is the attributes of an inode.
func XattrRange(ref Ref) Range {
	return Range{XattrKey(ref, nil), XattrKey(Ref{ref.Home, ref.Ino + 1}, nil)}
}

// PackRange is all packs.
func PackRange() Range { return prefixRange(prefixPack) }

// RetiredRange is all retired packs.
func RetiredRange() Range { return prefixRange(prefixRetired) }

// SnapshotRange is all snapshots.
func SnapshotRange() Range { return prefixRange(prefixSnapshot) }

// extentKeysEnd is above the end of every extent, and still no overflow.
const extentKeysEnd = MaxFileSize + 1

func fieldRange(prefix byte, field uint64) Range {
	return Range{appendField(nil, prefix, field), appendField(nil, prefix, field+1)}
}

func prefixRange(prefix byte) Range { return Range{[]byte{prefix}, []byte{prefix + 1}} }
