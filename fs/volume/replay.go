package volume

import (
	"context"
	"fmt"
	"os"

	"github.com/hushfs/hushfs/fs/chain"
	"github.com/hushfs/hushfs/fs/journal"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
	publish "github.com/hushfs/hushfs/fs/sync"
)

// attempts settles a commit that was on its way when the machine stopped.
func (v *Volume) attempts(ctx context.Context, o *old) error {
	if o.attempt == nil || v.o.ReadOnly {
		return nil
	}
	a := o.attempt
	c := &chain.Sealed{Slot: chain.Slot(a.Slot), ID: a.ID, Object: a.Object}
	err := v.sync.Resolve(ctx, c, a.Last, func() []pack.Info {
		var stored []pack.Info
		for _, p := range o.packs {
			if i, err := v.findPack(p.No); err == nil && i == p {
				stored = append(stored, p)
			}
		}
		return stored
	})
	if err != nil {
		return fmt.Errorf("settle the commit of slot %d: %w", a.Slot, err)
	}
	return nil
}

// replay executes the operations of the journal that lie in no slot, in their
// order, over the confirmed state.
func (v *Volume) replay(o *old, settled meta.OpNo) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	settled = max(settled, v.sync.Settled())
	n := 0
	for _, r := range o.ops {
		if r.No <= settled {
			continue
		}
		op, err := v.restore(r)
		if err == nil {
			_, err = v.view.Execute(op, meta.Stamp{Device: v.device, No: r.No, Time: r.Time})
		}
		if err != nil {
			return fmt.Errorf("%w: operation %d: %w", ErrJournal, r.No, err)
		}
		n++
	}
	if n > 0 {
		v.log.Info("journal replayed", "operations", n)
	}
	return nil
}

