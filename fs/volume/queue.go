package volume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hushfs/hushfs/fs/journal"
	"github.com/hushfs/hushfs/fs/meta"
	"github.com/hushfs/hushfs/fs/pack"
)

// inlineMax is how many bytes of one operation go into the journal itself,
// instead of closing the pack that holds them: one sync instead of two.
const inlineMax = 256 << 10

// appendMax is how many bytes go to the journal in one call.
const appendMax = 2 << 20

// now is the time of receipt, which stands in until the kernel tells another.
func now() meta.Time { return metaTime(time.Now()) }

func metaTime(t time.Time) meta.Time {
	return meta.Time{Sec: t.Unix(), Nsec: uint32(t.Nanosecond())}
}

// Now is the present by the clock of Options: for times that programs compare with
// those that the kernel gives.
func (v *Volume) Now() meta.Time { return metaTime(v.o.Clock()) }

// stamp is that of the next operation; v is locked.
func (v *Volume) stamp() meta.Stamp {
	return meta.Stamp{Device: v.device, No: v.nextOp, Time: v.Now()}
}

// execute runs op on the view and queues it for the journal; v is locked.
func (v *Volume) execute(op meta.Op) error {
	at := v.stamp()
	b, err := v.view.Execute(op, at)
	if err != nil || b.Empty() {
		return err
	}
	v.nextOp++
	v.enlist(at, op)
	v.noteProgram()
	return nil
}

// enlist queues an operation that the view has executed; v is locked.
func (v *Volume) enlist(at meta.Stamp, op meta.Op) {
	if o := v.open[subject(op).Ino]; o != nil && needsName(op) {
		v.places.again(subject(op), o.place)
	}
	v.queue = append(v.queue, queued{no: at.No, time: at.Time, op: op, slot: v.view.Slot()})
}

// Fsync returns when the file, and every operation before, survives a crash. Data of
// other files that is no operation yet is not waited for.
func (v *Volume) Fsync(ctx context.Context, ref meta.Ref) error {
	_ = v.seal(ref, false)
	err := v.locked(ctx, func() error {
		return v.settleFile(ref, func(d *dirty) error { return v.pin(d.ref.Ino) })
	})
	if err != nil {
		return err
	}
	return v.persist()
}

// SyncTree returns when every operation executed so far survives a crash.
func (v *Volume) SyncTree() error { return v.persist() }

// persist returns when all operations executed so far are in the journal and
// synced.
func (v *Volume) persist() error {
	pos, last, err := v.enqueue()
	if v.yield(err) {
		pos, last, err = v.enqueue()
	}
	if err != nil {
		return err
	}
	if err := v.journal.Sync(pos); err != nil {
		return v.unwritten(err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.synced = max(v.synced, last)
	return nil
}

// unwritten words an error of the journal. Where it takes nothing until the drive
// is mounted anew, no further change is accepted that only memory would hold.
func (v *Volume) unwritten(err error) error {
	err = fmt.Errorf("write the journal: %w", err)
	if errors.Is(err, journal.ErrBroken) || errors.Is(err, journal.ErrOrder) {
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.broken == nil {
			v.broken = err
			v.log.Error("the journal is broken; no change is accepted until the drive is mounted anew", "err", err)
		}
	}
	return err
}

// enqueue writes the queue to the journal, not synced, and returns the position
// behind it and the newest operation before that. Concurrent callers then share a sync.
func (v *Volume) enqueue() (pos uint64, last meta.OpNo, err error) {
	v.persisting.Lock()
	defer v.persisting.Unlock()
	v.mu.Lock()
	queue, pos, last := v.queue, v.pos, v.nextOp-1
	v.mu.Unlock()
	for len(queue) > 0 {
		n, told := 1, v.told
		if f := queue[0].followed; f != nil {
			told = max(told, f.slot)
			pos, err = f.write(v.journal)
		} else {
			var recs []journal.Record
			if recs, n, told, err = v.records(queue); err != nil {
				v.places.untold(queue[0].no)
				return 0, 0, err
			}
			if pos, err = v.journal.Append(recs...); err != nil {
				v.places.untold(queue[0].no)
			}
		}
		if err != nil {
			return 0, 0, v.unwritten(err)
		}
		queue, v.told = queue[n:], told
		v.mu.Lock()
		v.pos = pos
		v.queue = v.queue[n:]
		v.mu.Unlock()
	}
	return pos, last, nil
}

// records makes journal records of the first n of queue, operations, as many as go in one
// call, and sees that the data they name is durable or comes with them. Before an operation stands
// the slot that it follows, where that was not told; told is the newest that is then.
func (v *Volume) records(queue []queued) (recs []journal.Record, n int, told uint64, err error) {
	told = v.told
	for size := 0; n < len(queue) && size < appendMax && queue[n].followed == nil; n++ {
		q := queue[n]
		if q.slot > told {
			told = q.slot
			recs = append(recs, journal.Followed(journal.FollowedRecord{Slot: told}))
		}
		if p, ok := v.places.tell(q.no, q.op, v.sync.Settled()); ok {
			recs = append(recs, journal.Placed(p))
		}
		r := journal.OpRecord{No: q.no, Time: q.time, Op: meta.EncodeOp(q.op), Inode: uint64(subject(q.op).Ino)}
		if r.Inline, err = v.secure(meta.Contents(q.op)); err != nil {
			return nil, 0, 0, err
		}
		for _, i := range r.Inline {
			size += len(i.Data)
		}
		size += len(r.Op) + 64
		recs = append(recs, journal.Operation(r))
	}
	return recs, n, told, nil
}

// secure returns the bytes of extents that are not in a durable pack, when they are
// few; otherwise it closes their packs.
func (v *Volume) secure(extents []meta.Extent) ([]journal.Inline, error) {
	var loose uint64
	for _, e := range extents {
		if !v.packs.Durable(e.Pack) {
			loose += e.Len
		}
	}
	if loose == 0 {
		return nil, nil
	}
	var inline []journal.Inline
	for _, e := range extents {
		if v.packs.Durable(e.Pack) {
			continue
		}
		data := make([]byte, e.Len)
		if loose <= inlineMax && v.packs.Peek(pack.Loc{Pack: e.Pack, Off: e.PackOff}, data) {
			inline = append(inline, journal.Inline{Off: e.Off, Data: data})
			continue
		}
		if err := v.packs.Close(e.Pack); err != nil {
			return nil, err
		}
	}
	return inline, nil
}
