package volume

import (
	"context"
	"errors"
	"fmt"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/journal"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
	publish "github.com/hushfs/hushfs/fs/sync"
	"github.com/hushfs/hushfs/store"
)

// attempts settles a commit that was on its way when the machine stopped. Where a slow line
// or a full store takes too long it stays on its way, as in a machine that is at work: what
// it brings is done here, nothing else is sent before, and Run goes on with it.
func (v *Volume) attempts(ctx context.Context, l *publish.Loaded, o *old) error {
	if o.attempt == nil || v.o.ReadOnly {
		return nil
	}
	a := o.attempt
	c := &chain.Sealed{Slot: chain.Slot(a.Slot), ID: a.ID, Object: a.Object}
	ours, err := o.ours(ctx, l)
	if err != nil {
		return err
	}
	stored := func() []pack.Info {
		var stored []pack.Info
		for _, p := range o.packs {
			if i, err := v.knownPack(v.life, p.No); err == nil && i == p { // maybe when ctx has long ended
				stored = append(stored, p)
			}
		}
		return stored
	}
	going := false
	err = v.sending(ctx, func(ctx context.Context) (err error) {
		going, err = v.sync.Resolve(ctx, c, a.Last, ours, stored)
		return err
	})
	if going && errors.Is(err, store.ErrTimeout) && ctx.Err() == nil {
		v.log.Warn("a commit that was on its way is not in the store yet", "slot", a.Slot, "err", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("settle the commit of slot %d: %w", a.Slot, err)
	}
	return nil
}

// replay executes the operations of the journal that lie in no slot, in their
// order, over the confirmed state. settled is the newest that does.
func (v *Volume) replay(ctx context.Context, o *old, settled meta.OpNo) error {
	settled = max(settled, v.sync.Settled())
	n, last, s := 0, settled, &salvage{}
	if v.astray {
		s.gap(settled+1, settled+1)
	}
	for r, err := range o.waiting.Ops(settled) {
		if err != nil {
			return fmt.Errorf("replay the journal: %w", err)
		}
		if want := last + 1; r.No != want {
			s.gap(want, r.No)
		}
		last = r.No
		at := meta.Stamp{Device: v.device, No: r.No, Time: r.Time}
		steps, ok, err := o.replaced.of(r.No)
		if err != nil {
			return fmt.Errorf("%w: what stands for operation %d: %w", ErrJournal, r.No, err)
		}
		done := 0
		if ok && !s.gaps && !v.astray {
			err := v.near(ctx, func() (err error) {
				done, err = v.view.Resume(steps, done, at)
				return err
			})
			if err == nil {
				n++
				continue
			}
			if len(o.report.Damaged) == 0 || !refused(err) {
				return fmt.Errorf("%w: operation %d, as it is since slot %d: %w", ErrJournal, r.No, o.slot, err)
			}
			s.gap(r.No, r.No)
		}
		op, err := v.restore(r, v.complete)
		if err == nil && done > 0 {
			err = errTorn // a part of what stands for it was done, and stays
		} else if err == nil {
			err = v.near(ctx, func() error { return v.again(s, op, at) })
		}
		if !s.gaps && refused(err) && len(o.report.Damaged) > 0 {
			s.gap(r.No, r.No) // what it was to follow may be what is lost
		}
		if s.gaps && refused(err) {
			s.refused(op, r.No)
			continue
		}
		if errors.Is(err, meta.ErrUnknown) {
			return fmt.Errorf("replay the journal: operation %d: %w", r.No, err) // it is whole, and will do
		}
		if err != nil {
			return fmt.Errorf("%w: operation %d: %w", ErrJournal, r.No, err)
		}
		n++
	}
	if n > 0 {
		v.log.Info("journal replayed", "operations", n)
	}
	s.tell(v, o)
	if v.behind != nil {
		return v.behind.show(ctx, v, s, o.waiting.Count(settled), o.waiting.Last())
	}
	if v.o.ReadOnly {
		return nil
	}
	if len(o.stored) > 0 {
		if err := v.journal.DropPacks(o.stored...); err != nil {
			return err
		}
	}
	if err := v.dropIncomplete(ctx); err != nil {
		return err
	}
	return v.rescueTorn(ctx, s)
}

// again executes an operation of the journal, behind a gap only if that may be.
func (v *Volume) again(s *salvage, op meta.Op, at meta.Stamp) error {
	if s.gaps {
		if v.behind.another(op) {
			return errTorn
		}
		if err := v.view.Read(func(r meta.Reader) error { return s.allows(r, op) }); err != nil {
			return err
		}
	}
	_, err := v.view.Execute(op, at)
	if err == nil {
		s.done(op)
	}
	return err
}

// restore decodes an operation and puts the bytes that came inline into a pack,
// unless complete says that the pack that was to hold them is there.
func (v *Volume) restore(r journal.OpRecord, complete func(meta.PackNo) bool) (meta.Op, error) {
	op, err := meta.DecodeOp(r.Op)
	if err != nil {
		return nil, err
	}
	if len(r.Inline) == 0 {
		return op, nil
	}
	inline := map[uint64][]byte{}
	for _, i := range r.Inline {
		inline[i.Off] = i.Data
	}
	d := dirty{}
	for _, e := range meta.Contents(op) {
		data, ok := inline[e.Off]
		if !ok || complete(e.Pack) {
			d.push(e)
			continue
		}
		if uint64(len(data)) != e.Len {
			return nil, fmt.Errorf("%w: inline data of another length", meta.ErrMalformed)
		}
		// Nobody cancels a replay: it ends or the mount fails.
		locs, err := v.packs.Append(context.Background(), data)
		if err != nil {
			return nil, err
		}
		off := e.Off
		for _, l := range locs {
			d.push(meta.Extent{Off: off, Len: uint64(l.Len), Pack: l.Pack, PackOff: l.Off})
			off += uint64(l.Len)
		}
	}
	if len(d.extents) > meta.MaxExtents {
		return nil, fmt.Errorf("%w: %d extents", meta.ErrMalformed, len(d.extents))
	}
	return meta.Relocate(op, d.extents), nil
}

// complete says whether the pack no is in a local file or in the store. Where a journal is
// shown on another history, that has of a device only what both have.
func (v *Volume) complete(no meta.PackNo) bool {
	if _, ok := v.packs.Local(no); ok {
		return true
	}
	if v.behind.foreign(no) {
		return false
	}
	_, err := v.knownPack(v.life, no)
	return err == nil
}
