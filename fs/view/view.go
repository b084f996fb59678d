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
	"strings"
	"sync"

	"github.com/hushfs/hushfs/fs/meta"
)

// View is the sorted map. It is safe for concurrent use.
//
// No method waits for the store. Where the map is not near, reading it fails with the
// error of the tables, and whatever was to be done is not done: the caller lets go of
// its locks, brings what is missing, and calls again.
type View struct {
	mu        sync.RWMutex // guards the fields below
	confirmed *Confirmed
	pending   layer      // what ops wrote, by the newest that did
	ops       Ops        // ascending by number
	usage     meta.Delta // of ops together

	changes uint64 // so many times it was changed
	ahead   *ahead // of the next Follow; may be nil

	brought map[Fill]bool // of ops: they are in the chain

	filled int    // so many inodes have content that ops wrote
	like   *layer // while this view comes to be: one of which equal records are shared
}

// New returns a view without pending operations. From then on c is the view's.
func New(c *Confirmed) *View { return &View{confirmed: c, pending: newLayer()} }

// merged reads the whole map; v is locked.
func (v *View) merged() merged { return merged{v.pending, v.confirmed} }

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
	if v.ops.n > 0 && v.ops.last.No >= at.No {
		return nil, fmt.Errorf("operation %d after %d", at.No, v.ops.last.No)
	}
	b, d, err := apply(op, v.merged(), at)
	if err != nil || b.Empty() {
		return b, err
	}
	if err := meta.Fence(v.merged(), b, at.Device, v.confirmed.Slot()+1); err != nil {
		return nil, err
	}
	return b, v.keep(op, at, b, d)
}

// Resume keeps as pending what stands for an operation since an earlier Follow, from
// the step number from on, and returns how many of them it has done: where one fails, as
// because it is not near, it goes on there.
func (v *View) Resume(steps []meta.Change, from int, at meta.Stamp) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if from == 0 && v.ops.n > 0 && v.ops.last.No >= at.No {
		return 0, fmt.Errorf("operation %d after %d", at.No, v.ops.last.No)
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

// apply executes a change, nil is none, on a map, which does not change.
func apply(op meta.Change, m merged, at meta.Stamp) (*meta.Batch, meta.Delta, error) {
	if op == nil {
		return &meta.Batch{}, meta.Delta{}, nil
	}
	b, err := op.Apply(m, at)
	if err != nil {
		return nil, meta.Delta{}, err
	}
	d, err := meta.DeltaOf(m, b)
	return b, d, err
}

// keep makes an operation that was applied, and what it wrote, pending; or nothing. A
// range becomes a deletion of each key that is there now.
func (v *View) keep(op meta.Change, at meta.Stamp, b *meta.Batch, d meta.Delta) error {
	if err := fits(op); err != nil {
		return err
	}
	var dead []record
	for _, r := range b.Ranges {
		err := v.merged().Scan(r.From, r.To, func(k, _ []byte) bool {
			dead = append(dead, gone(k, uint64(at.No)))
			return true
		})
		if err != nil {
			return err
		}
	}
	for _, k := range b.Deletes {
		dead = append(dead, gone(k, uint64(at.No)))
	}
	for _, r := range dead {
		v.say(r, op)
	}
	for _, kv := range b.Puts {
		v.say(put(kv.Key, kv.Value, uint64(at.No)), op)
	}
	v.ops.add(op, at, b, d)
	v.touch()
	v.usage = v.usage.Plus(d)
	return nil
}

// say makes what op says of a key part of what is pending. What is in like too lies in
// memory once.
func (v *View) say(r record, op meta.Change) {
	r = v.filling(r, op)
	if v.like != nil {
		if old, ok := v.like.like(r); ok && old == r {
			r = old
		}
	}
	v.pending.set(r)
}

// Taken is a run of pending operations, merged for one commit.
type Taken struct {
	Ops   Ops
	Batch *meta.Batch // nil: there are none
	Usage meta.Delta
	Part  []Fill // that are in Batch, which ends no operation; nil: it does
}

// Take merges the oldest pending operations up to the number last into one
// batch, until it has limit encoded bytes or more. It takes at least one
// unless none is pending up to last; they stay pending until Settle.
func (v *View) Take(last meta.OpNo, limit int) (t Taken) {
	ops, brought := v.waiting()
	if no := ops.parted(brought); no > 0 && no > ops.first.No {
		last = min(last, no-1) // it begins a commit
	}
	var b meta.Builder
	n := 0
	var newest meta.Stamp
	for p := range ops.written() {
		if p.Stamp.No > last || n > 0 && b.Size() >= limit && p.Stamp.No != newest.No {
			break
		}
		if !p.fill() || !brought[p.fillName()] {
			b.Add(p.Batch())
		}
		t.Usage = t.Usage.Plus(p.Usage)
		n, newest = n+1, p.Stamp
	}
	if n == 0 {
		return t
	}
	t.Ops, t.Batch = ops.upTo(n, newest), b.Batch()
	return t
}

// Settle says that slot is ours and holds, as b, all operations up to last, which add
// d to the usage. The map as a whole changes only by what b has beyond them: all of
// it, where the operations were executed by a process that is no more.
func (v *View) Settle(slot uint64, last meta.OpNo, b *meta.Batch, d meta.Delta) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.confirmed.Apply(slot, b, d)
	v.touch()
	n := 0
	for p := range v.ops.written() {
		if p.Stamp.No > last {
			break
		}
		v.uncover(p.Batch(), last)
		v.usage = v.usage.Minus(p.Usage)
		n++
	}
	if v.ops = v.ops.from(n); v.ops.fills == 0 {
		v.brought = nil
	}
}

