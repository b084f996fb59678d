// Package journal keeps what is not yet in the bucket, durable and in order.
//
// It is the one local thing that must not be lost: operations with the file
// bytes that are in no pack yet, the names of closed packs, and the sealed bytes
// of a commit before they are sent. What Append took and Sync confirmed survives
// a crash and a power cut; what was not confirmed is lost from the end only, so
// that what Open returns is always a prefix of what was appended, less what was
// settled since. Bytes that were changed on the disk are never returned as
// records.
//
// Files are written once, from front to back, each under a key of its own, and
// never appended to after the process that made them has ended. Each file's
// header says, sealed, where the one before it ends for good: so neither a torn
// end nor a file that failed to sync needs to be repaired in place. A failed sync
// is never tried again on the same file, since the kernel may have forgotten the
// pages: all that might be touched is written to a new one.
//
// The journal never drops a record to make room, believes no record that was not
// synced when one before it is missing, and holds no idea of what an operation means.
package journal

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/hushfs/hushfs/crypt"
)

// Options of a journal.
type Options struct {
	Key  *crypt.Key        // local secret; the key of each file is derived from it
	ID   [16]byte          // of this journal. A new device number starts a new journal: numbers only rise in one
	Log  *slog.Logger      // nil discards
	Step func(name string) // called at each of Steps, for tests; must not call back. May be nil

	folder folder   // nil means the directory
	geo    geometry // zero means standard
}

// Journal is open for appending. Its methods may be called from several goroutines.
type Journal struct {
	opts   Options
	log    *slog.Logger
	folder folder
	geo    geometry

	removing sync.Mutex // held while old files leave, one after the other; taken before mu

	mu      sync.Mutex // guards the fields below
	live    *liveness
	next    uint64  // number of the next file
	before  link    // where the last file of earlier processes ends
	cur     *writer // nil before the first record
	torn    bool    // a write to cur failed: nothing more is written to it
	failing bool    // a sync of cur failed: what is held goes to a new file before anything else
	broken  error   // nothing more is acknowledged
	closed  bool
	seq     uint64  // records appended since Open
	durable uint64  // of these, synced
	held    []entry // records whose last block may still be written to, and so may still be lost
	turn    *turn   // the sync in flight
	marked  file    // of the mark; nil while there is none of this process
	buf     []byte

	recent    []IndexEntry // newest operations, for the index
	unindexed int          // of these, in no index record yet
}

// Open reads the journal in dir, which is made if it is not there, and returns
// where the records are that are still needed: packs neither settled nor dropped,
// operations that are not settled, attempts whose slot is not decided, and what belongs
// to them. They are whole, and on the disk.
//
// Where records were damaged, those behind them that are whole are needed too, and
// the report says what is lost: a gap in the numbers of operations, at least. The
// caller judges what can still be done without what is missing.
//
// Damaged files are kept under "damaged-" and a number, dead ones are
// removed. ErrForeign, ErrNewer and ErrInUse leave the folder as it was. Without
// an error the report is not nil. A gap between the last operation of this
// device in the chain and the first one here means that whole files are gone
// from the front: the caller can see that, the journal cannot.
func Open(dir string, o Options) (*Journal, *Waiting, *Report, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Step == nil {
		o.Step = func(string) {}
	}
	if o.folder == nil {
		d, err := openDirectory(dir)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("open journal: %w", err)
		}
		o.folder = d
	}
	if o.geo == (geometry{}) {
		o.geo = standard
	}
	j := &Journal{opts: o, log: o.Log, folder: o.folder, geo: o.geo, live: newLiveness()}
	waiting, report, err := j.replay()
	if err != nil {
		return nil, nil, nil, fmt.Errorf("open journal: %w", errors.Join(err, j.folder.Close()))
	}
	return j, waiting, report, nil
}

// Size is the number of files and their bytes on disk, those kept aside not counted.
func (j *Journal) Size() (files int, bytes int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, f := range j.live.files {
		bytes += f.size
	}
	return len(j.live.files), bytes
}

// Close syncs what was appended and lets go of the folder. When nothing is
// needed any more, the files go too. Records that could not be synced are lost
// with the process; the error says so.
func (j *Journal) Close() error {
	j.removing.Lock()
	defer j.removing.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil
	}
	j.closed = true // from here on nothing is appended
	err := j.syncTo(j.seq)
	for j.turn != nil {
		j.wait(j.turn)
	}
	if j.cur != nil {
		err = errors.Join(err, j.cur.f.Close())
		j.cur = nil
	}
	if err == nil && j.broken == nil && j.live.allDead() {
		err = j.dropMark()
		for len(j.live.files) > 0 && err == nil {
			err = j.removeOldest()
		}
	}
	if j.marked != nil {
		err = errors.Join(err, j.marked.Close())
	}
	err = errors.Join(err, j.folder.Close())
	if err != nil {
		return fmt.Errorf("close journal: %w", err)
	}
	return nil
}
