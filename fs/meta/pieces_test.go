package meta_test

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		device  meta.Device
		counter uint64
	}{{0, 1}, {1, 1}, {1, meta.MaxCounter}, {65535, meta.MaxCounter}} {
		i, p := meta.MakeIno(c.device, c.counter), meta.MakePack(c.device, c.counter)
		if i.Device() != c.device || i.Counter() != c.counter || p.Device() != c.device || p.Counter() != c.counter {
			t.Errorf("device %d, counter %d: %x, %x", c.device, c.counter, i, p)
		}
	}
	for _, counter := range []uint64{0, meta.MaxCounter + 1} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("counter %d was taken", counter)
				}
			}()
			meta.MakeIno(1, counter)
		}()
	}
	if got := (meta.Stamp{Device: 3, No: 5}).Version(); got != 3<<48|5 {
		t.Errorf("version %x", got)
	}
}

func TestRangesHoldTheirKeys(t *testing.T) {
	all := map[string]struct {
		r       meta.Range
		in, out [][]byte
	}{
		"dirents": {meta.DirentRange(docs.Ino),
			[][]byte{meta.DirentKey(docs.Ino, []byte{1}), meta.DirentKey(docs.Ino, bytes.Repeat([]byte{0xff}, 255))},
			[][]byte{meta.DirentKey(docs.Ino-1, []byte{0xff}), meta.DirentKey(docs.Ino+1, nil)}},
		"inodes": {meta.InodeRange(docs.Ino), [][]byte{meta.InodeKey(letter)}, [][]byte{meta.InodeKey(docs), meta.InodeKey(meta.Ref{Home: docs.Ino + 1, Ino: 1})}},
		"extents": {meta.ExtentRange(letter.Ino),
			[][]byte{meta.ExtentKey(letter.Ino, 1), meta.ExtentKey(letter.Ino, meta.MaxFileSize)},
			[][]byte{meta.ExtentKey(letter.Ino-1, meta.MaxFileSize), meta.ExtentKey(letter.Ino+1, 1)}},
		"xattrs": {meta.XattrRange(letter),
			[][]byte{meta.XattrKey(letter, []byte{1}), meta.XattrKey(letter, bytes.Repeat([]byte{0xff}, 255))},
			[][]byte{meta.XattrKey(meta.Ref{Home: letter.Home, Ino: letter.Ino + 1}, []byte{1})}},
		"packs":     {meta.PackRange(), [][]byte{meta.PackKey(1), meta.PackKey(meta.PackNo(highest))}, [][]byte{meta.RetiredKey(1)}},
		"retired":   {meta.RetiredRange(), [][]byte{meta.RetiredKey(1)}, [][]byte{meta.PackKey(1)}},
		"snapshots": {meta.SnapshotRange(), [][]byte{meta.SnapshotKey([]byte{0xff})}, [][]byte{meta.RetiredKey(1)}},
	}
	for name, c := range all {
		for _, k := range c.in {
			if !c.r.Contains(k) {
				t.Errorf("%s: %x is not in it", name, k)
			}
		}
		for _, k := range c.out {
			if c.r.Contains(k) {
				t.Errorf("%s: %x is in it", name, k)
			}
		}
	}
}

func TestBatchWalks(t *testing.T) {
	b := &meta.Batch{Puts: []meta.KV{
		{Key: meta.InodeKey(letter), Value: meta.AppendInode(nil, fileInode())},
		{Key: meta.PackKey(packOne), Value: meta.AppendPackRecord(nil, meta.PackRecord{Length: 75, Epoch: 2})},
		{Key: meta.PackKey(packOne + 1), Value: meta.AppendPackRecord(nil, meta.PackRecord{Length: 76, Epoch: 2})},
		{Key: meta.ExtentKey(letter.Ino, 9), Value: meta.AppendExtent(nil, meta.Extent{Len: 4, Pack: packOne + 1})},
	}}
	var extents []meta.Extent
	b.Extents(func(x meta.Extent) bool { extents = append(extents, x); return true })
	want := []meta.Extent{{Len: 5, Pack: packOne, PackOff: 70}, {Off: 5, Len: 4, Pack: packOne + 1}}
	if !reflect.DeepEqual(extents, want) {
		t.Errorf("got %v", extents)
	}
	var lengths []uint32
	b.Packs(func(no meta.PackNo, p meta.PackRecord) bool { lengths = append(lengths, p.Length); return false })
	if !reflect.DeepEqual(lengths, []uint32{75}) {
		t.Errorf("got %v", lengths)
	}
	if b.Empty() || !new(meta.Batch).Empty() {
		t.Error("Empty is wrong")
	}
}

func TestRenumber(t *testing.T) {
	const device = 7
	ino := func(i meta.Ino) meta.Ino {
		if i.Device() != 1 {
			return i
		}
		return meta.MakeIno(device, i.Counter())
	}
	pack := func(p meta.PackNo) meta.PackNo { return meta.MakePack(device, p.Counter()) }
	write := goodOps()["write"]
	before := meta.EncodeOp(write)
	got := meta.Renumber(write, ino, pack).(*meta.Write)
	got = meta.Reobserve(got, func(v uint64) uint64 { return v&(1<<48-1) | device<<48 }).(*meta.Write)
	if got.Ref != (meta.Ref{Home: ino(docs.Ino), Ino: ino(letter.Ino)}) || got.Extents[0].Pack != meta.MakePack(device, 1) || got.Observed != device<<48|2 {
		t.Errorf("got %+v", got)
	}
	if !bytes.Equal(before, meta.EncodeOp(write)) {
		t.Error("the operation itself was changed")
	}
	for name, op := range goodOps() {
		again, err := meta.DecodeOp(meta.EncodeOp(meta.Renumber(op, ino, pack)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if back := meta.EncodeOp(again); bytes.Contains(back, varint(letter.Ino)) && name != "write-most" {
			t.Errorf("%s: still has the old number", name)
		}
	}
}

func TestExtentsAreClipped(t *testing.T) {
	for _, indexed := range []bool{false, true} {
		r := newTree(t)
		file := r.make(meta.RootRef, "file", meta.File)
		r.do(&meta.Write{Ref: file, Extents: []meta.Extent{{Off: 10, Len: 10, Pack: 1}, {Off: 20, Len: 10, Pack: 2}, {Off: 40, Len: 10, Pack: 3}}})
		if indexed {
			r.do(&meta.Write{Ref: file, Extents: []meta.Extent{{Off: 100, Len: 1, Pack: 4}, {Off: 200, Len: 1, Pack: 5}}})
		}
		for _, c := range []struct {
			off, end uint64
			want     []meta.Extent
		}{
			{0, 0, nil},
			{0, 10, nil},
			{9, 11, []meta.Extent{{Off: 10, Len: 1, Pack: 1}}},
			{15, 25, []meta.Extent{{Off: 15, Len: 5, Pack: 1, PackOff: 5}, {Off: 20, Len: 5, Pack: 2}}},
			{29, 40, []meta.Extent{{Off: 29, Len: 1, Pack: 2, PackOff: 9}}},
			{30, 40, nil},
			{49, 60, []meta.Extent{{Off: 49, Len: 1, Pack: 3, PackOff: 9}}},
			{12, 14, []meta.Extent{{Off: 12, Len: 2, Pack: 1, PackOff: 2}}},
		} {
			var got []meta.Extent
			err := meta.Extents(r, file, r.inode(file), c.off, c.end, func(x meta.Extent) bool { got = append(got, x); return true })
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("indexed %v, [%d, %d): got %v, %v", indexed, c.off, c.end, got, err)
			}
		}
	}
}
