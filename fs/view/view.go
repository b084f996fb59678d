// Package view shows the layers of a volume's metadata as one sorted map:
// pending operations over the confirmed state.
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
}

// entry is what pending says of one key.
type entry struct {
	value   []byte
	deleted bool
	no      meta.OpNo // the newest operation that wrote it
}

// View is the sorted map. It is safe for concurrent use.
type View struct {
	mu        sync.RWMutex // guards the fields below
	confirmed Confirmed
	pending   btree.Map[string, entry]
	ops       []Pending // ascending by number
	usage     Usage
}

// New returns a view without pending operations. From then on c is the view's.
func New(c Confirmed) (*View, error) {
	v := &View{confirmed: c}
	var err error
	if v.usage, err = count(c); err != nil {
		return nil, err
	}
	return v, nil
}

// Read calls fn with the map as it is now; it does not change before fn
// returns. fn must not call the view.
func (v *View) Read(fn func(r meta.Reader) error) error {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return fn(merged{v})
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
	b, err := op.Apply(merged{v}, at)
	if err != nil {
		return nil, err
	}
	if b.Empty() {
		return b, nil
	}
	if err := v.overlay(b, at.No); err != nil {
		return nil, err
	}
	v.ops = append(v.ops, Pending{op, at, b})
	return b, nil
}

// Take merges the oldest pending operations up to the number last into one
// batch, until it has limit encoded bytes or more. It returns them, at least one
// unless none is pending up to last; they stay pending until Settle.
func (v *View) Take(last meta.OpNo, limit int) ([]Pending, *meta.Batch) {
	v.mu.RLock()
	ops := v.ops // what it holds now is not changed: it grows, or is replaced
	v.mu.RUnlock()
	var b meta.Builder
	n := 0
	for ; n < len(ops) && ops[n].Stamp.No <= last && (n == 0 || b.Size() < limit); n++ {
		b.Add(ops[n].Batch)
	}
	if n == 0 {
		return nil, nil
	}
	return ops[:n:n], b.Batch()
}

// Settle says that slot is ours and holds, as b, all operations up to last. The
// map as a whole changes only by what b has beyond them: all of it, where the
// operations were executed by a process that is no more. After an error nothing
// is settled, unless confirmed could be written and then not be read.
func (v *View) Settle(slot uint64, last meta.OpNo, b *meta.Batch) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	before, err := weighKeys(merged{v}, inodesOf(b))
	if err != nil {
		return err
	}
	if err := v.confirmed.Apply(slot, b); err != nil {
		return err
	}
	n := 0
	for ; n < len(v.ops) && v.ops[n].Stamp.No <= last; n++ {
		v.uncover(v.ops[n].Batch, last)
	}
	v.ops = append([]Pending(nil), v.ops[n:]...)
	after, err := weighKeys(merged{v}, inodesOf(b))
	v.usage.change(before, after)
	return err
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
		var in []string
		v.pending.Ascend(string(r.From), func(k string, _ entry) bool {
			if k >= string(r.To) {
				return false
			}
			in = append(in, k)
			return true
		})
		for _, k := range in {
			drop(k)
		}
	}
}

// Failure is a pending operation that the state no longer allows.
type Failure struct {
	Pending
	Err error
}

// Follow applies the batch of a slot that another device took and executes the
// pending operations again over it. Those that fail are returned and leave no
// trace in the map; the caller decides what becomes of them. One that changes
// nothing any more stays pending: its number has to reach the chain. An error
// that is no Failure leaves the map as it was, except one of a confirmed state
// that cannot be read after it was written.
func (v *View) Follow(slot uint64, b *meta.Batch) ([]Failure, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	above := pendingInodes(&v.pending)
	mixed, err := weighKeys(merged{v}, above)
	if err != nil {
		return nil, err
	}
	below, err := weighKeys(v.confirmed, above)
	if err != nil {
		return nil, err
	}
	before, err := weighKeys(v.confirmed, inodesOf(b))
	if err != nil {
		return nil, err
	}
	if err := v.confirmed.Apply(slot, b); err != nil {
		return nil, err
	}
	ops := v.ops
	v.ops, v.pending = nil, btree.Map[string, entry]{}
	v.usage.change(mixed, below)
	after, err := weighKeys(v.confirmed, inodesOf(b))
	v.usage.change(before, after)
	var failed []Failure
	for _, p := range ops {
		again, err := p.Op.Apply(merged{v}, p.Stamp)
		if err == nil {
			err = v.overlay(again, p.Stamp.No)
		}
		if err != nil {
			failed = append(failed, Failure{p, err})
			continue
		}
		p.Batch = again
		v.ops = append(v.ops, p)
	}
	return failed, err
}

// overlay writes b into pending, all of it or nothing, and corrects the totals.
// A range becomes a deletion of each key that is there now: the confirmed state
// below is wholly known.
func (v *View) overlay(b *meta.Batch, no meta.OpNo) error {
	inodes := inodesOf(b)
	before, err := weighKeys(merged{v}, inodes)
	if err != nil {
		return err
	}
	var gone []string
	for _, r := range b.Ranges {
		err := merged{v}.Scan(r.From, r.To, func(k, _ []byte) bool {
			gone = append(gone, string(k))
			return true
		})
		if err != nil {
			return err
		}
	}
	for _, k := range gone {
		v.pending.Set(k, entry{deleted: true, no: no})
	}
	for _, k := range b.Deletes {
		v.pending.Set(string(k), entry{deleted: true, no: no})
	}
	for _, kv := range b.Puts {
		v.pending.Set(string(kv.Key), entry{value: kv.Value, no: no})
	}
	// Every inode key of b is in pending now, so confirmed is not asked.
	after, err := weighKeys(merged{v}, inodes)
	v.usage.change(before, after)
	return err
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
