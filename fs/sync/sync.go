// Package sync publishes pending operations and follows slots.
//
// It holds both the chain, which says what is valid, and the view, which says
// what that means, and moves them together: a slot is judged by the one, then
// applied to the other. To publish is to upload the packs that a batch names,
// write down the sealed commit, and try to take the next slot with it. Whatever
// the store answers but a clean yes is unknown, and is settled by sending the
// same bytes again and looking at what lies in the slot. Until that is known no
// other commit is made.
package sync

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hushfs/hushfs/cache"
	"github.com/hushfs/hushfs/crypt"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/block"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/journal"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
	"github.com/hushfs/hushfs/fs/state"
	"github.com/hushfs/hushfs/fs/table"
	"github.com/hushfs/hushfs/fs/view"
	"github.com/hushfs/hushfs/store"
)

// Options of a Syncer. All but Cache, Evidence, Eager, Log and Step must be set.
type Options struct {
	Bucket   store.Bucket
	Chain    *chain.State
	View     *view.View
	Journal  *journal.Journal
	Packs    *pack.Writer
	PackDir  string // of the closed packs' files
	State    *state.State
	Identity *identity.Identity
	Cache    *cache.Cache  // takes the files of packs that are in the store
	Tables   *block.Reader // reads tables, by the keys of Keys
	Keys     *Keys
	Memory   *table.Memory

	Reading bool // nothing is ever published

	// Persist brings everything that was executed to the journal, synced.
	Persist func() error

	// Still calls fn with the packs that something else than a pending operation
	// needs, while no bytes are on their way from a pack to an operation.
	Still func(fn func(needed map[meta.PackNo]bool) error) error

	// Gather makes operations of what programs wrote and is none yet, before the
	// content of their files may change under them.
	Gather func() error

	// Across has the journal know what operations after a number need of those up to it,
	// before a commit with these is sent; it is synced with that. Nil: nothing.
	Across func(last meta.OpNo) error

	// Rebase says how pending operations are executed again where other machines
	// changed what they are about.
	Rebase func() meta.RebaseOptions

	// Replace writes down, in the order of the journal, that the map shows a slot now
	// and what stands for some operations. The map waits for it.
	Replace func(view.Followed) error

	// Switch calls show, which has the view show slots of other machines, or with none
	// another state, and makes all that depends on it fit, while nobody looks.
	Switch func(slots []view.Slot, show func() (view.Followed, error)) error

	// Evidence is given the object of a slot that proves two histories, before
	// the store can take it away.
	Evidence func(slot chain.Slot, object []byte)

	Eager func() bool // says that what is pending is to go now, since it takes room; nil never says so

	Keep func(slot chain.Slot, object []byte) // see LoadOptions.Keep; nil is none

	Slots *LocalSlots // keeps the commits above the checkpoint; nil: nobody

	Trim      TrimOptions
	Untrimmed func(error)             // told why old commits stay, where a person should know; nil again when they go
	Holed     func(chain.Slot, error) // told of a slot that is gone below others; nil again when nobody needs it; nil: nobody is told
	Wrong     func(WrongFold)         // told of a checkpoint that is wrong
	Quiet     func(Quiet)             // told when it is remarkable that nothing of others comes, and when it does again; nil: nobody is

	Log  *slog.Logger
	Step func(name string) // called at each step of Steps; nil is none

	Clock       func() time.Time     // whose dates tell days apart; nil is time.Now
	Uptime      func() time.Duration // of this machine, its sleep included; nil is what the system says
	FoldCommits int                  // how many commits above a checkpoint are folded; 0 means 256
	Poll        time.Duration        // how often the next slot is looked for while the mount is in use; 0 means 1.5 s
}

// Steps are the names given to Options.Step, in the order of a commit's life.
var Steps = []string{"sync.upload", "sync.uploaded", "sync.build", "sync.attempt", "sync.put", "sync.taken", "sync.remembered", "sync.settled", "sync.moved"}

