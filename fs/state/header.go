package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hushfs/hushfs/crypt"
)

// The copy of the drive header. Layout: docs/format.md, "State folder".
const (
	headerFile  = "header"
	headerMagic = "HUSHKPT0"
	headerHead  = len(headerMagic) + len(crypt.VolumeID{})
)

// KeepHeader stores a drive header in the state folder dir, and with it where the
// drive's main volume lies, so that whoever fills the bucket with junk headers
// does not lock this machine out.
func KeepHeader(dir string, main crypt.VolumeID, header []byte) error {
	b := append([]byte(headerMagic), main[:]...)
	return Replace(dir, headerFile, append(b, header...))
}

// Header returns what KeepHeader stored last, a header of at most limit bytes.
// Nothing vouches for it. The error is an fs.ErrNotExist where there is none, and
// ErrMalformed or ErrNewer where it cannot be read.
func Header(dir string, limit int) (main crypt.VolumeID, header []byte, err error) {
	b, err := read(dir, headerFile, headerHead+limit+1)
	if err != nil {
		return main, nil, err
	}
	rest, err := cutMagic(b, headerMagic)
	if err == nil && (len(b) < headerHead || len(b) > headerHead+limit) {
		err = ErrMalformed
	}
	if err != nil {
		return main, nil, fmt.Errorf("header file: %w", err)
	}
	return crypt.VolumeID(rest), rest[len(main):], nil
}

// Folders lists the folders in parent that hold a header; parent may be missing.
func Folders(parent string) ([]string, error) {
	entries, err := os.ReadDir(parent)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var dirs []string
	for _, e := range entries {
		dir := filepath.Join(parent, e.Name())
		if _, err := os.Lstat(filepath.Join(dir, headerFile)); err == nil {
			dirs = append(dirs, dir)
		}
	}
	return dirs, err
}
