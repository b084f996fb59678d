package cache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// valueLog is a file of values that are in no table yet, so that they outlive the process.
// It is not synced: what a crash of the machine takes is fetched again. Each
// batch is sealed for its place in this file, and the file ends, for who reads
// it, where a batch does not open. Layout: docs/format.md, "Cache".
type valueLog struct {
	f     *os.File
	n     uint64 // its number, in its name
	size  int64
	next  uint64 // index of the next batch
	bytes int64  // on disk
}

const (
	logPrefix = "log-"
	logHead   = 4 // length of the sealed batch
)

func logPath(dir string, n uint64) string {
	return filepath.Join(dir, logPrefix+strconv.FormatUint(n, 10))
}

// logPlace is the associated data of a batch.
func logPlace(id [16]byte, n, index uint64) []byte {
	b := append(id[:len(id):len(id)], "log"...)
	b = binary.BigEndian.AppendUint64(b, n)
	return binary.BigEndian.AppendUint64(b, index)
}

func createLog(dir string, n uint64) (*valueLog, error) {
	f, err := os.OpenFile(logPath(dir, n), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return &valueLog{f: f, n: n}, nil
}

// openLog reads what a log holds and opens it for more.
func openLog(dir string, n uint64, id [16]byte, seal Sealer, limit int64, add func(key string, e entry)) (*valueLog, error) {
	b, err := readSmall(logPath(dir, n), limit)
	if err != nil {
		return nil, err
	}
	l := &valueLog{n: n}
	for {
		sealed, ok := cutBatch(b[l.size:])
		if !ok {
			break
		}
		plain, err := seal.Open(nil, sealed, logPlace(id, n, l.next))
		if err != nil || !decodeBatch(plain, add) {
			break
		}
		l.size += logHead + int64(len(sealed))
		l.next++
	}
	if l.f, err = os.OpenFile(logPath(dir, n), os.O_RDWR, 0); err != nil {
		return nil, err
	}
	if err := errors.Join(l.f.Truncate(l.size), l.measure()); err != nil {
		return nil, errors.Join(err, l.f.Close())
	}
	return l, nil
}

// cutBatch returns the sealed batch that b begins with.
func cutBatch(b []byte) (sealed []byte, ok bool) {
	if len(b) < logHead {
		return nil, false
	}
	n := int64(binary.BigEndian.Uint32(b))
	if n == 0 || n > int64(len(b)-logHead) {
		return nil, false
	}
	return b[logHead : logHead+n], true
}

// append writes a batch. After an error the log ends where it did.
func (l *valueLog) append(sys system, id [16]byte, seal Sealer, batch map[string]entry) error {
	b := seal.Seal(make([]byte, logHead), encodeBatch(batch), logPlace(id, l.n, l.next))
	binary.BigEndian.PutUint32(b, uint32(len(b)-logHead))
	err := sys.write(l.f, b, l.size)
	if err == nil {
		err = l.measure()
	}
	if err != nil {
		return errors.Join(err, l.f.Truncate(l.size))
	}
	l.size += int64(len(b))
	l.next++
	return nil
}

func (l *valueLog) measure() error {
	i, err := l.f.Stat()
	if err == nil {
		l.bytes = blocks(i)
	}
	return err
}

// lost tells whether the file is no longer in its folder.
func (l *valueLog) lost() bool {
	_, err := os.Lstat(l.f.Name())
	return errors.Is(err, fs.ErrNotExist)
}

func (l *valueLog) remove() error {
	return errors.Join(l.f.Close(), os.Remove(l.f.Name()))
}

// A batch is entries: kind u8 (0 value, 1 none), key length u16, value length
// u32, key, value.
const entryHead = 1 + 2 + 4

func encodeBatch(batch map[string]entry) []byte {
	size := 0
	for key, e := range batch {
		size += entryHead + len(key) + len(e.value)
	}
	b := make([]byte, 0, size)
	for key, e := range batch {
		kind := byte(metaValue)
		if e.dead {
			kind = metaDead
		}
		b = append(b, kind)
		b = binary.BigEndian.AppendUint16(b, uint16(len(key)))
		b = binary.BigEndian.AppendUint32(b, uint32(len(e.value)))
		b = append(append(b, key...), e.value...)
	}
	return b
}

// decodeBatch hands all entries of a batch to add, or none. The values are of b.
func decodeBatch(b []byte, add func(key string, e entry)) bool {
	for _, do := range []func(string, entry){func(string, entry) {}, add} {
		for rest := b; len(rest) > 0; {
			if len(rest) < entryHead || rest[0] > metaDead {
				return false
			}
			key, value := int(binary.BigEndian.Uint16(rest[1:])), int64(binary.BigEndian.Uint32(rest[3:]))
			e := entry{dead: rest[0] == metaDead}
			rest = rest[entryHead:]
			if key > MaxKey+1 || value > MaxValue || e.dead && value > 0 || int64(len(rest)) < int64(key)+value {
				return false
			}
			name := string(rest[:key])
			e.value = rest[key : int64(key)+value : int64(key)+value]
			rest = rest[int64(key)+value:]
			do(name, e)
		}
	}
	return true
}

// parseLog reads the number in a log's name.
func parseLog(name string) (n uint64, ok bool) {
	_, err := fmt.Sscanf(name, logPrefix+"%d", &n)
	return n, err == nil && name == filepath.Base(logPath("", n))
}
