package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/hushfs/hushfs/fs/meta"
	publish "github.com/hushfs/hushfs/fs/sync"
)

// checkTree goes through the whole map, a kind of keys after the other, and holds them
// against each other. Of an inode some bytes are remembered, of a name none.
func (c *checker) checkTree(ctx context.Context) error {
	t := &tree{checker: c, facts: map[meta.Ino]facts{}}
	for _, pass := range []struct {
		like []byte // a key of that kind
		fn   func(k, v []byte) error
	}{
		{meta.PackKey(1), t.pack},
		{meta.RetiredKey(1), t.retired},
		{meta.InodeKey(meta.RootRef), t.inode},
		{meta.ExtentKey(meta.Root, 1), t.extent},
		{meta.DirentKey(meta.Root, nil), t.dirent},
		{meta.XattrKey(meta.RootRef, nil), t.xattr},
		{meta.SnapshotKey([]byte("s")), t.snapshot},
		{meta.LeaseKey(meta.Root), t.lease},
		{meta.LockKey(meta.Root, 1), t.lock},
		{meta.ConflictKey(meta.ConflictID{}), t.conflict},
		{meta.ProgramKey(1), t.program},
	} {
		r := kindOf(pass.like)
		t.passed = append(t.passed, r)
		if err := c.scan(ctx, r, pass.fn); err != nil {
			return err
		}
	}
	if err := t.unknown(ctx); err != nil {
		return err
	}
	t.place()
	t.reach()
	t.count()
	t.totals()
	return nil
}

// kindOf is the range of all keys that begin as one does.
func kindOf(key []byte) meta.Range {
	return meta.Range{From: []byte{key[0]}, To: []byte{key[0] + 1}}
}

// scan calls fn for all keys of a range. What is far is fetched, and the scan goes on
// behind the last key.
func (c *checker) scan(ctx context.Context, r meta.Range, fn func(k, v []byte) error) error {
	from := r.From
	var last []byte
	for n := 0; ; n++ {
		var failed error
		err := c.tree.Scan(from, r.To, func(k, v []byte) bool {
			last = append(append(last[:0], k...), 0)
			if n++; n%(1<<14) == 0 && ctx.Err() != nil {
				failed = ctx.Err()
			} else {
				failed = fn(k, v)
			}
			return failed == nil
		})
		if failed != nil {
			return failed
		}
		if err == nil {
			return nil
		}
		if err := publish.Bring(ctx, err); err != nil {
			return err
		}
		if last != nil {
			from = bytes.Clone(last)
		}
	}
}

// tree is what the passes over the map share.
type tree struct {
	*checker
	passed []meta.Range
	facts  map[meta.Ino]facts // of files with extents under their own keys

	before    meta.Extent // the extent before, of the file at hand
	of        meta.Ino
	swept     meta.Ino  // whose attributes were told of
	misplaced []*nameAt // names of directories that say they lie elsewhere
	bytes     uint64    // sums
	seen      int
}

func (t *tree) tick() {
	if t.seen++; t.seen%(1<<13) == 0 {
		u := t.loaded.Confirmed.Usage()
		t.o.Progress(Progress{Stage: StageTree, Done: int64(t.seen), Total: 2 * int64(u.Inodes)}) // each has a name
	}
}

// facts are what is remembered of some files.
type facts struct{ size, version uint64 }

// record tells of a key or value that nobody writes.
func (t *tree) record(ino meta.Ino, what string) {
	t.find(Finding{Kind: KindRecord, Severity: Lost, Cause: Malformed, Inode: uint64(ino), ino: ino, Detail: what + " cannot be read"})
}

func (t *tree) pack(k, v []byte) error {
	no, err := meta.ParsePackKey(k)
	var r meta.PackRecord
	if err == nil {
		r, err = meta.DecodePackRecord(v)
	}
	if err != nil {
		t.record(0, "the record of a pack")
		return nil
	}
	t.packs.rows = append(t.packs.rows, packRow{no: no, name: r.Name, length: r.Length, epoch: r.Epoch})
	return nil
}

func (t *tree) retired(k, v []byte) error {
	no, err := meta.ParseRetiredKey(k)
	if err == nil {
		_, err = meta.DecodeRetired(v)
	}
	if err != nil {
		t.record(0, "the record of a retired pack")
		return nil
	}
	if r := t.packs.get(no); r != nil {
		r.retired = true
	}
	return nil
}

