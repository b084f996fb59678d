package meta

import (
	"errors"
	"fmt"
)

// Reader is a state of the map. What it returns is not modified by anybody.
type Reader interface {
	// Get returns the value of a key, ErrAbsent when it has none, ErrUnknown
	// when that cannot be told here. Both may come wrapped.
	Get(key []byte) ([]byte, error)

	// Scan calls fn for the keys from on, below to, in ascending order, until
	// fn returns false. It answers ErrUnknown, maybe wrapped, when it meets a
	// part that is not known here; fn may have been called for what is before.
	// k and v are valid during the call only.
	Scan(from, to []byte, fn func(k, v []byte) bool) error
}

// Lookup finds a name in a directory; ErrNotExist when it is not there,
// ErrName or ErrNameTooLong when it cannot be. "." and ".." are no names.
func Lookup(r Reader, parent Ino, name []byte) (Dirent, error) {
	if err := CheckName(name); err != nil {
		return Dirent{}, err
	}
	v, err := r.Get(DirentKey(parent, name))
	if errors.Is(err, ErrAbsent) {
		return Dirent{}, ErrNotExist
	}
	if err != nil {
		return Dirent{}, fmt.Errorf("look up in directory %d: %w", parent, err)
	}
	d, err := DecodeDirent(v)
	if err != nil {
		return Dirent{}, fmt.Errorf("entry of directory %d: %w", parent, err)
	}
	return d, nil
}

// GetInode reads an inode; ErrNotExist when there is none.
func GetInode(r Reader, ref Ref) (*Inode, error) {
	n := new(Inode)
	if err := readInode(r, ref, n); err != nil {
		return nil, err
	}
	return n, nil
}

// readInode reads an inode into n, which owns what it then refers to.
func readInode(r Reader, ref Ref, n *Inode) error {
	v, err := r.Get(InodeKey(ref))
	if errors.Is(err, ErrAbsent) {
		return ErrNotExist
	}
	if err != nil {
		return fmt.Errorf("read inode %d: %w", ref.Ino, err)
	}
	if err := decodeInode(v, n); err != nil {
		return fmt.Errorf("inode %d: %w", ref.Ino, err)
	}
	return nil
}

// ReadDir calls fn for the names of a directory above after (nil: all), sorted by their
// bytes, until fn returns false. name is valid during the call only. A directory that does
// not exist has no names.
func ReadDir(r Reader, dir Ino, after []byte, fn func(name []byte, d Dirent) bool) error {
	all := DirentRange(dir)
	if len(after) > 0 {
		all.From = append(DirentKey(dir, after), 0)
	}
	var bad error
	err := r.Scan(all.From, all.To, func(k, v []byte) bool {
		_, name, err := ParseDirentKey(k)
		var d Dirent
		if err == nil {
			d, err = DecodeDirent(v)
		}
		if err != nil {
			bad = err
			return false
		}
		return fn(name, d)
	})
	if err = errors.Join(err, bad); err != nil {
		return fmt.Errorf("read directory %d: %w", dir, err)
	}
	return nil
}

// Extents calls fn for the extents of a file that meet [off, end), cut to it,
// in ascending order, until fn returns false. n is the file's inode.
func Extents(r Reader, ref Ref, n *Inode, off, end uint64, fn func(Extent) bool) error {
	if end = min(end, MaxFileSize); off >= end {
		return nil
	}
	if !n.Indexed {
		for _, e := range n.Extents {
			if e.Off >= end {
				break
			}
			if e.End() > off && !fn(e.cut(off, end)) {
				break
			}
		}
		return nil
	}
	return scanExtents(r, ref.Ino, off+1, end, func(e Extent) bool {
		return fn(e.cut(off, end))
	})
}

// scanExtents calls fn for the extents that end at from or later and begin
// below to, which is at most MaxFileSize.
func scanExtents(r Reader, ino Ino, from, to uint64, fn func(Extent) bool) error {
	var bad error
	// No extent spans more than MaxExtent, so one that begins below to ends here.
	above := min(to+MaxExtent, extentKeysEnd)
	err := r.Scan(ExtentKey(ino, from), ExtentKey(ino, above), func(k, v []byte) bool {
		_, end, err := ParseExtentKey(k)
		var e Extent
		if err == nil {
			e, err = DecodeExtent(end, v)
		}
		if err != nil {
			bad = err
			return false
		}
		return e.Off < to && fn(e)
	})
	if err = errors.Join(err, bad); err != nil {
		return fmt.Errorf("extents of inode %d: %w", ino, err)
	}
	return nil
}

// cut is the part of e in [off, end), which e meets.
func (e Extent) cut(off, end uint64) Extent {
	if e.Off < off {
		skip := off - e.Off
		e.Off, e.Len, e.PackOff = off, e.Len-skip, e.PackOff+uint32(skip)
	}
	if e.End() > end {
		e.Len = end - e.Off
	}
	return e
}
