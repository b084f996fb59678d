package crypt

import (
	"bytes"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hushfs/hushfs/crypt/vectortest"
)

var (
	volumeA = VolumeID(count(0x40))
	volumeB = VolumeID(count(0x41))
)

// open opens an object of any type, a table through its segments.
func open(k *Key, v VolumeID, t Type, object []byte, length int) ([]byte, error) {
	switch {
	case t.framed():
		content, _, err := Open(k, v, t, object)
		return content, err
	case t == TypePack:
		content, _, err := OpenPack(k, v, object, int64(length))
		return content, err
	}
	tail, err := ParseTail(object)
	if err != nil {
		return nil, err
	}
	o, err := tail.Unlock(k, v, t)
	if err != nil {
		return nil, err
	}
	var plain []byte
	for i := range tail.Segments() {
		off, n := SegmentRange(int64(length), i)
		if plain, err = o.Segment(plain, i, object[off:off+n]); err != nil {
			return nil, err
		}
	}
	return plain[:length], nil
}

func TestSealAndOpen(t *testing.T) {
	k := testKey(0)
	for typ := TypePack; typ <= TypeBundle; typ++ {
		for _, n := range []int{0, 1, 7, 8, 9, SegmentSize - 9, SegmentSize - 8, SegmentSize - 7, SegmentSize - 1, SegmentSize, SegmentSize + 1,
			2*SegmentSize - 8, 2 * SegmentSize, 2*SegmentSize + 1, 1 << 20} {
			content := pattern(n)
			s := NewSealer(k, volumeA, typ, 5)
			promised := s.HeaderHash()
			dst := append(make([]byte, 0, 100), "before"...)
			object, name, err := s.Seal(dst, content)
			if n == 0 && !typ.framed() {
				if !errors.Is(err, ErrEmpty) {
					t.Errorf("empty %v: %v", typ, err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if string(object[:6]) != "before" || !bytes.Equal(content, pattern(n)) {
				t.Fatalf("%v of %d bytes: Seal wrote on what is not its own", typ, n)
			}
			object = object[6:]
			size := int64(n)
			if typ.framed() {
				size += 8
			}
			if int64(len(object)) != ObjectSize(size) {
				t.Errorf("%v of %d bytes: an object of %d", typ, n, len(object))
			}
			tail, err := ParseTail(object[int64(len(object))-TailSize(size):])
			if err != nil {
				t.Fatal(err)
			}
			if tail.Name() != name || tail.Type() != typ || tail.Epoch() != 5 || tail.HeaderHash() != promised || tail.Segments() != Segments(Padme(size)) {
				t.Errorf("%v of %d bytes: the tail says %v, epoch %d, %d segments", typ, n, tail.Type(), tail.Epoch(), tail.Segments())
			}
			if got, err := open(k, volumeA, typ, object, n); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%v of %d bytes: %v", typ, n, err)
			}
			if n > 0 && n < SegmentSize/2 && n > 7 && bytes.Contains(object, content) {
				t.Errorf("%v of %d bytes: the content is in clear", typ, n)
			}
		}
	}
}

func TestSealReusesDirtyMemory(t *testing.T) {
	k, salt := testKey(0), count(0x80)
	want, _, err := newSealer(k, volumeA, TypeCommit, 1, salt).Seal(nil, pattern(70000))
	if err != nil {
		t.Fatal(err)
	}
	buf := bytes.Repeat([]byte{0xee}, 1<<20)
	got, _, err := newSealer(k, volumeA, TypeCommit, 1, salt).Seal(buf[:0], pattern(70000))
	if err != nil || !bytes.Equal(got, want) || &got[0] != &buf[0] {
		t.Errorf("%v; not in place, or what lay in the buffer came through", err)
	}
}

func TestSealerWorksOnce(t *testing.T) {
	s := NewSealer(testKey(0), volumeA, TypePack, 1)
	if _, _, err := s.Seal(nil, nil); !errors.Is(err, ErrEmpty) {
		t.Errorf("empty: %v", err)
	}
	var won atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, _, err := s.Seal(nil, []byte{1}); err == nil {
				won.Add(1)
			} else if !errors.Is(err, ErrSpent) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("sealed %d times under one salt", won.Load())
	}
	if object, name, err := s.Seal(nil, []byte{1}); !errors.Is(err, ErrSpent) || object != nil || name != (Name{}) {
		t.Error(err)
	}
}

func TestSealerRefusesTheTooLarge(t *testing.T) {
	content := make([]byte, MaxContent+1) // never touched, so never there
	for _, typ := range []Type{TypePack, TypeCommit} {
		if _, _, err := NewSealer(testKey(0), volumeA, typ, 1).Seal(nil, content); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%v: %v", typ, err)
		}
	}
}

