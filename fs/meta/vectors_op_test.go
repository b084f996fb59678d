package meta_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"

	"github.com/hushfs/hushfs/fs/meta"
)

func batchVectors() []vector {
	dirent := meta.AppendDirent(nil, meta.Dirent{Ref: letter, Kind: meta.File})
	inode := meta.AppendInode(nil, fileInode())
	entry := meta.KV{Key: meta.DirentKey(docs.Ino, []byte("letter.txt")), Value: dirent}
	whole := &meta.Batch{
		Ranges:  []meta.Range{meta.XattrRange(letter), meta.ExtentRange(letter.Ino)},
		Deletes: [][]byte{meta.DirentKey(docs.Ino, []byte("old")), meta.PackKey(packOne + 1)},
		Puts: []meta.KV{
			{Key: meta.XattrKey(letter, []byte("user.colour")), Value: []byte("blue")},
			entry,
			{Key: meta.RetiredKey(packOne + 1), Value: meta.AppendRetired(nil, 7)},
			{Key: meta.InodeKey(letter), Value: inode},
			{Key: meta.PackKey(packOne), Value: meta.AppendPackRecord(nil, meta.PackRecord{Length: 75, Epoch: 1})},
			{Key: meta.SnapshotKey([]byte("monday")), Value: meta.AppendSnapshot(nil, meta.Snapshot{Slot: 7})},
			{Key: meta.ExtentKey(letter.Ino, 5), Value: meta.AppendExtent(nil, meta.Extent{Len: 5, Pack: packOne})},
		},
	}
	enc := func(b meta.Batch) []byte { return b.Encode() }
	puts := func(kv ...meta.KV) []byte { return enc(meta.Batch{Puts: kv}) }
	ranges := func(r ...meta.Range) []byte { return enc(meta.Batch{Ranges: r}) }
	root := meta.InitBatch(clock, 1000, 1000)
	return []vector{
		ok("batch", "empty", "nothing", enc(meta.Batch{})),
		ok("batch", "init", "the root directory, slot 1", root.Encode()),
		ok("batch", "whole", "one of everything", whole.Encode()),
		ok("batch", "touching", "two ranges of one file, one after the other", ranges(
			meta.Range{From: meta.ExtentKey(letter.Ino, 1), To: meta.ExtentKey(letter.Ino, 9)},
			meta.Range{From: meta.ExtentKey(letter.Ino, 9), To: meta.ExtentKey(letter.Ino, 1<<63)})),

		bad("batch", "bad-nothing", "no byte", nil),
		bad("batch", "bad-long", "one byte too many", cat(whole.Encode(), 0)),
		bad("batch", "bad-short", "one byte is missing", whole.Encode()[:len(whole.Encode())-1]),
		bad("batch", "bad-count", "a number of puts that cannot be", cat(0, 0, 0xff, 0xff, 0xff, 0x7f, 0)),
		bad("batch", "bad-count-varint", "a count with a zero byte at its end", cat(0, 0, 0x80, 0)),
		bad("batch", "bad-order", "puts in the wrong order", puts(whole.Puts[1], whole.Puts[0])),
		bad("batch", "bad-twice", "one key put twice", puts(entry, entry)),
		bad("batch", "bad-put-and-delete", "one key in both", enc(meta.Batch{Deletes: [][]byte{entry.Key}, Puts: []meta.KV{entry}})),
		bad("batch", "bad-delete-twice", "one key deleted twice", enc(meta.Batch{Deletes: [][]byte{entry.Key, entry.Key}})),
		bad("batch", "bad-delete-in-range", "a delete in a range", enc(meta.Batch{
			Ranges: []meta.Range{meta.ExtentRange(letter.Ino)}, Deletes: [][]byte{meta.ExtentKey(letter.Ino, 5)}})),
		bad("batch", "bad-delete-root", "the root directory stays", enc(meta.Batch{Deletes: [][]byte{meta.InodeKey(meta.RootRef)}})),
		bad("batch", "bad-delete-key", "an unknown prefix", enc(meta.Batch{Deletes: [][]byte{[]byte("q")}})),
		bad("batch", "bad-prefix", "an unknown prefix", puts(meta.KV{Key: []byte("l1"), Value: dirent})),
		bad("batch", "bad-name", "a name with a slash", puts(meta.KV{Key: meta.DirentKey(docs.Ino, []byte("a/b")), Value: dirent})),
		bad("batch", "bad-value", "a dirent that is none", puts(meta.KV{Key: entry.Key, Value: []byte{9}})),
		bad("batch", "bad-inode", "an inode without a name", puts(meta.KV{Key: meta.InodeKey(letter),
			Value: meta.AppendInode(nil, with(fileInode(), func(n *meta.Inode) { n.Nlink = 0 }))})),
		bad("batch", "bad-root-file", "the root as a file", puts(meta.KV{Key: meta.InodeKey(meta.RootRef), Value: inode})),
		bad("batch", "bad-root-parent", "the root in another directory", puts(meta.KV{Key: meta.InodeKey(meta.RootRef),
			Value: meta.AppendInode(nil, with(dirInode(), func(n *meta.Inode) { n.Parent = docs }))})),
		bad("batch", "bad-own-parent", "a directory in itself", puts(meta.KV{Key: meta.InodeKey(docs),
			Value: meta.AppendInode(nil, with(dirInode(), func(n *meta.Inode) { n.Parent = docs }))})),
		bad("batch", "bad-extent", "an extent that would begin before its file", puts(meta.KV{Key: meta.ExtentKey(letter.Ino, 4),
			Value: meta.AppendExtent(nil, meta.Extent{Len: 5, Pack: packOne})})),
		bad("batch", "bad-range-dirents", "a range over names", ranges(meta.DirentRange(docs.Ino))),
		bad("batch", "bad-range-inodes", "a range over all inodes of a home", ranges(meta.Range{
			From: meta.InodeKey(meta.Ref{Home: docs.Ino}), To: meta.InodeKey(meta.Ref{Home: docs.Ino, Ino: highest})})),
		bad("batch", "bad-range-two-files", "a range over two files", ranges(meta.Range{From: meta.ExtentKey(letter.Ino, 1), To: meta.ExtentKey(letter.Ino+1, 1)})),
		bad("batch", "bad-range-two-inodes", "a range over the attributes of two inodes", ranges(meta.Range{
			From: meta.XattrKey(letter, nil), To: meta.XattrKey(meta.Ref{Home: letter.Home, Ino: letter.Ino + 2}, nil)})),
		bad("batch", "bad-range-empty", "a range of nothing", ranges(meta.Range{From: meta.ExtentKey(letter.Ino, 1), To: meta.ExtentKey(letter.Ino, 1)})),
		bad("batch", "bad-range-overlap", "two ranges that overlap", ranges(
			meta.Range{From: meta.ExtentKey(letter.Ino, 1), To: meta.ExtentKey(letter.Ino, 9)},
			meta.Range{From: meta.ExtentKey(letter.Ino, 8), To: meta.ExtentKey(letter.Ino, 10)})),
		bad("batch", "bad-range-order", "ranges in the wrong order", ranges(meta.ExtentRange(letter.Ino), meta.XattrRange(letter))),
	}
}

