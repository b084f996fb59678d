package sync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/journal"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
	"github.com/hushfs/hushfs/fs/view"
	"github.com/hushfs/hushfs/store"
)

// attempt is a sealed commit on its way to its slot.
type attempt struct {
	*chain.Sealed
	first, last meta.OpNo
	packs       func() []pack.Info // that it makes known; asked after the view shows it; nil: none
	journaled   bool
	sent        bool        // perhaps, and perhaps long ago
	part        []view.Fill // that it brings, and no operation; a crash has them brought again
	enrols      bool        // brings no operation, and so is in no journal: a crash wastes a device number
}

// taken is a slot that holds a commit of ours.
type taken struct {
	slot  chain.Slot
	id    chain.ID
	last  meta.OpNo
	packs []pack.Info
}

// conclude brings the commit that is on its way, if there is one, to an end:
// its slot is ours, or somebody else's and followed. After an error it is still
// on its way, and only its own bytes may be sent for that slot.
func (s *Syncer) conclude(ctx context.Context) error {
	if err := s.show(ctx); err != nil {
		return err
	}
	if err := s.tell(); err != nil {
		return err
	}
	a := s.attempt
	if a == nil {
		return nil
	}
	if err := s.writeDown(a); err != nil {
		return err
	}
	won, err := s.send(ctx, a)
	if errors.Is(err, errReturned) {
		return nil // and its slot is known to be ours or not
	}
	if err != nil || won == nil {
		return err
	}
	s.o.Step("sync.taken")
	s.o.View.Settle(uint64(won.Slot), won.Last, won.Batch, won.Usage)
	if a.part != nil {
		s.o.View.Brought(a.part)
	}
	s.folded(ctx, won)
	s.attempt = nil
	s.mu.Lock()
	s.settled = max(s.settled, won.Last)
	s.mu.Unlock()
	s.tookSlot(a)
	return s.tell()
}

// tookSlot notes that a commit lies in its slot, for tell.
func (s *Syncer) tookSlot(a *attempt) {
	if a.enrols {
		return
	}
	s.untold = &taken{slot: a.Slot, id: a.ID, last: a.last}
	if a.packs != nil {
		s.untold.packs = a.packs()
	}
}

// writeDown makes the sealed bytes durable before they are sent for the first
// time, so that after a crash the same are sent again.
func (s *Syncer) writeDown(a *attempt) error {
	if a.journaled || a.enrols {
		return nil
	}
	if s.o.Across != nil {
		if err := s.o.Across(a.last); err != nil {
			return err
		}
	}
	pos, err := s.o.Journal.Append(journal.Attempted(journal.AttemptRecord{
		Slot: uint64(a.Slot), ID: a.ID, First: a.first, Last: a.last, Object: a.Object,
	}))
	if err == nil {
		err = s.o.Journal.Sync(pos)
	}
	if err != nil {
		return err
	}
	a.journaled = true
	s.o.Step("sync.attempt")
	return nil
}

// send sends a until its slot is known to be ours or somebody else's. In the
// first case it returns the commit, over which the chain has moved; in the second
// nil, and what lies in the slot was followed.
func (s *Syncer) send(ctx context.Context, a *attempt) (*chain.Commit, error) {
	wait := backoffMin
	for ; ; a.sent = true {
		if err := s.awake(ctx); err != nil {
			return nil, err
		}
		if err := s.packsThere(ctx, a); err != nil {
			return nil, err
		}
		if err := s.headThere(ctx); err != nil {
			return nil, err
		}
		s.end.seen = false
		s.o.Step("sync.put")
		err := s.o.Bucket.PutIfAbsent(ctx, chain.SlotName(s.volume, a.Slot), a.Object)
		s.reached(err)
		if err == nil {
			return s.won(ctx, a)
		}
		if errors.Is(err, store.ErrExist) {
			return s.resolve(ctx, a)
		}
		// Unknown: it may lie there now, or still arrive. Only the same bytes
		// may be sent again.
		level := slog.LevelWarn
		if s.unsent {
			level = slog.LevelDebug // it was said
		}
		s.unsent = true
		s.log.Log(ctx, level, "commit not acknowledged", "slot", uint64(a.Slot), "err", err, "again in", wait)
		taken, err := s.pauseAt(ctx, a.Slot, wait)
		if err != nil {
			return nil, err
		}
		if taken {
			return s.resolve(ctx, a)
		}
		wait = min(2*wait, backoffMax)
	}
}

