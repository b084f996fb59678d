package crypt

import "testing"

const packSize = 4 << 20

func BenchmarkSealPack(b *testing.B) {
	k, content := testKey(0), pattern(packSize)
	buf := make([]byte, 0, ObjectSize(packSize))
	b.SetBytes(packSize)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := NewSealer(k, volumeA, TypePack, 1).Seal(buf, content); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenPack(b *testing.B) {
	k := testKey(0)
	object, _, err := NewSealer(k, volumeA, TypePack, 1).Seal(nil, pattern(packSize))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(packSize)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := OpenPack(k, volumeA, object, packSize); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpenSegment is a random read: one segment, its tail being at hand.
func BenchmarkOpenSegment(b *testing.B) {
	k := testKey(0)
	object, _, err := NewSealer(k, volumeA, TypePack, 1).Seal(nil, pattern(packSize))
	if err != nil {
		b.Fatal(err)
	}
	tail, err := ParseTail(object)
	if err != nil {
		b.Fatal(err)
	}
	o, err := tail.Unlock(k, volumeA, TypePack)
	if err != nil {
		b.Fatal(err)
	}
	off, n := SegmentRange(packSize, 7)
	buf := make([]byte, 0, SegmentSize)
	b.SetBytes(SegmentSize)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := o.Segment(buf, 7, object[off:off+n]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSealCommit(b *testing.B) {
	k, content := testKey(0), pattern(4096)
	buf := make([]byte, 0, ObjectSize(frameSize+4096))
	b.SetBytes(4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := NewSealer(k, volumeA, TypeCommit, 1).Seal(buf, content); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLocalSeal(b *testing.B) {
	l := NewLocal(testKey(0), "hushfs/test", nil)
	plain := pattern(4096)
	buf := make([]byte, 0, len(plain)+LocalOverhead)
	b.SetBytes(int64(len(plain)))
	b.ReportAllocs()
	for b.Loop() {
		l.Seal(buf, plain, nil)
	}
}

// TestSealAllocatesNothingPerSegment counts allocations of a pack against those of
// one segment.
func TestSealAllocatesNothingPerSegment(t *testing.T) {
	k, content := testKey(0), pattern(packSize)
	buf := make([]byte, 0, ObjectSize(packSize+frameSize))
	allocs := func(typ Type, n int) float64 {
		return testing.AllocsPerRun(3, func() {
			if _, _, err := NewSealer(k, volumeA, typ, 1).Seal(buf, content[:n]); err != nil {
				t.Fatal(err)
			}
		})
	}
	for _, typ := range []Type{TypePack, TypeCommit} {
		one, all := allocs(typ, 100), allocs(typ, packSize)
		if all > one+1 { // a stray allocation of the runtime may be counted
			t.Errorf("%v: %v allocations for a segment, %v for 64", typ, one, all)
		}
	}
}
