package meta_test

import (
	"bytes"
	"math"
	"slices"
	"strings"

	"github.com/hushfs/hushfs/fs/meta"
)

// What the vectors are made of.
var (
	clock    = meta.Time{Sec: 1_750_000_000, Nsec: 123_456_789}
	docs     = meta.Ref{Home: meta.Root, Ino: meta.MakeIno(1, 1)}
	letter   = meta.Ref{Home: docs.Ino, Ino: meta.MakeIno(1, 2)}
	packOne  = meta.MakePack(1, 1)
	highest  = meta.MakeIno(math.MaxUint16, meta.MaxCounter)
	longName = strings.Repeat("n", meta.MaxName)
	version  = meta.Stamp{Device: 1, No: 2}.Version()
)

func fileInode() *meta.Inode {
	return &meta.Inode{
		Kind: meta.File, Perm: 0o644, UID: 1000, GID: 1000, Nlink: 1, Size: 5, Version: version,
		Atime: clock, Mtime: clock, Ctime: clock, Btime: clock,
		Extents: []meta.Extent{{Off: 0, Len: 5, Pack: packOne, PackOff: 70}},
	}
}

func dirInode() *meta.Inode {
	return &meta.Inode{
		Kind: meta.Dir, Perm: 0o755, UID: 1000, GID: 1000, Nlink: 2, Version: version, Parent: meta.RootRef,
		Atime: clock, Mtime: clock, Ctime: clock, Btime: clock,
	}
}

func with(n *meta.Inode, change func(n *meta.Inode)) *meta.Inode {
	change(n)
	return n
}

func ok(kind, name, comment string, b []byte) vector {
	return vector{kind: kind, name: name, expect: "ok", comment: comment, hex: b}
}

func bad(kind, name, comment string, b []byte) vector {
	return vector{kind: kind, name: name, expect: "malformed", comment: comment, hex: b}
}

func allVectors() []vector {
	return slices.Concat(inodeVectors(), valueVectors(), leaseVectors(), lockVectors(), keyVectors(), batchVectors(), opVectors())
}

