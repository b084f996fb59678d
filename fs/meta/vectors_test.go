package meta_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hushfs/hushfs/fs/meta"
)

// vector is one file under testdata/<kind>: bytes, and what decoding them must
// answer: ok or malformed.
type vector struct {
	kind, name, expect, comment string
	end                         uint64 // kind extent only: what the key says
	hex                         []byte
}

func (v vector) text() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "expect: %s\ncomment: %s\n", v.expect, v.comment)
	if v.kind == "extent" {
		fmt.Fprintf(&b, "end: %016x\n", v.end)
	}
	fmt.Fprintf(&b, "hex: %x\n", v.hex)
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
			switch key {
			case "expect":
				v.expect = value
			case "comment":
				v.comment = value
			case "end":
				_, err = fmt.Sscanf(value, "%x", &v.end)
			case "hex":
				v.hex, err = hex.DecodeString(value)
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

// decodeAgain decodes bytes of a kind and encodes them again.
func decodeAgain(kind string, end uint64, b []byte) ([]byte, error) {
	switch kind {
	case "inode":
		n, err := meta.DecodeInode(b)
		if err != nil {
			return nil, err
		}
		return meta.AppendInode(nil, n), nil
	case "dirent":
		d, err := meta.DecodeDirent(b)
		return meta.AppendDirent(nil, d), err
	case "extent":
		x, err := meta.DecodeExtent(end, b)
		if err == nil && x.End() != end {
			return nil, errors.New("the extent does not end where its key says")
		}
		return meta.AppendExtent(nil, x), err
	case "pack":
		p, err := meta.DecodePackRecord(b)
		return meta.AppendPackRecord(nil, p), err
	case "retired":
		s, err := meta.DecodeRetired(b)
		return meta.AppendRetired(nil, s), err
	case "snapshot":
		s, err := meta.DecodeSnapshot(b)
		return meta.AppendSnapshot(nil, s), err
	case "key":
		return parseKey(b)
	case "batch":
		x, err := meta.DecodeBatch(b)
		if err != nil {
			return nil, err
		}
		return x.Encode(), nil
	case "op":
		op, err := meta.DecodeOp(b)
		if err != nil {
			return nil, err
		}
		return meta.EncodeOp(op), nil
	}
	return nil, errors.New("no such kind of vector")
}

// parseKey takes a key apart and puts it together again.
func parseKey(k []byte) ([]byte, error) {
	if len(k) == 0 {
		return nil, meta.ErrMalformed
	}
	switch k[0] {
	case 'd':
		parent, name, err := meta.ParseDirentKey(k)
		return meta.DirentKey(parent, name), err
	case 'i':
		ref, err := meta.ParseInodeKey(k)
		return meta.InodeKey(ref), err
	case 'x':
		ino, end, err := meta.ParseExtentKey(k)
		return meta.ExtentKey(ino, end), err
	case 'a':
		ref, name, err := meta.ParseXattrKey(k)
		return meta.XattrKey(ref, name), err
	case 'p':
		no, err := meta.ParsePackKey(k)
		return meta.PackKey(no), err
	case 'g':
		no, err := meta.ParseRetiredKey(k)
		return meta.RetiredKey(no), err
	case 's':
		name, err := meta.ParseSnapshotKey(k)
		return meta.SnapshotKey(name), err
	}
	return nil, meta.ErrMalformed
}

var kinds = []string{"inode", "dirent", "extent", "pack", "retired", "snapshot", "key", "batch", "op"}

// TestVectors decodes what is kept under testdata.
func TestVectors(t *testing.T) {
	for _, kind := range kinds {
		for _, v := range vectors(t, kind) {
			t.Run(kind+"/"+v.name, func(t *testing.T) {
				again, err := decodeAgain(kind, v.end, v.hex)
				switch {
				case v.expect == "malformed":
					if !errors.Is(err, meta.ErrMalformed) {
						t.Errorf("got %v, want ErrMalformed", err)
					}
				case v.expect != "ok":
					t.Errorf("expect: %s is not a word of this test", v.expect)
				case err != nil:
					t.Error(err)
				case !bytes.Equal(again, v.hex):
					t.Errorf("encodes to %x", again)
				}
			})
		}
	}
}

// TestVectorsAreCurrent makes the vectors from values and compares them with
// the files. HUSHFS_WRITE_VECTORS=1 writes those that are missing.
func TestVectorsAreCurrent(t *testing.T) {
	named := map[string]bool{}
	for _, v := range allVectors() {
		file := filepath.Join("testdata", v.kind, v.name+".txt")
		if named[file] {
			t.Errorf("%s is made twice", file)
		}
		named[file] = true
		have, err := os.ReadFile(file)
		switch {
		case err == nil && !bytes.Equal(have, v.text()):
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

// cat joins parts: bytes, strings of bytes, and ints as single bytes.
func cat(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case []byte:
			b = append(b, p...)
		case string:
			b = append(b, p...)
		case int:
			b = append(b, byte(p))
		case uint64:
			b = binary.BigEndian.AppendUint64(b, p)
		default:
			panic("no such part")
		}
	}
	return b
}