// restore decodes an operation and puts the bytes that came inline into a pack,
// unless the pack that was to hold them is complete.
func (v *Volume) restore(r journal.OpRecord) (meta.Op, error) {
	op, err := meta.DecodeOp(r.Op)
	if err != nil {
		return nil, err
	}
	w, ok := op.(*meta.Write)
	if !ok || len(r.Inline) == 0 {
		return op, nil
	}
	inline := map[uint64][]byte{}
	for _, i := range r.Inline {
		inline[i.Off] = i.Data
	}
	d := dirty{}
	for _, e := range w.Extents {
		data, ok := inline[e.Off]
		if !ok || v.complete(e.Pack) {
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
	again := *w
	again.Extents = d.extents
	return &again, nil
}

// complete says whether the pack no is in a local file or in the store.
func (v *Volume) complete(no meta.PackNo) bool {
	if _, ok := v.packs.Local(no); ok {
		return true
	}
	_, err := v.findPack(no)
	return err == nil
}

// renew makes this machine a new device and moves what the old device's journal
// holds into a journal of its own, under new numbers: the old ones may be in
// use by whoever has the original of this state.
func (v *Volume) renew(ctx context.Context, l *publish.Loaded, o *old) error {
	if v.o.ReadOnly {
		return fmt.Errorf("%w: it was copied, and becoming a device of its own needs a writable mount", ErrState)
	}
	_, was, _ := v.state.Device()
	settled := l.Chain.LastOp[was]
	v.state.Renew()
	id, secret := v.state.Journal()
	fresh, err := v.readJournal(id, secret)
	if err != nil {
		return err
	}
	fresh.last = 0
	v.wire(l, fresh)
	if v.device, err = v.sync.Enroll(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrEnroll, err)
	}
	v.nextOp = 1
	if err := v.adoptOps(o, fresh, settled, was); err != nil {
		return err
	}
	if err := o.journal.Close(); err != nil {
		return err
	}
	return os.RemoveAll(o.dir)
}

// adoptOps writes the operations of the journal o after settled into the new
// journal, with new numbers for inodes and packs that no slot knows.
func (v *Volume) adoptOps(o, fresh *old, settled meta.OpNo, was meta.Device) error {
	inos, packs := map[meta.Ino]meta.Ino{}, map[meta.PackNo]meta.PackNo{}
	var ops []meta.Op
	var stamps []meta.Stamp
	for _, p := range o.packs {
		no, err := v.state.NextPack()
		if err != nil {
			return err
		}
		if err := os.Link(pack.Path(packDir(o.dir), p.No), pack.Path(packDir(fresh.dir), no)); err != nil {
			return err
		}
		packs[p.No] = no
		p.No = no
		v.packs.Adopt(p)
		if err := v.closed(p); err != nil {
			return err
		}
	}
	for _, r := range o.ops {
		if r.No <= settled {
			continue
		}
		op, err := v.restoreFrom(r, packs)
		if err != nil {
			return fmt.Errorf("%w: operation %d: %w", ErrJournal, r.No, err)
		}
		if m, ok := op.(*meta.Make); ok {
			if inos[m.Ref.Ino], err = v.state.NextIno(); err != nil {
				return err
			}
		}
		op = meta.Renumber(op, func(i meta.Ino) meta.Ino {
			if n, ok := inos[i]; ok {
				return n
			}
			return i
		}, func(p meta.PackNo) meta.PackNo { return p })
		// What was observed of our own changes changes its number with them.
		ops = append(ops, meta.Reobserve(op, func(version uint64) uint64 {
			if meta.Device(version>>48) == was && meta.OpNo(version)&meta.MaxOpNo > settled {
				return 0
			}
			return version
		}))
		stamps = append(stamps, meta.Stamp{Time: r.Time})
	}
	v.mu.Lock()
	for i, op := range ops {
		at := meta.Stamp{Device: v.device, No: v.nextOp, Time: stamps[i].Time}
		b, err := v.view.Execute(op, at)
		if err != nil {
			v.mu.Unlock()
			return fmt.Errorf("%w: %w", ErrJournal, err)
		}
		if !b.Empty() {
			v.nextOp++
			v.queue = append(v.queue, queued{at.No, at.Time, op})
		}
	}
	v.mu.Unlock()
	return v.persist()
}

// restoreFrom is restore for the journal of another device, whose packs got new
// numbers.
func (v *Volume) restoreFrom(r journal.OpRecord, packs map[meta.PackNo]meta.PackNo) (meta.Op, error) {
	op, err := meta.DecodeOp(r.Op)
	if err != nil {
		return nil, err
	}
	op = meta.Renumber(op, func(i meta.Ino) meta.Ino { return i }, func(p meta.PackNo) meta.PackNo {
		if n, ok := packs[p]; ok {
			return n
		}
		return p
	})
	r.Op = meta.EncodeOp(op)
	return v.restore(r)
}

// writable says whether the volume takes a change, making this machine a device
// of the drive before its first one.
func (v *Volume) writable(ctx context.Context) error {
	if v.o.ReadOnly {
		return ErrReadOnly
	}
	v.mu.Lock()
	number, closing := v.device, v.closing
	v.mu.Unlock()
	if closing {
		return ErrShutdown
	}
	if number != 0 {
		return nil
	}
	v.enroll.Lock()
	defer v.enroll.Unlock()
	v.mu.Lock()
	number = v.device
	v.mu.Unlock()
	if number != 0 {
		return nil
	}
	number, err := v.sync.Enroll(ctx)
	if err != nil {
		v.log.Error("not enrolled", "err", err)
		return fmt.Errorf("%w: %w", ErrEnroll, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.device, v.nextOp = number, 1
	return nil
}

// changed hands what another machine wrote to whoever keeps the kernel's caches
// right.
func (v *Volume) changed(b *meta.Batch) {
	v.mu.Lock()
	fn := v.onChange
	v.mu.Unlock()
	if fn == nil {
		return
	}
	var c Change
	keys := make([][]byte, 0, len(b.Puts)+len(b.Deletes))
	for _, kv := range b.Puts {
		keys = append(keys, kv.Key)
	}
	keys = append(keys, b.Deletes...)
	for _, k := range keys {
		switch k[0] {
		case 'd':
			if parent, name, err := meta.ParseDirentKey(k); err == nil {
				c.Names = append(c.Names, Name{parent, name})
			}
		case 'i':
			if ref, err := meta.ParseInodeKey(k); err == nil {
				c.Inodes = append(c.Inodes, ref)
			}
		}
	}
	fn(c)
}