func (t *tree) snapshot(k, v []byte) error {
	_, err := meta.ParseSnapshotKey(k)
	if err == nil {
		_, err = meta.DecodeSnapshot(v)
	}
	if err != nil {
		t.record(0, "the record of a snapshot")
	}
	return nil
}

// program is what a device says that it works with.
func (t *tree) program(k, v []byte) error {
	no, err := meta.ParseProgramKey(k)
	if err == nil {
		_, err = meta.DecodeProgram(v)
	}
	if err != nil || no > t.state.Ledger.HighestDevice() {
		t.record(0, "what a device works with")
	}
	return nil
}

func (t *tree) conflict(k, v []byte) error {
	_, err := meta.ParseConflictKey(k)
	if err == nil {
		_, err = meta.DecodeConflict(v)
	}
	if err != nil {
		t.record(0, "the record of a conflict")
	}
	return nil
}

func (t *tree) lease(k, v []byte) error {
	ino, err := meta.ParseLeaseKey(k)
	if err == nil {
		_, err = meta.DecodeLeaseEntry(v)
	}
	if err != nil {
		t.record(ino, "the record of a lease")
	}
	return nil
}

func (t *tree) lock(k, v []byte) error {
	ino, _, err := meta.ParseLockKey(k)
	if err == nil {
		_, err = meta.DecodeLock(v)
	}
	if err != nil {
		t.record(ino, "the record of a lock")
	}
	return nil
}

func (t *tree) inode(k, v []byte) error {
	t.tick()
	ref, err := meta.ParseInodeKey(k)
	if err != nil {
		t.record(0, "the key of an inode")
		return nil
	}
	i, err := meta.DecodeInode(v)
	if err != nil {
		t.record(ref.Ino, fmt.Sprintf("inode %d", ref.Ino))
		return nil
	}
	n, ok := t.nodes.add(ref.Ino)
	if !ok {
		t.find(Finding{Kind: KindInode, Severity: Damaged, Cause: Twice, Inode: uint64(ref.Ino), ino: ref.Ino, Detail: fmt.Sprintf("inode %d is there twice, under directory %d as well", ref.Ino, ref.Home)})
		return nil
	}
	n.home, n.kind, n.links = ref.Home, i.Kind, i.Nlink
	if i.Xattrs {
		n.flags |= nodeXattrs
	}
	if i.Kind == meta.Dir {
		n.parent = i.Parent.Ino
		t.report.Counts.Directories++
	}
	if i.Kind == meta.File {
		t.bytes += i.Size
	}
	if i.Indexed {
		n.flags |= nodeIndexed
		t.facts[ref.Ino] = facts{i.Size, i.Version}
	}
	for _, e := range i.Extents {
		t.within(ref, facts{i.Size, i.Version}, e)
	}
	t.report.Counts.Inodes++
	return nil
}

func (t *tree) extent(k, v []byte) error {
	ino, end, err := meta.ParseExtentKey(k)
	var e meta.Extent
	if err == nil {
		e, err = meta.DecodeExtent(end, v)
	}
	if err != nil {
		t.record(ino, fmt.Sprintf("an extent of inode %d", ino))
		return nil
	}
	n := t.nodes.get(ino)
	if n == nil || !n.is(nodeIndexed) {
		if ino != t.of {
			t.of, t.before = ino, meta.Extent{}
			f := Finding{Kind: KindExtent, Severity: Note, Cause: Leaked, Inode: uint64(ino), Detail: fmt.Sprintf("extents of inode %d, which there is not, take room", ino)}
			if n != nil {
				f.ino, f.Severity, f.Detail = ino, Damaged, fmt.Sprintf("inode %d has extents that it does not look for", ino)
				t.fixes = append(t.fixes, fix{do: fixMend, ino: ino, mend: &meta.Mend{Act: meta.MendSweep, Ref: n.ref()}})
			}
			t.find(f)
		}
		return nil
	}
	if ino != t.of {
		t.of, t.before = ino, meta.Extent{}
	}
	if t.before.End() > e.Off {
		lost := Bytes{e.Off, min(t.before.End(), e.End()) - e.Off}
		t.loses(n.ref(), t.facts[ino], Finding{Kind: KindExtent, Cause: Overlap, Detail: "two runs of bytes are said to be at one place of the file, and it cannot be told which is right"}, lost)
	}
	if e.End() > t.before.End() {
		t.before = e
	}
	t.within(n.ref(), t.facts[ino], e)
	return nil
}