// goodOps is each operation, small and with every field at its limit.
func goodOps() map[string]meta.Op {
	mtime := meta.Time{Sec: -5, Nsec: 999_999_999}
	var extents []meta.Extent
	for i := range uint64(meta.MaxExtents) {
		extents = append(extents, meta.Extent{Off: i << 53, Len: meta.MaxExtent - 1, Pack: meta.PackNo(highest), PackOff: 1})
	}
	other := meta.Ref{Home: docs.Ino, Ino: highest}
	return map[string]meta.Op{
		"make-file":         &meta.Make{Parent: docs, Name: []byte("letter.txt"), Ref: letter, Kind: meta.File, Perm: 0o644, UID: 1000, GID: 1000},
		"make-dir":          &meta.Make{Parent: meta.RootRef, Name: []byte("docs"), Ref: docs, Kind: meta.Dir, Perm: 0o755, UID: 1000, GID: 1000},
		"make-symlink":      &meta.Make{Parent: docs, Name: []byte(longName), Ref: other, Kind: meta.Symlink, Perm: 0o777, Target: bytes.Repeat([]byte("t"), meta.MaxTarget)},
		"make-char":         &meta.Make{Parent: docs, Name: []byte("null"), Ref: other, Kind: meta.Char, Perm: 0o7777, UID: math.MaxUint32, GID: math.MaxUint32, Rdev: 0x103},
		"write":             &meta.Write{Ref: letter, Observed: version, Extents: []meta.Extent{{Off: 0, Len: 5, Pack: packOne, PackOff: 70}}, Size: 5, Mtime: &clock},
		"write-nothing":     &meta.Write{Ref: letter, Size: meta.MaxFileSize},
		"write-most":        &meta.Write{Ref: letter, Observed: math.MaxUint64, Extents: extents, Size: meta.MaxFileSize, Mtime: &mtime},
		"truncate":          &meta.Truncate{Ref: letter, Observed: version, Size: 3, Mtime: &mtime},
		"setattr-perm":      &meta.Setattr{Ref: letter, Valid: meta.SetPerm, Perm: 0o600},
		"setattr-all":       &meta.Setattr{Ref: letter, Valid: meta.SetPerm | meta.SetUID | meta.SetGID | meta.SetAtime | meta.SetMtime | meta.SetCtime, Perm: 0o4755, UID: 1, GID: 2, Atime: clock, Mtime: mtime, Ctime: clock},
		"setattr-atime":     &meta.Setattr{Ref: letter, Valid: meta.SetAtime | meta.KeepCtime, Atime: clock},
		"unlink":            &meta.Unlink{Parent: docs, Name: []byte("letter.txt"), Ref: letter, Observed: version},
		"rmdir":             &meta.Rmdir{Parent: meta.RootRef, Name: []byte("docs"), Ref: docs},
		"rename":            &meta.Rename{Parent: docs, Name: []byte("letter.txt"), NewParent: meta.RootRef, NewName: []byte("letter"), Flags: meta.NoReplace, Ref: letter},
		"rename-over":       &meta.Rename{Parent: docs, Name: []byte(longName), NewParent: docs, NewName: []byte(longName[1:]), Ref: letter, Replaced: &other, Observed: version},
		"rename-exchange":   &meta.Rename{Parent: docs, Name: []byte("a"), NewParent: docs, NewName: []byte("b"), Flags: meta.Exchange, Ref: letter, Replaced: &other},
		"link":              &meta.Link{Ref: letter, Parent: meta.RootRef, Name: []byte("letter")},
		"setxattr":          &meta.Setxattr{Ref: letter, Name: []byte("user.colour"), Value: []byte("blue"), Flags: meta.XattrCreate},
		"setxattr-empty":    &meta.Setxattr{Ref: letter, Name: []byte("user.colour")},
		"setxattr-longest":  &meta.Setxattr{Ref: meta.Ref{Home: highest - 1, Ino: highest}, Name: []byte(longName), Value: make([]byte, meta.MaxXattr), Flags: meta.XattrReplace},
		"removexattr":       &meta.Removexattr{Ref: letter, Name: []byte("user.colour")},
		"punch-hole":        &meta.PunchHole{Ref: letter, Observed: version, Off: 1, Len: 2},
		"clone":             &meta.Clone{Ref: letter, Observed: version, Off: 3, Len: 10, Extents: []meta.Extent{{Off: 3, Len: 2, Pack: packOne, PackOff: 70}, {Off: 9, Len: 4, Pack: packOne}}, Mtime: &clock},
		"clone-hole":        &meta.Clone{Ref: letter, Off: 1, Len: meta.MaxFileSize - 1},
		"clone-most":        &meta.Clone{Ref: letter, Observed: math.MaxUint64, Len: meta.MaxFileSize, Extents: extents, Mtime: &mtime},
		"mend-drop":         &meta.Mend{Act: meta.MendDrop, Ref: letter, Kind: meta.File, Dir: docs.Ino, Name: []byte("letter.txt")},
		"mend-adopt":        &meta.Mend{Act: meta.MendAdopt, Ref: letter, Parent: docs, Name: []byte(longName)},
		"mend-links":        &meta.Mend{Act: meta.MendLinks, Ref: letter, Was: 3, Links: meta.MaxLinks},
		"mend-parent":       &meta.Mend{Act: meta.MendParent, Ref: letter, Parent: docs},
		"mend-sweep":        &meta.Mend{Act: meta.MendSweep, Ref: letter},
		"resolve":           &meta.Resolve{IDs: []meta.ConflictID{{Version: version}, {Version: version, No: 255}, {Version: math.MaxUint64}}},
		"report":            &meta.Report{Conflict: meta.Conflict{Kind: meta.ConflictCopy, Ours: letter, Theirs: docs, Parent: docs, Name: []byte("a.txt"), As: []byte("a (conflict, laptop, 2026-03-01).txt"), Time: meta.Time{Sec: 1}}},
		"report-nothing":    &meta.Report{Conflict: meta.Conflict{Kind: meta.ConflictLost}},
		"lease-take":        &meta.SetLease{Act: meta.LeaseTake, Ref: docs, Until: 300, From: 2<<48 | 7, Parent: meta.RootRef, Name: []byte("docs"), Below: []meta.Ino{letter.Ino, letter.Ino + 1}},
		"lease-renew":       &meta.SetLease{Act: meta.LeaseRenew, Ref: docs, Until: 300},
		"lease-release":     &meta.SetLease{Act: meta.LeaseRelease, Ref: docs},
		"lease-drop":        &meta.SetLease{Act: meta.LeaseDrop, Ref: docs},
		"lock":              &meta.SetLock{Ino: letter.Ino, Lock: meta.Lock{Mode: meta.LockExclusive, Until: 300}},
		"lock-want":         &meta.SetLock{Ino: letter.Ino, Lock: meta.Lock{Mode: meta.LockShared, Want: meta.LockExclusive, Until: 300}},
		"lock-release":      &meta.SetLock{Ino: letter.Ino},
		"set-program":       &meta.SetProgram{Program: meta.Program{Version: "v0.5.0 linux/amd64", Hash: [32]byte{1}}},
		"punch-hole-to-end": &meta.PunchHole{Ref: letter, Off: 1, Len: meta.MaxFileSize - 1},
	}
}

