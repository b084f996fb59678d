package sync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/journal"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
	"github.com/hushfs/hushfs/fs/view"
	"github.com/hushfs/hushfs/store"
)

// Publish brings all operations that are pending now into the chain.
func (s *Syncer) Publish(ctx context.Context) error {
	s.working.Lock()
	defer s.working.Unlock()
	pending := s.o.View.Pending()
	if len(pending) == 0 {
		return nil
	}
	last := pending[len(pending)-1].Stamp.No
	if err := s.o.Persist(); err != nil {
		return err
	}
	for {
		ops, batch := s.o.View.Take(last, batchLimit)
		if len(ops) == 0 {
			s.release()
			return s.sweep()
		}
		if err := s.publish(ctx, ops, batch); err != nil {
			return err
		}
		s.release()
	}
}

// publish takes one slot with batch, which is what ops wrote. A slot that goes
// to somebody else is followed, and nil is returned: ops are pending still.
func (s *Syncer) publish(ctx context.Context, ops []view.Pending, batch *meta.Batch) error {
	first, last := ops[0].Stamp.No, ops[len(ops)-1].Stamp.No
	packs, err := s.upload(ctx, batch)
	if err != nil {
		return err
	}
	for _, p := range packs {
		batch.Puts = append(batch.Puts, meta.KV{
			Key:   meta.PackKey(p.No),
			Value: meta.AppendPackRecord(nil, meta.PackRecord{Name: p.Name, Length: uint32(p.Length), Epoch: uint32(p.Epoch)}),
		})
	}
	slices.SortFunc(batch.Puts, func(a, b meta.KV) int { return bytes.Compare(a.Key, b.Key) })
	s.o.Step("sync.build")
	device, number, _ := s.o.State.Device()
	c, err := s.o.Chain.Build(s.slot(), device, number, time.Now(), first, last, batch, nil)
	if err != nil {
		return fmt.Errorf("build commit: %w", err)
	}
	pos, err := s.o.Journal.Append(journal.Attempted(journal.AttemptRecord{
		Slot: uint64(c.Slot), ID: c.ID, First: first, Last: last, Object: c.Object,
	}))
	if err == nil {
		err = s.o.Journal.Sync(pos)
	}
	if err != nil {
		return err
	}
	s.o.Step("sync.attempt")
	won, err := s.take(ctx, c)
	if err != nil || won == nil {
		return err
	}
	return s.settle(won, packs)
}

// settle makes a commit of ours, which is in its slot, part of the view and of
// what this machine remembers. The head is remembered before the journal forgets
// the operations: a machine that knows less than the chain says of it would take
// itself for a copy.
func (s *Syncer) settle(c *chain.Commit, packs []pack.Info) error {
	s.o.Step("sync.taken")
	if err := s.o.View.Settle(uint64(c.Slot), c.Last, c.Batch); err != nil {
		return s.stop(err)
	}
	return s.tick(c.Slot, c.ID, c.Last, packs)
}

// tick records that the operations up to last, and packs, are in the chain.
func (s *Syncer) tick(slot chain.Slot, id chain.ID, last meta.OpNo, packs []pack.Info) error {
	if err := s.o.State.Remember(s.o.Chain.Remember(), last); err != nil {
		return err
	}
	s.o.Step("sync.remembered")
	r := journal.SettledRecord{Slot: uint64(slot), ID: id, Last: last}
	for _, p := range packs {
		r.Packs = append(r.Packs, p.No)
	}
	if err := s.o.Journal.Settle(r); err != nil {
		return err
	}
	s.o.Step("sync.settled")
	for _, p := range packs {
		if err := s.adopt(p); err != nil {
			s.log.Warn("pack not cached", "object", p.Name.String(), "err", err)
		}
	}
	s.mu.Lock()
	s.settled = max(s.settled, last)
	s.mu.Unlock()
	s.o.Step("sync.moved")
	return nil
}

// adopt gives the file of a pack that is in the store to the cache.
func (s *Syncer) adopt(p pack.Info) error {
	path := pack.Path(s.o.PackDir, p.No)
	var err error
	if s.o.Cache != nil {
		err = s.o.Cache.Adopt(p.Name.String(), path)
	}
	return errors.Join(err, s.o.Packs.Forget(p.No))
}

// upload brings the packs that batch names and the chain does not to the store.
func (s *Syncer) upload(ctx context.Context, batch *meta.Batch) ([]pack.Info, error) {
	var packs []pack.Info
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(uploads)
	for _, no := range packsOf(batch) {
		if err := s.o.Packs.Close(no); err != nil {
			return nil, errors.Join(err, g.Wait())
		}
		p, ok := s.o.Packs.Local(no)
		if !ok {
			continue // in the chain already
		}
		packs = append(packs, p)
		g.Go(func() error { return s.uploadPack(gctx, p) })
	}
	return packs, g.Wait()
}

