package crypt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/hushfs/hushfs/crypt/vectortest"
)

func tailVectors() (all []vectortest.Vector) {
	add := func(name, expect, comment string, b []byte) {
		v := vectortest.New(name, expect, comment)
		v.Add("hex", b)
		all = append(all, v)
	}
	one := usual(TypeCommit, nil).object()
	one = one[len(one)-112:]
	many := func(n uint32, hashes int) []byte {
		return join(pattern(32*hashes), binary.BigEndian.AppendUint32(nil, n), one[36:])
	}
	add("one", "ok", "one segment", one)
	add("one-with-a-byte-before", "ok", "begins earlier than the tail", join([]byte{1}, one))
	add("three", "ok", "three segments; hashes are only checked with their segments", many(3, 3))
	add("nothing", "forged", "no bytes", nil)
	add("one-byte", "forged", "the last byte", one[111:])
	add("no-count", "forged", "the header alone", one[36:])
	add("no-hash", "forged", "count and header alone", one[32:])
	add("begins-late", "forged", "the first byte is missing", one[1:])
	add("count-zero", "forged", "an object has a segment", many(0, 1))
	add("count-above-hashes", "forged", "four segments and three hashes", many(4, 3))
	add("count-above-limit", "forged", "2049 segments", many(MaxSegments+1, 4))
	add("count-highest", "forged", "2^32 - 1 segments, whose tail overflows 32 bits", many(1<<32-1, 4))
	change := func(name, expect, comment string, i int, to byte) {
		b := bytes.Clone(one)
		b[i] = to
		add(name, expect, comment, b)
	}
	change("magic", "forged", "hUSH", 36, 'h')
	change("version", "newer", "version 1", 40, 1)
	change("version-highest", "newer", "version 255", 40, 255)
	change("suite", "newer", "suite 2", 41, 2)
	change("suite-zero", "forged", "suite 0", 41, 0)
	change("type-zero", "forged", "type 0", 42, 0)
	change("type-eight", "forged", "type 8", 42, 8)
	change("reserved", "forged", "the reserved byte is 1", 43, 1)
	return all
}

func TestTailVectors(t *testing.T) {
	for _, v := range vectortest.Read(t, "tail") {
		b := v.Bytes(t, "hex")
		tail, err := ParseTail(b)
		v.Check(t, outcomes, err)
		if err != nil {
			if tail != nil {
				t.Errorf("%s: a tail came with the error", v.Name)
			}
			continue
		}
		if !bytes.Equal(tail.raw, b[len(b)-tail.Size():]) || tail.Size() != tailSize(tail.Segments()) {
			t.Errorf("%s: %d bytes, %d segments", v.Name, tail.Size(), tail.Segments())
		}
		if tail.Type() != TypeCommit || tail.Epoch() != 3 {
			t.Errorf("%s: %v of epoch %d", v.Name, tail.Type(), tail.Epoch())
		}
		clear(b)
		if bytes.Equal(tail.raw, make([]byte, tail.Size())) {
			t.Errorf("%s: the tail keeps what it was read from", v.Name)
		}
	}
}

func TestTailLongest(t *testing.T) {
	one := usual(TypeTable, []byte{1}).object()
	b := join(make([]byte, 32*MaxSegments), binary.BigEndian.AppendUint32(nil, MaxSegments), one[len(one)-76:])
	if tail, err := ParseTail(b); err != nil || tail.Segments() != MaxSegments || tail.Size() != len(b) {
		t.Error(err)
	}
	b = join(make([]byte, 32), b)
	binary.BigEndian.PutUint32(b[len(b)-HeaderSize-countSize:], MaxSegments+1)
	if _, err := ParseTail(b); !errors.Is(err, ErrForged) {
		t.Errorf("a segment more than there may be: %v", err)
	}
}

func TestTailLen(t *testing.T) {
	object := usual(TypePack, pattern(200000)).object()
	want := int(TailSize(200000))
	for _, n := range []int{80, 81, want, len(object)} {
		if got, err := TailLen(object[len(object)-n:]); err != nil || got != want {
			t.Errorf("from %d bytes: %d, %v; want %d", n, got, err, want)
		}
	}
	for _, n := range []int{0, 1, 75, 76, 79} {
		if _, err := TailLen(object[len(object)-n:]); !errors.Is(err, ErrForged) {
			t.Errorf("from %d bytes: %v", n, err)
		}
	}
}

func FuzzParseTail(f *testing.F) {
	for _, v := range vectortest.Read(f, "tail") {
		f.Add(v.Bytes(f, "hex"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		tail, err := ParseTail(b)
		if err != nil {
			if !errors.Is(err, ErrForged) && !errors.Is(err, ErrVersion) {
				t.Errorf("error %v", err)
			}
			return
		}
		again := bytes.Clone(tail.raw[:32*tail.Segments()])
		again = binary.BigEndian.AppendUint32(again, uint32(tail.Segments()))
		again = tail.header.append(again)
		if !bytes.HasSuffix(b, again) || len(again) != tail.Size() {
			t.Errorf("%x is not canonical", b)
		}
	})
}
