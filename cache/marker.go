package cache

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
)

// marker says whose the cache is and how it was left: phaseOpening stands on
// the disk while Badger opens its files, so that files on which that ends the
// process are not tried twice. Layout: docs/format.md, "Cache".
type marker struct {
	phase phase
	id    [16]byte // of this build: what values are sealed for
	boot  [16]byte // the run of the machine that last used it
	owner [32]byte // SHA-256
}

type phase uint8

const (
	phaseOpening phase = iota + 1
	phaseOpen
	phaseClean
)

const (
	markerFile  = "marker"
	markerMagic = "hushmark"
	markerSize  = len(markerMagic) + 1 + 1 + 16 + 16 + 32 + 4
)

func newMarker(owner string, boot [16]byte) marker {
	m := marker{phase: phaseOpening, boot: boot, owner: sha256.Sum256([]byte(owner))}
	_, _ = rand.Read(m.id[:]) // never fails
	return m
}

func (m marker) encode() []byte {
	b := append(make([]byte, 0, markerSize), markerMagic...)
	b = append(b, 1, byte(m.phase))
	b = append(b, m.id[:]...)
	b = append(b, m.boot[:]...)
	b = append(b, m.owner[:]...)
	return appendSum(b)
}

func decodeMarker(b []byte) (m marker, err error) {
	if len(b) != markerSize || !checkSum(b) || string(b[:8]) != markerMagic || b[8] != 1 {
		return m, errFormat
	}
	m.phase = phase(b[9])
	if m.phase < phaseOpening || m.phase > phaseClean {
		return m, errFormat
	}
	copy(m.id[:], b[10:26])
	copy(m.boot[:], b[26:42])
	copy(m.owner[:], b[42:74])
	return m, nil
}

func readMarker(dir string) (marker, error) {
	b, err := readSmall(filepath.Join(dir, markerFile), int64(markerSize))
	if err != nil {
		return marker{}, err
	}
	return decodeMarker(b)
}

func (m marker) write(dir string) error {
	return replace(filepath.Join(dir, markerFile), m.encode(), true)
}

// appendSum ends a local file, checkSum looks at that end. CRC-32C: it is for
// accidents, nothing here is trusted further than that.
func appendSum(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

func checkSum(b []byte) bool {
	n := len(b) - 4
	return n >= 0 && bytes.Equal(appendSum(bytes.Clone(b[:n])), b)
}

// parseBoot reads a UUID as Linux writes it; what is none is zero.
func parseBoot(s string) (id [16]byte) {
	b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(s), "-", ""))
	if err == nil && len(b) == len(id) {
		copy(id[:], b)
	}
	return id
}

// replace writes a small file under another name and gives it its own when it
// is whole.
func replace(path string, b []byte, sync bool) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil && sync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path+".new"))
	}
	return os.Rename(path+".new", path)
}

// readSmall reads a file that must not have more than limit bytes.
func readSmall(path string, limit int64) ([]byte, error) {
	i, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !i.Mode().IsRegular() || i.Size() > limit {
		return nil, errFormat
	}
	return os.ReadFile(path)
}
