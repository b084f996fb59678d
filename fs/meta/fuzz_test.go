package meta_test

import (
	"bytes"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/meta/metatest"
)

// fuzzCodec feeds a decoder, and sees that what decodes encodes to the same.
func fuzzCodec(f *testing.F, kind string) {
	for _, v := range vectors(f, kind) {
		f.Add(v.end, v.hex)
	}
	f.Fuzz(func(t *testing.T, end uint64, b []byte) {
		if again, err := decodeAgain(kind, end, b); err == nil && !bytes.Equal(again, b) {
			t.Errorf("%x is not canonical: %x", b, again)
		}
	})
}

func FuzzDecodeInode(f *testing.F)      { fuzzCodec(f, "inode") }
func FuzzDecodeDirent(f *testing.F)     { fuzzCodec(f, "dirent") }
func FuzzDecodeExtent(f *testing.F)     { fuzzCodec(f, "extent") }
func FuzzDecodePackRecord(f *testing.F) { fuzzCodec(f, "pack") }
func FuzzDecodeRetired(f *testing.F)    { fuzzCodec(f, "retired") }
func FuzzDecodeSnapshot(f *testing.F)   { fuzzCodec(f, "snapshot") }
func FuzzDecodeProgram(f *testing.F)    { fuzzCodec(f, "program") }
func FuzzDecodeLeaseEntry(f *testing.F) { fuzzCodec(f, "lease") }
func FuzzDecodeLock(f *testing.F)       { fuzzCodec(f, "lock") }
func FuzzParseKey(f *testing.F)         { fuzzCodec(f, "key") }
func FuzzDecodeBatch(f *testing.F)      { fuzzCodec(f, "batch") }
func FuzzDecodeOp(f *testing.F)         { fuzzCodec(f, "op") }

// FuzzApply executes any operation on a small tree: whatever it answers, a
// batch must be a good one.
func FuzzApply(f *testing.F) {
	for _, v := range vectors(f, "op") {
		f.Add(v.hex)
	}
	state := new(metatest.Map)
	state.Apply(meta.InitBatch(clock, 0, 0))
	for i, op := range []meta.Op{goodOps()["make-dir"], goodOps()["make-file"], goodOps()["write"], goodOps()["setxattr"]} {
		if w, ok := op.(*meta.Write); ok {
			w.Observed = 0
		}
		b, err := op.Apply(state, meta.Stamp{Device: 1, No: meta.OpNo(i + 1), Time: clock})
		if err != nil {
			f.Fatal(err)
		}
		state.Apply(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		op, err := meta.DecodeOp(b)
		if err != nil {
			return
		}
		batch, err := op.Apply(state, meta.Stamp{Device: 1, No: 9, Time: clock})
		if err != nil {
			return
		}
		if err := batch.Validate(); err != nil {
			t.Errorf("%x: %v", b, err)
		}
		if n := len(batch.Encode()); n > meta.MaxOpBatch {
			t.Errorf("%x: batch of %d bytes", b, n)
		}
	})
}
