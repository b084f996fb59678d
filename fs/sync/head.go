package sync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/store"
)

// endLength is how many bytes of a commit's end are enough to know it: its salt and its
// commitment, which no other object has.
const endLength = 64

// end is what is known of the object that the head of the chain lies in.
type end struct {
	id    chain.ID
	bytes []byte // its last endLength
	seen  bool   // the store had it, and nothing was put since
	sight sight  // when that was
}

// seenFor is how long what was seen of the head needs no further look.
const seenFor = 2 * time.Second

// saw notes that the store showed the head at a moment; working is held.
func (s *Syncer) saw(at time.Time, up time.Duration) {
	s.sight.at, s.sight.up = at, up
	s.end.seen, s.end.sight = true, s.sight
}

// seen says whether the store had the object of the commit id just now.
func (s *Syncer) seen(id chain.ID) bool {
	e := &s.end
	return e.id == id && e.seen && time.Since(e.sight.at) < seenFor && s.o.Uptime()-e.sight.up < seenFor
}

// knows keeps the end of the object of commit id; working is held.
func (s *Syncer) knows(id chain.ID, object []byte) {
	s.end = end{id: id, bytes: bytes.Clone(object[max(0, len(object)-endLength):])}
}

// headThere is asked before a commit is put: the store must have the slot of the head
// still. One that was set back while this machine was at work, by a backup or by
// another disk in the place of the right one, would take the commit, above a hole where
// nobody reads it, and what waits here would be forgotten. Nothing is given up: it is
// tried again, and goes on when the store is what it was. working is held.
func (s *Syncer) headThere(ctx context.Context) error {
	head, id := s.o.Chain.Slot, s.o.Chain.Head
	if head == 0 || s.seen(id) {
		return nil
	}
	if err := s.awake(ctx); err != nil {
		return err
	}
	there, err := s.lookAtHead(ctx, head, id)
	if err == nil && !there {
		// A bad line, or a bad moment.
		if there, err = s.lookAtHead(ctx, head, id); there {
			s.log.Warn("the store showed something else in the newest slot, and the right commit when it was asked again", "slot", uint64(head))
		}
	}
	if err != nil {
		return fmt.Errorf("look whether slot %d is still there: %w", head, err)
	}
	if !there {
		if on, err := s.wentOn(ctx); on || err != nil {
			return err
		}
		s.forgetUploads()
		what, lerr := s.gone(ctx, head)
		if lerr != nil {
			return fmt.Errorf("look what is missing: %w", lerr)
		}
		err = fmt.Errorf("%w: slot %d, the newest that this machine knows, is gone or another%s; what waits stays in the journal until the store is what it was", ErrRollback, head, what)
		if hint := s.hints.newer(head, s.o.Chain.Ledger); hint.name != "" {
			// Nobody vouches for it, but it may explain the rest.
			err = fmt.Errorf("%w. Or others went on from there, and the slot was trimmed: %s seems to be %w", err, hint.name, chain.ErrVersion)
		}
	}
	s.setMissing(err)
	if s.end.seen = false; there {
		s.saw(time.Now(), s.o.Uptime())
	}
	return err
}

// gone says what is missing besides the newest slot, as far as this machine knows.
func (s *Syncer) gone(ctx context.Context, head chain.Slot) (string, error) {
	vol := s.volume
	below, _, err := listPage(ctx, s.o.Bucket, vol, chain.SlotName(vol, head), 1)
	s.reached(err)
	if err != nil {
		return "", err
	}
	var had chain.Slot
	if len(below) > 0 {
		had = below[len(below)-1]
	}
	if had == 0 {
		page, err := s.o.Bucket.List(ctx, chain.VolumePrefix(vol), "", 1)
		s.reached(err)
		if err != nil {
			return "", err
		}
		if len(page) == 0 {
			return ". The store has nothing at all of this drive: another drive's, or an empty one, may lie in its place", nil
		}
	}
	same, known, err := s.remembers(ctx, had)
	if err != nil {
		return "", err
	}
	if had == 0 {
		return fmt.Sprintf(". Below it the store has no slot. Missing: %s", MissingOf(known, same, 1, head)), nil
	}
	return fmt.Sprintf(". Below it the store has slot %d. Missing: %s", had, MissingOf(known, same, had+1, head)), nil
}

// wentOn says whether a commit that goes on from the head lies in the next slot. Then the
// head is a part of what the store has, and was trimmed while this machine slept: what is
// put is lost against that commit, which is followed. Another history there stops this
// machine for good.
func (s *Syncer) wentOn(ctx context.Context) (bool, error) {
	slot := s.slot()
	object, err := s.get(ctx, chain.SlotName(s.volume, slot), chain.MaxCommit)
	if err != nil {
		return false, answered(err)
	}
	if a := s.attempt; a != nil && a.Slot == slot && s.o.Chain.Is(slot, a.ID, object) {
		return true, nil
	}
	j, err := s.judge(ctx, slot, object)
	if s.halted() != nil {
		return false, err
	}
	return err == nil && j.Verdict == chain.Valid, nil
}

// lookAtHead says whether the store has the object of the head.
func (s *Syncer) lookAtHead(ctx context.Context, head chain.Slot, id chain.ID) (bool, error) {
	name := chain.SlotName(s.volume, head)
	if s.end.id != id {
		if object, err := s.o.Slots.Get(head); err == nil && s.o.Chain.Is(head, id, object) {
			s.knows(id, object)
		}
	}
	if s.end.id == id {
		got, err := s.o.Bucket.Get(ctx, name, -endLength, -1)
		s.reached(err)
		return bytes.Equal(got, s.end.bytes), answered(err)
	}
	object, err := s.get(ctx, name, chain.MaxCommit)
	if err != nil || !s.o.Chain.Is(head, id, object) {
		return false, answered(err)
	}
	s.knows(id, object)
	return true, nil
}

// answered is nil for the answer that there is no such object.
func answered(err error) error {
	if errors.Is(err, store.ErrNotExist) {
		return nil
	}
	return err
}

// forgetUploads has packs that no slot names yet sent again: where they went may be
// another store than the one that the commit goes to.
func (s *Syncer) forgetUploads() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.uploaded)
	s.forgot++
}

// setMissing notes why nothing is put for now; nil: the store has what it had.
func (s *Syncer) setMissing(err error) {
	s.mu.Lock()
	was := s.missing
	s.missing = err
	s.mu.Unlock()
	switch {
	case err != nil && was == nil && !errors.Is(err, ErrRollback):
		s.log.Error("nothing is written to the store for now", "err", err)
	case err != nil && was == nil:
		s.log.Error("nothing is written to the store: it was set back", "err", err)
	case err == nil && was != nil:
		s.log.Info("the store is what it was")
	}
	if err != nil {
		s.release()
	}
}

// keep hands on a commit that the chain moves over.
func (s *Syncer) keep(slot chain.Slot, object []byte) {
	if s.o.Keep != nil {
		s.o.Keep(slot, object)
	}
	s.o.Slots.Put(slot, object)
}

// note remembers the newest commits one by one, so that it can be told what a store is
// without that was set back. Nothing else depends on it.
func (s *Syncer) note() {
	if err := s.o.State.Note(s.o.Chain.Remembered()); err != nil {
		s.log.Warn("the newest commits are not remembered one by one", "err", err)
	}
}
