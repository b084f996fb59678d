package meta_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/hushfs/hushfs/crypt/vectortest"
	"github.com/hushfs/hushfs/fs/meta"
)

// vector is one file under testdata/<kind>: bytes, and what decoding them must
// answer: ok or malformed.
type vector struct {
	kind, name, expect, comment string
	end                         uint64 // kind extent only: what the key says
	hex                         []byte
}

func (v vector) file() vectortest.Vector {
	f := vectortest.New(v.name, v.expect, v.comment)
	if v.kind == "extent" {
		f.Fields = append(f.Fields, vectortest.Line("end", binary.BigEndian.AppendUint64(nil, v.end)))
	}
	f.Fields = append(f.Fields, vectortest.Line("hex", v.hex))
	return f
}

// vectors reads testdata/<kind>.
func vectors(t testing.TB, kind string) (all []vector) {
	t.Helper()
	for _, f := range vectortest.Read(t, kind) {
		v := vector{kind: kind, name: f.Name, expect: f.Expect, hex: f.Bytes(t, "hex")}
		if kind == "extent" {
			v.end = f.Number(t, "end")
		}
		all = append(all, v)
	}
	return all
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
	case "program":
		p, err := meta.DecodeProgram(b)
		return meta.AppendProgram(nil, p), err
	case "lock":
		l, err := meta.DecodeLock(b)
		return meta.AppendLock(nil, l), err
	case "lease":
		e, err := meta.DecodeLeaseEntry(b)
		return meta.AppendLeaseEntry(nil, e), err
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
	case 'k':
		ino, by, err := meta.ParseLockKey(k)
		if err != nil {
			return nil, err
		}
		return meta.LockKey(ino, by), nil
	case 'l':
		ino, err := meta.ParseLeaseKey(k)
		return meta.LeaseKey(ino), err
	case 'v':
		no, err := meta.ParseProgramKey(k)
		return meta.ProgramKey(no), err
	}
	return nil, meta.ErrMalformed
}

var kinds = []string{"inode", "dirent", "extent", "pack", "retired", "snapshot", "program", "lease", "lock", "key", "batch", "op"}

var outcomes = map[string]error{"ok": nil, "malformed": meta.ErrMalformed}

// TestVectors decodes what is kept under testdata.
func TestVectors(t *testing.T) {
	for _, kind := range kinds {
		for _, v := range vectors(t, kind) {
			t.Run(kind+"/"+v.name, func(t *testing.T) {
				again, err := decodeAgain(kind, v.end, v.hex)
				v.file().Check(t, outcomes, err)
				if err == nil && !bytes.Equal(again, v.hex) {
					t.Errorf("encodes to %x", again)
				}
			})
		}
	}
}

// TestVectorFiles makes the vectors from values and compares them with the files.
func TestVectorFiles(t *testing.T) {
	made := map[string][]vectortest.Vector{}
	for _, v := range allVectors() {
		made[v.kind] = append(made[v.kind], v.file())
	}
	for _, kind := range kinds {
		vectortest.Keep(t, kind, made[kind])
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