func inodeVectors() []vector {
	enc := func(n *meta.Inode) []byte { return meta.AppendInode(nil, n) }
	small := enc(fileInode())
	out := []vector{
		ok("inode", "file", "five bytes in one extent, all times equal", small),
		ok("inode", "file-times", "four different times, one before 1970", enc(with(fileInode(), func(n *meta.Inode) {
			n.Btime, n.Mtime, n.Ctime = meta.Time{Sec: -1, Nsec: 999_999_999}, meta.Time{Sec: math.MaxInt64}, meta.Time{Sec: math.MinInt64}
		}))),
		ok("inode", "file-written-once", "mtime and ctime equal, atime as btime", enc(with(fileInode(), func(n *meta.Inode) {
			n.Mtime.Sec++
			n.Ctime.Sec++
		}))),
		ok("inode", "file-empty", "no extent, size 0", enc(with(fileInode(), func(n *meta.Inode) { n.Size, n.Extents = 0, nil }))),
		ok("inode", "file-indexed", "extents under their own keys, attributes set, largest size", enc(with(fileInode(), func(n *meta.Inode) {
			n.Indexed, n.Xattrs, n.Size, n.Extents = true, true, meta.MaxFileSize, nil
		}))),
		ok("inode", "file-four-extents", "with holes between and at the end; highest numbers", enc(with(fileInode(), func(n *meta.Inode) {
			n.Size = 1 << 40
			n.Extents = []meta.Extent{
				{Off: 0, Len: meta.MaxExtent, Pack: packOne},
				{Off: meta.MaxExtent, Len: 1, Pack: meta.PackNo(highest), PackOff: meta.MaxExtent - 1},
				{Off: 1 << 30, Len: 7, Pack: packOne},
				{Off: 1<<40 - 10, Len: 9, Pack: packOne},
			}
		}))),
		ok("inode", "dir", "a directory in the root", enc(dirInode())),
		ok("inode", "root", "the root directory: its parent is itself", meta.InitBatch(clock, 1000, 1000).Puts[0].Value),
		ok("inode", "symlink", "", enc(with(dirInode(), func(n *meta.Inode) { n.Kind, n.Nlink, n.Target = meta.Symlink, 1, []byte("../letter") }))),
		ok("inode", "symlink-longest", "4095 bytes of target", enc(with(dirInode(), func(n *meta.Inode) {
			n.Kind, n.Nlink, n.Target = meta.Symlink, 1, bytes.Repeat([]byte("t"), meta.MaxTarget)
		}))),
		ok("inode", "block", "a device node with the highest numbers", enc(with(dirInode(), func(n *meta.Inode) {
			n.Kind, n.Rdev, n.UID, n.GID, n.Nlink, n.Perm = meta.Block, math.MaxUint32, math.MaxUint32, math.MaxUint32, meta.MaxLinks, 0o7777
		}))),
		ok("inode", "fifo", "", enc(with(dirInode(), func(n *meta.Inode) { n.Kind, n.Nlink = meta.Fifo, 1 }))),
		ok("inode", "orphan", "no name left: good by itself, not in a batch", enc(with(fileInode(), func(n *meta.Inode) { n.Nlink = 0 }))),

		bad("inode", "bad-empty", "no byte", nil),
		bad("inode", "bad-short", "one byte is missing", small[:len(small)-1]),
		bad("inode", "bad-long", "one byte too many", append(slices.Clone(small), 0)),
		bad("inode", "bad-kind", "kind 0", flip(small, 0, 0x01)),
		bad("inode", "bad-flag", "an unknown flag", flip(small, 0, 0x08)),
		bad("inode", "bad-indexed-dir", "a directory with the flag for extents", flip(enc(dirInode()), 0, 0x40)),
		bad("inode", "bad-perm", "a bit above 07777", flip(small, 1, 0x10)),
		bad("inode", "bad-varint", "uid with a zero byte at its end", slices.Concat(small[:3], []byte{0x80, 0x00}, small[5:])),
		bad("inode", "bad-nsec", "10^9 nanoseconds", enc(with(fileInode(), func(n *meta.Inode) {
			n.Atime.Nsec, n.Mtime.Nsec, n.Ctime.Nsec, n.Btime.Nsec = 1e9, 1e9, 1e9, 1e9
		}))),
		bad("inode", "bad-time-code", "ctime as mtime, which is btime", timeCode(small)),
		bad("inode", "bad-five-extents", "one extent more than fits", enc(with(fileInode(), func(n *meta.Inode) {
			n.Size = 5
			n.Extents = nil
			for i := range uint64(5) {
				n.Extents = append(n.Extents, meta.Extent{Off: i, Len: 1, Pack: packOne})
			}
		}))),
		bad("inode", "bad-extent-beyond-size", "an extent reaches one byte further than the file", enc(with(fileInode(), func(n *meta.Inode) { n.Size = 4 }))),
		bad("inode", "bad-extent-empty", "an extent of no bytes", enc(with(fileInode(), func(n *meta.Inode) { n.Extents[0].Len = 0 }))),
		bad("inode", "bad-extent-beyond-pack", "an extent reaches beyond the longest pack", enc(with(fileInode(), func(n *meta.Inode) { n.Extents[0].PackOff = meta.MaxExtent - 4 }))),
		bad("inode", "bad-size", "2^63 bytes", enc(with(fileInode(), func(n *meta.Inode) { n.Size = 1 << 63 }))),
		bad("inode", "bad-parent", "a directory whose parent is no inode", enc(with(dirInode(), func(n *meta.Inode) { n.Parent = meta.Ref{} }))),
		bad("inode", "bad-target", "an empty target", enc(with(dirInode(), func(n *meta.Inode) { n.Kind = meta.Symlink }))),
		bad("inode", "bad-target-long", "4096 bytes of target", enc(with(dirInode(), func(n *meta.Inode) {
			n.Kind, n.Target = meta.Symlink, bytes.Repeat([]byte("t"), meta.MaxTarget+1)
		}))),
	}
	return out
}

func flip(b []byte, at int, bits byte) []byte {
	b = slices.Clone(b)
	b[at] ^= bits
	return b
}

// timeCode changes the codes of an inode with all times equal.
func timeCode(b []byte) []byte {
	at := bytes.IndexByte(b[16:], 0b01_01_01_00) + 16
	return flip(b, at, 0b01_01_01_00^0b01_10_01_00)
}

