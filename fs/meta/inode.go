package meta

import (
	"encoding/binary"
	"slices"
)

// The first byte of an inode is its kind and two flags.
const (
	kindMask    = 0x07
	flagIndexed = 0x40
	flagXattrs  = 0x80
)

// A time other than btime that equals an earlier one of the list btime, mtime,
// ctime stands as the place of the first such, so most inodes spell out one or
// two. atime, ctime and mtime have two bits each, from the top of one byte.
const (
	timeExplicit = 0
	timeAsBtime  = 1
	timeAsMtime  = 2
	timeAsCtime  = 3
)

// AppendInode appends the encoding of a good inode: about 45 bytes for a small
// file, at most 300 but for a symbolic link's target. Fields that the kind
// does not have are left out.
func AppendInode(dst []byte, n *Inode) []byte {
	first := byte(n.Kind)
	if n.Indexed {
		first |= flagIndexed
	}
	if n.Xattrs {
		first |= flagXattrs
	}
	dst = binary.BigEndian.AppendUint16(append(dst, first), n.Perm)
	dst = appendUvarint(dst, uint64(n.UID))
	dst = appendUvarint(dst, uint64(n.GID))
	dst = appendUvarint(dst, uint64(n.Nlink))
	dst = binary.BigEndian.AppendUint64(dst, n.Version)
	dst = appendInodeTimes(dst, n)
	switch n.Kind {
	case File:
		dst = appendUvarint(dst, n.Size)
		if !n.Indexed {
			dst = appendInline(dst, n.Extents)
		}
	case Dir:
		dst = appendRef(dst, n.Parent)
	case Symlink:
		dst = appendBytes(dst, n.Target)
	case Char, Block:
		dst = appendUvarint(dst, uint64(n.Rdev))
	}
	return dst
}

// DecodeInode reads what AppendInode wrote, or answers ErrMalformed. The inode
// does not alias b.
func DecodeInode(b []byte) (*Inode, error) {
	n := new(Inode)
	if err := decodeInode(b, n); err != nil {
		return nil, err
	}
	return n, nil
}

// decodeInode is DecodeInode into n. It uses n.Extents again if that is large
// enough.
func decodeInode(b []byte, n *Inode) error {
	d := decoder{b: b}
	*n = Inode{Extents: n.Extents[:0]}
	first := d.u8()
	n.Kind, n.Indexed, n.Xattrs = Kind(first&kindMask), first&flagIndexed != 0, first&flagXattrs != 0
	d.must(first&^(kindMask|flagIndexed|flagXattrs) == 0 && n.Kind.valid() && (n.Kind == File || !n.Indexed))
	n.Perm = d.u16()
	d.must(n.Perm <= 0o7777)
	n.UID = uint32(d.upTo(1<<32 - 1))
	n.GID = uint32(d.upTo(1<<32 - 1))
	n.Nlink = uint32(d.upTo(MaxLinks))
	n.Version = d.u64()
	d.inodeTimes(n)
	switch n.Kind {
	case File:
		n.Size = d.upTo(MaxFileSize)
		if !n.Indexed {
			d.inline(n)
		}
	case Dir:
		n.Parent = d.ref()
		d.must(n.Parent.valid())
	case Symlink:
		n.Target = slices.Clone(d.bytes(MaxTarget))
		d.must(checkTarget(n.Target) == nil)
		n.Size = uint64(len(n.Target))
	case Char, Block:
		n.Rdev = uint32(d.upTo(1<<32 - 1))
	}
	if len(n.Extents) == 0 {
		n.Extents = nil
	}
	return d.done()
}

// appendInodeTimes writes btime, the codes, and those times that equal none
// before them as seconds after btime (modulo 2^64) and nanoseconds.
func appendInodeTimes(dst []byte, n *Inode) []byte {
	m, c, a := timeCodes(n)
	dst = append(appendTime(dst, n.Btime), a<<6|c<<4|m<<2)
	for _, x := range [...]struct {
		code byte
		t    Time
	}{{m, n.Mtime}, {c, n.Ctime}, {a, n.Atime}} {
		if x.code == timeExplicit {
			dst = appendTime(dst, Time{x.t.Sec - n.Btime.Sec, x.t.Nsec})
		}
	}
	return dst
}

func (d *decoder) inodeTimes(n *Inode) {
	n.Btime = d.time()
	codes := d.u8()
	get := func(code byte) Time {
		switch code & 3 {
		case timeAsBtime:
			return n.Btime
		case timeAsMtime:
			return n.Mtime
		case timeAsCtime:
			return n.Ctime
		}
		t := d.time()
		t.Sec += n.Btime.Sec
		return t
	}
	n.Mtime = get(codes >> 2)
	n.Ctime = get(codes >> 4)
	n.Atime = get(codes >> 6)
	m, c, a := timeCodes(n)
	d.must(codes == a<<6|c<<4|m<<2)
}

func timeCodes(n *Inode) (m, c, a byte) {
	if n.Mtime == n.Btime {
		m = timeAsBtime
	}
	switch n.Ctime {
	case n.Btime:
		c = timeAsBtime
	case n.Mtime:
		c = timeAsMtime
	}
	switch n.Atime {
	case n.Btime:
		a = timeAsBtime
	case n.Mtime:
		a = timeAsMtime
	case n.Ctime:
		a = timeAsCtime
	}
	return m, c, a
}

func appendInline(dst []byte, list []Extent) []byte {
	dst = append(dst, byte(len(list)))
	last := uint64(0)
	for _, e := range list {
		dst = appendUvarint(dst, e.Off-last)
		dst = AppendExtent(dst, e)
		last = e.End()
	}
	return dst
}

func (d *decoder) inline(n *Inode) {
	count := int(d.u8())
	if d.must(count <= MaxInline); d.bad || count == 0 {
		return
	}
	if cap(n.Extents) < count {
		n.Extents = make([]Extent, 0, count)
	}
	last := uint64(0)
	for range count {
		off := last + d.upTo(n.Size)
		e := d.extent()
		e.Off = off
		if d.must(off <= n.Size && e.Len <= n.Size-off); d.bad {
			return
		}
		n.Extents = append(n.Extents, e)
		last = e.End()
	}
}
