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
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/tidwall/btree"

	"github.com/hushfs/hushfs/fs/meta"
)

// Pending is one operation that was executed here and lies in no slot yet, or one of
// the steps that stand for it since another machine changed what it was about: they
// have its stamp, and come one after the other.
type Pending struct {
	Op    meta.Change // nil: there is nothing to do any more; its number has to reach the chain
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
func (v *View) Execute(op meta.Change, at meta.Stamp) (*meta.Batch, error) {
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
		if err := meta.Fence(v.merged(), p.Batch, at.Device, v.confirmed.Slot()+1); err != nil {
			return nil, err
		}
		if err := p.overlay(v.merged()); err != nil {
			return nil, err
		}
		v.ops = append(v.ops, p)
		v.usage = v.usage.Plus(p.Usage)
	}
	return p.Batch, nil
}

// Resume keeps as pending what stands for an operation since an earlier Follow, from
// the step number from on, and returns how many of them it has done: where one fails, as
// because it is not near, it goes on there.
func (v *View) Resume(steps []meta.Change, from int, at meta.Stamp) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if n := len(v.ops); from == 0 && n > 0 && v.ops[n-1].Stamp.No >= at.No {
		return 0, fmt.Errorf("operation %d after %d", at.No, v.ops[n-1].Stamp.No)
	}
	if len(steps) == 0 {
		return 0, v.add(nil, at, false)
	}
	for ; from < len(steps); from++ {
		if err := v.add(steps[from:from+1], at, true); err != nil {
			return from, err
		}
	}
	return from, nil
}