func valueVectors() []vector {
	pack := meta.AppendPackRecord(nil, meta.PackRecord{Name: [32]byte{1, 2, 3, 31: 9}, Length: 4 << 20, Epoch: 1})
	extent := func(e meta.Extent) []byte { return meta.AppendExtent(nil, e) }
	at := func(end uint64, v vector) vector {
		v.end = end
		return v
	}
	return []vector{
		ok("dirent", "file", "", meta.AppendDirent(nil, meta.Dirent{Ref: letter, Kind: meta.File})),
		ok("dirent", "socket", "highest number", meta.AppendDirent(nil, meta.Dirent{Ref: meta.Ref{Home: docs.Ino, Ino: highest}, Kind: meta.Socket})),
		bad("dirent", "bad-kind", "kind 8", meta.AppendDirent(nil, meta.Dirent{Ref: letter, Kind: 8})),
		bad("dirent", "bad-root", "no name stands for the root", meta.AppendDirent(nil, meta.Dirent{Ref: meta.RootRef, Kind: meta.Dir})),
		bad("dirent", "bad-home", "made in itself", meta.AppendDirent(nil, meta.Dirent{Ref: meta.Ref{Home: docs.Ino, Ino: docs.Ino}, Kind: meta.Dir})),
		bad("dirent", "bad-ino", "2^52", meta.AppendDirent(nil, meta.Dirent{Ref: meta.Ref{Home: docs.Ino, Ino: highest + 1}, Kind: meta.File})),
		bad("dirent", "bad-long", "one byte too many", cat(meta.AppendDirent(nil, meta.Dirent{Ref: letter, Kind: meta.File}), 0)),
		bad("dirent", "bad-empty", "no byte", nil),

		at(5, ok("extent", "first", "the first five bytes of a file", extent(meta.Extent{Len: 5, Pack: packOne, PackOff: 70}))),
		at(meta.MaxFileSize, ok("extent", "last", "the longest extent at the end of the longest file", extent(meta.Extent{Len: meta.MaxExtent, Pack: packOne}))),
		at(4, bad("extent", "bad-begin", "would begin before the file", extent(meta.Extent{Len: 5, Pack: packOne}))),
		at(1<<63, bad("extent", "bad-end", "beyond the longest file", extent(meta.Extent{Len: 5, Pack: packOne}))),
		at(1<<30, bad("extent", "bad-length", "64 MiB and a byte", extent(meta.Extent{Len: meta.MaxExtent + 1, Pack: packOne}))),
		at(5, bad("extent", "bad-empty-extent", "of no bytes", extent(meta.Extent{Pack: packOne}))),
		at(5, bad("extent", "bad-pack", "pack number with counter 0", extent(meta.Extent{Len: 5, Pack: 1 << 36}))),
		at(5, bad("extent", "bad-varint", "length with a zero byte at its end", cat(0x85, 0, 1, 0))),

		ok("pack", "pack", "", pack),
		bad("pack", "bad-short", "39 bytes", pack[:39]),
		bad("pack", "bad-long", "41 bytes", cat(pack, 0)),
		bad("pack", "bad-length", "a pack of no bytes", meta.AppendPackRecord(nil, meta.PackRecord{Epoch: 1})),
		bad("pack", "bad-length-high", "64 MiB and a byte", meta.AppendPackRecord(nil, meta.PackRecord{Epoch: 1, Length: meta.MaxExtent + 1})),
		bad("pack", "bad-epoch", "epochs count from 1", meta.AppendPackRecord(nil, meta.PackRecord{Length: 1})),

		ok("retired", "retired", "in slot 7", meta.AppendRetired(nil, 7)),
		bad("retired", "bad-short", "7 bytes", make([]byte, 7)),
		ok("snapshot", "snapshot", "of slot 7", meta.AppendSnapshot(nil, meta.Snapshot{Slot: 7, Commit: [32]byte{1}})),
		bad("snapshot", "bad-long", "41 bytes", make([]byte, 41)),
		ok("program", "program", "", meta.AppendProgram(nil, meta.Program{Version: "v0.5.0 linux/amd64", Hash: [32]byte{1}})),
		ok("program", "longest", "a version of 128 bytes", meta.AppendProgram(nil, meta.Program{Version: strings.Repeat("v", meta.MaxProgram)})),
		bad("program", "bad-empty", "no version", meta.AppendProgram(nil, meta.Program{})),
		bad("program", "bad-longer", "a version of 129 bytes", meta.AppendProgram(nil, meta.Program{Version: strings.Repeat("v", meta.MaxProgram+1)})),
		bad("program", "bad-control", "a newline", meta.AppendProgram(nil, meta.Program{Version: "v0\n"})),
		bad("program", "bad-utf8", "no UTF-8", meta.AppendProgram(nil, meta.Program{Version: "v\xff"})),
		bad("program", "bad-short", "a byte of the hash is missing", meta.AppendProgram(nil, meta.Program{Version: "v0"})[:34]),
		bad("program", "bad-long", "one byte too many", cat(meta.AppendProgram(nil, meta.Program{Version: "v0"}), 0)),
	}
}