func (s *Syncer) uploadPack(ctx context.Context, p pack.Info) error {
	object, err := os.ReadFile(pack.Path(s.o.PackDir, p.No))
	if err != nil {
		return fmt.Errorf("read pack file: %w", err)
	}
	if int64(len(object)) != p.ObjectSize() {
		return fmt.Errorf("pack file of %s: %w", p.Name, pack.ErrDamaged)
	}
	name := chain.PackName(s.o.Chain.Volume, p.Name)
	s.o.Step("sync.upload")
	err = s.o.Bucket.PutIfAbsent(ctx, name, object)
	s.reached(err)
	if errors.Is(err, store.ErrExist) {
		// Ours, from before a crash or a lost answer; or a thing of the store's
		// own making, which must not pass for our data.
		got, gerr := s.o.Bucket.Get(ctx, name, 0, -1)
		if gerr != nil {
			return fmt.Errorf("look at pack %s: %w", p.Name, gerr)
		}
		if !bytes.Equal(got, object) {
			return fmt.Errorf("pack %s: %w: the store holds other bytes under its name", p.Name, pack.ErrDamaged)
		}
		err = nil
	}
	if err != nil {
		return fmt.Errorf("upload pack %s: %w", p.Name, err)
	}
	s.o.Step("sync.uploaded")
	return nil
}

// packsOf lists the packs that the extents in a batch name, ascending.
func packsOf(b *meta.Batch) []meta.PackNo {
	seen := map[meta.PackNo]bool{}
	b.Extents(func(e meta.Extent) bool {
		seen[e.Pack] = true
		return true
	})
	return slices.Sorted(maps.Keys(seen))
}

// take sends c until its slot is known to be ours or somebody else's. In the
// first case it returns the commit, over which the chain has moved; in the second
// nil, and what lies in the slot was followed.
func (s *Syncer) take(ctx context.Context, c *chain.Sealed) (*chain.Commit, error) {
	wait := backoffMin
	for {
		s.o.Step("sync.put")
		err := s.o.Bucket.PutIfAbsent(ctx, chain.SlotName(s.o.Chain.Volume, c.Slot), c.Object)
		s.reached(err)
		if err == nil {
			return s.won(c)
		}
		if errors.Is(err, store.ErrExist) {
			return s.resolve(ctx, c)
		}
		// Unknown: it may lie there now, or still arrive. Only the same bytes
		// may be sent again.
		s.log.Warn("commit not acknowledged", "slot", uint64(c.Slot), "err", err, "again in", wait)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
		wait = min(2*wait, backoffMax)
	}
}

// resolve looks at what lies in the slot of c, which somebody took: we, when an
// earlier answer was lost, or another device.
func (s *Syncer) resolve(ctx context.Context, c *chain.Sealed) (*chain.Commit, error) {
	object, err := s.o.Bucket.Get(ctx, chain.SlotName(s.o.Chain.Volume, c.Slot), 0, -1)
	s.reached(err)
	if err != nil {
		return nil, fmt.Errorf("look at slot %d: %w", c.Slot, err)
	}
	if bytes.Equal(object, c.Object) {
		return s.won(c)
	}
	if err := s.lost(c.Slot, c.ID); err != nil {
		return nil, err
	}
	return nil, s.follow(ctx, c.Slot, object)
}

// won moves the chain over a commit of ours.
func (s *Syncer) won(c *chain.Sealed) (*chain.Commit, error) {
	j := s.o.Chain.Judge(c.Slot, c.Object, nil)
	if j.Verdict != chain.Valid {
		return nil, s.stop(fmt.Errorf("own commit in slot %d is not valid: %s", c.Slot, j.Reason))
	}
	if err := s.o.Chain.Advance(j.Commit); err != nil {
		return nil, s.stop(err)
	}
	s.setNext(c.Slot + 1)
	return j.Commit, nil
}

// lost records that the slot of an attempt belongs to somebody else.
func (s *Syncer) lost(slot chain.Slot, id chain.ID) error {
	pos, err := s.o.Journal.Append(journal.Lost(journal.LostRecord{Slot: uint64(slot), ID: id}))
	if err != nil {
		return err
	}
	return s.o.Journal.Sync(pos)
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

// sweep drops the closed packs that nothing needs any more: temporary files
// were written and removed before they were ever published.
func (s *Syncer) sweep() error {
	locals := s.o.Packs.Locals()
	if len(locals) == 0 {
		return nil
	}
	return s.o.Still(func(needed map[meta.PackNo]bool) error {
		for _, p := range s.o.View.Pending() {
			if w, ok := p.Op.(*meta.Write); ok {
				for _, e := range w.Extents {
					needed[e.Pack] = true
				}
			}
		}
		var gone []meta.PackNo
		for _, p := range locals {
			if !needed[p.No] {
				gone = append(gone, p.No)
			}
		}
		if len(gone) == 0 {
			return nil
		}
		if err := s.o.Journal.DropPacks(gone...); err != nil {
			return err
		}
		for _, no := range gone {
			if err := s.o.Packs.Forget(no); err != nil {
				return err
			}
		}
		return nil
	})
}
