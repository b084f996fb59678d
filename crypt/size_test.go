package crypt

import (
	"math/bits"
	"testing"
)

func TestPadme(t *testing.T) {
	for n, want := range map[int64]int64{
		-1: 0, 0: 0, 1: 1, 2: 2, 7: 7, 8: 8, 9: 10, 15: 16, 16: 16, 17: 18, 31: 32, 255: 256, 257: 272,
		65535: 65536, 65536: 65536, 65537: 67584, // 2^16 has 5 bits of mantissa: steps of 2 KiB
		4<<20 - 1: 4 << 20, 4 << 20: 4 << 20, 4<<20 + 1: 4<<20 + 128<<10, 60 << 20: 60 << 20, 60<<20 + 1: 61 << 20,
		128 << 20: 128 << 20, 1 << 62: 1 << 62,
	} {
		if got := Padme(n); got != want {
			t.Errorf("Padme(%d) = %d, want %d", n, got, want)
		}
	}
}

func TestPadmeIsAsInThePaper(t *testing.T) {
	before := int64(0)
	for n := 1; n < 70000; n++ {
		got := Padme(int64(n))
		if want := int64(len(pad(make([]byte, n)))); got != want {
			t.Fatalf("Padme(%d) = %d, want %d", n, got, want)
		}
		if got < before || Padme(got) != got || bits.Len64(uint64(got-1)) > bits.Len64(uint64(n)) {
			t.Fatalf("Padme(%d) = %d: shrinks, is no fixed point or crosses a power of two", n, got)
		}
		if 100*got > 112*int64(n) {
			t.Fatalf("Padme(%d) = %d: more than 12 percent", n, got)
		}
		before = got
		if n > 2000 {
			n += n / 97
		}
	}
}

func TestSizes(t *testing.T) {
	for _, c := range []struct {
		content        int64
		segments       int
		object, tail   int64
		lastOff, lastN int64
	}{
		{1, 1, 1 + 16 + 112, 112, 0, 17},
		{9, 1, 10 + 16 + 112, 112, 0, 26},
		{65535, 1, 65552 + 112, 112, 0, 65552},
		{65536, 1, 65552 + 112, 112, 0, 65552},
		{65537, 2, 67584 + 32 + 144, 144, 65552, 2048 + 16},
		{2 * 65536, 2, 2*65552 + 144, 144, 65552, 65552},
		{4 << 20, 64, 64*65552 + 64*32 + 80, 64*32 + 80, 63 * 65552, 65552},
	} {
		if got := Segments(Padme(c.content)); got != c.segments {
			t.Errorf("%d bytes: %d segments, want %d", c.content, got, c.segments)
		}
		if got := ObjectSize(c.content); got != c.object {
			t.Errorf("%d bytes: an object of %d, want %d", c.content, got, c.object)
		}
		if got := TailSize(c.content); got != c.tail {
			t.Errorf("%d bytes: a tail of %d, want %d", c.content, got, c.tail)
		}
		off, n := SegmentRange(c.content, c.segments-1)
		if off != c.lastOff || n != c.lastN || off+n+c.tail != c.object {
			t.Errorf("%d bytes: last segment at %d, %d long", c.content, off, n)
		}
		if off, n := SegmentRange(c.content, c.segments); off != 0 || n != 0 {
			t.Errorf("%d bytes: a segment beyond the last", c.content)
		}
	}
	if off, n := SegmentRange(100, -1); off != 0 || n != 0 {
		t.Error("a segment before the first")
	}
	if Padme(MaxContent+frameSize) != MaxSegments*SegmentSize {
		t.Error("the longest content does not fill the longest object")
	}
}
