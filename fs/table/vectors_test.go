package table

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/crypt/vectortest"
)

// vector is one file under testdata/<kind>: bytes, and what decoding them must
// answer: ok, damaged, newer or malformed.
type vector struct {
	kind, name, expect, comment string
	entries                     int    // of a block
	low, high                   []byte // of a block: its key, and that of the next
	list                        []byte // of a table: the list of runs that names only it
	hex                         []byte
}

// file is how a vector is written. Frames of zstd may come out otherwise one day,
// so what has some is not compared.
func (v vector) file() vectortest.Vector {
	f := vectortest.New(v.name, v.expect, v.comment)
	switch v.kind {
	case "block":
		f.Fields = append(f.Fields, vectortest.Field{Key: "entries", Text: strconv.Itoa(v.entries)})
		f.Add("low", v.low)
		f.Add("high", v.high)
	case "table":
		f.Add("list", v.list)
	}
	f.Add("hex", v.hex)
	for i := range f.Fields {
		f.Fields[i].Drawn = strings.Contains(v.name, "zstd")
	}
	return f
}

// vectors reads testdata/<kind>.
func vectors(t testing.TB, kind string) (all []vector) {
	t.Helper()
	for _, f := range vectortest.Read(t, kind) {
		v := vector{kind: kind, name: f.Name, expect: f.Expect, hex: f.Bytes(t, "hex")}
		switch kind {
		case "block":
			var err error
			if v.entries, err = strconv.Atoi(f.Text(t, "entries")); err != nil {
				t.Fatalf("%s: %v", f.Name, err)
			}
			v.low, v.high = f.Bytes(t, "low"), f.Bytes(t, "high")
		case "table":
			v.list = f.Bytes(t, "list")
		}
		all = append(all, v)
	}
	return all
}

// again decodes a vector and encodes it again. A table is checked, and comes
// back as it is.
func (v vector) again() ([]byte, error) {
	switch v.kind {
	case "block":
		high := v.high
		if len(high) == 0 {
			high = nil
		}
		b, ok := decodeBlock(v.hex, v.entries, v.low, high)
		if !ok {
			return nil, ErrDamaged
		}
		return encodeBlock(b), nil
	case "index":
		f, err := parseFooter(v.hex[max(0, len(v.hex)-footerSize):])
		if err != nil {
			return nil, err
		}
		x, err := parseIndex(v.hex[:len(v.hex)-footerSize], f)
		if err != nil {
			return nil, err
		}
		return encodeIndex(x), nil
	case "runs":
		runs, err := DecodeRuns(v.hex)
		if err != nil {
			return nil, err
		}
		return AppendRuns(nil, runs), nil
	case "table":
		runs, err := DecodeRuns(v.list)
		if err != nil {
			return nil, err
		}
		return v.hex, Check(runs[0][0], v.hex)
	}
	return nil, fmt.Errorf("unknown kind %s", v.kind)
}

// encodeBlock is the encoding of a block's entries.
func encodeBlock(b *block) (out []byte) {
	var it blockIter
	var before []byte
	for it.first(b); it.ok; it.next() {
		out = appendEntry(out, before, it.n-1, Entry{it.key, it.value, it.dead})
		before = append(before[:0], it.key...)
	}
	return out
}

// encodeIndex is the encoding of an index and its footer.
func encodeIndex(x *index) (out []byte) {
	f := footer{blocks: uint32(len(x.blocks)), dead: x.footer.dead, plain: x.footer.plain}
	for i, at := range x.blocks {
		out = appendIndexed(out, x.key(i-1), x.key(i), at)
		f.filter += uint32(filterSize(int(at.entries + at.heads)))
		f.data += at.stored
		f.entries += uint64(at.entries)
	}
	f.index = uint32(len(out))
	return f.append(out)
}

var outcomes = map[string]error{"ok": nil, "damaged": ErrDamaged, "newer": ErrVersion, "malformed": ErrMalformed}

func TestVectors(t *testing.T) {
	for _, kind := range []string{"block", "index", "runs", "table"} {
		for _, v := range vectors(t, kind) {
			t.Run(kind+"/"+v.name, func(t *testing.T) {
				b, err := v.again()
				v.file().Check(t, outcomes, err)
				if err == nil && !bytes.Equal(b, v.hex) {
					t.Errorf("encodes to %x", b)
				}
			})
		}
	}
}

// TestVectorFiles makes the vectors and compares them with the files.
func TestVectorFiles(t *testing.T) {
	made := map[string][]vectortest.Vector{}
	for _, v := range makeVectors(t) {
		made[v.kind] = append(made[v.kind], v.file())
	}
	for kind, files := range made {
		vectortest.Keep(t, kind, files)
	}
}
