package sync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
	"github.com/hushfs/hushfs/fs/view"
)

// Publish brings all operations that are pending now into the chain.
func (s *Syncer) Publish(ctx context.Context) error {
	if err := s.turn(ctx); err != nil {
		return err
	}
	defer s.working.Unlock()
	err := s.publishAll(ctx)
	s.setFailure(err)
	s.release()
	return err
}

func (s *Syncer) setFailure(err error) {
	s.mu.Lock()
	s.failure = err
	s.mu.Unlock()
}

func (s *Syncer) publishAll(ctx context.Context) error {
	if err := s.halted(); err != nil {
		return err
	}
	if err := s.comeBack(ctx); err != nil {
		return err
	}
	if err := s.conclude(ctx); err != nil {
		return err
	}
	if pending := s.o.View.Pending(); pending.Len() > 0 {
		if err := s.o.Persist(); err != nil {
			return err
		}
		last := pending.Last().No
		for {
			t := s.take(s.hurry(last))
			if t.Ops.Len() == 0 {
				break
			}
			if err := s.publish(ctx, t); err != nil && !errors.Is(err, errReturned) {
				return err
			}
			s.setFailure(nil) // before who waits looks
			s.release()
		}
	}
	return s.sweep()
}

// take merges the oldest operations up to the number last, as many as fit into
// a commit that names at most so many packs, if it has more than one operation. What
// stands for one operation may be several steps, and longer than an operation is.
func (s *Syncer) take(last meta.OpNo, packs int) view.Taken {
	for limit := batchLimit; ; limit /= 2 {
		t := s.o.View.Take(last, limit)
		if t.Ops.Len() == 0 || t.Ops.First().No == t.Ops.Last().No {
			return t
		}
		if len(packsOf(t.Batch)) <= packs && len(t.Batch.Encode()) <= batchMost {
			return t
		}
	}
}

// publish takes one slot with what operations wrote. A slot that goes
// to somebody else is followed, and nil is returned: they are pending still.
func (s *Syncer) publish(ctx context.Context, t view.Taken) error {
	if err := s.halted(); err != nil {
		return err // by what was followed
	}
	batch := t.Batch
	looked := s.lookAhead(ctx)
	packs, err := s.upload(ctx, batch)
	if lerr := <-looked; lerr != nil {
		s.forgetUploads()
		return lerr
	}
	s.end.seen = false // it is looked for again when the packs are there
	if err != nil {
		return err
	}
	if len(packs) > 0 {
		// Before the commit is made: one that is on its way is sent as it is, and so would
		// name packs that went to another store, which stood in the place of this one.
		if err := s.headThere(ctx); err != nil {
			s.forgetUploads()
			return err
		}
	}
	for _, p := range packs {
		ours := meta.AppendPackRecord(nil, meta.PackRecord{Name: p.Name, Length: uint32(p.Length), Epoch: uint32(p.Epoch)})
		// After a crash a pack may have been left here that the chain has already: its
		// record is written once. Another one under its number is a twin's.
		there, err := s.known(ctx, p.No)
		switch {
		case err == nil && bytes.Equal(there, ours):
			continue
		case err == nil:
			return s.stop(fmt.Errorf("%w: pack %d has another record in the chain", errTwin, p.No))
		case !errors.Is(err, meta.ErrAbsent):
			return err
		}
		batch.Puts = append(batch.Puts, meta.KV{Key: meta.PackKey(p.No), Value: ours})
	}
	slices.SortFunc(batch.Puts, func(a, b meta.KV) int { return bytes.Compare(a.Key, b.Key) })
	s.o.Step("sync.build")
	device, number, _ := s.o.State.Device()
	// Not the number of the first: one before it may change nothing any more, after
	// another machine did the same, and numbers in the chain have no gaps.
	first, last := s.o.Chain.LastOp[number]+1, t.Ops.Last().No
	c, err := s.o.Chain.Build(s.slot(), device, number, time.Now(), chain.Content{First: first, Last: last, Batch: batch, Usage: t.Usage})
	if err != nil {
		return fmt.Errorf("build commit: %w", err)
	}
	s.attempt = &attempt{Sealed: c, first: first, last: last, packs: func() []pack.Info { return packs }}
	return s.conclude(ctx)
}