func lockVectors() []vector {
	good := meta.AppendLock(nil, meta.Lock{Mode: meta.LockExclusive, Until: 300})
	return []vector{
		ok("lock", "exclusive", "", good),
		ok("lock", "shared-want", "held shared, wanted exclusively", meta.AppendLock(nil, meta.Lock{Mode: meta.LockShared, Want: meta.LockExclusive, Until: 300})),
		ok("lock", "want", "not held", meta.AppendLock(nil, meta.Lock{Want: meta.LockShared, Until: 1})),
		bad("lock", "bad-empty", "no byte", nil),
		bad("lock", "bad-mode", "a mode that is none", cat(3, 0, 1)),
		bad("lock", "bad-want", "wants a mode that is none", cat(0, 3, 1)),
		bad("lock", "bad-less", "wants what it has", cat(2, 1, 1)),
		bad("lock", "bad-nothing", "neither held nor wanted", cat(0, 0, 1)),
		bad("lock", "bad-until", "in no slot", cat(1, 0, 0)),
		bad("lock", "bad-short", "cut off", good[:2]),
		bad("lock", "bad-long", "one byte too many", append(good[:len(good):len(good)], 0)),
	}
}

func leaseVectors() []vector {
	held := func(change func(l *meta.Lease)) []byte {
		l := &meta.Lease{Device: 1, Number: 1<<48 | 9, Until: 300, Since: meta.Time{Sec: 1750000000, Nsec: 5}, Parent: docs, Name: []byte("letters.db")}
		change(l)
		return meta.AppendLeaseEntry(nil, meta.LeaseEntry{Lease: l})
	}
	same := func(*meta.Lease) {}
	part := meta.AppendLeaseEntry(nil, meta.LeaseEntry{Of: letter.Ino})
	return []vector{
		ok("lease", "held", "", held(same)),
		ok("lease", "taken", "away from device 2, of what nobody knows the name of", held(func(l *meta.Lease) { l.From, l.Parent, l.Name = 2<<48|7, meta.Ref{}, nil })),
		ok("lease", "ended", "", held(func(l *meta.Lease) { l.Until = 1 })),
		ok("lease", "part", "", part),
		bad("lease", "bad-empty", "no byte", nil),
		bad("lease", "bad-kind", "neither lease nor part", cat(2, 1)),
		bad("lease", "bad-device", "no device", held(func(l *meta.Lease) { l.Device = 0 })),
		bad("lease", "bad-number", "a number of another device", held(func(l *meta.Lease) { l.Number = 2<<48 | 9 })),
		bad("lease", "bad-from", "taken away from itself", held(func(l *meta.Lease) { l.From = l.Number })),
		bad("lease", "bad-until", "in no slot", held(func(l *meta.Lease) { l.Until = 0 })),
		bad("lease", "bad-name", "a name that can be none", held(func(l *meta.Lease) { l.Name = []byte("a/b") })),
		bad("lease", "bad-nameless", "a directory without a name in it", held(func(l *meta.Lease) { l.Name = nil })),
		bad("lease", "bad-nowhere", "a name without a directory", held(func(l *meta.Lease) { l.Parent = meta.Ref{} })),
		bad("lease", "bad-part", "of no inode", meta.AppendLeaseEntry(nil, meta.LeaseEntry{})),
		bad("lease", "bad-short", "cut off", held(same)[:12]),
		bad("lease", "bad-long", "one byte too many", cat(part, 0)),
	}
}