// FoldSteps are those of a fold, whose announcing commit takes some of Steps between
// the last table and its hint.
var FoldSteps = []string{"fold.begin", "fold.table", "fold.merged", "fold.announced", "fold.hinted"}

const (
	// idleAge is how old the oldest operation becomes before it is published by
	// itself; eagerBytes is how much pending file data makes it go sooner.
	idleAge    = 5 * time.Second
	eagerBytes = 64 << 20

	// pace is the least time between two commits when nobody waits.
	pace = 500 * time.Millisecond

	// sweepEvery is how often packs that nothing needs are looked for while
	// nothing is pending.
	sweepEvery = 10 * time.Second

	// batchLimit is the length in bytes at which a batch takes no further
	// operation. A commit is at most 1 MiB; one operation, the pack records and
	// the envelope come on top.
	batchLimit = 512 << 10

	// batchMost is the length of a batch of several operations, so that the pack records
	// and the envelope have room.
	batchMost = batchLimit + meta.MaxOpBatch

	// packsMax is how many packs the operations of one commit name. Only the commit
	// frees their room on the disk, so on a slow line it must not take too many: of
	// 256 MiB a commit is the smallest part.
	packsMax = 64

	// packsSoon is the same for hurriedFor after a program waited for a commit.
	packsSoon  = 8
	hurriedFor = time.Minute

	// uploads is how many packs are on their way at a time.
	uploads = 4

	backoffMin = 200 * time.Millisecond
	backoffMax = 30 * time.Second
)

// Syncer publishes one volume. Its methods are safe for concurrent use.
type Syncer struct {
	o      Options
	log    *slog.Logger
	volume crypt.VolumeID // that of the chain, which only who holds working may look at
	wake   chan struct{}  // of capacity 1: look now

	polling polling
	rival   atomic.Int64 // uptime when a commit of another machine came; 0: none did

	folding sync.Mutex // held by who folds; taken before working

	publishing sync.Mutex // held by who publishes operations; taken before working; guards pacing
	pacing     pacing

	working sync.Mutex // held by who publishes, follows or enrols; taken before mu; guards what follows
	attempt *attempt   // a commit whose outcome is not known; no other is made before it is
	unsent  bool       // the store did not take the last commit that was sent, which the log says once
	untold  *taken     // a slot of ours that state and journal were not told of yet
	behind  bool       // state, and maybe journal, do not know yet where the view went
	swept   time.Time
	tables  *table.Set    // of the newest checkpoint
	bytes   int64         // of the commits above it
	moved   time.Time     // when the last of these came
	heard   time.Duration // uptime when nothing was known to have gone on without this machine
	hint    *chain.Hint   // the newest that is known
	owing   bool          // see owes
	own     chain.ID      // of the newest commit that this machine made
	end     end           // of the object of the head
	sight   sight
	quiet   quiet
	astray  astray
	unseen  unseen // what the chain was moved over and the view was not
	width   int    // see ahead
	forks   forks
	wrong   *WrongFolds
	hints   *PassedHints

	squatted chain.Slot    // the newest that was listed when dead slots were passed over
	dead     atomic.Uint64 // slots that were passed over since New
	counted  chain.Slot    // dead slots below it are counted, by who loaded the chain or in dead
	trim     trimming

	surveyed atomic.Pointer[chain.State] // with the newest ledger, for who does not hold working; see Survey

	mu       sync.Mutex // guards the fields below; taken before the view's lock
	next     chain.Slot // the slot to be tried: above the head, dead slots jumped
	settled  meta.OpNo  // newest operation of ours in the chain
	waiting  map[*waiter]bool
	uploaded map[crypt.Name]moment // packs that no slot names yet, and when the store took them
	forgot   int                   // how often uploaded was cleared, since packs may have gone elsewhere
	offline  error                 // why the last request failed
	failure  error                 // why the last attempt to publish did
	stopped  error                 // nothing is published any more
	missing  error                 // nothing is published while the store is without what it had
	ended    bool                  // Run has returned
	hurried  time.Time             // when a program waited last
	nextTry  time.Time             // when a failure is tried again; zero: nothing waits
}

