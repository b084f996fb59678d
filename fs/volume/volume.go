// Package volume composes the parts of one mounted volume: the view of its
// metadata, the packs of its file bytes, the journal, and what publishes them.
//
// A change becomes an operation, is executed on the view at once, waits in a
// queue in memory, goes to the journal with what was queued before it, and from
// there into a commit. The order is the same everywhere. Only file bytes float:
// they become an operation when something depends on them (see dirty).
package volume

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hushfs/hushfs/cache"
	"github.com/hushfs/hushfs/fs/block"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/drive"
	"github.com/hushfs/hushfs/fs/journal"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
	"github.com/hushfs/hushfs/fs/state"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/fs/table"
	"github.com/hushfs/hushfs/fs/view"
	"github.com/hushfs/hushfs/store"
)

// Options of a volume. Bucket, Drive, State and Cache must be set.
type Options struct {
	Bucket        store.Bucket
	Drive         *drive.Unlocked
	State, Cache  string                              // folders of this drive, made when missing
	ReadOnly      bool                                // nothing is written to the bucket
	NoAtime       bool                                // reading changes no atime
	DeviceName    string                              // what this machine is called if it has to be enrolled
	Program       func() (p meta.Program, known bool) // what this machine works with, once that is known; nil: nothing is noted of it
	Rejoin        *Rejoin                             // this machine, which was removed, joins anew; nil: it does not
	UID, GID      uint32                              // of the mounting user
	CacheSize     int64                               // bytes of the disk for cache and journal together; 0 means the lesser of 10 GiB and 20 % of the free disk, less than 0 no cache
	NoCache       error                               // why the folder Cache cannot be used; nil: it is tried
	Patience      time.Duration                       // a program that makes this machine a device waits for the store no longer; 0 means DefaultPatience
	Remote        bool                                // fsync and its like return when the store has it, where no directory says otherwise
	RemoteTimeout time.Duration                       // or after so long, with an error; 0: they wait as long as it takes
	FullTimeout   time.Duration                       // without progress of the store for so long, a full journal refuses; 0 means DefaultFull
	Log           *slog.Logger
	Step          func(name string)    // called at each step of journal, packs and publishing; nil is none
	Clock         func() time.Time     // the kernel's, by which it gives times to files; nil is time.Now
	Uptime        func() time.Duration // of this machine, its sleep included; nil is what the system says
	FoldCommits   int                  // how many commits above a checkpoint are folded; 0 means 256
	Poll          time.Duration        // how often the store is asked for what other machines did, while programs use the mount; 0 means 1.5 s
	Trim          publish.TrimOptions  // when commits under a checkpoint are deleted; the zero value is what docs/operations.md says
	Writer        meta.Device          // the one device that may write, in a store that cannot tell who was first, unless the ledger names another by now; 0: any

	Older  bool                 // show a store that is behind what was seen, read-only and without what waits in the journal; one that is not behind is mounted as always
	Accept func(*Setback) error // asks a person whether such a store is to be gone on with; nil refuses it. A store that is not behind is ErrNothingMissing

	// Passing is told now and then how far it is while Open looks at many slots that hold
	// nobody's commit: where they begin, and up to where the store has something; nil: nobody is.
	Passing func(from, at, last chain.Slot)

	check bool // find out whether this machine may write, and go no further
}