func keyVectors() []vector {
	return []vector{
		ok("key", "dirent", "", meta.DirentKey(docs.Ino, []byte("letter.txt"))),
		ok("key", "dirent-longest", "255 bytes of name, not UTF-8", meta.DirentKey(highest, bytes.Repeat([]byte{0xff}, 255))),
		ok("key", "inode-root", "the root directory", meta.InodeKey(meta.RootRef)),
		ok("key", "inode", "", meta.InodeKey(letter)),
		ok("key", "extent", "", meta.ExtentKey(letter.Ino, 5)),
		ok("key", "xattr", "", meta.XattrKey(letter, []byte("user.colour"))),
		ok("key", "pack", "", meta.PackKey(packOne)),
		ok("key", "retired", "", meta.RetiredKey(packOne)),
		ok("key", "snapshot", "", meta.SnapshotKey([]byte("before the move"))),
		ok("key", "lease", "", meta.LeaseKey(letter.Ino)),
		ok("key", "lock", "", meta.LockKey(letter.Ino, 2)),
		bad("key", "bad-lock", "no inode", meta.LockKey(0, 2)),
		bad("key", "bad-lock-device", "no device", meta.LockKey(letter.Ino, 0)),
		bad("key", "bad-lock-long", "", append(meta.LockKey(letter.Ino, 2), 0)),
		bad("key", "bad-lease", "no inode", meta.LeaseKey(0)),
		bad("key", "bad-lease-long", "", append(meta.LeaseKey(letter.Ino), 0)),
		ok("key", "program", "", meta.ProgramKey(258)),
		bad("key", "bad-program", "device 0", meta.ProgramKey(0)),
		bad("key", "bad-program-short", "", meta.ProgramKey(1)[:2]),
		bad("key", "bad-empty", "no byte", nil),
		bad("key", "bad-prefix", "an unknown prefix", cat("q", uint64(1))),
		bad("key", "bad-name-empty", "", meta.DirentKey(docs.Ino, nil)),
		bad("key", "bad-name-dot", "", meta.DirentKey(docs.Ino, []byte("."))),
		bad("key", "bad-name-dotdot", "", meta.DirentKey(docs.Ino, []byte(".."))),
		bad("key", "bad-name-slash", "", meta.DirentKey(docs.Ino, []byte("a/b"))),
		bad("key", "bad-name-nul", "", meta.DirentKey(docs.Ino, []byte("a\x00"))),
		bad("key", "bad-name-long", "256 bytes", meta.DirentKey(docs.Ino, []byte(longName+"n"))),
		bad("key", "bad-dirent-short", "half a parent", meta.DirentKey(docs.Ino, nil)[:5]),
		bad("key", "bad-parent", "directory 0", meta.DirentKey(0, []byte("a"))),
		bad("key", "bad-home", "home 0 of what is not the root", meta.InodeKey(meta.Ref{Home: 0, Ino: docs.Ino})),
		bad("key", "bad-root-home", "the root with a home", meta.InodeKey(meta.Ref{Home: docs.Ino, Ino: meta.Root})),
		bad("key", "bad-inode-long", "one byte too many", cat(meta.InodeKey(letter), 0)),
		bad("key", "bad-extent-end", "ends at 0", meta.ExtentKey(letter.Ino, 0)),
		bad("key", "bad-extent-end-high", "ends at 2^63", meta.ExtentKey(letter.Ino, 1<<63)),
		bad("key", "bad-xattr-name", "empty", meta.XattrKey(letter, nil)),
		bad("key", "bad-pack", "counter 0", meta.PackKey(1<<36)),
		bad("key", "bad-pack-high", "2^52", meta.PackKey(1<<52)),
		bad("key", "bad-retired-short", "", meta.RetiredKey(packOne)[:8]),
		bad("key", "bad-snapshot", "empty name", meta.SnapshotKey(nil)),
	}
}
