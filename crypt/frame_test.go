package crypt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/hushfs/hushfs/crypt/vectortest"
)

func frameVectors() (all []vectortest.Vector) {
	add := func(name, expect, comment string, content, b []byte) {
		v := vectortest.New(name, expect, comment)
		if expect == "ok" {
			v.Add("content", content)
		}
		v.Add("hex", b)
		all = append(all, v)
	}
	with := func(length uint64, rest ...byte) []byte {
		return append(binary.BigEndian.AppendUint64(nil, length), rest...)
	}
	add("empty", "ok", "length 0, nothing to pad", nil, with(0))
	add("one", "ok", "9 bytes are padded to 10", []byte{5}, with(1, 5, 0))
	add("two", "ok", "10 bytes are not padded", []byte{5, 0}, with(2, 5, 0))
	add("nothing", "forged", "no bytes", nil, nil)
	add("seven", "forged", "the length does not fit in", nil, make([]byte, 7))
	add("unpadded", "forged", "9 bytes must be padded", nil, with(1, 5))
	add("padded-twice", "forged", "12 bytes for 9", nil, with(1, 5, 0, 0, 0))
	add("dirty", "forged", "padding is zero", nil, with(1, 5, 1))
	add("padded-empty", "forged", "8 bytes need no padding", nil, with(0, 0, 0))
	add("beyond", "forged", "longer than what follows", nil, with(4, 5, 0))
	add("highest", "forged", "2^64 - 1, which is -1 as a signed number", nil, with(1<<64-1, 5, 0))
	add("overflow", "forged", "2^63 - 8 + 8 overflows a signed number", nil, with(1<<63-8, 5, 0))
	add("minus-eight", "forged", "2^64 - 8, so that the end would be 0", nil, with(1<<64-8))
	return all
}

func TestFrameVectors(t *testing.T) {
	for _, v := range vectortest.Read(t, "frame") {
		content, err := unframe(v.Bytes(t, "hex"))
		v.Check(t, outcomes, err)
		if err == nil && !bytes.Equal(content, v.Bytes(t, "content")) {
			t.Errorf("%s: %x", v.Name, content)
		}
	}
}

// TestCut puts plaintexts together again, cut at sizes far below a real segment.
func TestCut(t *testing.T) {
	for _, typ := range []Type{TypePack, TypeCommit} {
		for n := range 200 {
			p := plaintext{typ, pattern(n)}
			padded := int(Padme(int64(p.size())))
			want := pad(pattern(n))
			if typ.framed() {
				want = pad(frame(pattern(n)))
			} else if n == 0 {
				continue
			}
			for _, size := range []int{8, 9, 16, 31, 1000} {
				var got []byte
				for from := 0; from < padded; from += size {
					dirty := bytes.Repeat([]byte{0xee}, min(size, padded-from))
					got = append(got, p.cut(dirty, from)...)
				}
				if !bytes.Equal(got, want) {
					t.Fatalf("%v of %d bytes in pieces of %d: %x", typ, n, size, got)
				}
			}
		}
	}
}

func FuzzUnframe(f *testing.F) {
	for _, v := range vectortest.Read(f, "frame") {
		f.Add(v.Bytes(f, "hex"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		content, err := unframe(b)
		if err != nil {
			if !errors.Is(err, ErrForged) {
				t.Errorf("error %v", err)
			}
			return
		}
		if !bytes.Equal(pad(frame(content)), b) {
			t.Errorf("%x is not canonical", b)
		}
	})
}