// apply executes the operation on a map, which does not change.
func (p *Pending) apply(m merged) (err error) {
	if p.Op == nil {
		p.Batch = &meta.Batch{}
		return nil
	}
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
	for ; n < len(ops) && ops[n].Stamp.No <= last; n++ {
		if n > 0 && b.Size() >= limit && ops[n].Stamp.No != ops[n-1].Stamp.No {
			break
		}
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

// Slot is the content of one slot that another device took.
type Slot struct {
	No    uint64
	Batch *meta.Batch
	Usage meta.Delta // what Batch adds to the usage
}

// Followed is what following did to the map.
type Followed struct {
	Slot     uint64       // that it shows now
	Keys     []string     // those that may have another value now, ascending
	Moved    []meta.Moved // inodes of pending operations that others stand for now
	Replaced []Replaced   // operations that mean something else now, ascending
	All      bool         // any key may have another value; Keys are none
	Refused  []meta.Refusal
}

// Replaced says what stands for an operation from now on.
type Replaced struct {
	No    meta.OpNo
	Steps []meta.Change // none: nothing
}

// Follow applies slots that other devices took, in their order, and executes the
// pending operations again over them, as meta.Rebase does it. Before anybody sees the
// map so, commit is called with what changed, to write it down; it must not call the
// view. An error, as that the map is not near, or that of commit, leaves the map as it
// was.
func (v *View) Follow(slots []Slot, o meta.RebaseOptions, commit func(Followed) error) (Followed, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	touched := map[string]struct{}{}
	for _, s := range slots {
		for _, kv := range s.Batch.Puts {
			touched[string(kv.Key)] = struct{}{}
		}
		for _, k := range s.Batch.Deletes {
			touched[string(k)] = struct{}{}
		}
	}
	next := View{confirmed: v.confirmed}
	if len(v.ops) > 0 {
		next.confirmed = v.confirmed.Clone()
	}
	for _, s := range slots {
		next.confirmed.Apply(s.No, s.Batch, s.Usage)
	}
	if len(v.ops) == 0 {
		return Followed{Slot: v.confirmed.Slot(), Keys: sorted(touched)}, nil
	}
	o.Slot = next.confirmed.Slot() + 1
	re := meta.NewRebase(v.merged(), v.changes(), o)
	changed, err := next.rebase(re, v.ops)
	if err != nil {
		return Followed{}, err
	}
	differing(&v.pending, &next.pending, touched)
	f := Followed{Slot: next.confirmed.Slot(), Keys: sorted(touched), Moved: re.Moved(), Replaced: next.replaced(changed), Refused: re.Refused()}
	if err := commit(f); err != nil {
		return Followed{}, err
	}
	v.confirmed, v.pending, v.ops, v.usage = next.confirmed, next.pending, next.ops, next.usage
	return f, nil
}

// replaced says what stands for the operations of those numbers.
func (v *View) replaced(changed map[meta.OpNo]bool) (out []Replaced) {
	for _, p := range v.ops {
		if !changed[p.Stamp.No] {
			continue
		}
		if n := len(out); n == 0 || out[n-1].No != p.Stamp.No {
			out = append(out, Replaced{No: p.Stamp.No})
		}
		if p.Op != nil {
			r := &out[len(out)-1]
			r.Steps = append(r.Steps, p.Op)
		}
	}
	return out
}

// changes are the pending changes and their stamps.
func (v *View) changes() iter.Seq2[meta.Change, meta.Stamp] {
	return func(yield func(meta.Change, meta.Stamp) bool) {
		for _, p := range v.ops {
			if !yield(p.Op, p.Stamp) {
				return
			}
		}
	}
}

// rebase executes operations over v, which has none yet, and returns the numbers of
// those that others stand for now. Where the map is not near, the error names what
// several of them miss.
func (v *View) rebase(re *meta.Rebase, ops []Pending) (changed map[meta.OpNo]bool, err error) {
	changed = map[meta.OpNo]bool{}
	var far []error
	for i, p := range ops {
		var steps []meta.Change
		var err error
		if p.Op != nil && len(far) == 0 {
			steps, err = re.Again(p.Op, v.merged(), p.Stamp)
		} else if p.Op != nil {
			// What comes after one that is missing is not executed, but what it
			// needs can be brought with it.
			_, err = p.Op.Apply(v.merged(), p.Stamp)
			if !errors.Is(err, meta.ErrUnknown) {
				continue
			}
		}
		if err == nil && len(far) == 0 {
			if p.Op != nil && (len(steps) != 1 || !meta.SameChange(steps[0], p.Op)) {
				changed[p.Stamp.No] = true
			}
			err = v.add(steps, p.Stamp, i+1 < len(ops) && ops[i+1].Stamp.No == p.Stamp.No)
		}
		switch {
		case err == nil:
		case errors.Is(err, meta.ErrUnknown):
			far = append(far, err)
		default:
			far = append(far, fmt.Errorf("execute operation %d again: %w", p.Stamp.No, err))
			return nil, errors.Join(append(far, re.Unread()...)...)
		}
		if len(far)+len(re.Unread()) >= farMax {
			break
		}
	}
	return changed, errors.Join(append(far, re.Unread()...)...)
}

// add executes the steps that stand for one operation, of which more may follow.
func (v *View) add(steps []meta.Change, at meta.Stamp, more bool) error {
	if n := len(v.ops); len(steps) == 0 && !more && (n == 0 || v.ops[n-1].Stamp.No != at.No) {
		steps = []meta.Change{nil}
	}
	for _, s := range steps {
		p := Pending{Op: s, Stamp: at}
		if err := p.apply(v.merged()); err != nil {
			return err
		}
		if err := p.overlay(v.merged()); err != nil {
			return err
		}
		v.ops = append(v.ops, p)
		v.usage = v.usage.Plus(p.Usage)
	}
	return nil
}

// differing adds the keys of which two pending layers say something else.
func differing(a, b *btree.Map[string, entry], keys map[string]struct{}) {
	each := func(a, b *btree.Map[string, entry]) {
		a.Scan(func(k string, e entry) bool {
			o, ok := b.Get(k)
			if !ok || o.deleted != e.deleted || !bytes.Equal(o.value, e.value) {
				keys[k] = struct{}{}
			}
			return true
		})
	}
	each(a, b)
	each(b, a)
}

func sorted(keys map[string]struct{}) []string {
	return slices.Sorted(maps.Keys(keys))
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