// pauseAt is pause before slot is tried again, and ends when something lies in it, which it
// says. Who can read and not send, as where the store is full, would else show nothing of
// what others do: the follower finds it, and waits for working. The slot is looked for as
// often as the follower does while the mount is in use, else before each try. That the store
// answers such a look is not noted: nothing can be sent all the same.
func (s *Syncer) pauseAt(ctx context.Context, slot chain.Slot, d time.Duration) (taken bool, err error) {
	s.setNextTry(time.Now().Add(d))
	defer s.setNextTry(time.Time{})
	over := time.NewTimer(d)
	defer over.Stop()
	tick := time.NewTicker(backoffMin)
	defer tick.Stop()
	looked := time.Now()
	for again := false; !again; {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-s.wake: // somebody begins to wait
			again = true
		case <-over.C:
			again = true
		case <-tick.C:
			// The follower takes the note away that the mount is used, until it has found
			// something and waits.
			if !s.polling.used.Load() || time.Since(looked) < max(s.o.Poll, pollEvery) {
				continue
			}
		}
		_, err := s.o.Bucket.Get(ctx, chain.SlotName(s.volume, slot), 0, 1)
		if err == nil {
			return true, nil
		}
		looked = time.Now()
	}
	return false, nil
}

// looks is how many packs are looked for at a time: who looks for one after the other on a
// slow line loses each slot meanwhile to others, and follows nobody.
const looks = 16

