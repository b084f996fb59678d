package cache

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
)

// sums says how the tables of a generation were when they had been written:
// their sizes, and checksums of their ends, which Badger reads at open without
// being able to survive that they are damaged. Ascending by id. Layout:
// docs/format.md, "Cache".
type sums []sum

type sum struct {
	id   uint64
	size uint32
	tail uint32 // bytes at the end that crc is of
	crc  uint32
}

const (
	sumsFile  = "sums"
	sumsMagic = "hushsums"
	maxTables = 1 << 16
	sumSize   = 8 + 4 + 4 + 4
)

func (s sums) encode() []byte {
	b := append(make([]byte, 0, 13+sumSize*len(s)), sumsMagic...)
	b = append(b, 1)
	for _, t := range s {
		b = binary.BigEndian.AppendUint64(b, t.id)
		b = binary.BigEndian.AppendUint32(b, t.size)
		b = binary.BigEndian.AppendUint32(b, t.tail)
		b = binary.BigEndian.AppendUint32(b, t.crc)
	}
	return appendSum(b)
}

func decodeSums(b []byte) (s sums, err error) {
	n := len(b) - 13
	if n < 0 || n%sumSize != 0 || n/sumSize > maxTables || !checkSum(b) || string(b[:8]) != sumsMagic || b[8] != 1 {
		return nil, errFormat
	}
	for b = b[9 : len(b)-4]; len(b) > 0; b = b[sumSize:] {
		t := sum{binary.BigEndian.Uint64(b), binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:]), binary.BigEndian.Uint32(b[16:])}
		if t.tail > t.size || len(s) > 0 && t.id <= s[len(s)-1].id {
			return nil, errFormat
		}
		s = append(s, t)
	}
	return s, nil
}

func (s sums) has(id uint64) bool {
	return slices.ContainsFunc(s, func(t sum) bool { return t.id == id })
}

// maxBlock is more than a block of a table has: a value, or several that are
// together smaller.
const maxBlock = MaxValue + 16<<10

// sumUp is the sum of a new table. Its end is the last block, the index, the
// index's length u32, a checksum, the checksum's length u32.
func sumUp(b []byte, id uint64) (t sum, ok bool) {
	tail := 4
	for range 2 { // first the checksum's length, then the index's
		if tail > len(b) {
			return t, false
		}
		tail += int(binary.BigEndian.Uint32(b[len(b)-tail:])) + 4
	}
	tail = min(len(b), tail+maxBlock)
	crc := crc32.Checksum(b[len(b)-tail:], crc32.MakeTable(crc32.Castagnoli))
	return sum{id: id, size: uint32(len(b)), tail: uint32(tail), crc: crc}, len(b) < maxTable
}

// check looks at the folder of a generation, and tells its tables, or that it
// cannot be opened: Badger must not see files of which it cannot be said that it
// can read them. It removes what does not belong there.
func check(dir string) (tables sums, err error) {
	b, err := readSmall(filepath.Join(dir, sumsFile), int64(13+sumSize*maxTables))
	if err != nil {
		return nil, err
	}
	listed, err := decodeSums(b)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{badger.ManifestFilename, badger.KeyRegistryFileName} {
		if _, err := readSmall(filepath.Join(dir, name), 64*maxTables); err != nil {
			return nil, err
		}
	}
	m, err := readManifest(dir)
	if err != nil {
		return nil, err
	}
	for id, t := range m.Tables {
		if t.Level > 0 || t.Compression != 0 || !listed.has(id) {
			return nil, errBroken
		}
	}
	for _, t := range listed {
		if _, ok := m.Tables[t.id]; !ok {
			continue // it did not come to be one
		}
		if err := checkTable(dir, t); err != nil {
			return nil, err
		}
		tables = append(tables, t)
	}
	return tables, tidy(dir, tables)
}

func readManifest(dir string) (m badger.Manifest, err error) {
	f, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if err != nil {
		return m, err
	}
	defer f.Close()
	if guarded(func() error {
		m, _, err = badger.ReplayManifestFile(f, 0, badger.DefaultOptions("").WithLogger(nil))
		return err
	}) != nil {
		return m, errBroken
	}
	return m, nil
}

// tidy removes what Badger has no business with.
func tidy(dir string, tables sums) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		id, isTable := table.ParseFileID(f.Name())
		switch name := f.Name(); {
		case !f.Type().IsRegular():
			return errBroken
		case isTable && tables.has(id), name == sumsFile, name == badger.ManifestFilename, name == badger.KeyRegistryFileName:
		default:
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkTable(dir string, t sum) error {
	f, err := os.Open(table.NewFilename(t.id, dir))
	if err != nil {
		return err
	}
	defer f.Close()
	i, err := f.Stat()
	if err != nil {
		return err
	}
	if i.Size() != int64(t.size) {
		return errBroken
	}
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	if _, err := io.Copy(h, io.NewSectionReader(f, int64(t.size-t.tail), int64(t.tail))); err != nil {
		return err
	}
	if h.Sum32() != t.crc {
		return errBroken
	}
	return nil
}
