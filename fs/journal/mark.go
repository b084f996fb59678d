package journal

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
)

// markName is the file that says how far the journal was synced when it was last asked.
//
// A file that was cut off reads as one whose end tore, and one that was removed leaves
// nothing. The mark tells them: it is written after each sync and never synced itself,
// so that it is always behind what is on the disk, or equal, and costs a write into
// memory. A power cut may leave it old, or no mark at all; then it tells less.
const markName = "mark"

// markLen is the length of a mark: the number of a file u64, how many of its records
// are synced u32, and the first 16 bytes of the SHA-256 of both.
const markLen = 12 + 16

// mark is a file and how many of its records were synced.
type mark struct {
	file  uint64
	count uint32
}

func (m mark) encode() []byte {
	b := be.AppendUint32(be.AppendUint64(make([]byte, 0, markLen), m.file), m.count)
	sum := sha256.Sum256(b)
	return append(b, sum[:16]...)
}

// readMark reads the mark; one that is not there or torn is the zero mark, which says
// nothing.
func (j *Journal) readMark() (mark, error) {
	f, err := j.folder.Open(markName)
	if errors.Is(err, fs.ErrNotExist) {
		return mark{}, nil
	}
	if err != nil {
		return mark{}, err
	}
	defer f.Close()
	b := make([]byte, markLen)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return mark{}, err
	}
	m := mark{file: be.Uint64(b), count: be.Uint32(b[8:])}
	if !bytes.Equal(m.encode(), b) {
		return mark{}, nil
	}
	return m, nil
}

// setMark says that all records of the current file up to now are synced. It may fail:
// then the mark is old. mu is held.
func (j *Journal) setMark() {
	m := mark{j.cur.key.number, j.cur.durable}
	if j.marked == nil {
		f, err := j.folder.Create(markName)
		if err != nil {
			j.log.Debug("no mark", "err", err)
			return
		}
		j.marked = f
	}
	if _, err := j.marked.WriteAt(m.encode(), 0); err != nil {
		j.log.Debug("no mark", "err", err)
	}
}

// dropMark comes before the last file goes: a mark of a file that is not there means
// that somebody took it away.
func (j *Journal) dropMark() error {
	if j.marked != nil {
		j.marked.Close()
		j.marked = nil
	}
	if err := j.folder.Remove(markName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return j.folder.Sync()
}