// waiter waits until operations up to last are in the chain.
type waiter struct {
	last meta.OpNo
	soon bool          // a program waits, for these operations and none after
	done chan struct{} // closed when err is final
	err  error
}

// New returns a syncer that goes on after what Load returned.
func New(o Options, l *Loaded, settled meta.OpNo) *Syncer {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Uptime == nil {
		o.Uptime = uptime
	}
	if o.FoldCommits == 0 {
		o.FoldCommits = foldCommits
	}
	if o.Step == nil {
		o.Step = func(string) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Evidence == nil {
		o.Evidence = func(chain.Slot, []byte) {}
	}
	// Packs are sealed under the key of the state that is gone on from, which may be an
	// earlier one than Load's.
	o.Keys.learn(o.Chain)
	heard := o.Uptime()
	if l.earlier {
		heard -= sleepMax // the slots above may be trimmed
	}
	s := &Syncer{
		o:        o,
		log:      o.Log,
		volume:   o.Chain.Volume,
		wake:     make(chan struct{}, 1),
		polling:  newPolling(),
		tables:   l.tables,
		bytes:    l.bytes,
		hint:     l.hint,
		owing:    l.hint.Ledger.Head != l.Chain.Ledger.Head(),
		moved:    time.Now(),
		sight:    sight{at: time.Now(), up: o.Uptime(), holes: time.Now(), hints: time.Now()},
		heard:    heard,
		next:     l.Next,
		counted:  max(l.Next, l.counted),
		settled:  settled,
		waiting:  map[*waiter]bool{},
		uploaded: map[crypt.Name]moment{},
		stopped:  l.Trouble,
		forks:    l.forks,
		width:    2,
		wrong:    l.o.Wrong,
		hints:    l.o.Hints,
		trim:     trimming{next: time.Now().Add(trimFirst)},
	}
	s.surveyed.Store(o.Chain.Clone())
	return s
}

// Trouble says why nothing is published, for good or until the store is what it was,
// and why the store cannot be reached; empty and nil where it is and can.
func (s *Syncer) Trouble() (stopped string, offline error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopped != nil:
		stopped = s.stopped.Error()
	case s.missing != nil:
		stopped = s.missing.Error()
	}
	return stopped, s.offline
}

// Failure is why the last attempt to publish failed, nil when it did not. It is
// tried again.
func (s *Syncer) Failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

// Settled is the newest operation of this device that is in the chain.
func (s *Syncer) Settled() meta.OpNo {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settled
}

// stop ends publishing for good; working is held.
func (s *Syncer) stop(err error) error {
	s.mu.Lock()
	first := s.stopped == nil
	if first {
		s.stopped = err
	}
	s.mu.Unlock()
	if first {
		s.log.Error("nothing more is written to the store", "err", err)
	}
	s.release()
	return err
}

// halted is why nothing is published any more, nil when it is.
func (s *Syncer) halted() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopped
}

// reached notes whether the store answered.
func (s *Syncer) reached(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil || errors.Is(err, store.ErrExist) || errors.Is(err, store.ErrNotExist) {
		s.offline = nil
	} else if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		s.offline = err
	}
}

// get reads an object of at most limit bytes; of a longer one it returns one
// byte more, which is enough to refuse it.
func (s *Syncer) get(ctx context.Context, name string, limit int64) ([]byte, error) {
	b, err := s.o.Bucket.Get(ctx, name, 0, limit+1)
	s.reached(err)
	return b, err
}

// slot is the one to be tried next.
func (s *Syncer) slot() chain.Slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next
}

func (s *Syncer) setNext(n chain.Slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = n
}