// packsThere has the store have what a names, before that is sent. The packs went there
// before, and may be gone with a store that was set back since to where the head is what it
// was. As long as a was not sent yet those that came a moment ago need no look.
func (s *Syncer) packsThere(ctx context.Context, a *attempt) error {
	c, err := s.o.Chain.Open(a.Slot, a.Object)
	if err != nil {
		return nil // the slot decides
	}
	var packs, missing []pack.Info
	for _, no := range packsOf(c.Batch) {
		if p, ok := s.o.Packs.Local(no); ok { // else the chain has it
			packs = append(packs, p)
		}
	}
	look := packs
	if !a.sent {
		look = s.uploadedLong(packs)
	}
	var mu sync.Mutex // guards missing
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(looks)
	for _, p := range look {
		g.Go(func() error {
			there, err := s.packThere(gctx, p)
			if err == nil && !there {
				mu.Lock()
				defer mu.Unlock()
				missing = append(missing, p)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if len(missing) == 0 {
		return nil
	}
	s.log.Warn("packs that were sent are not in the store, and are sent again", "packs", len(missing))
	s.forgetUploads()
	s.end.seen = false // the head may have gone with them
	err = s.uploadAll(ctx, missing)
	if errors.Is(err, errLocal) {
		return s.stop(err)
	}
	return err
}

// packThere says whether the store has a pack. One that it has needs no further look for a
// moment: who loses the slot meanwhile would else look for all of them again, for each.
func (s *Syncer) packThere(ctx context.Context, p pack.Info) (bool, error) {
	at := s.moment()
	_, err := s.o.Bucket.Get(ctx, chain.PackName(s.volume, p.Name), -1, -1)
	s.reached(err)
	if errors.Is(err, store.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look whether a pack is still there: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// That something lies under the name of another is no proof that it is this pack: who
	// uploads it has to compare it still.
	if _, ok := s.uploaded[p.Name]; ok {
		s.uploaded[p.Name] = at
	}
	return true, nil
}

// uploadedLong are those of packs of which it is not known that the store took them more
// recently than what was seen of the head holds. That counts from the beginning of an upload,
// or of a look: the store may have taken a pack, or found it, at once, been set back to before
// that, and answered after.
func (s *Syncer) uploadedLong(packs []pack.Info) (long []pack.Info) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range packs {
		if at, ok := s.uploaded[p.Name]; !ok || s.since(at) >= seenFor {
			long = append(long, p)
		}
	}
	return long
}

// resolve looks at what lies in the slot of a, which somebody took: we, when an
// earlier answer was lost, or another device. The attempt is given up only after
// what lies there was judged: bytes that a bad line changed are no proof.
func (s *Syncer) resolve(ctx context.Context, a *attempt) (*chain.Commit, error) {
	next := s.readAhead(ctx, true)
	defer next.end()
	f := next.take(a.Slot)
	if f.err != nil {
		return nil, fmt.Errorf("look at slot %d: %w", a.Slot, f.err)
	}
	if bytes.Equal(f.object, a.Object) {
		return s.won(ctx, a)
	}
	j, err := s.judge(ctx, a.Slot, f.object)
	if err != nil {
		return nil, err
	}
	if j.Verdict == chain.Junk {
		next.alone()
	}
	// Until the slot is passed the attempt stands: given up before, the next commit
	// would be signed for the same slot.
	passed, err := s.pass(ctx, j, f)
	if !passed {
		return nil, err
	}
	s.attempt = nil
	if err := errors.Join(err, s.lost(a)); err != nil {
		return nil, err
	}
	return nil, s.catchUpBy(ctx, next)
}

// won moves the chain over a commit of ours.
func (s *Syncer) won(ctx context.Context, a *attempt) (*chain.Commit, error) {
	j, err := judge(ctx, s.o.Chain, a.Slot, a.Object, s.o.View.Confirmed())
	if err != nil {
		return nil, fmt.Errorf("judge own slot %d: %w", a.Slot, err)
	}
	if j.Verdict != chain.Valid {
		return nil, s.stop(fmt.Errorf("own commit in slot %d is not valid: %s", a.Slot, j.Reason))
	}
	if err := s.o.Chain.Advance(j.Commit); err != nil {
		return nil, s.stop(err)
	}
	if len(j.Commit.Records) > 0 {
		s.o.Keys.learn(s.o.Chain)
		s.surveyed.Store(s.o.Chain.Clone())
		s.owing = true
	}
	s.bytes += int64(len(a.Object))
	s.moved, s.own = time.Now(), j.Commit.ID
	s.knows(j.Commit.ID, a.Object)
	s.sighted()
	s.keep(a.Slot, a.Object)
	s.setNext(a.Slot + 1)
	s.unsent = false
	return j.Commit, nil
}

// lost records that the slot of an attempt belongs to somebody else.
func (s *Syncer) lost(a *attempt) error {
	if !a.journaled {
		return nil
	}
	pos, err := s.o.Journal.Append(journal.Lost(journal.LostRecord{Slot: uint64(a.Slot), ID: a.ID}))
	if err != nil {
		return err
	}
	return s.o.Journal.Sync(pos)
}

// tell records a slot of ours in state and journal, if there is one that they
// were not told of. The head is remembered before the journal forgets the
// operations: a machine that knows less than the chain says of it would take
// itself for a copy. What fails is done again before anything else is published.
func (s *Syncer) tell() error {
	t := s.untold
	if t == nil {
		return nil
	}
	if err := s.o.State.Remember(s.o.Chain.Remember(), t.last); err != nil {
		return fmt.Errorf("remember slot %d: %w", t.slot, err)
	}
	s.note()
	s.o.Step("sync.remembered")
	r := journal.SettledRecord{Slot: uint64(t.slot), ID: t.id, Last: t.last}
	for _, p := range t.packs {
		r.Packs = append(r.Packs, p.No)
	}
	if err := s.o.Journal.Settle(r); err != nil {
		return err
	}
	s.o.Step("sync.settled")
	for _, p := range t.packs {
		if err := s.adopt(p); err != nil {
			s.log.Warn("pack not cached", "object", p.Name.String(), "err", err)
		}
	}
	s.untold = nil
	s.o.Step("sync.moved")
	return nil
}

// Resolve settles a commit of this device that was on its way when the machine
// stopped. Where its slot was followed already, the chain says whether it was
// ours, and so whoever loaded it does by ours; else the same bytes are sent again, and
// what lies in the slot decides. stored are the closed packs that the chain names.
// Where nothing may be written any more the commit stays in the journal. After an error
// going says that the commit is on its way still: nothing else is sent before, and Run goes
// on with it.
func (s *Syncer) Resolve(ctx context.Context, c *chain.Sealed, last meta.OpNo, ours bool, stored func() []pack.Info) (going bool, err error) {
	if err := s.turn(ctx); err != nil {
		return false, err
	}
	defer s.working.Unlock()
	a := &attempt{Sealed: c, last: last, packs: stored, journaled: true, sent: true}
	if c.Slot < s.slot() {
		if !ours {
			return false, s.lost(a)
		}
		s.untold = &taken{c.Slot, c.ID, last, stored()}
		return false, s.tell()
	}
	if s.halted() != nil {
		return false, nil
	}
	s.attempt = a
	err = s.conclude(ctx)
	s.setFailure(err) // what is on its way still goes first, also where nothing else waits
	return s.attempt != nil, err
}
