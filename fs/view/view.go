// Package view shows the layers of a volume's metadata as one sorted map:
// pending operations over the confirmed state, and that over tables.
//
// Confirmed is what the chain says after one slot. Pending is what the journal
// holds and no slot does yet: a list of operations and the writes that they
// made. A pending operation is never written to confirmed. When a slot of our
// own is taken, its operations settle: the batch goes down into confirmed and
// the map as a whole stays as it was. When another machine takes a slot, its
// batch goes into confirmed and the pending operations are executed again over
// it. The truth is the chain for confirmed and the journal for pending.
package view

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"github.com/tidwall/btree"

	"github.com/hushfs/hushfs/fs/meta"
)

// Pending is one operation that was executed here and lies in no slot yet.
type Pending struct {
	Op    meta.Op
	Stamp meta.Stamp
	Batch *meta.Batch // what it wrote; not changed afterwards
	Usage meta.Delta  // what that added to the usage
}

// entry is what pending says of one key.
type entry struct {
	value   []byte
	deleted bool
	no      meta.OpNo // the newest operation that wrote it
}

// View is the sorted map. It is safe for concurrent use.
//
// No method waits for the store. Where the map is not near, reading it fails with the
// error of the tables, and whatever was to be done is not done: the caller lets go of
// its locks, brings what is missing, and calls again.
type View struct {
	mu        sync.RWMutex // guards the fields below
	confirmed *Confirmed
	pending   btree.Map[string, entry]
	ops       []Pending  // ascending by number
	usage     meta.Delta // of ops together
}

// New returns a view without pending operations. From then on c is the view's.
func New(c *Confirmed) *View { return &View{confirmed: c} }

// merged reads the whole map; v is locked.
func (v *View) merged() merged { return merged{&v.pending, v.confirmed} }

// Read calls fn with the map as it is now; it does not change before fn
// returns. fn must not call the view.
func (v *View) Read(fn func(r meta.Reader) error) error {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return fn(v.merged())
}

// Execute applies op to the map and keeps it as pending. An operation that
// changes nothing is not kept: its batch is empty. After an error the map is as
// it was. Numbers must ascend.
func (v *View) Execute(op meta.Op, at meta.Stamp) (*meta.Batch, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if n := len(v.ops); n > 0 && v.ops[n-1].Stamp.No >= at.No {
		return nil, fmt.Errorf("operation %d after %d", at.No, v.ops[n-1].Stamp.No)
	}
	p := Pending{Op: op, Stamp: at}
	if err := p.apply(v.merged()); err != nil {
		return nil, err
	}
	if !p.Batch.Empty() {
		if err := p.overlay(v.merged()); err != nil {
			return nil, err
		}
		v.ops = append(v.ops, p)
		v.usage = v.usage.Plus(p.Usage)
	}
	return p.Batch, nil
}

// apply executes the operation on a map, which does not change.
func (p *Pending) apply(m merged) (err error) {
	if p.Batch, err = p.Op.Apply(m, p.Stamp); err != nil {
		return err
	}
	p.Usage, err = meta.DeltaOf(m, p.Batch)
	return err
}

// overlay writes the batch into the pending layer of m, all of it or nothing. A range
// becomes a deletion of each key that is there now.
func (p *Pending) overlay(m merged) error {
	var gone []string
	for _, r := range p.Batch.Ranges {
		err := m.Scan(r.From, r.To, func(k, _ []byte) bool {
			gone = append(gone, string(k))
			return true
		})
		if err != nil {
			return err
		}
	}
	no := p.Stamp.No
	for _, k := range gone {
		m.pending.Set(k, entry{deleted: true, no: no})
	}
	for _, k := range p.Batch.Deletes {
		m.pending.Set(string(k), entry{deleted: true, no: no})
	}
	for _, kv := range p.Batch.Puts {
		m.pending.Set(string(kv.Key), entry{value: kv.Value, no: no})
	}
	return nil
}

// Taken is a run of pending operations, merged for one commit.
type Taken struct {
	Ops   []Pending
	Batch *meta.Batch
	Usage meta.Delta
}

// Take merges the oldest pending operations up to the number last into one
// batch, until it has limit encoded bytes or more. It takes at least one
// unless none is pending up to last; they stay pending until Settle.
func (v *View) Take(last meta.OpNo, limit int) (t Taken) {
	v.mu.RLock()
	ops := v.ops // what it holds now is not changed: it grows, or is replaced
	v.mu.RUnlock()
	var b meta.Builder
	n := 0
	for ; n < len(ops) && ops[n].Stamp.No <= last && (n == 0 || b.Size() < limit); n++ {
		b.Add(ops[n].Batch)
		t.Usage = t.Usage.Plus(ops[n].Usage)
	}
	if n == 0 {
		return t
	}
	t.Ops, t.Batch = ops[:n:n], b.Batch()
	return t
}

