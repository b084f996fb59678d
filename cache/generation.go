package cache

import (
	"cmp"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	badgeropts "github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"google.golang.org/protobuf/proto"
)

// generation is one Badger in a folder of its own, open for reading. Tables are
// added to the youngest until it is full, then another begins. Space comes back
// by removing the folder of the oldest: Badger itself gives space back only when
// it compacts, at a time and with a need of further space that are its own.
//
// Badger does not write. It would do that to memory that is mapped to files with
// holes, in goroutines of its own, and when the disk has no block for a hole the
// kernel ends the process: a full disk would unmount the drive. So tables are
// built by Badger's builder in memory, and written here like any other file.
// Badger also ends the process when it opens files that are damaged in certain
// places; check comes before every open.
type generation struct {
	setup
	dir string
	bad atomic.Bool // to be thrown away

	mu sync.RWMutex // guards db; held for reading as long as db is read
	db *badger.DB   // nil when it is not open

	// Of the one who adds tables.
	bytes  int64 // on disk
	tables sums
	key    *pb.DataKey // of its tables; nil until one is added
	synced bool        // all of it is on the disk, not only on its way
}

// setup is what all generations of a cache have in common.
type setup struct {
	secret []byte // Badger's encryption key
	logger *slog.Logger
	sys    system
	maps   *sync.RWMutex // held for reading where tables are mapped and unmapped
}

func (s setup) options(dir string) badger.Options {
	o := badger.DefaultOptions(dir)
	o.Logger = quiet{s.logger}
	o.ReadOnly = true
	o.MetricsEnabled = false
	o.DetectConflicts = false
	o.MemTableSize = maxTable
	o.ValueLogFileSize = 1 << 20
	o.NumCompactors = 0
	o.NumLevelZeroTables, o.NumLevelZeroTablesStall = 1<<19, 1<<20
	o.BlockSize = blockSize
	o.BlockCacheSize = 2 << 20
	o.IndexCacheSize = 32 << 20 // more than there is: an index is verified when it is read at open, not later
	o.ChecksumVerificationMode = badgeropts.OnBlockRead
	o.Compression = badgeropts.None // values are sealed
	o.EncryptionKey = s.secret
	o.EncryptionKeyRotationDuration = rotation
	return o
}

const (
	blockSize = 4096
	// A lookup asks every table, and a wrong guess reads a block.
	falsePositive = 1e-4
	// One key for as long as a generation lasts. Badger holds a key that it never
	// made for made in 1970: with more years than passed since, it would encrypt
	// nothing.
	rotation = 10 * 365 * 24 * time.Hour
)

func generationDir(dir string, n uint64) string {
	return filepath.Join(dir, strconv.FormatUint(n, 10))
}

// The user meta byte of an entry.
const (
	metaValue = 0
	metaDead  = 1 // hides what older tables have
)

// sealedEntry is what a table holds.
type sealedEntry struct {
	key   string
	value []byte
	meta  byte
}

// add writes a table, and opens Badger anew, with it. After errBroken the
// generation has to go, after another error it is as it was.
func (g *generation) add(entries []sealedEntry) error {
	if err := os.MkdirAll(g.dir, 0o700); err != nil {
		return err
	}
	if g.key == nil {
		if err := g.makeKey(); err != nil {
			return err
		}
	}
	id := uint64(1)
	if n := len(g.tables); n > 0 {
		id = g.tables[n-1].id + 1
	}
	b, err := g.build(entries, id)
	if err != nil {
		return err
	}
	t, ok := sumUp(b, id)
	if !ok {
		return errBroken
	}
	path := table.NewFilename(id, g.dir)
	tables := append(slices.Clip(g.tables), t)
	err = writeFile(g.sys, path, b)
	// Tables that are in the list and not in the manifest do no harm.
	if err == nil {
		err = replace(filepath.Join(g.dir, sumsFile), tables.encode(), false)
	}
	if err == nil {
		err = g.writeManifest(tables)
	}
	if err != nil {
		_ = os.Remove(path) // else it is found by the next Open
		return err
	}
	g.synced = false
	if err := g.open(); err != nil {
		return errors.Join(errBroken, err)
	}
	return g.measure()
}

// makeKey reads the key of the tables, made when there is none.
func (g *generation) makeKey() error {
	return guarded(func() error {
		r, err := badger.OpenKeyRegistry(badger.KeyRegistryOptions{Dir: g.dir, EncryptionKey: g.secret, EncryptionKeyRotationDuration: rotation})
		if err != nil {
			return err
		}
		g.key, err = r.LatestDataKey()
		return errors.Join(err, r.Close())
	})
}

