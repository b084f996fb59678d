package meta_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// The largest batch of each operation stays below the limit, so that none must
// ever be split.
func TestLargestBatches(t *testing.T) {
	const step = 1 << 40
	long := func(s string) []byte { return []byte(s + strings.Repeat("n", meta.MaxName-len(s))) }
	pack := meta.PackNo(highest)

	r := newTree(t)
	dir := r.make(meta.RootRef, "dir", meta.Dir)
	file := meta.Ref{Home: dir.Ino, Ino: highest}
	r.do(&meta.Make{Parent: dir, Name: long("file"), Ref: file, Kind: meta.File})
	// In every window: an extent that its beginning cuts, many inside, one
	// that its end cuts; nothing can be joined.
	var windows []meta.Extent
	state := &meta.Batch{}
	for i := range uint64(meta.MaxExtents) {
		off := (i+1)*step + meta.MaxExtent
		windows = append(windows, meta.Extent{Off: off, Len: meta.MaxExtent - 1, Pack: pack, PackOff: 1})
		old := []meta.Extent{{Off: off - 1000, Len: 2000, Pack: pack, PackOff: 7}}
		for k := range uint64(20) {
			old = append(old, meta.Extent{Off: off + 2000 + k*3, Len: 2, Pack: pack})
		}
		old = append(old, meta.Extent{Off: off + meta.MaxExtent - 1000, Len: meta.MaxExtent, Pack: pack})
		for _, x := range old {
			state.Puts = append(state.Puts, meta.KV{Key: meta.ExtentKey(file.Ino, x.End()), Value: meta.AppendExtent(nil, x)})
		}
	}
	// Every extent of a clone lies in a pack of its own, which was retired.
	clones := append([]meta.Extent(nil), windows...)
	for i := range clones {
		clones[i].Pack = pack - meta.PackNo(i)
	}
	for i := len(clones) - 1; i >= 0; i-- {
		state.Puts = append(state.Puts, meta.KV{Key: meta.RetiredKey(clones[i].Pack), Value: meta.AppendRetired(nil, 7)})
	}
	n := r.inode(file)
	n.Indexed, n.Size = true, meta.MaxFileSize
	state.Puts = append(state.Puts, meta.KV{Key: meta.InodeKey(file), Value: meta.AppendInode(nil, n)})
	r.Map.Apply(state)
	write := &meta.Write{Ref: file, Extents: windows, Size: meta.MaxFileSize, Mtime: &clock}
	target := r.make(dir, "target", meta.File)

	for name, op := range map[string]meta.Op{
		"write":      write,
		"first":      &meta.Write{Ref: target, Extents: windows},
		"truncate":   &meta.Truncate{Ref: file, Size: step + meta.MaxExtent, Mtime: &clock},
		"to nothing": &meta.Truncate{Ref: file},
		"clone":      &meta.Clone{Ref: file, Off: 1, Len: meta.MaxFileSize - 1, Extents: clones, Mtime: &clock},
		"punch":      &meta.PunchHole{Ref: file, Off: 1, Len: meta.MaxFileSize - 1},
		"unlink":     &meta.Unlink{Parent: dir, Name: long("file"), Ref: file},
		"rename":     &meta.Rename{Parent: dir, Name: []byte("target"), Ref: target, NewParent: dir, NewName: long("file"), Replaced: &file},
		"xattr":      &meta.Setxattr{Ref: file, Name: long("user."), Value: make([]byte, meta.MaxXattr)},
		"symlink":    &meta.Make{Parent: dir, Name: long("link"), Ref: meta.Ref{Home: dir.Ino, Ino: highest - 1}, Kind: meta.Symlink, Target: bytes.Repeat([]byte("t"), meta.MaxTarget)},
	} {
		t.Run(name, func(t *testing.T) {
			r := &tree{Map: r.Clone(), t: t, at: meta.Stamp{Device: 65535, No: meta.MaxOpNo - 1, Time: clock}}
			if n := len(meta.EncodeOp(op)); n > meta.MaxOp {
				t.Errorf("operation of %d bytes", n)
			}
			b := r.do(op)
			encoded := b.Encode()
			if len(encoded) > meta.MaxOpBatch {
				t.Errorf("batch of %d bytes", len(encoded))
			}
			if _, err := meta.DecodeBatch(encoded); err != nil {
				t.Error(err)
			}
			t.Logf("%d bytes, %d puts, %d deletes, %d ranges", len(encoded), len(b.Puts), len(b.Deletes), len(b.Ranges))
		})
	}
}