func opVectors() []vector {
	var out []vector
	for name, op := range goodOps() {
		if b := meta.EncodeOp(op); len(b) < 8<<10 {
			out = append(out, ok("op", name, "", b))
		}
	}
	slices.SortFunc(out, func(a, b vector) int { return bytes.Compare([]byte(a.name), []byte(b.name)) })
	wrong := func(name, comment string, op meta.Op) { out = append(out, bad("op", name, comment, meta.EncodeOp(op))) }

	out = append(out,
		bad("op", "bad-empty", "no byte", nil),
		bad("op", "bad-code-0", "operation 0", []byte{0}),
		bad("op", "bad-code-12", "operation 12", []byte{12, 1, 2}),
		bad("op", "bad-mend-act", "act 6", cat(13, 6, 1, varint(letter.Ino))),
		bad("op", "bad-long", "one byte too many", cat(meta.EncodeOp(goodOps()["rmdir"]), 0)),
		bad("op", "bad-short", "one byte is missing", meta.EncodeOp(goodOps()["rename-over"])[:40]),
		bad("op", "bad-flag", "neither with nor without mtime", cat(3, 1, varint(letter.Ino), 0, 3, 2)),
		bad("op", "bad-extent-count", "more extents than bytes", cat(2, 1, varint(letter.Ino), 0, 0, 0, 0xff, 0x7f)),
	)
	wrong("bad-make-home", "the home is the parent, so the parent cannot be the inode", &meta.Make{Parent: docs, Name: []byte("a"), Ref: meta.Ref{Home: docs.Ino, Ino: docs.Ino}, Kind: meta.File})
	wrong("bad-make-root", "the root is not made", &meta.Make{Parent: docs, Name: []byte("a"), Ref: meta.RootRef, Kind: meta.Dir})
	wrong("bad-make-name", "..", &meta.Make{Parent: docs, Name: []byte(".."), Ref: letter, Kind: meta.File})
	wrong("bad-make-kind", "kind 9", &meta.Make{Parent: docs, Name: []byte("a"), Ref: letter, Kind: 9})
	wrong("bad-make-target", "a symbolic link to nothing", &meta.Make{Parent: docs, Name: []byte("a"), Ref: letter, Kind: meta.Symlink})
	wrong("bad-write-extents", "1025 extents", &meta.Write{Ref: letter, Extents: slices.Repeat([]meta.Extent{{Len: 1, Pack: 1}}, meta.MaxExtents+1)})
	wrong("bad-write-size", "2^63 bytes", &meta.Write{Ref: letter, Size: 1 << 63})
	wrong("bad-write-end", "an extent beyond the longest file", &meta.Write{Ref: letter, Extents: []meta.Extent{{Off: meta.MaxFileSize, Len: 1, Pack: 1}}})
	wrong("bad-truncate-size", "2^63 bytes", &meta.Truncate{Ref: letter, Size: 1 << 63})
	wrong("bad-setattr-ctime", "set and kept", &meta.Setattr{Ref: letter, Valid: meta.SetCtime | meta.KeepCtime})
	wrong("bad-setattr-mask", "an unknown bit", &meta.Setattr{Ref: letter, Valid: 0x80})
	wrong("bad-unlink-root", "no name stands for the root", &meta.Unlink{Parent: docs, Name: []byte("a"), Ref: meta.RootRef})
	wrong("bad-rename-flags", "two flags", &meta.Rename{Parent: docs, Name: []byte("a"), NewParent: docs, NewName: []byte("b"), Ref: letter, Flags: meta.NoReplace | meta.Exchange})
	wrong("bad-rename-name", "an empty new name", &meta.Rename{Parent: docs, Name: []byte("a"), NewParent: docs, Ref: letter})
	wrong("bad-setxattr-flags", "two flags", &meta.Setxattr{Ref: letter, Name: []byte("a"), Flags: meta.XattrCreate | meta.XattrReplace})
	wrong("bad-setxattr-name", "256 bytes", &meta.Setxattr{Ref: letter, Name: []byte(longName + "n")})
	wrong("bad-punch-hole-empty", "of no bytes", &meta.PunchHole{Ref: letter})
	wrong("bad-punch-hole-end", "beyond the longest file", &meta.PunchHole{Ref: letter, Off: 1, Len: meta.MaxFileSize})
	wrong("bad-resolve-nothing", "no record", &meta.Resolve{})
	wrong("bad-resolve-twice", "one record twice", &meta.Resolve{IDs: []meta.ConflictID{{Version: version}, {Version: version}}})
	wrong("bad-resolve-order", "in the wrong order", &meta.Resolve{IDs: []meta.ConflictID{{Version: version, No: 1}, {Version: version}}})
	wrong("bad-resolve-device", "of no device", &meta.Resolve{IDs: []meta.ConflictID{{Version: 7}}})
	wrong("bad-resolve-many", "257 records", &meta.Resolve{IDs: manyConflicts(meta.MaxResolved + 1)})
	wrong("bad-report-kind", "of no kind", &meta.Report{})
	wrong("bad-report-name", "a name that can be none", &meta.Report{Conflict: meta.Conflict{Kind: meta.ConflictName, Name: []byte("a/b")}})
	wrong("bad-lock-inode", "of no inode", &meta.SetLock{Lock: meta.Lock{Mode: meta.LockShared, Until: 1}})
	wrong("bad-lock-mode", "a mode that is none", &meta.SetLock{Ino: letter.Ino, Lock: meta.Lock{Mode: 3, Until: 1}})
	wrong("bad-lock-until", "in no slot", &meta.SetLock{Ino: letter.Ino, Lock: meta.Lock{Mode: meta.LockShared}})
	wrong("bad-lock-want", "what it has already", &meta.SetLock{Ino: letter.Ino, Lock: meta.Lock{Mode: meta.LockExclusive, Want: meta.LockShared, Until: 1}})
	wrong("bad-lock-nothing", "nothing, in some slots", &meta.SetLock{Ino: letter.Ino, Lock: meta.Lock{Until: 1}})
	wrong("bad-lease-act", "no act", &meta.SetLease{Ref: docs, Until: 1})
	wrong("bad-lease-act-5", "act 5", &meta.SetLease{Act: 5, Ref: docs})
	wrong("bad-lease-drop", "forgotten, and held", &meta.SetLease{Act: meta.LeaseDrop, Ref: docs, Until: 1})
	wrong("bad-lease-until", "in no slot", &meta.SetLease{Act: meta.LeaseTake, Ref: docs})
	wrong("bad-lease-order", "parts in the wrong order", &meta.SetLease{Act: meta.LeaseTake, Ref: docs, Until: 1, Below: []meta.Ino{letter.Ino + 1, letter.Ino}})
	wrong("bad-lease-itself", "a part of itself", &meta.SetLease{Act: meta.LeaseTake, Ref: docs, Until: 1, Below: []meta.Ino{docs.Ino}})
	wrong("bad-lease-many", "4097 parts", &meta.SetLease{Act: meta.LeaseTake, Ref: docs, Until: 1, Below: manyInodes(meta.MaxLeased + 1)})
	wrong("bad-set-program", "without a version", &meta.SetProgram{})
	wrong("bad-clone-empty", "of no bytes", &meta.Clone{Ref: letter})
	wrong("bad-clone-end", "beyond the longest file", &meta.Clone{Ref: letter, Off: 1, Len: meta.MaxFileSize})
	wrong("bad-clone-outside", "an extent that goes on behind the part", &meta.Clone{Ref: letter, Off: 3, Len: 2, Extents: []meta.Extent{{Off: 3, Len: 3, Pack: packOne}}})
	wrong("bad-clone-extents", "1025 extents", &meta.Clone{Ref: letter, Len: 2000, Extents: slices.Repeat([]meta.Extent{{Len: 1, Pack: 1}}, meta.MaxExtents+1)})
	return out
}

func manyConflicts(n int) (ids []meta.ConflictID) {
	for i := range n {
		ids = append(ids, meta.ConflictID{Version: version + uint64(i)})
	}
	return ids
}

func varint(i meta.Ino) []byte { return binary.AppendUvarint(nil, uint64(i)) }

// manyInodes are as many inode numbers, ascending.
func manyInodes(n int) []meta.Ino {
	all := make([]meta.Ino, n)
	for i := range all {
		all[i] = meta.MakeIno(9, uint64(i+1))
	}
	return all
}