// build makes a table. Its id is also the version of its entries: the newest
// table counts.
func (g *generation) build(entries []sealedEntry, id uint64) (b []byte, err error) {
	slices.SortFunc(entries, func(a, b sealedEntry) int { return cmp.Compare(a.key, b.key) })
	size := 0
	for _, e := range entries {
		size += len(e.key) + len(e.value) + entryCost
	}
	err = guarded(func() error {
		w := table.NewTableBuilder(table.Options{
			TableSize: uint64(size), BlockSize: blockSize, BloomFalsePositive: falsePositive,
			Compression: badgeropts.None, DataKey: g.key,
		})
		defer w.Close()
		for _, e := range entries {
			w.Add(y.KeyWithTs([]byte(e.key), id), y.ValueStruct{Value: e.value, UserMeta: e.meta}, 0)
		}
		b = w.Finish()
		return nil
	})
	return b, err
}

// writeManifest tells Badger its tables: magic, version, and one set of changes
// with its length and CRC-32C.
func (g *generation) writeManifest(tables sums) error {
	var set pb.ManifestChangeSet
	for _, t := range tables {
		set.Changes = append(set.Changes, &pb.ManifestChange{Id: t.id, Op: pb.ManifestChange_CREATE, KeyId: g.key.KeyId, EncryptionAlgo: pb.EncryptionAlgo_aes})
	}
	changes, err := proto.Marshal(&set)
	if err != nil {
		return err
	}
	b := append([]byte("Bdgr"), 0, 0, 0, 8)
	b = binary.BigEndian.AppendUint32(b, uint32(len(changes)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(changes, crc32.MakeTable(crc32.Castagnoli)))
	return replace(filepath.Join(g.dir, badger.ManifestFilename), append(b, changes...), false)
}

// open opens Badger on the files as they are, if it can read them; who reads has
// what was open before meanwhile.
func (g *generation) open() error {
	tables, err := check(g.dir)
	if err != nil {
		return err
	}
	g.maps.RLock()
	defer g.maps.RUnlock()
	var db *badger.DB
	err = guarded(func() (err error) {
		db, err = badger.Open(g.options(g.dir))
		return err
	})
	if err != nil {
		return err
	}
	g.mu.Lock()
	old := g.db
	g.db = db
	g.mu.Unlock()
	g.tables = tables
	if old != nil {
		_ = guarded(old.Close)
	}
	return nil
}

// close closes Badger.
func (g *generation) close() {
	g.mu.Lock()
	db := g.db
	g.db = nil
	g.mu.Unlock()
	if db != nil {
		g.maps.RLock()
		defer g.maps.RUnlock()
		_ = guarded(db.Close) // it only read
	}
}

// sync waits until all files are on the disk. A table that is not there after a
// crash of the machine is noticed, so this can wait until the cache is closed.
func (g *generation) sync() error {
	if g.synced {
		return nil
	}
	files, err := os.ReadDir(g.dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := syncFile(filepath.Join(g.dir, f.Name())); err != nil {
			return err
		}
	}
	g.synced = true
	return syncFile(g.dir)
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// remove closes Badger and removes the folder.
func (g *generation) remove() error {
	g.close()
	return os.RemoveAll(g.dir)
}

// guarded runs f and turns what panics in it into errBroken, also the fault of
// a mapped page that cannot be had: a file cut short, a disk that fails.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			err = errBroken
		}
	}()
	return f()
}

// get returns the sealed value of a key. found is false when this generation
// knows nothing of the key.
func (g *generation) get(key []byte) (sealed []byte, dead, found bool, err error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.db == nil {
		return nil, false, false, nil
	}
	err = guarded(func() error {
		txn := g.db.NewTransaction(false)
		defer txn.Discard()
		item, err := txn.Get(key)
		if err != nil {
			return err
		}
		found, dead = true, item.UserMeta() == metaDead
		sealed, err = item.ValueCopy(nil)
		return err
	})
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, false, false, nil
	}
	return sealed, dead, found && err == nil, err
}

// measure counts the bytes on the disk.
func (g *generation) measure() error {
	dir, err := os.Lstat(g.dir)
	if err != nil {
		return err
	}
	files, err := os.ReadDir(g.dir)
	if err != nil {
		return err
	}
	g.bytes = blocks(dir)
	for _, f := range files {
		if i, err := f.Info(); err == nil {
			g.bytes += blocks(i)
		}
	}
	return nil
}

// quiet is Badger's logger, of what went wrong. What Badger formats into its
// messages are paths and keys, so only the messages are kept.
type quiet struct{ log *slog.Logger }

func (q quiet) Errorf(format string, _ ...any)   { q.log.Warn("badger", "says", message(format)) }
func (q quiet) Warningf(format string, _ ...any) { q.log.Warn("badger", "says", message(format)) }
func (q quiet) Infof(string, ...any)             {}
func (q quiet) Debugf(string, ...any)            {}

// message is the first line of a format, without what it was to be filled with.
func message(format string) string {
	s, _, _ := strings.Cut(strings.TrimSpace(format), "\n")
	return s
}