func TestBatchLimits(t *testing.T) {
	big := func(n int) *meta.Batch {
		var b meta.Batch
		for i := range 20 {
			v := make([]byte, min(n, meta.MaxXattr))
			n -= len(v)
			b.Puts = append(b.Puts, meta.KV{Key: meta.XattrKey(letter, fmt.Appendf(nil, "%02d", i)), Value: v})
		}
		return &b
	}
	overhead := len(big(0).Encode()) + 2*16 // longer length fields of 16 values
	for _, c := range []struct {
		size int
		want error
	}{{meta.MaxBatch - overhead, nil}, {meta.MaxBatch, meta.ErrMalformed}} {
		b := big(c.size)
		if err := b.Validate(); !errors.Is(err, c.want) {
			t.Errorf("batch of %d bytes: %v", len(b.Encode()), err)
		}
		if _, err := meta.DecodeBatch(b.Encode()); !errors.Is(err, c.want) {
			t.Errorf("batch of %d bytes: %v", len(b.Encode()), err)
		}
	}
	long := &meta.Batch{Puts: []meta.KV{{Key: meta.XattrKey(letter, []byte("u")), Value: make([]byte, meta.MaxXattr+1)}}}
	if err := long.Validate(); !errors.Is(err, meta.ErrMalformed) {
		t.Errorf("attribute of 64 KiB and a byte: %v", err)
	}
	if _, err := meta.DecodeBatch(long.Encode()); !errors.Is(err, meta.ErrMalformed) {
		t.Errorf("attribute of 64 KiB and a byte: %v", err)
	}
	// Many empty puts must not cost more memory than a few times their bytes.
	if _, err := meta.DecodeBatch(append([]byte{0, 0, 0xff, 0xff, 0x0f}, make([]byte, 1<<18)...)); !errors.Is(err, meta.ErrMalformed) {
		t.Error(err)
	}
}

func TestExtentsAreJoinedUpTo64MiB(t *testing.T) {
	const piece = 16 << 20
	r := newTree(t)
	file := r.make(meta.RootRef, "file", meta.File)
	other := r.make(meta.RootRef, "other", meta.File)
	for i := range uint64(4) {
		r.do(&meta.Write{Ref: file, Extents: []meta.Extent{{Off: i * piece, Len: piece, Pack: packOne, PackOff: uint32(i * piece)}}})
	}
	if got := r.extents(file); len(got) != 1 || got[0].Len != meta.MaxExtent {
		t.Errorf("got %v", got)
	}
	// A second pack behind it stays apart, and so does the same pack at another place.
	r.do(&meta.Write{Ref: file, Extents: []meta.Extent{{Off: 4 * piece, Len: 1, Pack: packOne + 1}, {Off: 4*piece + 1, Len: 1, Pack: packOne + 1, PackOff: 2}}})
	if got := r.extents(file); len(got) != 3 {
		t.Errorf("got %v", got)
	}
	r.do(&meta.Write{Ref: other, Extents: []meta.Extent{{Len: 5, Pack: packOne}, {Off: 5, Len: 5, Pack: packOne, PackOff: 5}}})
	if got := r.extents(other); len(got) != 1 {
		t.Errorf("got %v", got)
	}
}

// From four to five extents a file changes to keys of their own, and only
// truncation to 0 brings it back.
func TestFifthExtentIndexes(t *testing.T) {
	r := newTree(t)
	file := r.make(meta.RootRef, "file", meta.File)
	for i := range uint64(5) {
		if n := r.inode(file); n.Indexed || len(n.Extents) != int(i) {
			t.Errorf("after %d extents: %+v", i, n)
		}
		r.do(&meta.Write{Ref: file, Extents: []meta.Extent{{Off: 10 * i, Len: 5, Pack: packOne}}})
	}
	r.do(&meta.Truncate{Ref: file, Size: 3})
	if n := r.inode(file); !n.Indexed || len(r.extents(file)) != 1 {
		t.Errorf("got %+v", n)
	}
	r.do(&meta.Truncate{Ref: file})
	if n := r.inode(file); n.Indexed || n.Extents != nil {
		t.Errorf("got %+v", n)
	}
}
