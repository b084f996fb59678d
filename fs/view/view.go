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

// New returns a view without pending operations.
func New(c Confirmed) (*View, error) {
	v := &View{confirmed: c}
	return v, v.recount()
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
	before := v.touched(b)
	if err := v.overlay(b, at.No); err != nil {
		return nil, err
	}
	v.account(b, before)
	v.ops = append(v.ops, Pending{op, at, b})
	return b, nil
}

// Take merges the oldest pending operations up to the number last into one
// batch, until it has limit encoded bytes or more. It returns them, or none when
// nothing is pending; they stay pending until Settle.
func (v *View) Take(last meta.OpNo, limit int) ([]Pending, *meta.Batch) {
	v.mu.RLock()
	ops := v.ops // the slice only grows or is replaced
	v.mu.RUnlock()
	var b meta.Builder
	n := 0
	for ; n < len(ops) && ops[n].Stamp.No <= last && b.Size() < limit; n++ {
		b.Add(ops[n].Batch)
	}
	if n == 0 {
		return nil, nil
	}
	return ops[:n:n], b.Batch()
}

// Settle says that slot is ours and holds, as b, all operations up to last. The
// map as a whole changes only by what b has beyond them.
func (v *View) Settle(slot uint64, last meta.OpNo, b *meta.Batch) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.confirmed.Apply(slot, b); err != nil {
		return err
	}
	n := 0
	for ; n < len(v.ops) && v.ops[n].Stamp.No <= last; n++ {
		v.uncover(v.ops[n].Batch, last)
	}
	v.ops = append([]Pending(nil), v.ops[n:]...)
	return nil
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
// trace in the map; the caller decides what becomes of them.
func (v *View) Follow(slot uint64, b *meta.Batch) ([]Failure, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.confirmed.Apply(slot, b); err != nil {
		return nil, err
	}
	ops := v.ops
	v.ops, v.pending = nil, btree.Map[string, entry]{}
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
	return failed, v.recount()
}

// overlay writes b into pending. A range becomes a deletion of each key that is
// there now: the confirmed state below is wholly known.
func (v *View) overlay(b *meta.Batch, no meta.OpNo) error {
	for _, r := range b.Ranges {
		var gone []string
		err := merged{v}.Scan(r.From, r.To, func(k, _ []byte) bool {
			gone = append(gone, string(k))
			return true
		})
		if err != nil {
			return err
		}
		for _, k := range gone {
			v.pending.Set(k, entry{deleted: true, no: no})
		}
	}
	for _, k := range b.Deletes {
		v.pending.Set(string(k), entry{deleted: true, no: no})
	}
	for _, kv := range b.Puts {
		v.pending.Set(string(kv.Key), entry{value: kv.Value, no: no})
	}
	return nil
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

// merged reads pending over confirmed; the view is locked.
type merged struct{ v *View }

var _ meta.Reader = merged{}

func (m merged) Get(key []byte) ([]byte, error) {
	if e, ok := m.v.pending.Get(string(key)); ok {
		if e.deleted {
			return nil, meta.ErrAbsent
		}
		return e.value, nil
	}
	return m.v.confirmed.Get(key)
}

func (m merged) Scan(from, to []byte, fn func(k, v []byte) bool) error {
	it, end := m.v.pending.Iter(), string(to)
	more := it.Seek(string(from))
	stopped := false
	emit := func(k []byte, v []byte) bool {
		stopped = !fn(k, v)
		return !stopped
	}
	// above calls fn for what pending has in front of limit.
	above := func(limit string) bool {
		for more && it.Key() < limit {
			if e := it.Value(); !e.deleted && !emit([]byte(it.Key()), e.value) {
				return false
			}
			more = it.Next()
		}
		return true
	}
	err := m.v.confirmed.Scan(from, to, func(k, v []byte) bool {
		if !above(string(k)) {
			return false
		}
		if more && it.Key() == string(k) {
			e := it.Value()
			more = it.Next()
			return e.deleted || emit(k, e.value)
		}
		return emit(k, v)
	})
	if err != nil || stopped {
		return err
	}
	above(end)
	return nil
}
