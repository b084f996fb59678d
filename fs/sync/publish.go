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
	if err := lockFor(ctx, &s.publishing); err != nil {
		return err
	}
	defer s.publishing.Unlock()
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

// publishAll takes one slot after the other. Between two commits, and while packs are on
// their way, others may follow, fold or take a slot of their own.
func (s *Syncer) publishAll(ctx context.Context) error {
	last, err := s.publishUpto(ctx)
	for more := last > 0; more && err == nil; {
		if err = s.rest(ctx); err == nil {
			more, err = s.publishNext(ctx, last)
		}
	}
	if err != nil {
		return err
	}
	if err := s.turn(ctx); err != nil {
		return err
	}
	defer s.working.Unlock()
	return s.sweep()
}

// publishUpto says which operation is the newest that is to be published now; 0: nothing is.
func (s *Syncer) publishUpto(ctx context.Context) (meta.OpNo, error) {
	if err := s.turn(ctx); err != nil {
		return 0, err
	}
	defer s.working.Unlock()
	if err := s.halted(); err != nil {
		return 0, err
	}
	if err := s.comeBack(ctx); err != nil {
		return 0, err
	}
	if err := s.conclude(ctx); err != nil {
		return 0, err
	}
	pending := s.o.View.Pending()
	if pending.Len() == 0 {
		return 0, nil
	}
	return pending.Last().No, s.o.Persist()
}

// sendings is how often the packs of one commit are sent while others may go on. What
// they do may make other packs of it; at last it is sent while nobody does anything.
const sendings = 4

// publishNext takes one slot with the oldest operations up to the number last, and says
// whether there were any. First their packs are sent, and that others go on meanwhile may
// change what the commit is made of, or which packs it names; those that are in the store
// are not sent again.
func (s *Syncer) publishNext(ctx context.Context, last meta.OpNo) (more bool, err error) {
	for n := 0; ; n++ {
		sent, more, err := s.publishOrSend(ctx, last, n < sendings, n > 0)
		if sent == nil {
			s.release()
			return more, err
		}
		switch err := <-sent; {
		case errors.Is(err, errLocal):
			n = sendings // it may have gone with what was followed; else it is missing still
		case err != nil:
			return false, err
		}
	}
}

// publishOrSend takes a slot, or, where packs are to be sent first, begins with that and
// returns what is to be waited for.
func (s *Syncer) publishOrSend(ctx context.Context, last meta.OpNo, send, sentSome bool) (sent <-chan error, more bool, err error) {
	if err := s.turn(ctx); err != nil {
		return nil, false, err
	}
	defer s.working.Unlock()
	if err := s.halted(); err != nil {
		return nil, false, err // by what was followed
	}
	if err := s.conclude(ctx); err != nil {
		return nil, false, err
	}
	if sentSome {
		s.end.seen = false // they may have come after it
	}
	t := s.take(s.hurry(last))
	if t.Ops.Len() == 0 {
		return nil, false, nil
	}
	if send {
		sent, err = s.sendAhead(ctx, t.Batch)
		if sent != nil || err != nil && !errors.Is(err, errReturned) {
			return sent, false, err
		}
		if err != nil {
			return nil, true, nil
		}
	}
	began, before := time.Now(), s.Settled()
	if err := s.publish(ctx, t); err != nil && !errors.Is(err, errReturned) {
		return nil, false, err
	}
	if s.Settled() != before {
		s.pacing.paced(began, time.Now(), s.rivals(), s.shared())
	}
	s.setFailure(nil) // before who waits looks
	return nil, true, nil
}

// take merges the oldest operations up to the number last, as many as fit into
// a commit that names at most so many packs, if it has more than one operation. What
// stands for one operation may be several steps, and longer than an operation is.
func (s *Syncer) take(last meta.OpNo, packs int) view.Taken {
	if t := s.o.View.TakePart(); t.Batch != nil {
		return t
	}
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
	packs, err := s.upload(ctx, batch)
	if err != nil {
		return err
	}
	// Now that the packs are there, and before the commit is made: one that is on its way is
	// sent as it is, and so would name packs that went to another store, which stood in the
	// place of this one.
	if err := s.headThere(ctx); err != nil {
		s.forgetUploads()
		return err
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
	if err := s.revive(ctx, batch); err != nil {
		return err
	}
	s.o.Step("sync.build")
	device, number, _ := s.o.State.Device()
	// Not the number of the first: one before it may change nothing any more, after
	// another machine did the same, and numbers in the chain have no gaps.
	first, last := s.o.Chain.LastOp[number]+1, t.Ops.Last().No
	if t.Part != nil {
		last = first - 1
	}
	c, err := s.o.Chain.Build(s.slot(), device, number, time.Now(), chain.Content{First: first, Last: last, Batch: batch, Usage: t.Usage})
	if err != nil {
		return fmt.Errorf("build commit: %w", err)
	}
	s.attempt = &attempt{Sealed: c, first: first, last: last, packs: func() []pack.Info { return packs }, part: t.Part}
	return s.conclude(ctx)
}