// uncover drops what pending says of the keys of b, where no operation after
// last wrote them.
func (v *View) uncover(b *meta.Batch, last meta.OpNo) {
	drop := func(r record, ok bool) {
		if ok {
			v.settled(r, last)
		}
	}
	for _, kv := range b.Puts {
		drop(v.pending.get(kv.Key))
	}
	for _, k := range b.Deletes {
		drop(v.pending.get(k))
	}
	for _, r := range b.Ranges {
		for _, said := range v.pending.in(r) {
			drop(said, true)
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
	Replaced Replaced     // operations that mean something else now
	All      bool         // any key may have another value; Keys are none
	Refused  []meta.Refusal
	Undone   []meta.OpNo // renames that are given up, ascending
}

// Follow applies slots that other devices took, in their order, and executes the
// pending operations again over them, as meta.Rebase does it. Before anybody sees the
// map so, commit is called with what changed, to write it down; it must not call the
// view. An error, as that the map is not near, or that of commit, leaves the map as it
// was.
func (v *View) Follow(slots []Slot, o meta.RebaseOptions, commit func(Followed) error) (Followed, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ops.n == 0 {
		for _, s := range slots {
			v.confirmed.Apply(s.No, s.Batch, s.Usage)
		}
		v.touch()
		return Followed{Slot: v.confirmed.Slot(), Keys: sorted(touched(slots))}, nil
	}
	x := v.found(slots, o)
	if x == nil {
		var err error
		if x, err = v.again(slots, o); err != nil {
			return Followed{}, err
		}
	}
	if err := commit(x.followed); err != nil {
		return Followed{}, err
	}
	v.become(x.next)
	return x.followed, nil
}

// next is a view over another confirmed state, in which the operations of v are
// executed again. What they write as before lies in memory once.
func (v *View) next(c *Confirmed) *View {
	return &View{confirmed: c, pending: newLayer(), like: &v.pending, ops: Ops{with: v.ops.with, like: v.ops.blocks}}
}

// become gives v what another view has, which is not used any more.
func (v *View) become(next *View) {
	next.settleDown()
	v.touch()
	v.confirmed, v.pending, v.ops, v.usage = next.confirmed, next.pending, next.ops, next.usage
	v.filled = next.filled
}

// touch notes that the map was changed, and that what was found out ahead is for nothing.
func (v *View) touch() { v.changes, v.ahead = v.changes+1, nil }

// settleDown lets go of the view that v came from.
func (v *View) settleDown() { v.like, v.ops.like = nil, nil }

// changes are the operations and their stamps.
func (o Ops) changes() iter.Seq2[meta.Change, meta.Stamp] {
	return func(yield func(meta.Change, meta.Stamp) bool) {
		for p := range o.All() {
			if !yield(p.Op, p.Stamp) {
				return
			}
		}
	}
}

// rebase executes operations over v, which has none yet, and returns the numbers,
// ascending, of those that others stand for now. Where the map is not near, the error names what
// several of them miss.
func (v *View) rebase(re *meta.Rebase, ops Ops) (changed []meta.OpNo, err error) {
	var far []error
	var before, after []meta.Change // of one operation
	for p, more := range ops.runs() {
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
			if p.Op != nil {
				before, after = append(before, p.Op), append(after, steps...)
			}
			if !more {
				if !slices.EqualFunc(before, after, meta.SameChange) {
					changed = append(changed, p.Stamp.No)
				}
				before, after = before[:0], after[:0]
			}
			err = v.add(steps, p.Stamp, more)
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

// runs returns the operations, and of each whether the next has its number too.
func (o Ops) runs() iter.Seq2[Pending, bool] {
	return func(yield func(Pending, bool) bool) {
		var before Pending
		n := 0
		for p := range o.All() {
			if n > 0 && !yield(before, p.Stamp.No == before.Stamp.No) {
				return
			}
			before, n = p, n+1
		}
		if n > 0 {
			yield(before, false)
		}
	}
}

// add executes the steps that stand for one operation, of which more may follow.
func (v *View) add(steps []meta.Change, at meta.Stamp, more bool) error {
	if len(steps) == 0 && !more && (v.ops.n == 0 || v.ops.last.No != at.No) {
		steps = []meta.Change{nil}
	}
	for _, s := range steps {
		b, d, err := apply(s, v.merged(), at)
		if err != nil {
			return err
		}
		if err := v.keep(s, at, b, d); err != nil {
			return err
		}
	}
	return nil
}

// differing adds the keys of which two pending layers say something else.
func differing(a, b layer, keys map[string]struct{}) {
	each := func(a, b layer) {
		a.scan(func(r record) bool {
			if o, ok := b.like(r); !ok || !o.sameAs(r) {
				keys[strings.Clone(r.key())] = struct{}{}
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
	v.touch()
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

// Pending returns the operations that lie in no slot, as they are now.
func (v *View) Pending() Ops {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.ops
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