func TestSaltsDiffer(t *testing.T) {
	k := testKey(0)
	a, nameA, _ := NewSealer(k, volumeA, TypeCommit, 1).Seal(nil, pattern(100))
	b, nameB, _ := NewSealer(k, volumeA, TypeCommit, 1).Seal(nil, pattern(100))
	if nameA == nameB || bytes.Equal(a[:100], b[:100]) {
		t.Error("one content sealed twice gives one object")
	}
}

func TestConfusion(t *testing.T) {
	k := testKey(0)
	object, _, err := NewSealer(k, volumeA, TypeCommit, 1).Seal(nil, pattern(100))
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"another key":    second(open(testKey(1), volumeA, TypeCommit, object, 0)),
		"another volume": second(open(k, volumeB, TypeCommit, object, 0)),
		"another type":   second(open(k, volumeA, TypeLedger, object, 0)),
		"as a pack":      second(open(k, volumeA, TypePack, object, 108)),
		"as a table":     second(open(k, volumeA, TypeTable, object, 108)),
	} {
		if !errors.Is(err, ErrForged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The type in the header changed with the request: key and commitment differ.
	for typ := TypePack; typ <= TypeBundle; typ++ {
		relabelled := bytes.Clone(object)
		relabelled[len(object)-HeaderSize+6] = byte(typ)
		if _, err := open(k, volumeA, typ, relabelled, 108); typ != TypeCommit && !errors.Is(err, ErrForged) {
			t.Errorf("relabelled as %v: %v", typ, err)
		}
	}
	// So does the epoch in the header, though both were sealed with one key.
	for _, e := range []byte{0, 2} {
		relabelled := bytes.Clone(object)
		relabelled[len(object)-HeaderSize+11] = e
		if _, err := open(k, volumeA, TypeCommit, relabelled, 0); !errors.Is(err, ErrForged) {
			t.Errorf("moved to epoch %d: %v", e, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestEveryBit flips each bit of a small object. Version and suite are above ours
// after some flips, and only then is the error another one.
func TestEveryBit(t *testing.T) {
	k := testKey(0)
	for _, typ := range []Type{TypePack, TypeCommit, TypeTable} {
		object, _, err := NewSealer(k, volumeA, typ, 1).Seal(nil, pattern(45))
		if err != nil {
			t.Fatal(err)
		}
		head := len(object) - HeaderSize
		for bit := range 8 * len(object) {
			object[bit/8] ^= 1 << (bit % 8)
			want := ErrForged
			if v, s := object[head+4], object[head+5]; v > 0 || s > 1 {
				want = ErrVersion
			}
			if content, err := open(k, volumeA, typ, object, 45); !errors.Is(err, want) || content != nil {
				t.Fatalf("%v, bit %d of byte %d of %d: %v", typ, bit%8, bit/8, len(object), err)
			}
			object[bit/8] ^= 1 << (bit % 8)
		}
		if _, err := open(k, volumeA, typ, object, 45); err != nil {
			t.Fatal(err)
		}
	}
}

// TestEveryTruncation cuts a small object at both ends, and lengthens it.
func TestEveryTruncation(t *testing.T) {
	k := testKey(0)
	for _, typ := range []Type{TypePack, TypeCommit} {
		object, _, err := NewSealer(k, volumeA, typ, 1).Seal(nil, pattern(45))
		if err != nil {
			t.Fatal(err)
		}
		try := func(what string, b []byte) {
			if _, err := open(k, volumeA, typ, b, 45); !errors.Is(err, ErrForged) {
				t.Fatalf("%v, %s to %d of %d bytes: %v", typ, what, len(b), len(object), err)
			}
		}
		for n := range object {
			try("cut at the end", object[:n])
			try("cut at the start", object[n+1:])
			try("lengthened at the start", join(object[:n+1], object))
			try("lengthened at the end", join(object, object[:n+1]))
			for _, cut := range []int{1, 2, 16, 32} {
				if n+cut <= len(object) {
					try("cut in the middle", join(object[:n], object[n+cut:]))
				}
			}
		}
	}
}

// TestSegments plays with the segments of an object that has several.
func TestSegments(t *testing.T) {
	const length = 2*SegmentSize + 1000
	k := testKey(0)
	object, _, err := NewSealer(k, volumeA, TypePack, 1).Seal(nil, pattern(length))
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := NewSealer(k, volumeA, TypePack, 1).Seal(nil, pattern(length))
	if err != nil {
		t.Fatal(err)
	}
	tail, err := ParseTail(object)
	if err != nil {
		t.Fatal(err)
	}
	o, err := tail.Unlock(k, volumeA, TypePack)
	if err != nil {
		t.Fatal(err)
	}
	segment := func(b []byte, i int) []byte {
		off, n := SegmentRange(length, i)
		return bytes.Clone(b[off : off+n])
	}
	padded := pad(pattern(length))
	for i := range tail.Segments() {
		want := padded[i*SegmentSize : min((i+1)*SegmentSize, len(padded))]
		got, err := o.Segment([]byte("before"), i, segment(object, i))
		if err != nil || string(got[:6]) != "before" || !bytes.Equal(got[6:], want) {
			t.Fatalf("segment %d: %v", i, err)
		}
	}
	first, last := segment(object, 0), segment(object, 2)
	for name, c := range map[string]struct {
		index  int
		sealed []byte
	}{
		"swapped":                   {0, segment(object, 1)},
		"of another object":         {0, segment(other, 0)},
		"before the first":          {-1, first},
		"behind the last":           {3, last},
		"last at the place of one":  {0, last},
		"one at the place of last":  {2, first},
		"no bytes":                  {0, nil},
		"a byte short":              {0, first[:len(first)-1]},
		"a byte long":               {0, append(bytes.Clone(first), 0)},
		"a tag alone":               {2, last[:Overhead]},
		"last without its last":     {2, last[:len(last)-1]},
		"last with another segment": {2, append(bytes.Clone(first), last...)},
	} {
		if got, err := o.Segment(nil, c.index, c.sealed); !errors.Is(err, ErrForged) || got != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := tail.Verify(c.index, c.sealed); !errors.Is(err, ErrForged) {
			t.Errorf("%s: verified: %v", name, err)
		}
	}
	if err := tail.Verify(2, last); err != nil {
		t.Error(err)
	}
	for bit := range 8 * len(last) {
		last[bit/8] ^= 1 << (bit % 8)
		if _, err := o.Segment(nil, 2, last); !errors.Is(err, ErrForged) {
			t.Fatalf("bit %d of the last segment: %v", bit, err)
		}
		last[bit/8] ^= 1 << (bit % 8)
	}
	for bit := 0; bit < 8*len(first); bit += 4099 {
		first[bit/8] ^= 1 << (bit % 8)
		if _, err := o.Segment(nil, 0, first); !errors.Is(err, ErrForged) {
			t.Fatalf("bit %d of the first segment: %v", bit, err)
		}
		first[bit/8] ^= 1 << (bit % 8)
	}

	// Whole segments left out or put twice, count and hashes corrected: the store can
	// do so without a key. The last flag or the index betrays it, and the name.
	rebuild := func(order ...int) []byte {
		var segments, hashes []byte
		for _, i := range order {
			segments = append(segments, segment(object, i)...)
			hashes = append(hashes, tail.raw[i*hashSize:(i+1)*hashSize]...)
		}
		return join(segments, hashes, []byte{0, 0, 0, byte(len(order))}, tail.raw[len(tail.raw)-HeaderSize:])
	}
	for name, c := range map[string]struct {
		order  []int
		length int64
	}{
		"without the last":  {[]int{0, 1}, 2 * SegmentSize},
		"without the first": {[]int{1, 2}, SegmentSize + 1000},
		"the first alone":   {[]int{0}, SegmentSize},
		"the last alone":    {[]int{2}, 1000},
		"in another order":  {[]int{1, 0, 2}, length},
		"one of them twice": {[]int{0, 0, 2}, length},
	} {
		b := rebuild(c.order...)
		if _, _, err := OpenPack(k, volumeA, b, c.length); !errors.Is(err, ErrForged) {
			t.Errorf("%s: %v", name, err)
		}
		if changed, err := ParseTail(b); err != nil || changed.Name() == tail.Name() {
			t.Errorf("%s: %v; the name is the same", name, err)
		}
	}
	if _, _, err := OpenPack(k, volumeA, rebuild(0, 1, 2), length); err != nil {
		t.Errorf("all of them: %v", err)
	}
}

// TestOddSizes are objects that a writer can make with the key, but Seal would not,
// and bytes where a store may hope that nobody looks.
func TestOddSizes(t *testing.T) {
	k := testKey(0)
	r := usual(TypePack, pattern(2000))
	r.segmentSize = 1000
	object := r.object()
	tail, err := ParseTail(object)
	if err != nil || tail.Segments() != 3 {
		t.Fatal(err) // 2000 bytes are padded to 2048
	}
	o, err := tail.Unlock(k, volumeA, TypePack)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Segment(nil, 0, object[:1000+Overhead]); !errors.Is(err, ErrForged) {
		t.Errorf("a short segment before the last: %v", err)
	}
	if _, _, err := OpenPack(k, volumeA, object, 2000); !errors.Is(err, ErrForged) {
		t.Errorf("a pack of short segments: %v", err)
	}

	full := usual(TypeCommit, pattern(SegmentSize-frameSize)).object()
	if _, _, err := Open(k, volumeA, TypeCommit, full); err != nil {
		t.Fatal(err)
	}
	for _, extra := range []int{1, Overhead, Overhead + 1, sealedSize} {
		b := join(full[:sealedSize], make([]byte, extra), full[sealedSize:])
		if _, _, err := Open(k, volumeA, TypeCommit, b); !errors.Is(err, ErrForged) {
			t.Errorf("%d bytes between the last segment and the tail: %v", extra, err)
		}
	}

	newer := usual(TypePack, pattern(100)).object()
	newer[len(newer)-HeaderSize+4] = 1
	for _, length := range []int64{0, 99, 100, 1000} {
		if _, _, err := OpenPack(k, volumeA, newer, length); !errors.Is(err, ErrVersion) {
			t.Errorf("a newer pack, thought to have %d bytes: %v", length, err)
		}
	}
}

// TestMemberCannotChangeWhatIsNamed: a reader with the key makes another object
// under the same header, which opens; only its name tells.
func TestMemberCannotChangeWhatIsNamed(t *testing.T) {
	k, salt := testKey(0), count(0x80)
	_, name, _ := newSealer(k, volumeA, TypePack, 1, salt).Seal(nil, []byte("theirs"))
	forged, _, _ := newSealer(k, volumeA, TypePack, 1, salt).Seal(nil, []byte("forged"))
	_, tail, err := OpenPack(k, volumeA, forged, 6)
	if err != nil {
		t.Fatal(err)
	}
	if tail.Name() == name {
		t.Error("two contents have one name")
	}
}

// TestReferenceAgrees seals along the edges with the code of this package and with
// that of the test, which was written from the format alone.
func TestReferenceAgrees(t *testing.T) {
	for typ := TypePack; typ <= TypeBundle; typ++ {
		for _, n := range []int{1, 8, 9, 1000, SegmentSize - 8, SegmentSize - 7, SegmentSize, SegmentSize + 1, 3 * SegmentSize} {
			r := usual(typ, pattern(n))
			object, name, err := newSealer(testKey(0), r.volume, typ, Epoch(r.epoch), r.salt).Seal(nil, pattern(n))
			if err != nil || !bytes.Equal(object, r.object()) || name != r.name() {
				t.Errorf("%v of %d bytes: %v", typ, n, err)
			}
		}
	}
}

func TestOpenerIsConcurrent(t *testing.T) {
	k := testKey(0)
	object, _, err := NewSealer(k, volumeA, TypePack, 1).Seal(nil, pattern(5*SegmentSize))
	if err != nil {
		t.Fatal(err)
	}
	tail, err := ParseTail(object)
	if err != nil {
		t.Fatal(err)
	}
	o, err := tail.Unlock(k, volumeA, TypePack)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 5 {
		wg.Go(func() {
			off, n := SegmentRange(5*SegmentSize, i)
			got, err := o.Segment(nil, i, object[off:off+n])
			if err != nil || !bytes.Equal(got, pattern(5 * SegmentSize)[i*SegmentSize:(i+1)*SegmentSize]) {
				t.Errorf("segment %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

func FuzzOpen(f *testing.F) {
	for _, v := range vectortest.Read(f, "envelope") {
		f.Add(v.Bytes(f, "hex"), byte(v.Number(f, "type")), int64(18))
	}
	k := testKey(0)
	f.Fuzz(func(t *testing.T, object []byte, b byte, length int64) {
		typ := Type(b)
		if !typ.known() || typ == TypeTable {
			return
		}
		var (
			content []byte
			tail    *Tail
			err     error
		)
		if typ == TypePack {
			content, tail, err = OpenPack(k, volumeA, object, length)
		} else {
			content, tail, err = Open(k, volumeA, typ, object)
		}
		if err != nil {
			if !errors.Is(err, ErrForged) && !errors.Is(err, ErrVersion) {
				t.Errorf("error %v", err)
			}
			return
		}
		again, name, err := newSealer(k, volumeA, typ, tail.Epoch(), tail.salt).Seal(nil, content)
		if err != nil || !bytes.Equal(again, object) || name != tail.Name() {
			t.Errorf("%x is not canonical: %v", object, err)
		}
	})
}
