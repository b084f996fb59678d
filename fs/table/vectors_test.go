package table

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// vector is one file under testdata/<kind>: bytes, and what decoding them must
// answer: ok, damaged, newer or malformed. A key that stands on several lines
// continues its value.
type vector struct {
	kind, name, expect, comment string
	entries                     int    // of a block
	low, high                   []byte // of a block: its key, and that of the next
	list                        []byte // of a table: the list of runs that names only it
	hex                         []byte
}

func (v vector) text() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "expect: %s\ncomment: %s\n", v.expect, v.comment)
	lines := func(key string, value []byte) {
		for first := true; first || len(value) > 0; first = false {
			n := min(48, len(value))
			fmt.Fprintf(&b, "%s: %x\n", key, value[:n])
			value = value[n:]
		}
	}
	switch v.kind {
	case "block":
		fmt.Fprintf(&b, "entries: %d\n", v.entries)
		lines("low", v.low)
		lines("high", v.high)
	case "table":
		lines("list", v.list)
	}
	lines("hex", v.hex)
	return b.Bytes()
}

// vectors reads testdata/<kind>, where something must be.
func vectors(t testing.TB, kind string) []vector {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", kind, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors of kind %s (%v)", kind, err)
	}
	var out []vector
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		v := vector{kind: kind, name: strings.TrimSuffix(filepath.Base(f), ".txt")}
		for line := range strings.Lines(string(text)) {
			key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
			value = strings.TrimPrefix(value, " ")
			into := map[string]*[]byte{"low": &v.low, "high": &v.high, "list": &v.list, "hex": &v.hex}[key]
			switch {
			case key == "expect":
				v.expect = value
			case key == "comment":
				v.comment = value
			case key == "entries":
				_, err = fmt.Sscanf(value, "%d", &v.entries)
			case into != nil:
				var more []byte
				more, err = hex.DecodeString(value)
				*into = append(*into, more...)
			default:
				err = errors.New("unknown key")
			}
			if err != nil {
				t.Fatalf("%s: %q: %v", f, line, err)
			}
		}
		out = append(out, v)
	}
	return out
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

func word(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, ErrDamaged):
		return "damaged"
	case errors.Is(err, ErrVersion):
		return "newer"
	case errors.Is(err, ErrMalformed):
		return "malformed"
	}
	return err.Error()
}

func TestVectors(t *testing.T) {
	for _, kind := range []string{"block", "index", "runs", "table"} {
		for _, v := range vectors(t, kind) {
			t.Run(kind+"/"+v.name, func(t *testing.T) {
				b, err := v.again()
				if word(err) != v.expect {
					t.Errorf("%v, want %s", err, v.expect)
				}
				if err == nil && !bytes.Equal(b, v.hex) {
					t.Errorf("encodes to %x", b)
				}
			})
		}
	}
}

// TestVectorsAreCurrent makes the vectors and compares them with the files.
// HUSHFS_WRITE_VECTORS=1 writes those that are missing. Frames of zstd may come
// out otherwise one day, so only what needs no frame is compared.
func TestVectorsAreCurrent(t *testing.T) {
	made := map[string]bool{}
	for _, v := range makeVectors(t) {
		file := filepath.Join("testdata", v.kind, v.name+".txt")
		if made[file] {
			t.Errorf("%s is made twice", file)
		}
		made[file] = true
		have, err := os.ReadFile(file)
		switch {
		case err == nil && !bytes.Equal(have, v.text()) && !strings.Contains(v.name, "zstd"):
			t.Errorf("%s is not what this code makes:\n%s", file, v.text())
		case errors.Is(err, os.ErrNotExist) && os.Getenv("HUSHFS_WRITE_VECTORS") == "1":
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, v.text(), 0o644); err != nil {
				t.Fatal(err)
			}
		case err != nil:
			t.Error(err)
		}
	}
}