// Settle says that slot is ours and holds, as b, all operations up to last, which add
// d to the usage. The map as a whole changes only by what b has beyond them: all of
// it, where the operations were executed by a process that is no more.
func (v *View) Settle(slot uint64, last meta.OpNo, b *meta.Batch, d meta.Delta) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.confirmed.Apply(slot, b, d)
	n := 0
	for ; n < len(v.ops) && v.ops[n].Stamp.No <= last; n++ {
		v.uncover(v.ops[n].Batch, last)
		v.usage = v.usage.Minus(v.ops[n].Usage)
	}
	v.ops = append([]Pending(nil), v.ops[n:]...)
}

// uncover drops what pending says of the keys of b, where no operation after
// last wrote them.
func (v *View) uncover(b *meta.Batch, last meta.OpNo) {
	drop := func(k string) {
		if e, ok := v.pending.Get(k); ok && e.no <= last {
			v.pending.Delete(k)
		}
	}
	for _, kv := range b.Puts {
		drop(string(kv.Key))
	}
	for _, k := range b.Deletes {
		drop(string(k))
	}
	for _, r := range b.Ranges {
		for _, k := range keysIn(&v.pending, r) {
			drop(k)
		}
	}
}

// farMax is of how many operations Follow says at a time that the map is not near.
const farMax = 1000

// Failure is a pending operation that the state no longer allows.
type Failure struct {
	Pending
	Err error
}

// Follow applies the batch of a slot that another device took, which adds d to the
// usage, and executes the pending operations again over it. Those that fail are
// returned and leave no trace in the map; the caller decides what becomes of them. One
// that changes nothing any more stays pending: its number has to reach the chain. An
// error that says nothing of an operation, as that the map is not near, is returned,
// and leaves the map as it was.
func (v *View) Follow(slot uint64, b *meta.Batch, d meta.Delta) ([]Failure, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.ops) == 0 {
		v.confirmed.Apply(slot, b, d)
		return nil, nil
	}
	next := View{confirmed: v.confirmed.Clone()}
	next.confirmed.Apply(slot, b, d)
	var failed []Failure
	var far []error
	for _, p := range v.ops {
		err := p.apply(next.merged())
		if err == nil {
			err = p.overlay(next.merged())
		}
		if errors.Is(err, meta.ErrUnknown) && len(far) < farMax {
			far = append(far, err) // what the others miss can be brought with it
			continue
		}
		if err != nil {
			if !meta.Refused(err) {
				return nil, errors.Join(append(far, err)...)
			}
			failed = append(failed, Failure{p, err})
			continue
		}
		next.ops = append(next.ops, p)
		next.usage = next.usage.Plus(p.Usage)
	}
	if len(far) > 0 {
		return nil, errors.Join(far...)
	}
	v.confirmed, v.pending, v.ops, v.usage = next.confirmed, next.pending, next.ops, next.usage
	return failed, nil
}

// Rebase puts tables below the confirmed state that hold the state after the slot base.
// The map stays as it is.
func (v *View) Rebase(base uint64, tables meta.Reader) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.confirmed.Rebase(base, tables)
}

// Snapshot returns the confirmed state as it is now, for whoever folds it.
func (v *View) Snapshot() *Confirmed {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.confirmed.Clone()
}

// Usage returns the totals of the map.
func (v *View) Usage() meta.Usage {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.confirmed.Usage().Plus(v.usage)
}

// Confirmed reads the state after the newest slot alone, without what is pending.
func (v *View) Confirmed() meta.Reader { return confirmedOnly{v} }

// confirmedOnly reads the confirmed layer of a view.
type confirmedOnly struct{ v *View }

func (c confirmedOnly) Get(key []byte) ([]byte, error) {
	c.v.mu.RLock()
	defer c.v.mu.RUnlock()
	return c.v.confirmed.Get(key)
}

func (c confirmedOnly) Scan(from, to []byte, fn func(k, v []byte) bool) error {
	c.v.mu.RLock()
	defer c.v.mu.RUnlock()
	return c.v.confirmed.Scan(from, to, fn)
}

// Slot is the newest slot in confirmed.
func (v *View) Slot() uint64 {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.confirmed.Slot()
}

// Pending returns the operations that lie in no slot, oldest first. The slice
// is not changed afterwards.
func (v *View) Pending() []Pending {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.ops[:len(v.ops):len(v.ops)]
}

// Dump writes every key and value of the map, a line each, in hexadecimal.
func (v *View) Dump() string {
	var out bytes.Buffer
	_ = v.Read(func(r meta.Reader) error {
		return r.Scan(nil, []byte{0xff}, func(k, val []byte) bool {
			fmt.Fprintf(&out, "%x %x\n", k, val)
			return true
		})
	})
	return out.String()
}
