// Package sync publishes pending operations and follows slots.
//
// It holds both the chain, which says what is valid, and the view, which says
// what that means, and moves them together: a slot is judged by the one, then
// applied to the other. To publish is to upload the packs that a batch names,
// write down the sealed commit, and try to take the next slot with it. Whatever
// the store answers but a clean yes is unknown, and is settled by sending the
// same bytes again and looking at what lies in the slot.
package sync

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/hushfs/hushfs/cache"
	"github.com/hushfs/hushfs/crypt/identity"
	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/journal"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
	"github.com/hushfs/hushfs/fs/state"
	"github.com/hushfs/hushfs/fs/view"
	"github.com/hushfs/hushfs/store"
)

var (
	// ErrFork: a slot holds a commit, signed by a writer, of another history.
	ErrFork = errors.New("the store shows two histories")

	// ErrRollback: a slot that was there is gone, or an older one is shown.
	ErrRollback = errors.New("the store is missing commits")

	// ErrConflict: another machine changed what a pending operation is about.
	ErrConflict = errors.New("another machine changed the same files")

	// ErrNoKey: no hint in the store holds the volume's key for this member.
	ErrNoKey = errors.New("no readable hint of the volume")
)

// Options of a Syncer. All but Cache, Log and Step must be set.
type Options struct {
	Bucket   store.Bucket
	Chain    *chain.State
	View     *view.View
	Journal  *journal.Journal
	Packs    *pack.Writer
	PackDir  string // of the closed packs' files
	State    *state.State
	Identity *identity.Identity
	Cache    *cache.Files // takes the files of packs that are in the store

	// Persist brings everything that was executed to the journal, synced.
	Persist func() error

	// Still calls fn with the packs that something else than a pending operation
	// needs, while no bytes are on their way from a pack to an operation.
	Still func(fn func(needed map[meta.PackNo]bool) error) error

	// Changed is told what the batch of another machine wrote, after the view
	// shows it.
	Changed func(b *meta.Batch)

	Log  *slog.Logger
	Step func(name string) // called at each step of Steps; nil is none
}

// Steps are the names given to Options.Step, in the order of a commit's life.
var Steps = []string{"sync.upload", "sync.uploaded", "sync.build", "sync.attempt", "sync.put", "sync.taken", "sync.remembered", "sync.settled", "sync.moved"}

const (
	// idleAge is how old the oldest operation becomes before it is published by
	// itself; eagerBytes is how much pending file data makes it go sooner.
	idleAge    = 5 * time.Second
	eagerBytes = 64 << 20

	// pace is the least time between two commits when nobody waits.
	pace = 500 * time.Millisecond

	// batchLimit is the length in bytes at which a batch takes no further
	// operation. A commit is at most 1 MiB; one operation, the pack records and
	// the envelope come on top.
	batchLimit = 512 << 10

	// uploads is how many packs are on their way at a time.
	uploads = 4

	backoffMin = 200 * time.Millisecond
	backoffMax = 30 * time.Second
)

// Syncer publishes one volume. Its methods are safe for concurrent use.
type Syncer struct {
	o    Options
	log  *slog.Logger
	wake chan struct{} // of capacity 1: look now

	working sync.Mutex // held by who publishes, follows or enrols; taken before mu

	mu      sync.Mutex // guards the fields below
	next    chain.Slot // the slot to be tried: above the head, dead slots jumped
	settled meta.OpNo  // newest operation of ours in the chain
	waiting map[*waiter]bool
	offline error // the last request failed
	stopped error // nothing is published any more
}

// waiter waits until operations up to last are in the chain.
type waiter struct {
	last meta.OpNo
	done chan struct{}
}

// New returns a syncer that goes on after what Load returned.
func New(o Options, l *Loaded, settled meta.OpNo) *Syncer {
	if o.Step == nil {
		o.Step = func(string) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Syncer{
		o:       o,
		log:     o.Log,
		wake:    make(chan struct{}, 1),
		next:    l.Next,
		settled: settled,
		waiting: map[*waiter]bool{},
		stopped: l.Trouble,
	}
}

// Run publishes what is pending until ctx ends.
func (s *Syncer) Run(ctx context.Context) error {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	backoff := backoffMin
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-s.wake:
		}
		if !s.due() {
			continue
		}
		err := s.Publish(ctx)
		if err == nil {
			backoff = backoffMin
			continue
		}
		if ctx.Err() != nil {
			return nil
		}
		s.log.Warn("not published", "err", err, "again in", backoff)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, backoffMax)
	}
}

// due says whether there is something to publish now.
func (s *Syncer) due() bool {
	s.mu.Lock()
	waited, stopped := len(s.waiting) > 0, s.stopped != nil
	s.mu.Unlock()
	if stopped {
		return false
	}
	pending := s.o.View.Pending()
	if len(pending) == 0 {
		s.release()
		return false
	}
	t := pending[0].Stamp.Time
	age := time.Since(time.Unix(t.Sec, int64(t.Nsec)))
	return waited || age < 0 || age >= idleAge || s.o.Packs.Bytes() >= eagerBytes
}

// Flush returns when all operations up to last are in the chain.
func (s *Syncer) Flush(ctx context.Context, last meta.OpNo) error {
	w := &waiter{last, make(chan struct{})}
	s.mu.Lock()
	if s.settled >= last {
		s.mu.Unlock()
		return nil
	}
	if s.stopped != nil {
		defer s.mu.Unlock()
		return s.stopped
	}
	s.waiting[w] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.waiting, w)
	}()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	select {
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		return errors.Join(ctx.Err(), s.offline)
	case <-w.done:
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.settled >= last {
			return nil
		}
		return s.stopped
	}
}

// release lets waiters go whose operations are in the chain, or all when
// nothing is published any more.
func (s *Syncer) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.o.View.Pending()) == 0 {
		// An operation that changed nothing took no number; all there is is stored.
		for w := range s.waiting {
			s.settled = max(s.settled, w.last)
		}
	}
	for w := range s.waiting {
		if s.settled >= w.last || s.stopped != nil {
			close(w.done)
			delete(s.waiting, w)
		}
	}
}

// Trouble says why the store cannot be reached, and why nothing is published
// any more; empty where it can and is.
func (s *Syncer) Trouble() (offline, stopped string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.offline != nil {
		offline = s.offline.Error()
	}
	if s.stopped != nil {
		stopped = s.stopped.Error()
	}
	return offline, stopped
}

// stop ends publishing for good.
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

// reached notes whether the store answered.
func (s *Syncer) reached(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil || errors.Is(err, store.ErrExist) || errors.Is(err, store.ErrNotExist) {
		s.offline = nil
	} else if !errors.Is(err, context.Canceled) {
		s.offline = err
	}
}
