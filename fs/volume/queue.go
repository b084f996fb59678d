package volume

import (
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

func now() meta.Time {
	t := time.Now()
	return meta.Time{Sec: t.Unix(), Nsec: uint32(t.Nanosecond())}
}

// stamp is that of the next operation; v is locked.
func (v *Volume) stamp() meta.Stamp {
	return meta.Stamp{Device: v.device, No: v.nextOp, Time: now()}
}

// execute runs op on the view and queues it for the journal; v is locked.
func (v *Volume) execute(op meta.Op) error {
	at := v.stamp()
	b, err := v.view.Execute(op, at)
	if err != nil || b.Empty() {
		return err
	}
	v.nextOp++
	v.queue = append(v.queue, queued{at.No, at.Time, op})
	return nil
}

// persist returns when all operations executed so far are in the journal and
// synced.
func (v *Volume) persist() error {
	pos, err := v.enqueue()
	if v.yield(err) {
		pos, err = v.enqueue()
	}
	if err != nil {
		return err
	}
	if err := v.journal.Sync(pos); err != nil {
		return v.unwritten(err)
	}
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
// behind it. Concurrent callers then share a sync.
func (v *Volume) enqueue() (uint64, error) {
	v.persisting.Lock()
	defer v.persisting.Unlock()
	v.mu.Lock()
	queue, pos := v.queue, v.pos
	v.mu.Unlock()
	for len(queue) > 0 {
		recs, err := v.records(queue)
		if err != nil {
			return 0, err
		}
		if pos, err = v.journal.Append(recs...); err != nil {
			return 0, v.unwritten(err)
		}
		queue = queue[len(recs):]
		v.mu.Lock()
		v.pos = pos
		v.queue = v.queue[len(recs):]
		v.mu.Unlock()
	}
	return pos, nil
}

// records makes journal records of the first operations of queue, as many as go
// in one call, and sees that the data they name is durable or comes with them.
func (v *Volume) records(queue []queued) ([]journal.Record, error) {
	var recs []journal.Record
	for size := 0; len(queue) > 0 && size < appendMax; queue = queue[1:] {
		q := queue[0]
		r := journal.OpRecord{No: q.no, Time: q.time, Op: meta.EncodeOp(q.op)}
		if w, ok := q.op.(*meta.Write); ok {
			var err error
			if r.Inline, err = v.secure(w); err != nil {
				return nil, err
			}
			for _, i := range r.Inline {
				size += len(i.Data)
			}
		}
		size += len(r.Op) + 64
		recs = append(recs, journal.Operation(r))
	}
	return recs, nil
}

// secure returns the bytes of w that are not in a durable pack, when they are
// few; otherwise it closes their packs.
func (v *Volume) secure(w *meta.Write) ([]journal.Inline, error) {
	var loose uint64
	for _, e := range w.Extents {
		if !v.packs.Durable(e.Pack) {
			loose += e.Len
		}
	}
	if loose == 0 {
		return nil, nil
	}
	var inline []journal.Inline
	for _, e := range w.Extents {
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