// within holds an extent of a file to its pack, and to the file's size.
func (t *tree) within(ref meta.Ref, is facts, e meta.Extent) {
	t.report.Counts.Extents++
	whole := Bytes{e.Off, e.Len}
	r := t.packs.get(e.Pack)
	switch {
	case r == nil:
		t.loses(ref, is, Finding{Kind: KindExtent, Cause: Dangling, Detail: fmt.Sprintf("its bytes are said to be in pack number %d, which nobody knows", e.Pack)}, whole)
		return
	case uint64(e.PackOff)+e.Len > uint64(r.length):
		object := r.object(t.vol).place
		kept := uint64(r.length) - min(uint64(e.PackOff), uint64(r.length))
		t.loses(ref, is, Finding{Kind: KindExtent, Cause: Outside, Object: object, Detail: "its bytes are said to be behind the end of the pack"}, Bytes{e.Off + kept, e.Len - kept})
		if kept == 0 {
			return
		}
	case e.End() > is.size:
		t.find(Finding{Kind: KindExtent, Severity: Damaged, Cause: Outside, Inode: uint64(ref.Ino), ino: ref.Ino, Detail: fmt.Sprintf("bytes up to %d are kept of a file of %d", e.End(), is.size)})
		t.fixes = append(t.fixes, fix{do: fixTail, ino: ref.Ino, ref: ref, facts: is, end: e.End()})
	}
	if r.retired {
		t.find(Finding{Kind: KindExtent, Severity: Damaged, Cause: Dangling, Object: r.object(t.vol).place, Inode: uint64(ref.Ino), ino: ref.Ino, Detail: "its bytes are in a pack that is going to be deleted"})
	}
	r.needed = true
}

// loses adds a finding that a file lost a range.
func (t *tree) loses(ref meta.Ref, is facts, f Finding, lost Bytes) {
	f.Severity, f.Inode = Lost, uint64(ref.Ino)
	f.Files = []File{{Inode: uint64(ref.Ino), Size: is.size, Lost: []Bytes{lost}, ref: ref, version: is.version}}
	t.find(f)
}

func (t *tree) xattr(k, _ []byte) error {
	ref, _, err := meta.ParseXattrKey(k)
	if err != nil {
		t.record(0, "the key of an attribute")
		return nil
	}
	if ref.Ino == t.swept {
		return nil // of the same inode as the one before
	}
	switch n := t.nodes.get(ref.Ino); {
	case n != nil && n.ref() == ref && n.is(nodeXattrs):
		return nil
	case n != nil && n.ref() == ref:
		t.find(Finding{Kind: KindXattr, Severity: Damaged, Cause: Leaked, Inode: uint64(ref.Ino), ino: ref.Ino, Detail: fmt.Sprintf("inode %d has attributes that it does not look for", ref.Ino)})
		t.fixes = append(t.fixes, fix{do: fixMend, ino: ref.Ino, mend: &meta.Mend{Act: meta.MendSweep, Ref: ref}})
	default:
		t.find(Finding{Kind: KindXattr, Severity: Note, Cause: Leaked, Inode: uint64(ref.Ino), Detail: fmt.Sprintf("attributes of inode %d, which there is not, take room", ref.Ino)})
	}
	t.swept = ref.Ino
	return nil
}

// unknown looks for keys of kinds that there are not.
func (t *tree) unknown(ctx context.Context) error {
	known := map[byte]bool{}
	for _, r := range t.passed {
		known[r.From[0]] = true
	}
	for first := range 255 {
		if known[byte(first)] {
			continue
		}
		n := 0
		err := t.scan(ctx, meta.Range{From: []byte{byte(first)}, To: []byte{byte(first + 1)}}, func(_, _ []byte) error {
			if n++; n > 1 {
				return errSeen
			}
			t.record(0, fmt.Sprintf("a key of the unknown kind %#x", first))
			return nil
		})
		if err != nil && !errors.Is(err, errSeen) {
			return err
		}
	}
	return nil
}

var errSeen = errors.New("one is enough")