// Volume is one mounted volume. Its methods are safe for concurrent use.
type Volume struct {
	o            Options
	log          *slog.Logger
	view         *view.View
	state        *state.State
	journal      *journal.Journal
	epochs       *epochKeys // of journal
	packs        *pack.Writer
	beside       atomic.Pointer[localFiles] // journal and packs, for who may ask before they are there; nil until then
	reader       *pack.Reader
	cache        *cache.Cache
	tables       *block.Reader
	keys         *publish.Keys
	memory       *table.Memory
	sync         *publish.Syncer
	slots        *publish.LocalSlots
	commits      *publish.LocalSlots // the newest, for the day when the store has them no more; nil without a cache
	removed      error               // why this machine is no device any more; nil: it is, or may be
	scratch      uint64              // pack numbers that were given out though it is none
	programNoted bool                // the chain has what this machine works with, or what is pending has
	programFar   bool                // it is not known whether it has: a table is not near
	begun        []metCommit         // while the chain is loaded, what commits will have

	older    bool         // the store is behind what was seen, and is shown all the same
	gone     chain.Link   // the minimum head of the drive's header, where it was given up
	aside    int          // operations of the journal that are therefore not shown
	accepted *accepted    // nil: nothing was accepted, or it is done
	lost     []chain.Link // commits of the history that is known and not shown, which lie in slots of the one that is
	behind   *lookback    // nil: what waits here is shown on the history that it was made on
	bucket   *counted
	room     *room
	spare    *spare
	notes    notes
	hints    *publish.PassedHints
	ahead    ahead // what is read, and what will be

	life context.Context // ends when Shutdown begins
	kill context.CancelFunc

	enroll door // held while the machine is being enrolled; taken before all others

	persisting sync.Mutex // held while operations go from the queue to the journal; taken before mu

	landing landing // of written bytes in packs

	confirming waiting // programs that wait for the store

	locks fileLocks // what this machine has of the locks that all share

	kept atomic.Uint64 // slot as of which this machine's leases were looked at

	quietDays atomic.Int64 // see Status.QuietDays

	counting atomic.Bool // conflicts are being brought near, to be counted

	told      uint64    // the newest slot that the journal has of those that its operations follow; persisting guards it
	tentative tentative // operations whose programs wait for the store
	equals    equals
	places    places
	astray    bool // what the journal held was not made on the state that it was executed on

	mu        sync.Mutex // guards the fields below; held over view.Execute, never over the store, and over the disk where another machine's change makes a copy alone
	device    meta.Device
	nextOp    meta.OpNo
	queue     []queued  // executed, not in the journal yet
	pos       uint64    // the journal's position after the newest record of ours
	synced    meta.OpNo // operations up to this one are in the journal, synced
	dirty     map[meta.Ino]*dirty
	open      map[meta.Ino]*opened // by what it is
	held      map[meta.Ino]*opened // by what those call it who have it open
	former    former
	holds     uint64
	orphans   map[meta.Ino]*orphan
	accesses  accesses
	decided   map[meta.Ino]bool // what Remote said of directories
	decisions uint64            // rises when that is forgotten

	lockDecided map[meta.Ino]bool // what LocksAcross said; forgotten with decided
	closing     bool
	broken      error // the journal takes nothing more, and no change is accepted
	watcher     Watcher

	stop    context.CancelFunc // ends Run; nil while it does not work
	stopped chan struct{}      // closed when Run returned
}

// queued is an operation on its way to the journal, or what another machine's slots
// made of those before it. In the journal they stand in the order in which they happened:
// what replaces an operation never without that.
type queued struct {
	no   meta.OpNo
	time meta.Time
	op   meta.Op
	slot uint64 // that the operation was executed on, or an earlier one that it fits as well

	followed *followed // nil: it is an operation
}

const (
	// syncEvery is how often what waits in memory goes to the journal, settleAge
	// how old file data must be to become an operation by itself. Together they
	// keep the promise of 5 s.
	syncEvery = time.Second
	settleAge = 3 * time.Second
)

// Run does the work in the background until ctx ends or Shutdown is called. It is
// called once.
func (v *Volume) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	v.mu.Lock()
	if v.closing {
		v.mu.Unlock()
		return nil
	}
	stopped := make(chan struct{})
	v.stop, v.stopped = cancel, stopped
	v.mu.Unlock()
	defer func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.stop = nil
		close(stopped)
	}()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return v.packs.Run(ctx) })
	if v.o.ReadOnly {
		g.Go(func() error { return v.sync.Follow(ctx) })
	} else {
		g.Go(func() error { return v.sync.Run(ctx) })
	}
	g.Go(func() error { return v.keepLocks(ctx) })
	g.Go(func() error {
		tick := time.NewTicker(syncEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
				v.settle(ctx, settleAge)
				v.bringProgram(ctx)
				v.keepLeases(ctx)
			}
		}
	})
	return g.Wait()
}

// settle turns file data older than age into operations and brings everything
// to the journal. What fails stays in memory; the next tick, or an fsync, tries
// again.
func (v *Volume) settle(ctx context.Context, age time.Duration) {
	v.noted("changes", v.ripen(ctx, age))
	v.noted("journal", v.persist())
	v.tend()
}

// noted keeps the note of a subject as err says, and logs an error once.
func (v *Volume) noted(subject string, err error) {
	if err == nil {
		v.notes.mend(subject)
	} else if v.notes.warn(subject, err) {
		v.log.Warn("changes wait in memory", "subject", subject, "err", err)
	}
}
